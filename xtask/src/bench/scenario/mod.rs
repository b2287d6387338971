//! The scenarios. Each runs every contender in turns and checks its result.

mod commands;
mod common;
mod fleet;
mod fleet_limit;
mod footprint;
mod get;
mod issue;
mod list;
mod million;
mod requests;
mod revoke;
mod throughput;

use super::outcome::Outcome;
use super::setup::Bench;

type Scenario = fn(&Bench) -> anyhow::Result<Vec<Outcome>>;

/// Every scenario, by its letter.
pub(super) const ALL: &[(char, Scenario)] = &[
    ('a', list::list_with_latency),
    ('b', list::list_without_latency),
    ('c', list::stream),
    ('d', issue::issue),
    ('e', revoke::revoke),
    ('f', get::get),
    ('g', footprint::compare),
    ('h', throughput::compare),
    ('i', fleet::issue),
    ('j', fleet_limit::simulate),
    ('k', commands::compare),
    ('l', requests::compare),
    ('m', million::compare),
];

//! Quirks: how this service, its replicas or the gateways in front of it differ from a well-behaved one.

mod applied;
mod kind;
mod odd_id;
mod quirks;
mod record;
mod table;

pub(crate) use self::applied::Applied;
pub(crate) use self::kind::{BeyondEnd, Kind, RetryAfter, Total};
pub(crate) use self::odd_id::parse_odd_id;
pub(crate) use self::quirks::Quirk;
pub use self::quirks::Quirks;

//! What a service and its network are like in a seed. Each seed draws its own.

use std::time::Duration;

use fastrand::Rng;
use shieldcert_emulator::{Chaos, IdStyle, Order, RateLimit, TotalCount};

use super::catalogue;

/// The settings of a seed.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) order: Order,
    pub(super) total_count: TotalCount,
    pub(super) ids: IdStyle,
    pub(super) transition_delay: Duration,
    /// What time it is for the service, in seconds since 1970. This machine's may be another.
    pub(super) clock_start: u64,
    /// How many certificates the zone has in the beginning.
    pub(super) size: usize,
    pub(super) chaos: Chaos,
    /// Whether the service may act on a request later than the settle window allows.
    pub(super) acts_after_settle_window: bool,
    /// Whether records may show a status that is not theirs.
    pub(super) lies_about_statuses: bool,
}

impl Settings {
    pub(super) fn draw(random: &mut Rng) -> Self {
        let size = match random.u8(0..40) {
            0 => random.usize(100..300),
            1..5 => random.usize(25..100),
            _ => random.usize(0..25),
        };
        let acts_after_settle_window = random.u8(0..20) == 0;
        let chaos = draw_chaos(random, acts_after_settle_window);
        Self {
            order: pick(
                random,
                &[Order::NewestFirst, Order::OldestFirst, Order::ById],
            ),
            total_count: pick(random, &[TotalCount::Unfiltered, TotalCount::Filtered]),
            ids: pick(random, &[IdStyle::Hyphenated, IdStyle::Hex]),
            transition_delay: Duration::from_millis(random.u64(0..20_000)),
            clock_start: random.u64(1_700_000_000..2_000_000_000),
            size,
            acts_after_settle_window,
            lies_about_statuses: chaos.contains("unknown-status"),
            chaos: chaos
                .parse()
                .unwrap_or_else(|error| panic!("{chaos}: {error}")),
        }
    }
}

/// Draws some of the faults, with their shares. Few at once, so that each gets to show what it does alone.
fn draw_chaos(random: &mut Rng, acts_after_settle_window: bool) -> String {
    let mut rows = catalogue::rows();
    random.shuffle(&mut rows);
    rows.truncate(random.usize(1..=8));
    let faults = pick(random, &[0.0, 5.0, 15.0, 30.0, 50.0]);
    let share = faults / rows.len() as f64;
    let terms = rows.iter().map(|row| {
        let argument = pick(random, &row.arguments);
        let argument = match &*row.name {
            "late" | "late-lost" if acts_after_settle_window => "1s..240s",
            "late" | "late-lost" => "1s..60s",
            "stall" => "1s..45s",
            "rate-limit" | "block" => "1s..90s",
            _ => argument,
        };
        // One block in a hundred requests is a lot.
        let share = match &*row.name {
            "block" => share / 8.0,
            _ => share,
        };
        let colon = if argument.is_empty() { "" } else { ":" };
        format!("{}={share}%{colon}{argument}", row.name)
    });
    terms.collect::<Vec<_>>().join(", ")
}

/// Draws the limit of a client's budget.
pub(super) fn draw_limit(random: &mut Rng) -> RateLimit {
    let window = Duration::from_secs(random.u64(10..=120));
    RateLimit::new(random.u32(40..=200), window)
}

pub(super) fn pick<T: Copy>(random: &mut Rng, choices: &[T]) -> T {
    choices[random.usize(0..choices.len())]
}

//! What a service and its network are like in a seed. Each seed draws its own.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use fastrand::Rng;
use shieldcert_emulator::{Chaos, IdStyle, Order, Quirks, RateLimit, TotalCount};

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
    pub(super) quirks: Quirks,
    /// How old what a response shows may be.
    pub(super) lag: Duration,
    /// Whether the service may act on a request later than the settle window allows.
    pub(super) acts_after_settle_window: bool,
    /// Whether records may show a status that is not theirs.
    pub(super) lies_about_statuses: bool,
    /// Whether responses show what is left of the rate limit.
    pub(super) shows_rate_limit: bool,
    /// Whether records show ids that the certificates don't have elsewhere.
    pub(super) has_odd_ids: bool,
    /// Whether a certificate may be other than what was asked for.
    pub(super) issues_wrong_certificates: bool,
    /// Whether pages may come in another order than the list's. Then a list may miss something.
    pub(super) reorders_pages: bool,
    /// Whether records that can't be read look alike, so that they can't be counted.
    pub(super) has_null_records: bool,
}

impl Settings {
    pub(super) fn draw(random: &mut Rng) -> Self {
        let size = match random.u8(0..80) {
            0 => random.usize(100..300),
            1..20 => random.usize(25..100),
            _ => random.usize(0..25),
        };
        let focus = match random.u8(0..12) {
            0 => Focus::LateUnbounded,
            1..3 => Focus::Late,
            3..5 => Focus::Lost,
            _ => Focus::None,
        };
        let acts_after_settle_window = matches!(focus, Focus::LateUnbounded);
        let lag = random.u64(
            1..if acts_after_settle_window {
                120
            } else {
                MAX_LAG
            },
        );
        let mut quirks = draw_quirks(random, lag);
        let chaos = draw_chaos(random, focus, lag, quirks.contains("cut="));
        if chaos.contains("lag=") || quirks.contains("lag=") {
            quirks = without_totals(&quirks);
        }
        let all = format!("{chaos}, {quirks}");
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
            lag: match all.contains("lag=") {
                true => Duration::from_secs(lag.max(MIN_LAG)),
                false => Duration::ZERO,
            },
            lies_about_statuses: all.contains("unknown-status") || all.contains("nested-record"),
            shows_rate_limit: !all.contains("no-ratelimit"),
            issues_wrong_certificates: all.contains("certificate=null")
                || all.contains("extra-validity")
                // Written in decimal twice.
                || all.contains("serial=") && all.contains("decimal-serials"),
            has_odd_ids: all.contains("odd-id"),
            reorders_pages: all.contains("reorder"),
            has_null_records: all.contains("null-record"),
            chaos: parse(&chaos),
            quirks: parse(&quirks),
        }
    }

    /// Whether a list may miss that many, if it says that so many can't be read.
    pub(super) fn allows_missing(&self, missed: usize, unreadable: usize) -> bool {
        missed <= unreadable || self.has_null_records && unreadable > 0 || self.reorders_pages
    }
}

/// Which faults of requests to issue a seed is about.
#[derive(Clone, Copy)]
enum Focus {
    None,
    /// The service does not act, and the client can't know.
    Lost,
    /// The service acts after the response, often right before the settle window ends.
    Late,
    /// Perhaps after the settle window. Also, a later request is refused.
    LateUnbounded,
}

impl Focus {
    fn is_about(self, fault: &str) -> bool {
        match self {
            Self::None => false,
            Self::Lost => ["lose-request", "reset", "502-before"].contains(&fault),
            Self::Late => fault.starts_with("late"),
            Self::LateUnbounded => fault.starts_with("late") || fault == "quota",
        }
    }
}

/// Within so many seconds the service acts and lists. The settle window is 75 seconds, and requests take their time.
const MAX_LATENESS: u64 = 73;

/// The catalogue's lag.
const MIN_LAG: u64 = 20;

/// How many seconds a replica may be behind, unless the service acts after the settle window.
const MAX_LAG: u64 = 50;

/// How the service, its replicas and the gateways in front of it may differ, as long as a seed lasts.
const QUIRKS: &[&str] = &[
    "cap=7",
    "cap=25",
    "cap=6",
    "cut=6",
    "cut=20",
    "ignore-page",
    "ignore-per-page",
    "ignore-offset",
    "ignore-status",
    "beyond-end=400",
    "beyond-end=404",
    "beyond-end=last",
    "total=missing",
    "total=text",
    "total=zero",
    "total=page",
    "total=active",
    "total=float",
    "total-fixed=1000",
    "total-lag=30s",
    "total-cache=5m",
    "order=name",
    "order=expiry",
    "lag",
    "csr=null",
    "csr=missing",
    "csr=bare",
    "csr=escaped",
    "csr=reencoded",
    "list-csr=null",
    "certificate=null",
    "certificate=chain",
    "certificate=chain-reversed",
    "serial=0x",
    "serial=blanks",
    "serial=colons",
    "serial=upper",
    "serial=decimal",
    "fingerprint=colons",
    "fingerprint=upper",
    "fingerprint=sha256",
    "issued-on=null",
    "issued-on=go",
    "expires-on=missing",
    "expires-on=go",
    "no-id",
    "odd-id",
    "null-record",
    "nested-record",
    "backdate=5m",
    "backdate=11m",
    "backdate=40m",
    "max-validity=7",
    "extra-validity=7",
    "refuse-repeats",
    "refuse-with-200",
    "no-date",
    "date-offset=11m",
    "date-offset=-11m",
    "date-offset=15m",
    "date-offset=-3h",
    "retry-after=missing",
    "retry-after=0",
    "retry-after=1",
    "retry-after=fraction",
    "retry-after=date",
    "retry-after=huge",
    "no-ratelimit",
];

/// Draws some quirks, in half of the seeds. They hold always, or for a share of the requests or records.
fn draw_quirks(random: &mut Rng, lag: u64) -> String {
    if random.bool() {
        return String::new();
    }
    let count = random.usize(1..=4);
    let mut quirks = random.choose_multiple(QUIRKS.iter(), count);
    // Without a CSR, much has to be concluded from less.
    if random.u8(0..4) == 0 {
        quirks.push(&"list-csr=null");
    }
    // Some pages are short, in the middle of the list.
    if random.u8(0..6) == 0 {
        quirks.push(&"cut=6");
    }
    // Two notations of one field at once are none.
    let mut names = BTreeSet::new();
    quirks.retain(|quirk| names.insert(quirk.split_once('=').map_or(**quirk, |(name, _)| name)));
    // Nothing shows that every page is a part of one.
    if quirks.contains(&&"ignore-per-page") && quirks.iter().any(|quirk| quirk.starts_with("total"))
    {
        quirks.retain(|quirk| !quirk.starts_with("cut") && !quirk.starts_with("cap"));
    }
    // A list in this order is assumed to show the validity that was asked for.
    if quirks.contains(&&"order=expiry") {
        quirks.retain(|quirk| !quirk.contains("validity"));
    }
    let quirks = quirks.into_iter().map(|quirk| {
        let quirk = match *quirk {
            "lag" => format!("lag={lag}s"),
            quirk => quirk.to_owned(),
        };
        let share = pick(random, &["", "", "", "@50%", "@10%"]);
        // An order that changes between two requests is no order, and a parameter is honoured always or never.
        let is_constant = quirk.starts_with("order") || quirk.starts_with("ignore");
        let share = if is_constant { "" } else { share };
        format!("{quirk}{share}")
    });
    quirks.collect::<Vec<_>>().join(", ")
}

/// Leaves out the quirks of totals: without one, nothing shows that a page is of an older state than the one before it.
fn without_totals(quirks: &str) -> String {
    let quirks = quirks.split(", ");
    let quirks = quirks.filter(|quirk| !quirk.starts_with("total"));
    quirks.collect::<Vec<_>>().join(", ")
}

/// Faults that refuse a page as if it were beyond the end.
const REFUSALS: &[&str] = &["not-found", "respond", "respond-after"];

/// Draws some of the faults, with their shares. Few at once, so that each gets to show what it does alone.
fn draw_chaos(random: &mut Rng, focus: Focus, lag: u64, are_pages_cut: bool) -> String {
    let mut rows = catalogue::rows();
    // A short page, and a refusal of the one behind it that repeats, are the end.
    rows.retain(|row| !(are_pages_cut && REFUSALS.contains(&&*row.name)));
    random.shuffle(&mut rows);
    rows.sort_by_key(|row| !focus.is_about(&row.name));
    rows.truncate(random.usize(match focus {
        Focus::None => 1..=8,
        Focus::Lost | Focus::Late => 1..=4,
        Focus::LateUnbounded => 3..=6,
    }));
    // What goes wrong with requests to issue alone can be looked into.
    let is_about_issues = !matches!(focus, Focus::None) || random.u8(0..4) == 0;
    let (operation, shares) = match is_about_issues {
        true => ("create: ", [30.0, 50.0, 70.0, 90.0, 90.0]),
        false => ("", [0.0, 5.0, 15.0, 30.0, 50.0]),
    };
    let share = pick(random, &shares) / rows.len() as f64;
    let terms = rows.iter().map(|row| {
        let argument = pick(random, &row.arguments);
        let argument = match &*row.name {
            "late" | "late-lost" => &match focus {
                Focus::LateUnbounded => "1s..240s".to_owned(),
                _ => {
                    let latest = MAX_LATENESS - lag.max(MIN_LAG);
                    let earliest = pick(random, &[1, latest - 3]);
                    format!("{earliest}s..{latest}s")
                }
            },
            "stall" => "1s..45s",
            // Some are longer than a client waits for.
            "rate-limit" | "block" => {
                let usual = "1s..90s";
                pick(random, &[usual, usual, usual, "600s..20000s"])
            }
            _ => argument,
        };
        // One block in a hundred requests is a lot.
        let share = match &*row.name {
            "block" => share / 8.0,
            _ => share,
        };
        let colon = if argument.is_empty() { "" } else { ":" };
        format!("{operation}{}={share}%{colon}{argument}", row.name)
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

pub(super) fn parse<T: FromStr<Err: Display>>(text: &str) -> T {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

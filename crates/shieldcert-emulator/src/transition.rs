//! The life of a certificate: its statuses, and how one leads to the next.
//!
//! A change takes a while at the service. Nothing runs in the background for that: a certificate knows what it is
//! about to be and when, and its status is worked out when somebody asks, from tokio's clock.

use std::str::FromStr;
use std::time::Duration;

use tokio::time::Instant;

/// Longer than any process runs.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 86_400);

/// A certificate's status, as the API spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Active,
    PendingReactivation,
    PendingRevocation,
    Revoked,
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::PendingReactivation => "pending_reactivation",
            Self::PendingRevocation => "pending_revocation",
            Self::Revoked => "revoked",
        }
    }

    pub(crate) fn is_pending(self) -> bool {
        matches!(self, Self::PendingReactivation | Self::PendingRevocation)
    }
}

/// Not the name of a status.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownStatus;

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        [
            Self::Active,
            Self::PendingReactivation,
            Self::PendingRevocation,
            Self::Revoked,
        ]
        .into_iter()
        .find(|status| status.as_str() == text)
        .ok_or(UnknownStatus)
    }
}

/// Where a certificate is going, or has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Active,
    Revoked,
}

/// What is asked of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Revoke,
    Reactivate {
        /// Whether one that is settled as revoked may come back.
        revoked_too: bool,
        /// The most certificates of the zone that may be active.
        quota: Option<usize>,
    },
}

/// Why a change is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    QuotaReached,
    Revoked,
}

impl Change {
    pub(crate) fn target(self) -> Target {
        match self {
            Self::Revoke => Target::Revoked,
            Self::Reactivate { .. } => Target::Active,
        }
    }

    /// Whether a certificate with this status, of a zone with so many active ones, may change so.
    pub(crate) fn allowed(self, status: Status, active: usize) -> Result<(), Refusal> {
        let Self::Reactivate { revoked_too, quota } = self else {
            return Ok(());
        };
        let has_place = matches!(status, Status::Active | Status::PendingReactivation);
        if !has_place && quota.is_some_and(|quota| active >= quota) {
            return Err(Refusal::QuotaReached);
        }
        if status == Status::Revoked && !revoked_too {
            return Err(Refusal::Revoked);
        }
        Ok(())
    }
}

/// A certificate's way to its [`Target`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transition {
    target: Target,
    // None for what has been so from the start.
    settles_at: Option<Instant>,
}

impl Transition {
    /// A certificate that has just been issued: active at once.
    pub(crate) fn issued() -> Self {
        Self {
            target: Target::Active,
            settles_at: None,
        }
    }

    /// A certificate that has this status at `now`, and settles after `delay` if it is pending.
    pub(crate) fn at(status: Status, now: Instant, delay: Duration) -> Self {
        Self {
            target: match status {
                Status::Active | Status::PendingReactivation => Target::Active,
                Status::Revoked | Status::PendingRevocation => Target::Revoked,
            },
            settles_at: status.is_pending().then(|| after(now, delay)),
        }
    }

    /// The status at `now`.
    pub(crate) fn status(self, now: Instant) -> Status {
        let settled = self.settles_at.is_none_or(|at| at <= now);
        match (self.target, settled) {
            (Target::Active, true) => Status::Active,
            (Target::Active, false) => Status::PendingReactivation,
            (Target::Revoked, true) => Status::Revoked,
            (Target::Revoked, false) => Status::PendingRevocation,
        }
    }

    /// Whether it is, or is about to be, active, and so has a place of the quota.
    pub(crate) fn is_towards_active(self) -> bool {
        self.target == Target::Active
    }

    /// Turns towards `target`; the last request wins. Nothing happens to one that is already on its way there.
    pub(crate) fn turn(&mut self, target: Target, now: Instant, delay: Duration) {
        if self.target != target {
            *self = Self {
                target,
                settles_at: Some(after(now, delay)),
            };
        }
    }
}

/// A delay too long for the clock's numbers is one that nobody sees the end of.
fn after(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay).unwrap_or(now + FOR_EVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(2);

    #[test]
    fn settles_exactly_when_the_delay_is_over() {
        let start = Instant::now();
        let mut transition = Transition::issued();
        assert_eq!(transition.status(start), Status::Active);
        transition.turn(Target::Revoked, start, DELAY);
        assert_eq!(transition.status(start), Status::PendingRevocation);
        let just_before = start + DELAY - Duration::from_nanos(1);
        assert_eq!(transition.status(just_before), Status::PendingRevocation);
        assert_eq!(transition.status(start + DELAY), Status::Revoked);
    }

    #[test]
    fn the_later_request_wins_and_starts_the_delay_again() {
        let start = Instant::now();
        let mut transition = Transition::issued();
        transition.turn(Target::Revoked, start, DELAY);
        let turned = start + DELAY / 2;
        transition.turn(Target::Active, turned, DELAY);
        assert_eq!(
            transition.status(start + DELAY),
            Status::PendingReactivation
        );
        assert_eq!(transition.status(turned + DELAY), Status::Active);
        transition.turn(Target::Revoked, turned, DELAY);
        assert_eq!(transition.status(turned), Status::PendingRevocation);
    }

    #[test]
    fn asking_again_does_not_start_the_delay_again() {
        let start = Instant::now();
        let mut transition = Transition::issued();
        transition.turn(Target::Revoked, start, DELAY);
        transition.turn(Target::Revoked, start + DELAY / 2, DELAY);
        assert_eq!(transition.status(start + DELAY), Status::Revoked);
    }

    #[test]
    fn no_delay_settles_at_once() {
        let start = Instant::now();
        let mut transition = Transition::issued();
        transition.turn(Target::Revoked, start, Duration::ZERO);
        assert_eq!(transition.status(start), Status::Revoked);
    }

    #[test]
    fn an_endless_delay_does_not_end() {
        let start = Instant::now();
        let mut transition = Transition::issued();
        transition.turn(Target::Revoked, start, Duration::MAX);
        assert_eq!(transition.status(start + DELAY), Status::PendingRevocation);
    }

    #[test]
    fn statuses_read_as_they_are_written() {
        for name in [
            "active",
            "pending_reactivation",
            "pending_revocation",
            "revoked",
        ] {
            assert_eq!(name.parse::<Status>().map(Status::as_str), Ok(name));
        }
        for name in ["", "all", "Active", "active ", "deleted"] {
            assert_eq!(name.parse::<Status>(), Err(UnknownStatus), "{name:?}");
        }
    }
}

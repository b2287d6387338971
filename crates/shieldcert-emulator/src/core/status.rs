//! The statuses of a certificate, and how one leads to the next.
//!
//! A change takes a while at the service. Nothing runs in the background for that: a certificate holds what it
//! will be and when, and its status is computed when it is read. Times are those of the
//! [`Clock`](super::clock::Clock), since 1970.

use std::str::FromStr;
use std::time::Duration;

use super::refusal::Refusal;

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

/// The text is not the name of a status.
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

/// The settled status that a certificate has, or will have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Active,
    Revoked,
}

/// A requested change of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Revoke {
        /// Whether a certificate that is, or will be, revoked may be revoked again.
        repeatable: bool,
    },
    Reactivate {
        /// Whether a certificate that is, or will be, active may be reactivated again.
        repeatable: bool,
        /// Whether a certificate that is settled as revoked may be reactivated.
        allow_revoked: bool,
        /// The most certificates of the zone that may be active.
        quota: Option<usize>,
    },
}

impl Change {
    pub(crate) fn target(self) -> Target {
        match self {
            Self::Revoke { .. } => Target::Revoked,
            Self::Reactivate { .. } => Target::Active,
        }
    }

    /// Refuses the change of a certificate with this status, in a zone with `active` active ones, if a rule forbids it.
    pub(crate) fn check(self, status: Status, active: usize) -> Result<(), Refusal> {
        let has_slot = matches!(status, Status::Active | Status::PendingReactivation);
        let is_repeated = match self {
            Self::Revoke { repeatable } => !repeatable && !has_slot,
            Self::Reactivate { repeatable, .. } => !repeatable && has_slot,
        };
        if is_repeated {
            return Err(Refusal::Repeated);
        }
        let Self::Reactivate {
            allow_revoked,
            quota,
            ..
        } = self
        else {
            return Ok(());
        };
        if !has_slot && quota.is_some_and(|quota| active >= quota) {
            return Err(Refusal::QuotaReached);
        }
        if status == Status::Revoked && !allow_revoked {
            return Err(Refusal::Revoked);
        }
        Ok(())
    }
}

/// A certificate's [`Target`], and when it gets there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transition {
    target: Target,
    /// None for a certificate that never changed.
    settles_at: Option<Duration>,
}

impl Transition {
    /// A certificate is active as soon as it is issued.
    pub(crate) fn issued() -> Self {
        Self {
            target: Target::Active,
            settles_at: None,
        }
    }

    /// A certificate with this status at `now`, which settles after `delay` if it is pending.
    pub(crate) fn with_status(status: Status, now: Duration, delay: Duration) -> Self {
        Self {
            target: match status {
                Status::Active | Status::PendingReactivation => Target::Active,
                Status::Revoked | Status::PendingRevocation => Target::Revoked,
            },
            settles_at: status.is_pending().then(|| now.saturating_add(delay)),
        }
    }

    /// The status at `now`.
    pub(crate) fn status(self, now: Duration) -> Status {
        let settled = self.settles_at.is_none_or(|at| at <= now);
        match (self.target, settled) {
            (Target::Active, true) => Status::Active,
            (Target::Active, false) => Status::PendingReactivation,
            (Target::Revoked, true) => Status::Revoked,
            (Target::Revoked, false) => Status::PendingRevocation,
        }
    }

    /// Whether the certificate is or will be active, and so holds a slot of the quota.
    pub(crate) fn holds_slot(self) -> bool {
        self.target == Target::Active
    }

    /// Changes the target. Returns false for a certificate that has it already: it keeps its time to settle.
    pub(crate) fn change(&mut self, target: Target, now: Duration, delay: Duration) -> bool {
        let changes = self.target != target;
        if changes {
            *self = Self {
                target,
                settles_at: Some(now.saturating_add(delay)),
            };
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_000_000_000);
    const DELAY: Duration = Duration::from_secs(2);

    #[test]
    fn a_change_settles_exactly_after_the_delay() {
        let mut transition = Transition::issued();
        assert_eq!(transition.status(START), Status::Active);
        transition.change(Target::Revoked, START, DELAY);
        assert_eq!(transition.status(START), Status::PendingRevocation);
        let just_before = START + DELAY - Duration::from_nanos(1);
        assert_eq!(transition.status(just_before), Status::PendingRevocation);
        assert_eq!(transition.status(START + DELAY), Status::Revoked);
    }

    #[test]
    fn the_later_request_wins_and_restarts_the_delay() {
        let mut transition = Transition::issued();
        transition.change(Target::Revoked, START, DELAY);
        let reactivated = START + DELAY / 2;
        transition.change(Target::Active, reactivated, DELAY);
        assert_eq!(
            transition.status(START + DELAY),
            Status::PendingReactivation
        );
        assert_eq!(transition.status(reactivated + DELAY), Status::Active);
        transition.change(Target::Revoked, reactivated, DELAY);
        assert_eq!(transition.status(reactivated), Status::PendingRevocation);
    }

    #[test]
    fn a_repeated_request_does_not_restart_the_delay() {
        let mut transition = Transition::issued();
        transition.change(Target::Revoked, START, DELAY);
        transition.change(Target::Revoked, START + DELAY / 2, DELAY);
        assert_eq!(transition.status(START + DELAY), Status::Revoked);
    }

    #[test]
    fn a_change_without_delay_settles_at_once() {
        let mut transition = Transition::issued();
        transition.change(Target::Revoked, START, Duration::ZERO);
        assert_eq!(transition.status(START), Status::Revoked);
    }

    #[test]
    fn the_longest_delay_never_ends() {
        let mut transition = Transition::issued();
        transition.change(Target::Revoked, START, Duration::MAX);
        assert_eq!(transition.status(START + DELAY), Status::PendingRevocation);
    }

    #[test]
    fn statuses_round_trip_through_text() {
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

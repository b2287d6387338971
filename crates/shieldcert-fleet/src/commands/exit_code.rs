//! What the process ends with, which scripts rely on.

use std::process::Termination;

use shieldcert::Error;

use crate::apply::Summary;
use crate::journal::Hold;

/// The outcome of a command. clap itself ends the process with [`Usage`](Self::Usage) on arguments that it can't parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitCode {
    /// Everything that was asked for is done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// The arguments, or a file that they name, are wrong; or a confirmation is needed, and there is no terminal.
    Usage = 2,
    /// What it is about does not exist.
    NotFound = 3,
    /// The service refuses the credentials, or there are none.
    NotAllowed = 4,
    /// The rate limit or a quota is reached.
    Limited = 5,
    /// It took too long.
    TimedOut = 6,
    /// It is done in part.
    Partial = 7,
    /// The outcome of a request is unknown. It goes before [`Partial`](Self::Partial).
    OutcomeUnknown = 8,
    /// Nothing was due. Only where it was asked for.
    NothingDue = 10,
    /// It was interrupted.
    Interrupted = 130,
}

impl ExitCode {
    /// Returns the code of a command that has done many things, from how many succeeded and how each of the others failed.
    pub fn of_many(succeeded: usize, failures: &[Self]) -> Self {
        let Some((first, others)) = failures.split_first() else {
            return Self::Done;
        };
        if failures.contains(&Self::OutcomeUnknown) {
            Self::OutcomeUnknown
        } else if succeeded > 0 {
            Self::Partial
        } else if others.iter().all(|other| other == first) {
            *first
        } else {
            Self::Failed
        }
    }
}

impl From<&Error> for ExitCode {
    fn from(error: &Error) -> Self {
        if matches!(error, Error::OutcomeUnknown { .. }) {
            Self::OutcomeUnknown
        } else if error.is_not_found() {
            Self::NotFound
        } else if error.is_not_allowed() {
            Self::NotAllowed
        } else if error.is_rate_limited() || error.is_quota_reached() {
            Self::Limited
        } else if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Failed
        }
    }
}

impl From<&Summary> for ExitCode {
    fn from(summary: &Summary) -> Self {
        if summary.is_stopped {
            return Self::Interrupted;
        }
        if summary.waiting.contains_key(&Hold::Unclear) {
            return Self::OutcomeUnknown;
        }
        if summary.is_complete() {
            return Self::Done;
        }
        let done = &summary.progress;
        if summary.settled + done.issued + done.deployed + done.revoked > 0 {
            return Self::Partial;
        }
        let holds: Vec<Hold> = summary.waiting.keys().copied().collect();
        match holds[..] {
            [Hold::Permission] => Self::NotAllowed,
            [Hold::Quota] => Self::Limited,
            _ => Self::Failed,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

impl Termination for ExitCode {
    fn report(self) -> std::process::ExitCode {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::ExitCode::*;
    use super::*;

    #[test]
    fn many_outcomes_make_one_code() {
        for (succeeded, failures, expected) in [
            (0, &[][..], Done),
            (3, &[], Done),
            (0, &[NotFound], NotFound),
            (0, &[NotFound, NotFound], NotFound),
            (0, &[NotFound, NotAllowed], Failed),
            (1, &[NotFound], Partial),
            (1, &[NotFound, OutcomeUnknown], OutcomeUnknown),
            (0, &[OutcomeUnknown, Failed], OutcomeUnknown),
        ] {
            let code = ExitCode::of_many(succeeded, failures);
            assert_eq!(code, expected, "{succeeded} {failures:?}");
        }
    }

    #[test]
    fn what_a_run_leaves_decides_its_code() {
        let waiting = |settled, holds: &[Hold]| {
            let mut summary = Summary {
                settled,
                ..Summary::default()
            };
            summary.waiting = holds.iter().map(|hold| (*hold, 1)).collect();
            ExitCode::from(&summary)
        };
        for (settled, holds, expected) in [
            (0, &[][..], Done),
            (1, &[Hold::Csr], Done),
            (1, &[Hold::Quota], Partial),
            (0, &[Hold::Quota], Limited),
            (0, &[Hold::Permission], NotAllowed),
            (0, &[Hold::Quota, Hold::Permission], Failed),
            (0, &[Hold::DeployPaused], Failed),
            (1, &[Hold::Quota, Hold::Unclear], OutcomeUnknown),
        ] {
            assert_eq!(waiting(settled, holds), expected, "{settled} {holds:?}");
        }
        let stopped = Summary {
            is_stopped: true,
            ..Summary::default()
        };
        assert_eq!(ExitCode::from(&stopped), Interrupted);
    }
}

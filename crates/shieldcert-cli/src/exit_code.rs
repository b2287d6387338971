//! What the process ends with, which scripts rely on.

use std::process::Termination;

use shieldcert::Error;

/// The outcome of a command. clap itself ends the process with [`Usage`](Self::Usage) on arguments that it can't parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitCode {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    NotAllowed = 4,
    Limited = 5,
    TimedOut = 6,
    Partial = 7,
    OutcomeUnknown = 8,
    /// Only where it was asked for.
    NothingDue = 10,
    Interrupted = 130,
}

impl ExitCode {
    /// The code of a command that has done many things, from how many succeeded and how each of the others failed.
    pub(crate) fn of_many(succeeded: usize, failures: &[Self]) -> Self {
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

impl Termination for ExitCode {
    fn report(self) -> std::process::ExitCode {
        std::process::ExitCode::from(self as u8)
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
}

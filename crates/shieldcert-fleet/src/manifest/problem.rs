//! What is wrong with a manifest, and where.

use std::error::Error;
use std::fmt;

/// What is wrong with a line of a manifest, and what to do.
///
/// The column and the message are safe to show: what came from the file is escaped and shortened.
///
/// It is shown as `line 7, column days: 0 days are not possible; give 1 to 36500`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The line, counted from 1.
    pub line: u64,
    /// The column of CSV or member of JSONL, where it is one.
    pub column: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
}

impl Problem {
    pub(super) fn at_line(line: u64, message: impl Into<String>) -> Self {
        Self {
            line,
            column: None,
            message: message.into(),
        }
    }

    /// The name of the column is one of ours, or escaped.
    pub(crate) fn at_column(
        line: u64,
        column: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            column: Some(column.into()),
            ..Self::at_line(line, message)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(column) = &self.column {
            write!(f, ", column {column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl Error for Problem {}

//! The formats of standard output.

use clap::ValueEnum;

/// The format of standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for people, as wide as the terminal
    Table,
    /// A table with more columns
    Wide,
    /// One JSON array, or one object from a command that prints one thing
    Json,
    /// One JSON object a line
    Jsonl,
    /// Comma-separated values with a header; what can't be printed, and formulas, are escaped
    Csv,
    /// The id alone, one a line
    Id,
}

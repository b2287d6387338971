//! What the tasks print.

use std::fmt::Display;
use std::io::Write;

/// Prints a line to stdout. A reader that has closed the pipe is no error.
pub(crate) fn print_line(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Says on stderr what takes long.
pub(crate) fn print_status(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

//! Usage errors that clap can't find itself.

use clap::error::ErrorKind;

/// Ends the process as clap does when an argument can't be used.
pub(crate) fn exit_with_usage_error(message: &str) -> ! {
    let message = format!("{message}\n\nFor more information, try '--help'.\n");
    clap::Error::raw(ErrorKind::ValueValidation, message).exit()
}

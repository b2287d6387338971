//! One file for each command.

#[cfg(feature = "emulator")]
pub(crate) mod emulator;

/// What a command ends with. The error's message is printed; it holds its cause.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

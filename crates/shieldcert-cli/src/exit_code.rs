//! What the process ends with, which scripts rely on.

pub(crate) use shieldcert_fleet::commands::ExitCode;

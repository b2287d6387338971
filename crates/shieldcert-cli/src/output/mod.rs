//! What is printed: rows to standard output in one of the formats, everything else to standard error.

pub(crate) mod certificate;
pub(crate) mod check;
pub(crate) mod facts;
pub(crate) mod file;
pub(crate) mod fleet;
pub(crate) mod format;
pub(crate) mod html;
pub(crate) mod issued;
mod json;
pub(crate) mod messages;
pub(crate) mod metrics;
pub(crate) mod printer;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod row;
#[cfg(test)]
pub(crate) mod schemas;
pub(crate) mod shell;
mod table;

pub(crate) use shieldcert_fleet::commands::time;

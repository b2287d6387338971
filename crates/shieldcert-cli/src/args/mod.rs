//! The values of arguments, one file for each kind.

pub(crate) mod address;
pub(crate) mod chaos;
pub(crate) mod duration;
pub(crate) mod log_level;
pub(crate) mod number;
pub(crate) mod or_help;
pub(crate) mod rate_limit;
pub(crate) mod token;
pub(crate) mod usage;
pub(crate) mod zone;

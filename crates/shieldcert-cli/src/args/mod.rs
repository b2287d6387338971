//! The values of arguments, one file for each kind.

#[cfg(feature = "emulator")]
pub(crate) mod address;
#[cfg(feature = "emulator")]
pub(crate) mod chaos;
pub(crate) mod globals;
pub(crate) mod id;
pub(crate) mod identity;
#[cfg(feature = "emulator")]
pub(crate) mod log_level;
pub(crate) mod moment;
#[cfg(feature = "emulator")]
pub(crate) mod number;
#[cfg(feature = "emulator")]
pub(crate) mod or_help;
pub(crate) mod password;
#[cfg(feature = "emulator")]
pub(crate) mod rate_limit;
pub(crate) mod selector;
pub(crate) mod subject;
pub(crate) mod targets;
#[cfg(feature = "emulator")]
pub(crate) mod token;
pub(crate) mod usage;
pub(crate) mod zone;

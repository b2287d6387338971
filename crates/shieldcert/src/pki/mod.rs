//! Keys, certificate signing requests, certificates and identities.

mod armor;
pub(crate) mod csr;
mod der;
#[cfg(feature = "keys")]
mod file;
#[cfg(feature = "keys")]
pub(crate) mod identity;
#[cfg(feature = "keys")]
pub(crate) mod key;
mod name;
#[cfg(feature = "keys")]
pub(crate) mod subject;
pub(crate) mod x509;

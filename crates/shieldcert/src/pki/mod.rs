//! Keys, certificate signing requests, certificates and identities.

mod armor;
pub(crate) mod csr;
mod der;
#[cfg(feature = "encrypted-keys")]
mod encrypted;
#[cfg(feature = "keys")]
mod file;
#[cfg(feature = "keys")]
pub(crate) mod identity;
#[cfg(feature = "keys")]
pub(crate) mod key;
mod name;
#[cfg(feature = "pkcs12")]
pub(crate) mod pkcs12;
#[cfg(feature = "keys")]
pub(crate) mod subject;
pub(crate) mod x509;

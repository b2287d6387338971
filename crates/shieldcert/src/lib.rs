#![doc = include_str!("../README.md")]

pub mod certificate;
pub mod client;
pub mod csr;
pub mod error;
pub mod get;
#[cfg(feature = "keys")]
pub mod identity;
pub mod issue;
#[cfg(feature = "keys")]
pub mod keys;
pub mod list;
mod lookout;
mod search;
mod trace;
pub mod transition;
pub mod transport;
mod x509;
pub mod zone;

pub use certificate::{CertificateId, ClientCertificate, Status, ZoneId};
pub use client::{Client, ClientBuilder};
pub use csr::Csr;
pub use error::{Error, Result};
#[cfg(feature = "keys")]
pub use identity::Identity;
pub use issue::Issued;
#[cfg(feature = "keys")]
pub use keys::{KeyAlgorithm, PrivateKey, Subject};
pub use list::StatusFilter;
pub use transport::rate_limit::RateLimit;
pub use transport::retry::RetryPolicy;
pub use zone::Zone;

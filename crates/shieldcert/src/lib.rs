#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]

mod bulk;
mod certificate;
mod client;
mod context;
mod error;
mod find;
mod get;
mod issue;
mod list;
mod observe;
mod pki;
mod revoke;
mod surplus;
mod transport;
mod wait;
mod zone;

pub use bulk::{BulkStream, IssueAll, RevokeAll};
pub use certificate::ClientCertificate;
pub use certificate::filter::StatusFilter;
pub use certificate::id::{CertificateId, ZoneId};
pub use certificate::status::Status;
pub use client::Client;
pub use client::builder::ClientBuilder;
pub use error::api::ApiMessage;
pub use error::call::Call;
pub use error::input::InvalidInput;
pub use error::{Error, Result, WaitTarget};
pub use find::FindByCsr;
pub use get::Get;
pub use issue::{Issue, Issued};
pub use list::List;
pub use list::page::Page;
pub use list::stream::{CertificateStream, PageStream};
pub use observe::CallSummary;
pub use pki::csr::Csr;
#[cfg(feature = "keys")]
pub use pki::identity::Identity;
#[cfg(feature = "keys")]
pub use pki::key::{KeyAlgorithm, PrivateKey};
#[cfg(feature = "keys")]
pub use pki::subject::Subject;
pub use pki::x509::X509Certificate;
pub use revoke::{Reactivate, Revoke};
pub use surplus::RevokeSurplus;
pub use transport::rate_limit::RateLimit;
pub use transport::retry::RetryPolicy;
pub use wait::Wait;
pub use zone::Zone;

#[cfg(feature = "reqwest")]
pub use shieldcert_api::transport::HttpTransport;
pub use shieldcert_api::transport::{
    BoxFuture, Operation, Transport, TransportError, TransportErrorKind,
};

// The crates whose types appear above.
pub use bytes;
pub use http;
pub use jiff;
#[cfg(feature = "reqwest")]
pub use reqwest;
#[cfg(feature = "rustls")]
pub use rustls;

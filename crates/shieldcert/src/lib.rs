#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]
//!
//! # Observability
//!
//! Operations open a [`tracing`] span each. Spans and events never hold a secret.
//!
//! | span (level `INFO`) | fields |
//! | --- | --- |
//! | `shieldcert.issue` | `zone`, `csr.sha256`, `validity_days` |
//! | `shieldcert.get` | `zone`, `certificate` |
//! | `shieldcert.list` (each page) | `zone`, `status`, `start`, `size` |
//! | `shieldcert.find` | `zone`, `csrs` |
//! | `shieldcert.look_up` (within `issue`) | `zone`, `certificates`, `complete` |
//! | `shieldcert.transition` (revoke, reactivate) | `zone`, `certificate`, `to` |
//! | `shieldcert.wait` | `zone`, `certificate`, `until` |
//! | `shieldcert.revoke_surplus` | `zone`, `csr.sha256` |
//!
//! | event | level | fields |
//! | --- | --- | --- |
//! | `failed` | `DEBUG` | `error` |
//! | `retrying` | `DEBUG` | `method`, `path`, `attempts`, `delay`, `failure` |
//! | `waiting for the rate limit` | `INFO` | `wait` |
//! | `issued` | `DEBUG` | `certificate`, `attempts` |
//! | `looking for the certificate` | `DEBUG` | `error`, `attempts` |
//! | `recovered` | `INFO` | `certificate`, `attempts` |
//! | `revoked a duplicate` | `INFO` | `certificate` |
//! | `could not revoke a duplicate` | `WARN` | `certificate`, `error` |
//! | `could not revoke a duplicate in time` | `WARN` | `certificate` |
//! | `seen` (a wait polled) | `DEBUG` | `status` |
//! | `poll failed` | `DEBUG` | `error` |
//! | `the list moved; stepping back` | `DEBUG` | `start` |
//! | `reading the list from its beginning` | `DEBUG` | `filter` |
//! | `a member of a certificate's record has an unexpected type` | `WARN` | `name`, `value` |
//!
//! For metrics, [`ClientBuilder::on_call`] gets a [`CallSummary`] after each call, and [`RateLimit::on_wait`] the waits
//! for the rate limit.

mod bulk;
mod certificate;
mod client;
mod context;
mod error;
mod find;
mod get;
mod issue;
mod list;
mod lookup;
mod observe;
mod pki;
mod revoke;
mod surplus;
mod transport;
mod wait;
mod zone;

pub use bulk::{BulkStream, IssueAll, ReactivateAll, RevokeAll};
pub use certificate::ClientCertificate;
pub use certificate::filter::StatusFilter;
pub use certificate::id::{CertificateId, ZoneId};
pub use certificate::status::Status;
pub use certificate::unreadable::UnreadableRecord;
pub use client::Client;
pub use client::builder::ClientBuilder;
pub use error::api::ApiMessage;
pub use error::call::Call;
pub use error::input::InvalidInput;
pub use error::{Error, Result, WaitTarget};
pub use find::{FindByCsr, FindByCsrs, Found};
pub use get::Get;
pub use issue::intent::IssueIntent;
pub use issue::{Issue, Issued, Prepared, PreparedIssue};
pub use list::List;
pub use list::page::{CertificateList, Page};
pub use list::stream::{CertificateStream, PageStream};
pub use lookup::unclear::UnclearRecord;
pub use observe::CallSummary;
pub use pki::csr::Csr;
#[cfg(feature = "keys")]
pub use pki::identity::Identity;
#[cfg(feature = "keys")]
pub use pki::key::{KeyAlgorithm, PrivateKey};
#[cfg(feature = "pkcs12")]
pub use pki::pkcs12::{Pkcs12Options, Pkcs12Profile};
#[cfg(feature = "keys")]
pub use pki::subject::Subject;
pub use pki::x509::X509Certificate;
pub use revoke::{Reactivate, Revoke};
pub use surplus::{RevokeSurplus, RevokedSurplus};
pub use transport::rate_limit::{RateLimit, RequestsLeft};
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

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send_and_sync<T: Send + Sync>() {}
    fn is_send<T: Send>(_: T) {}

    /// Compiles, or the promise is broken.
    #[allow(dead_code)]
    fn public_types_are_send_and_sync() {
        is_send_and_sync::<ApiMessage>();
        is_send_and_sync::<Call>();
        is_send_and_sync::<CallSummary>();
        is_send_and_sync::<CertificateId>();
        is_send_and_sync::<CertificateList>();
        is_send_and_sync::<Client>();
        is_send_and_sync::<ClientBuilder>();
        is_send_and_sync::<ClientCertificate>();
        is_send_and_sync::<Csr>();
        is_send_and_sync::<Error>();
        is_send_and_sync::<FindByCsr>();
        is_send_and_sync::<Get>();
        is_send_and_sync::<InvalidInput>();
        is_send_and_sync::<Issue>();
        is_send_and_sync::<Issued>();
        is_send_and_sync::<List>();
        is_send_and_sync::<Page>();
        is_send_and_sync::<RateLimit>();
        is_send_and_sync::<Reactivate>();
        is_send_and_sync::<RetryPolicy>();
        is_send_and_sync::<Revoke>();
        is_send_and_sync::<RevokeSurplus>();
        is_send_and_sync::<Status>();
        is_send_and_sync::<StatusFilter>();
        is_send_and_sync::<TransportError>();
        is_send_and_sync::<UnreadableRecord>();
        is_send_and_sync::<X509Certificate>();
        is_send_and_sync::<Zone>();
        is_send_and_sync::<ZoneId>();
        #[cfg(feature = "keys")]
        {
            is_send_and_sync::<Identity>();
            is_send_and_sync::<KeyAlgorithm>();
            is_send_and_sync::<PrivateKey>();
            is_send_and_sync::<Subject>();
        }
        #[cfg(feature = "pkcs12")]
        is_send_and_sync::<Pkcs12Options>();
    }

    #[allow(dead_code)]
    fn futures_and_streams_are_send_and_own_what_they_need(
        zone: &Zone,
        id: &CertificateId,
        csr: &Csr,
    ) -> impl Sized + 'static {
        is_send(zone.issue_all([csr.clone()]).stream());
        is_send(zone.revoke_all([id.clone()]).stream());
        is_send(zone.reactivate_all([id.clone()]).stream());
        is_send(zone.list().pages());
        is_send(zone.list().stream());
        is_send(zone.wait(id));
        is_send(zone.get(id).send());
        is_send(zone.issue(csr).send());
        is_send(zone.find_by_csr(csr).send());
        is_send(zone.revoke_surplus(csr).send());
        is_send(zone.list().send());
        is_send(zone.revoke(id).send());
        is_send(zone.reactivate(id).until_settled().send());
        tokio::spawn(zone.get(id).send())
    }
}

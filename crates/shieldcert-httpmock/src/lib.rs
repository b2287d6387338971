#![doc = include_str!("../README.md")]
//!
//! ```
//! use httpmock::MockServer;
//! use shieldcert_api::types;
//! use shieldcert_httpmock::MockServerExt;
//!
//! let server = MockServer::start();
//! let zone = types::Identifier("023e105f4ecef8ad9ca31a8372d0c353".to_string());
//! let mock = server.list_client_certificates(|when, then| {
//!     when.zone_id(&zone).per_page(50);
//!     then.ok(&types::ClientCertificateResponseCollection {
//!         success: Some(true),
//!         result: Some(vec![types::ClientCertificate::default()]),
//!         ..Default::default()
//!     });
//! });
//! // … your code lists the zone at server.base_url() …
//! # assert_eq!(mock.calls(), 0);
//! ```

// Formatted by the generator; rustfmt would differ and fail `cargo xtask regen --check`.
#[rustfmt::skip]
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    rustdoc::all
)]
mod generated;

pub use generated::*;

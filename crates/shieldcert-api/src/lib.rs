#![doc = include_str!("../README.md")]
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! let http = reqwest::Client::builder().build()?;
//! let transport = shieldcert_api::transport::HttpTransport::new(http);
//! let api = shieldcert_api::Client::with_transport("https://api.cloudflare.com/client/v4", Arc::new(transport));
//! let page = api
//!     .list_client_certificates()
//!     .zone_id("023e105f4ecef8ad9ca31a8372d0c353".to_string())
//!     .per_page(50)
//!     .send()
//!     .await?;
//! println!("{:?}", page.into_inner().result_info);
//! # Ok(())
//! # }
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
pub mod codes;
pub mod transport;

pub use generated::*;

/// The OpenAPI document that this crate is generated from, in JSON: upstream's, with every departure
/// from it applied.
pub const OPENAPI: &str = include_str!("../openapi.json");

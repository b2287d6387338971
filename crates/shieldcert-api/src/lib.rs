#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]

// Formatted by the generator; rustfmt would differ and fail `cargo xtask regen --check`.
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::missing_errors_doc, clippy::missing_panics_doc, clippy::unwrap_used, rustdoc::all)]
mod generated;
pub mod codes;
mod gzip;
mod hooks;
pub mod transport;

pub use generated::*;

/// The OpenAPI document that this crate is generated from, in JSON: upstream's, with the corrections of the overlay
/// applied.
pub const OPENAPI: &str = include_str!("../openapi.json");

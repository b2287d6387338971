#![doc = include_str!("../README.md")]

mod fault;
// Formatted by the generator; rustfmt would differ and fail `cargo xtask regen --check`.
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::missing_errors_doc, clippy::missing_panics_doc, clippy::unwrap_used, rustdoc::all)]
mod generated;

pub use httpmock;
pub use shieldcert_api::types;

pub use fault::{Fault, FaultServer};
pub use generated::*;

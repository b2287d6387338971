#![doc = include_str!("../README.md")]

mod fault;
// Formatted by the generator; rustfmt would differ and fail `cargo xtask regen --check`.
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all, clippy::unwrap_used)]
mod generated;

pub use httpmock;
pub use shieldcert_api::types;

pub use fault::{Fault, FaultServer};
pub use generated::*;

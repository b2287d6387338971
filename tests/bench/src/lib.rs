//! The Rust contenders of `cargo xtask bench`, each a module here and a program of its own.
//!
//! A contender takes its task from the command line ([`Task`]), and the service from the environment variables that
//! Cloudflare's own clients read ([`Service`]). It does the task as its users would, and prints what it found
//! ([`Tally`]) as a line of JSON. Contenders in other languages do the same.

// Contenders end with an error or a panic, and no user reads their docs.
#![allow(clippy::missing_errors_doc, clippy::missing_panics_doc)]

pub mod contender;
pub mod fleet;
pub mod floor;
pub mod generated;
pub mod identity;
pub mod reqwest;
pub mod service;
pub mod shieldcert;
pub mod tally;
pub mod workload;

pub use contender::Task;
pub use service::Service;
pub use tally::Tally;

/// The requests in flight of contenders that issue or revoke concurrently.
pub const CONCURRENCY: usize = 16;

/// The validity of issued certificates, in days.
pub const VALIDITY_DAYS: u32 = 30;

/// The size of a page: the maximum of the service.
pub const PAGE_SIZE: u64 = 50;

/// The time between polls of a plain loop.
pub const POLL_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

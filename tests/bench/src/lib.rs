//! The Rust contenders of `cargo xtask bench`, each a module here and a program of its own.
//!
//! A contender is told what to do on its command line ([`Task`]) and where by the environment variables
//! that Cloudflare's own clients read ([`Service`]). It does it as its users would, and prints what it
//! found ([`Answer`]) as a line of JSON. Contenders in other languages take and print the same.

// Contenders end with an error or a panic, and no user reads their docs.
#![allow(clippy::missing_errors_doc, clippy::missing_panics_doc)]

pub mod answer;
pub mod contender;
pub mod floor;
pub mod generated;
pub mod identity;
pub mod reqwest;
pub mod service;
pub mod shieldcert;
pub mod workload;

pub use answer::Answer;
pub use contender::Task;
pub use service::Service;

/// How many certificates are issued, and how many revocations sent, at once by contenders that do so.
pub const AT_ONCE: usize = 16;

/// The days that certificates are issued for.
pub const VALIDITY_DAYS: u32 = 30;

/// Certificates on a page: the most that the service allows.
pub const PAGE_SIZE: u64 = 50;

/// How long a plain loop waits before it asks again.
pub const POLLING: std::time::Duration = std::time::Duration::from_secs(1);

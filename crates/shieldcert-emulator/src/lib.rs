#![doc = include_str!("../README.md")]

pub mod assumptions;
mod auth;
mod authority;
mod clock;
mod csr;
mod edge;
mod emulator;
mod envelope;
mod error;
mod paging;
mod random;
mod rate_limit;
mod routes;
mod server;
mod service;
mod store;
mod transition;
mod transport;

pub use emulator::{Emulator, EmulatorBuilder, IdStyle, Order, TotalCount};
pub use error::Error;
pub use rate_limit::RateLimit;
pub use server::RunningEmulator;
pub use transport::EmulatorTransport;

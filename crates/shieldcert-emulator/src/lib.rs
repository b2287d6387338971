#![doc = include_str!("../README.md")]

pub mod assumptions;
mod auth;
mod authority;
pub mod chaos;
mod clock;
mod control;
mod csr;
mod edge;
mod emulator;
mod envelope;
mod error;
mod history;
mod paging;
mod random;
mod rate_limit;
mod routes;
mod seeds;
mod server;
mod service;
mod store;
mod transition;
mod transport;
mod trouble;

pub use chaos::Chaos;
pub use emulator::{Emulator, EmulatorBuilder, IdStyle, Order, TotalCount};
pub use error::Error;
pub use history::Event;
pub use rate_limit::RateLimit;
pub use server::RunningEmulator;
pub use transport::EmulatorTransport;

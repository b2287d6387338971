#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]

pub mod assumptions;
mod builder;
mod chaos;
mod connection;
mod core;
mod edge;
mod emulator;
mod error;
mod fixture;
mod http;
mod server;
mod settings;
mod tls;
mod transport;

pub use builder::EmulatorBuilder;
pub use chaos::{
    CannedResponse, Chaos, Fault, Operation, Quirks, Script, ScriptedFault, TimeRange,
};
pub use connection::Connection;
pub use emulator::Emulator;
pub use error::{Error, ParseError};
pub use fixture::Fixture;
pub use http::history::{Event, History};
pub use http::observe::{Moment, Observation};
pub use server::RunningEmulator;
pub use settings::{EdgeRule, IdStyle, Order, RateLimit, TotalCount};
pub use transport::EmulatorTransport;

/// Handles are shared between threads and tasks; this does not compile if one can't be.
const _: () = {
    const fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<Emulator>();
    assert_send_sync::<EmulatorBuilder>();
    assert_send_sync::<EmulatorTransport>();
    assert_send_sync::<Connection>();
    assert_send_sync::<Observation<'static>>();
    assert_send_sync::<RunningEmulator>();
    assert_send_sync::<Error>();
    assert_send_sync::<ParseError>();
    assert_send_sync::<Event>();
    assert_send_sync::<History>();
    assert_send_sync::<Chaos>();
    assert_send_sync::<Quirks>();
    assert_send_sync::<Fault>();
    assert_send_sync::<CannedResponse>();
    assert_send_sync::<Operation>();
    assert_send_sync::<Script>();
    assert_send_sync::<ScriptedFault>();
    assert_send_sync::<TimeRange>();
    assert_send_sync::<EdgeRule>();
    assert_send_sync::<Fixture>();
    assert_send_sync::<IdStyle>();
    assert_send_sync::<Order>();
    assert_send_sync::<RateLimit>();
    assert_send_sync::<TotalCount>();
};

#![doc = include_str!("../README.md")]

mod attributes;
mod cli;
mod commands;
mod connect;
#[expect(missing_docs, reason = "the SDK's macros make constants without any")]
mod device;
mod failure;
#[expect(missing_docs, reason = "the SDK's macros make constants without any")]
mod fleet;
mod folder_id;
mod keys;
mod names;
mod output;
mod pollers;
mod requests;
mod state;
mod worker;

pub use attributes::ATTRIBUTES;
pub use cli::main;
pub use device::DeviceWorkflow;
pub use fleet::{FleetState, FleetWorkflow, Member, Zones};
pub use names::{FleetName, WorkerName};
pub use requests::Scan;
pub use state::{DeviceState, Row, Suspect};

#![doc = include_str!("../README.md")]

mod apply;
mod backoff;
mod budgets;
mod config;
mod engine;
mod error;
mod fleet;
mod folder;
mod hook;
mod journal;
mod keystore;
mod lock;
mod manifest;
mod name;
mod outputs;
mod plan;
#[cfg(unix)]
mod owner;
mod policy;
mod step;
mod token;

pub use budgets::Connector;
pub use config::{
    BudgetConfig, Config, DeployConfig, DevicesConfig, LimitsConfig, MaxRevoke, OutputFormat,
    OutputsConfig, RenewConfig, TokenSource, ZoneConfig,
};
pub use apply::{ApplyOptions, Progress, Summary};
pub use error::{Error, Result};
pub use fleet::Fleet;
pub use journal::{Act, Ask, Entry, Generation, Hold, Journal, Reason, Snapshot, State};
pub use manifest::{Device, DeviceKey, DeviceState, DeviceSubject};
pub use name::DeviceName;
pub use plan::{Action, Plan, PlanEntry};

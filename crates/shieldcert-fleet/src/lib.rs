#![doc = include_str!("../README.md")]

mod config;
mod manifest;
mod name;

pub use config::{
    BudgetConfig, Config, DeployConfig, DevicesConfig, LimitsConfig, MaxRevoke, OutputFormat,
    OutputsConfig, RenewConfig, TokenSource, ZoneConfig,
};
pub use manifest::{Device, DeviceKey, DeviceState, DeviceSubject};
pub use name::DeviceName;

#![doc = include_str!("../README.md")]

mod config;
mod duration;
mod manifest;
mod name;
mod nearest;
mod quote;

pub use config::error::ConfigError;
pub use config::{
    BudgetConfig, Config, DeployConfig, DevicesConfig, LimitsConfig, MaxRevoke, OutputFormat,
    OutputsConfig, RenewConfig, TokenSource, ZoneConfig,
};
pub use duration::parse_duration;
pub use manifest::format::ManifestFormat;
pub use manifest::problem::Problem;
pub use manifest::reader::{Manifest, ManifestError};
pub use manifest::{Device, DeviceKey, DeviceState, DeviceSubject};
pub use name::DeviceName;

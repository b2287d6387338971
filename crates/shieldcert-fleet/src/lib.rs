#![doc = include_str!("../README.md")]

mod adopt;
mod apply;
mod backoff;
mod budgets;
pub mod commands;
mod config;
mod deploy;
mod digest;
mod duration;
mod engine;
mod error;
mod fleet;
mod folder;
mod forecast;
mod hook;
mod identify;
mod init;
mod inventory;
mod journal;
mod keystore;
mod load;
mod lock;
mod manifest;
mod name;
mod nearest;
mod outputs;
#[cfg(unix)]
mod owner;
mod places;
mod plan;
mod policy;
mod prune;
mod quote;
mod restore;
mod run;
mod status;
mod step;
mod token;

pub use adopt::{AdoptBy, AdoptOutcome, Adopted, Adoptee};
pub use apply::{ApplyOptions, Progress, Summary};
pub use budgets::Connector;
pub use config::error::ConfigError;
pub use config::{
    BudgetConfig, Config, DeployConfig, DevicesConfig, LimitsConfig, MaxRevoke, OutputFormat,
    OutputsConfig, RenewConfig, TokenSource, ZoneConfig,
};
pub use deploy::{Deploy, DeployResult, Deployment};
pub use duration::parse_duration;
pub use error::{Error, Result};
pub use fleet::Fleet;
pub use forecast::{Day, Forecast, Year};
pub use inventory::{Difference, Differences, Finding};
pub use journal::{Act, Ask, Counts, Entry, Generation, Hold, Journal, Reason, Snapshot, State};
pub use manifest::format::ManifestFormat;
pub use manifest::problem::Problem;
pub use manifest::reader::{Manifest, ManifestError};
pub use manifest::{Device, DeviceKey, DeviceState, DeviceSubject};
pub use name::DeviceName;
pub use plan::{Action, Plan, PlanEntry, ZonePlan};
pub use run::{Cause, RunEvent, RunOptions};
pub use status::{Held, Status};

pub mod steps {
    //! The steps of a generation for an engine that keeps its own record, such as one on a durable execution engine.
    //!
    //! `Fleet::apply` is the engine that most fleets need. See `shieldcert-fleet-temporal` for one that is built on this.

    pub use crate::engine::steps::{
        DeployOutcome, DeploymentOf, FindOutcome, IssueOutcome, IssueRequest, IssuedCertificate,
        Listed, Policy, PreparedCsr, Refusal, RefusalKind, RevokeOutcome, Steps, StoredGeneration,
        Survey, WriteOutcome, backoff, csr_sha256, text_sha256,
    };
    pub use crate::journal::Spec;
    pub use crate::policy::{Decision, Delivered, Now, RevokeReason, Step};
}

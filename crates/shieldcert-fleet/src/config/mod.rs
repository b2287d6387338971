//! `fleet.toml`: the policy of a fleet.

pub(crate) mod error;
mod outputs;
mod read;
mod section;
#[cfg(test)]
mod tests;
mod token;
mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shieldcert::{KeyAlgorithm, Pkcs12Profile, ZoneId};

/// The most days of a certificate.
pub(crate) const MAX_VALIDITY_DAYS: u32 = shieldcert::Issue::MAX_VALIDITY_DAYS;

/// The policy of a fleet.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The zones, by name. At least one.
    pub zones: BTreeMap<String, ZoneConfig>,
    /// The budgets, by name: whose requests are counted together by the service's rate limit. At least one.
    pub budgets: BTreeMap<String, BudgetConfig>,
    /// The manifest, and what rows leave out.
    pub devices: DevicesConfig,
    /// When certificates are renewed.
    pub renew: RenewConfig,
    /// How certificates get to devices.
    pub deploy: DeployConfig,
    /// Which files are written.
    pub outputs: OutputsConfig,
    /// Bounds of a run.
    pub limits: LimitsConfig,
}

/// A zone in which certificates are issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ZoneConfig {
    /// Its id.
    pub id: ZoneId,
    /// The name of its budget. Default: the only one.
    pub budget: String,
    /// How many active certificates it may hold, where that is known. New devices get no certificate beyond it, nor where a
    /// place is kept for a renewal. Renewals go on until the service refuses.
    pub quota: Option<u64>,
}

/// Credentials, and the share of their rate limit that a fleet uses.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BudgetConfig {
    /// Where the token comes from.
    pub token: TokenSource,
    /// The share of the rate limit, from 0 to below 1, that is left to others. Default: 0.1.
    pub reserve_share: f64,
}

/// Where a token comes from. It is read again after the service refused it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenSource {
    /// An environment variable.
    Variable(String),
    /// A file; a relative path starts at the fleet's folder.
    File(PathBuf),
    /// A shell command that prints it.
    Command(String),
}

/// The manifest, and what its rows leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DevicesConfig {
    /// The manifest: `.csv` or `.jsonl`; a relative path starts at the fleet's folder. Default: `devices.csv`.
    pub manifest: PathBuf,
    /// The algorithm of keys. Default: ECDSA P-256.
    pub key: KeyAlgorithm,
    /// How many days a certificate is valid, from 1 to 36,500. Default: 365.
    pub validity_days: u32,
    /// The zone. Default: the only one, or else devices are spread over all.
    pub zone: Option<String>,
    /// A folder that gets `NAME.pem`, with key and certificate, of each device. For programs: no key of `fleet.toml` sets
    /// it. A relative path starts at the fleet's folder.
    pub output_folder: Option<PathBuf>,
}

/// When certificates are renewed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RenewConfig {
    /// The share of the lifetime after which a certificate is renewed, from 0.05 to 0.95. Default: 0.67.
    pub at: f64,
    /// Renewals are spread over this share of the lifetime before that, from 0 to 0.5, and at most to 0.05 of the lifetime.
    /// Default: 0.1.
    pub jitter: f64,
    /// How long the old certificate stays active after the new one was verified. Default: 24 hours.
    pub grace: Duration,
    /// Whether a device that holds its key may be given a certificate for the CSR of its last one. Default: no.
    pub reuse_csr: bool,
}

/// How certificates get to devices.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeployConfig {
    /// The shell command that brings a new certificate into use. Default: none.
    pub command: Option<String>,
    /// The shell command that is run once for all certificates that were written since it was run last. Default: none.
    pub command_once: Option<String>,
    /// The shell command that succeeds when the new certificate works. Default: none.
    pub verify: Option<String>,
    /// How long each may take, from 1 second. Default: 60 seconds.
    pub timeout: Duration,
    /// After so many failures in a row, from 1, devices are tried one by one. Default: 10.
    pub max_failures: u32,
}

/// Which files are written for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputsConfig {
    /// Their forms. Default: PEM.
    pub formats: Vec<OutputFormat>,
    /// The permissions of files with a private key: reading and writing, by owner and group alone. Default: 0600.
    pub mode: u32,
    /// The owner of the files, `user` or `user:group`. Default: who runs the fleet. A group that may read the files may also
    /// pass through the folders below `devices`.
    pub owner: Option<String>,
    /// The file that holds the password of PKCS#12 files. Required for them.
    pub pkcs12_password_file: Option<PathBuf>,
    /// The algorithms of PKCS#12 files. Default: modern.
    pub pkcs12_profile: Pkcs12Profile,
}

/// The form of an output file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputFormat {
    /// `cert.pem`, beside the `key.pem` that is always there.
    Pem,
    /// `combined.pem`: the key, and the certificate.
    Combined,
    /// `identity.p12`.
    Pkcs12,
}

/// Bounds of a run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LimitsConfig {
    /// How many devices are worked on at once, for each budget, from 1 to 256. Default: 32.
    pub concurrency: usize,
    /// How many revocations that leave a device without a verified certificate need no confirmation. Default: 1 % of the
    /// fleet, at least 10.
    pub max_revoke: MaxRevoke,
    /// How long after the end of an unclear request the service may still act on it, from 1 second. Default: 75 seconds.
    pub settle_window: Duration,
    /// How long the history is kept, from 1 day. Default: 730 days.
    pub history: Duration,
}

/// How many revocations need no confirmation.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum MaxRevoke {
    /// So many.
    Count(u64),
    /// This share of the fleet, at least 10.
    Share(f64),
}

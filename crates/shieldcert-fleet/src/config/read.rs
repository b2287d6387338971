//! Reads a `fleet.toml`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use shieldcert::{Issue, KeyAlgorithm, ZoneId};
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::outputs::outputs;
use super::section::{Known, Section};
use super::token::token_source;
use super::value::{boolean, count, duration, parsed, path, share, text, wrong_type};
use super::{
    BudgetConfig, Config, DeployConfig, DevicesConfig, LimitsConfig, MAX_VALIDITY_DAYS, MaxRevoke,
    RenewConfig, TokenSource, ZoneConfig,
};
use crate::manifest::format::ManifestFormat;
use crate::nearest::hint;
use crate::quote::{quote, quote_key};

/// The sections and their keys.
pub(super) const KEYS: &[(&str, &[&str])] = &[
    ("zones.NAME", &["id", "budget", "quota"]),
    (
        "budgets.NAME",
        &["token_env", "token_file", "token_command", "reserve_share"],
    ),
    ("devices", &["manifest", "key", "days", "zone"]),
    ("renew", &["at", "jitter", "grace", "reuse_csr"]),
    (
        "deploy",
        &[
            "command",
            "command_once",
            "verify",
            "timeout",
            "max_failures",
        ],
    ),
    (
        "outputs",
        &[
            "formats",
            "mode",
            "owner",
            "pkcs12_password_file",
            "pkcs12_profile",
        ],
    ),
    (
        "limits",
        &["concurrency", "max_revoke", "settle_window", "history"],
    ),
];

const SECTIONS: &[&str] = &[
    "zones", "budgets", "devices", "renew", "deploy", "outputs", "limits",
];

/// The budget of a file that names none.
const DEFAULT_BUDGET: &str = "default";
const DEFAULT_VARIABLE: &str = "CLOUDFLARE_API_TOKEN";

const DAY: Duration = Duration::from_secs(86_400);

impl Config {
    /// A `fleet.toml` that says nothing but defaults, with a comment on each key. The id of its zone is all zeros.
    pub const EXAMPLE: &str = include_str!("example.toml");

    /// Reads a `fleet.toml`.
    ///
    /// # Errors
    /// Returns an error if the file can't be read, or says what [`from_toml`](Self::from_toml) refuses.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let config = read_text(path).and_then(|text| Self::from_toml(&text));
        config.map_err(|error| error.with_path(path))
    }

    /// Parses the text of a `fleet.toml`.
    ///
    /// # Errors
    /// Returns an error with line, column and key if the text is not TOML, has an unknown key, a value that is out of
    /// bounds, or values that contradict each other.
    ///
    /// # Examples
    ///
    /// ```
    /// use shieldcert_fleet::Config;
    ///
    /// let config = Config::from_toml(
    ///     r#"
    ///     [zones.main]
    ///     id = "023e105f4ecef8ad9ca31a8372d0c353"
    ///
    ///     [renew]
    ///     at = 0.5
    ///     "#,
    /// )?;
    /// assert_eq!(config.renew.at, 0.5);
    /// assert_eq!(config.devices.validity_days, 365);
    /// # Ok::<_, shieldcert_fleet::ConfigError>(())
    /// ```
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let document = DeTable::parse(text).map_err(|error| {
            let message = error.message().replace('\n', ", ");
            let message = message.trim_end_matches(", expected nothing");
            let refused = ConfigError::new(format!("it is not TOML: {message}"));
            match error.span() {
                Some(span) => refused.with_span(text, &span),
                None => refused,
            }
        })?;
        let top = Section::top(text, &document);
        top.check_keys(&Known {
            keys: SECTIONS,
            elsewhere: section_of,
        })?;
        let budgets = budgets(&top.section("budgets")?)?;
        let zones = zones(&top.section("zones")?, &budgets)?;
        let section = |name| {
            let section = top.section(name)?;
            check_keys(&section, name)?;
            Ok(section)
        };
        Ok(Self {
            devices: devices(&section("devices")?, &zones)?,
            renew: renew(&section("renew")?)?,
            deploy: deploy(&section("deploy")?)?,
            outputs: outputs(&section("outputs")?)?,
            limits: limits(&section("limits")?)?,
            zones,
            budgets,
        })
    }
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    const MAX_LEN: u64 = 1 << 20;
    let refuse = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            ConfigError::new("there is no such file; is this the folder of a fleet?")
        }
        io::ErrorKind::InvalidData => ConfigError::new("it is not UTF-8; save it as UTF-8"),
        _ => ConfigError::new(format!("it can't be read: {error}")),
    };
    let mut text = String::new();
    let file = File::open(path).map_err(refuse)?;
    file.take(MAX_LEN + 1)
        .read_to_string(&mut text)
        .map_err(refuse)?;
    if text.len() as u64 > MAX_LEN {
        return Err(ConfigError::new(
            "it is larger than 1 MiB; devices belong in the manifest",
        ));
    }
    Ok(text)
}

fn check_keys(section: &Section<'_>, name: &str) -> Result<(), ConfigError> {
    let keys = KEYS.iter().find(|(known, _)| *known == name);
    section.check_keys(&Known {
        keys: keys.map_or(&[], |(_, keys)| keys),
        elsewhere: section_of,
    })
}

/// Returns the section that a key belongs in.
fn section_of(key: &str) -> Option<&'static str> {
    let found = KEYS.iter().find(|(_, keys)| keys.contains(&key));
    found.map(|(section, _)| *section)
}

/// Returns the tables of `[zones]` or `[budgets]`.
fn named<'t>(section: &Section<'t>, keys: &str) -> Result<Vec<(String, Section<'t>)>, ConfigError> {
    let mut tables = Vec::new();
    for name in section.keys() {
        const MAX_LEN: usize = 64;
        let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > MAX_LEN || !name.chars().all(is_inner) {
            let message = "the name is odd; give 1 to 64 ASCII letters, digits, - _ and .";
            return Err(section.refuse(name, message));
        }
        let table = section.section(name)?;
        check_keys(&table, keys)?;
        tables.push((name.to_owned(), table));
    }
    Ok(tables)
}

fn budgets(section: &Section<'_>) -> Result<BTreeMap<String, BudgetConfig>, ConfigError> {
    const RESERVE_SHARE: f64 = 0.1;
    let mut budgets = BTreeMap::new();
    for (name, table) in named(section, "budgets.NAME")? {
        let budget = BudgetConfig {
            token: token_source(&table)?,
            reserve_share: table
                .get("reserve_share", share(0.0..1.0))?
                .unwrap_or(RESERVE_SHARE),
        };
        budgets.insert(name, budget);
    }
    if budgets.is_empty() {
        let budget = BudgetConfig {
            token: TokenSource::Variable(DEFAULT_VARIABLE.to_owned()),
            reserve_share: RESERVE_SHARE,
        };
        budgets.insert(DEFAULT_BUDGET.to_owned(), budget);
    }
    Ok(budgets)
}

fn zones(
    section: &Section<'_>,
    budgets: &BTreeMap<String, BudgetConfig>,
) -> Result<BTreeMap<String, ZoneConfig>, ConfigError> {
    let known = budgets.keys().map(String::as_str);
    let mut zones = BTreeMap::<String, ZoneConfig>::new();
    for (name, table) in named(section, "zones.NAME")? {
        let id = table.get("id", parsed::<ZoneId>)?.ok_or_else(|| {
            let message =
                "it is missing; give the 32 hex digits that the dashboard shows under \"API\"";
            table.refuse("id", message)
        })?;
        if let Some((other, _)) = zones.iter().find(|(_, zone)| zone.id == id) {
            let message = format!("the zone {} has the same id; remove one", quote_key(other));
            return Err(table.refuse("id", message));
        }
        let given = table.get("budget", |value| {
            let budget = text(value)?;
            if budgets.contains_key(&budget) {
                return Ok(budget);
            }
            let hint = hint(&budget, known.clone());
            Err(format!("there is no budget {}; {hint}", quote(&budget)))
        })?;
        let budget = match (given, budgets.len(), budgets.keys().next()) {
            (Some(budget), ..) => budget,
            (None, 1, Some(only)) => only.clone(),
            _ => {
                let known = known.collect::<Vec<_>>().join(", ");
                let message =
                    format!("it is missing, and there are several budgets; give one of {known}");
                return Err(table.refuse("budget", message));
            }
        };
        let quota = table.get("quota", count(1..=u64::MAX))?;
        zones.insert(name, ZoneConfig { id, budget, quota });
    }
    if zones.is_empty() {
        let message = "there is none; give at least one: [zones.NAME] and below it id = \"…\"";
        return Err(ConfigError::new(message).with_key("zones"));
    }
    Ok(zones)
}

fn devices(
    section: &Section<'_>,
    zones: &BTreeMap<String, ZoneConfig>,
) -> Result<DevicesConfig, ConfigError> {
    let manifest = section.get("manifest", |value| {
        let path = path(value)?;
        if ManifestFormat::from_path(&path).is_some() {
            return Ok(path);
        }
        let given = quote(&path.to_string_lossy());
        Err(format!(
            "the format of {given} is unknown; name it .csv or .jsonl"
        ))
    })?;
    Ok(DevicesConfig {
        manifest: manifest.unwrap_or_else(|| PathBuf::from("devices.csv")),
        key: section
            .get("key", parsed)?
            .unwrap_or(KeyAlgorithm::EcdsaP256),
        validity_days: section
            .get("days", count(1..=MAX_VALIDITY_DAYS))?
            .unwrap_or(Issue::DEFAULT_VALIDITY_DAYS),
        zone: section.get("zone", |value| {
            let zone = text(value)?;
            if zones.contains_key(&zone) {
                return Ok(zone);
            }
            let hint = hint(&zone, zones.keys().map(String::as_str));
            Err(format!("there is no zone {}; {hint}", quote(&zone)))
        })?,
        output_folder: None,
    })
}

fn renew(section: &Section<'_>) -> Result<RenewConfig, ConfigError> {
    const MIN_AT: f64 = 0.05;
    /// For what can't be written exactly in binary.
    const ROUNDING: f64 = 1e-9;
    let renew = RenewConfig {
        at: section.get("at", share(MIN_AT..=0.95))?.unwrap_or(0.67),
        jitter: section.get("jitter", share(0.0..=0.5))?.unwrap_or(0.1),
        grace: section
            .get("grace", duration(Duration::ZERO))?
            .unwrap_or(DAY),
        reuse_csr: section.get("reuse_csr", boolean)?.unwrap_or(false),
    };
    if renew.at - renew.jitter < MIN_AT - ROUNDING {
        let key = if section.keys().any(|key| key == "jitter") {
            "jitter"
        } else {
            "at"
        };
        let message = format!(
            "with at = {} and jitter = {}, certificates would be renewed as soon as they are issued; jitter must be \
             smaller than at by {MIN_AT} or more",
            renew.at, renew.jitter
        );
        return Err(section.refuse(key, message));
    }
    Ok(renew)
}

fn deploy(section: &Section<'_>) -> Result<DeployConfig, ConfigError> {
    Ok(DeployConfig {
        command: section.get("command", text)?,
        command_once: section.get("command_once", text)?,
        verify: section.get("verify", text)?,
        timeout: section
            .get("timeout", duration(Duration::from_secs(1)))?
            .unwrap_or(Duration::from_secs(60)),
        max_failures: section
            .get("max_failures", count(1..=u32::MAX))?
            .unwrap_or(10),
    })
}

fn limits(section: &Section<'_>) -> Result<LimitsConfig, ConfigError> {
    Ok(LimitsConfig {
        concurrency: section.get("concurrency", count(1..=256))?.unwrap_or(32),
        max_revoke: section
            .get("max_revoke", max_revoke)?
            .unwrap_or(MaxRevoke::Share(0.01)),
        settle_window: section
            .get("settle_window", duration(Duration::from_secs(1)))?
            .unwrap_or(Issue::DEFAULT_SETTLE_WINDOW),
        history: section.get("history", duration(DAY))?.unwrap_or(730 * DAY),
    })
}

/// Parses a number, or a share such as `"1%"`.
fn max_revoke(value: &DeValue<'_>) -> Result<MaxRevoke, String> {
    const EXAMPLE: &str = "a whole number, such as 20, or a share in double quotes, such as \"1%\"";
    match value {
        DeValue::Integer(_) => count(0..=u64::MAX)(value).map(MaxRevoke::Count),
        DeValue::String(text) => {
            let percent = text.trim().strip_suffix('%').map(str::trim);
            let percent = percent.and_then(|percent| percent.parse::<f64>().ok());
            match percent {
                Some(percent) if (0.0..=100.0).contains(&percent) => {
                    Ok(MaxRevoke::Share(percent / 100.0))
                }
                _ => Err(format!("{}: give {EXAMPLE}", quote(text))),
            }
        }
        _ => Err(wrong_type(value, EXAMPLE)),
    }
}

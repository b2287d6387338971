//! `shieldcert issue --from`: a fleet without a policy, whose journal is in the folder of the results. So the same command
//! goes on where it was, and issues nothing twice.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shieldcert::KeyAlgorithm;
use shieldcert_fleet::{Action, ApplyOptions, Config, Fleet, MaxRevoke};

use crate::commands::fleet::{apply, failure, plan};
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::output::file::{self, Existing};
use crate::output::format::Format;

/// What was asked for.
pub(super) struct Many<'a> {
    pub(super) from: &'a Path,
    pub(super) out_dir: &'a Path,
    pub(super) days: u32,
    pub(super) key: KeyAlgorithm,
    pub(super) force: bool,
    pub(super) dry_run: bool,
}

/// What the first command was given. Another would issue everything again.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Settings {
    base_url: String,
    zone_id: String,
    days: u32,
    key: String,
}

impl Many<'_> {
    pub(super) async fn run(&self, context: &Context) -> Result {
        let zones = context.zone_ids()?;
        let [zone] = &zones[..] else {
            return Err(Failure::usage("--zone: give one zone"));
        };
        let (connector, base_url) = context.connector_with_credentials().await?;
        let settings = Settings {
            base_url,
            zone_id: zone.to_string(),
            days: self.days,
            key: self.key.to_string(),
        };
        let state = self.out_dir.join(".shieldcert");
        let file = state.join("issue.json");
        let begun = self.begun(&file)?;
        if let Some(begun) = &begun {
            self.compare(begun, &settings)?;
        }
        let config = self.config(&settings)?;
        let fleet = Fleet::with_config(&state, ".", config, connector);
        let mut taken = Vec::new();
        let plan = fleet
            .plan(|entry| {
                let output = self.out_dir.join(format!("{}.pem", entry.device));
                if entry.action == Action::Issue && output.symlink_metadata().is_ok() {
                    taken.push(output);
                }
            })
            .await
            .map_err(|error| failure(context, error))?;
        self.check(&taken, plan.actions.get(&Action::Revoke).copied())?;
        plan::warn(context, &plan);
        if self.dry_run {
            plan::describe(&plan).print(&context.output(Format::Table))?;
            return Ok(ExitCode::Done);
        }
        let write = |path: &Path, error| Failure::file(path, &error);
        make_private(&state).map_err(|error| write(&state, error))?;
        if begun.is_none() {
            let text =
                serde_json::to_vec_pretty(&settings).map_err(|error| write(&file, error.into()))?;
            file::write(&file, &text, Existing::Replace)?;
        }
        // Who gives the command again may have mended what failed.
        fleet.retry_now(|_| true)?;
        let failed = self.out_dir.join("failed.csv");
        apply::apply(context, &fleet, &ApplyOptions::default(), &failed).await
    }

    fn begun(&self, file: &Path) -> Result<Option<Settings>> {
        let text = match fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::file(file, &error)),
        };
        let settings = serde_json::from_slice(&text)
            .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
        Ok(Some(settings))
    }

    fn compare(&self, begun: &Settings, settings: &Settings) -> Result<()> {
        let difference = if begun.base_url != settings.base_url {
            format!("at {}", begun.base_url)
        } else if begun.zone_id != settings.zone_id {
            format!("with --zone {}", begun.zone_id)
        } else if begun.days != settings.days {
            format!("with --days {}", begun.days)
        } else if begun.key != settings.key {
            format!("with --key-algorithm {}", begun.key)
        } else {
            return Ok(());
        };
        Err(Failure::usage(format!(
            "{}: its certificates were issued {difference}; do the same to go on, or give another folder",
            self.out_dir.display()
        )))
    }

    fn config(&self, settings: &Settings) -> Result<Config> {
        let text = format!("[zones.main]\nid = \"{}\"\n", settings.zone_id);
        let mut config =
            Config::from_toml(&text).map_err(|error| Failure::failed(error.to_string()))?;
        config.devices.manifest = self.from.to_owned();
        config.devices.output_folder = Some(self.out_dir.to_owned());
        config.devices.validity_days = self.days;
        config.devices.key = self.key;
        // Only what has expired is issued again.
        (config.renew.at, config.renew.jitter) = (1.0, 0.0);
        config.limits.max_revoke = MaxRevoke::Count(0);
        for budget in config.budgets.values_mut() {
            budget.reserve_share = 0.0;
        }
        Ok(config)
    }

    /// Refuses what this command does not do.
    fn check(&self, taken: &[PathBuf], revocations: Option<u64>) -> Result<()> {
        if revocations.is_some() {
            return Err(Failure::usage(format!(
                "{}: rows with the state `absent` revoke certificates, which this command does not; make a fleet of it: \
                 shieldcert fleet init",
                self.from.display()
            )));
        }
        match taken {
            [first, others @ ..] if !self.force => {
                let more = match others.len() {
                    0 => String::new(),
                    more => format!(" (and {more} other files do)"),
                };
                Err(Failure::failed(format!(
                    "{}: it exists{more}; give another folder, or --force",
                    first.display()
                )))
            }
            _ => Ok(()),
        }
    }
}

/// Makes a folder that its owner alone can enter, below one that is as the umask says.
fn make_private(folder: &Path) -> std::io::Result<()> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

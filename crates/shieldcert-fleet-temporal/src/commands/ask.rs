//! `shieldcert-temporal rotate` and `revoke`, and which devices commands are about.

use std::collections::HashMap;

use clap::Args;
use globset::{Glob, GlobMatcher};
use serde_json::Map;
use shieldcert_fleet::DeviceName;
use shieldcert_fleet::commands::counted;
use temporalio_client::{Client, WorkflowSignalOptions};

use super::{Context, Seen, confirm, each, handle, list, list_ended};
use crate::device::DeviceWorkflow;
use crate::failure::{ExitCode, Failure, Result};
use crate::output::{print, print_one};

/// Which devices.
#[derive(Debug, Args)]
pub(crate) struct Selector {
    /// Devices with this label in the manifest; of one that is repeated, any
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,

    /// Devices whose name matches, such as 'sensor-*'; with --label, both must match
    #[arg(long = "name", value_name = "GLOB", value_parser = parse_glob)]
    names: Vec<GlobMatcher>,

    /// All devices
    #[arg(long, conflicts_with_all = ["labels", "names"])]
    all: bool,
}

pub(crate) fn parse_glob(text: &str) -> std::result::Result<GlobMatcher, String> {
    let glob = Glob::new(text).map_err(|error| error.to_string())?;
    Ok(glob.compile_matcher())
}

impl Selector {
    /// The devices that have a workflow and are selected.
    pub(crate) async fn select(&self, context: &Context, client: &Client) -> Result<Vec<Seen>> {
        if self.labels.is_empty() && self.names.is_empty() && !self.all {
            return Err(Failure::usage(
                "no device was named; give --label, --name or --all",
            ));
        }
        let mut labels: HashMap<String, Vec<String>> = HashMap::new();
        if !self.labels.is_empty() {
            context.fleet.read_manifest(|device, _| {
                labels.insert(device.name.to_string(), device.labels);
            })?;
        }
        let is_selected = |device: &DeviceName| {
            let has_name = self.names.is_empty()
                || self.names.iter().any(|name| name.is_match(device.as_str()));
            let own = labels.get(device.as_str());
            let has_label = self.labels.is_empty()
                || own.is_some_and(|own| own.iter().any(|label| self.labels.contains(label)));
            has_name && has_label
        };
        let mut seen = list(client, &context.name).await?;
        let ended = list_ended(client, &context.name, &seen).await?;
        for (device, ended) in ended.iter().filter(|(device, _)| is_selected(device)) {
            context.warning(&format!("{device}: {}", ended.problem()));
        }
        seen.retain(|seen| is_selected(&seen.device));
        Ok(seen)
    }
}

/// Ask for new certificates, or revoke those that there are
///
/// The workflows of the devices do it: `rotate` makes a new key and certificate, and revokes the old one after the grace
/// period. `revoke` leaves the devices without one until `rotate` asks for it. With --now the keys have leaked, and there is
/// no grace.
#[derive(Debug, Args)]
pub(crate) struct AskArgs {
    #[command(flatten)]
    selector: Selector,

    /// The keys have leaked: there is no grace period
    #[arg(long)]
    now: bool,

    /// Print which devices, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Rotate,
    Revoke,
}

pub(crate) async fn run(context: &Context, client: &Client, verb: Verb, args: AskArgs) -> Result {
    let selected = args.selector.select(context, client).await?;
    let devices: Vec<DeviceName> = selected.into_iter().map(|seen| seen.device).collect();
    let word = match verb {
        Verb::Rotate => "rotate",
        Verb::Revoke => "revoke",
    };
    let what = format!("{word} {}", counted(devices.len() as u64, "device"));
    if args.dry_run {
        let rows = devices
            .iter()
            .map(|device| Map::from_iter([("device".to_owned(), device.as_str().into())]));
        print(
            context.output,
            &["device"],
            &["device"],
            &Vec::from_iter(rows),
        )?;
        context.note(&format!("would {what}"));
        return Ok(ExitCode::Done);
    }
    if devices.is_empty() {
        context.note("no device was selected");
        return Ok(ExitCode::NotFound);
    }
    if !args.yes {
        confirm(&what)?;
    }
    let options = WorkflowSignalOptions::default;
    each(context, &devices, |device| {
        let handle = handle(client, &context.name, device);
        async move {
            match verb {
                Verb::Rotate => {
                    handle
                        .signal(DeviceWorkflow::renew, args.now, options())
                        .await
                }
                Verb::Revoke => {
                    handle
                        .signal(DeviceWorkflow::revoke, args.now, options())
                        .await
                }
            }
        }
    })
    .await?;
    context.note(&format!(
        "asked for: {what}; `shieldcert-temporal status` shows how far it is"
    ));
    if context.output.is_some() {
        let row = Map::from_iter([(word.to_owned(), devices.len().into())]);
        print_one(context.output, &[word], &[word], row)?;
    }
    Ok(ExitCode::Done)
}

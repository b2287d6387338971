//! Brings certificates into use, and checks that they work.

use std::ffi::OsString;

use jiff::SignedDuration;

use super::{Engine, Progress, Tally, Work};
use crate::error::Result;
use crate::hook;
use crate::journal::{Act, Change, Hold, State};
use crate::outputs;

impl Engine {
    pub(super) async fn deploy(&self, at: Work<'_>) -> Result<Progress> {
        let Some(device) = &at.snapshot.device else {
            return Ok(Progress::Held);
        };
        let Some(pass) = self.gate.enter() else {
            return self.wait_for(at, Hold::DeployPaused, None);
        };
        // From here on a device may use it.
        if !at.generation.hook_started {
            let change = Change::default().set("hook_started", true);
            self.journal.set(at.generation, change)?;
        }
        let published =
            crate::journal::block(|| outputs::publish(&self.folder, device, at.generation.number));
        if let Err(error) = published {
            return self.fail(at, Hold::Failed, Act::DeployFailed, &error.to_string());
        }
        let output = match &self.config.deploy.command {
            None => None,
            Some(command) => match self.run_hook(at, command).await {
                Ok(output) => Some(output),
                Err(problem) => {
                    pass.failed();
                    return self.fail(at, Hold::Failed, Act::DeployFailed, &problem);
                }
            },
        };
        pass.succeeded();
        Tally::add(&self.tally.deployed);
        tracing::info!(device = %at.snapshot.name, generation = at.generation.number, "deployed");
        let output = output.filter(|output| !output.is_empty());
        self.record(
            at,
            Change::to(State::Deployed),
            Act::Deployed,
            output.as_deref(),
        )?;
        Ok(Progress::Done)
    }

    pub(super) async fn verify(&self, at: Work<'_>) -> Result<Progress> {
        let output = match &self.config.deploy.verify {
            None => None,
            Some(command) => match self.run_hook(at, command).await {
                Ok(output) => Some(output),
                Err(problem) => return self.fail(at, Hold::Failed, Act::VerifyFailed, &problem),
            },
        };
        let now = self.now().time;
        let grace =
            SignedDuration::try_from(self.config.renew.grace).unwrap_or(SignedDuration::MAX);
        let revoke_at = now.checked_add(grace).unwrap_or(jiff::Timestamp::MAX);
        let output = output.filter(|output| !output.is_empty());
        self.journal
            .verify(at.id, at.generation, now, revoke_at, output.as_deref())?;
        Ok(Progress::Done)
    }

    async fn run_hook(&self, at: Work<'_>, command: &str) -> Result<String, String> {
        let name = &at.snapshot.name;
        let generation = at.generation;
        let folder = self.folder.generation(name, generation.number);
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        let old = at
            .snapshot
            .generations
            .iter()
            .rev()
            .find(|old| old.number < generation.number && old.state == State::Verified);
        let id = |generation: &crate::journal::Generation| {
            generation.certificate.as_ref().map(ToString::to_string)
        };
        let labels = at
            .snapshot
            .device
            .as_ref()
            .map(|device| device.labels.join(" "));
        let mut variables: Vec<(String, OsString)> = vec![
            ("SHIELDCERT_DEVICE".to_owned(), name.as_str().into()),
            (
                "SHIELDCERT_GENERATION".to_owned(),
                generation.number.to_string().into(),
            ),
            (
                "SHIELDCERT_REASON".to_owned(),
                generation.reason.as_str().into(),
            ),
            (
                "SHIELDCERT_ZONE".to_owned(),
                generation.zone.as_str().into(),
            ),
            (
                "SHIELDCERT_LABELS".to_owned(),
                labels.unwrap_or_default().into(),
            ),
            (
                "SHIELDCERT_CERTIFICATE_ID".to_owned(),
                id(generation).unwrap_or_default().into(),
            ),
            (
                "SHIELDCERT_OLD_CERTIFICATE_ID".to_owned(),
                old.and_then(id).unwrap_or_default().into(),
            ),
            ("SHIELDCERT_FOLDER".to_owned(), folder.clone().into()),
        ];
        for (what, path) in outputs::files(&folder) {
            variables.push((format!("SHIELDCERT_{what}_FILE"), path.into()));
        }
        hook::run(
            command,
            self.folder.path(),
            &variables,
            self.config.deploy.timeout,
        )
        .await
    }
}

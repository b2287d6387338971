//! Brings certificates into use, and checks that they work.

use std::sync::{MutexGuard, PoisonError};

use jiff::SignedDuration;

use super::{Engine, Progress, Tally, Together, Work};
use crate::backoff::backoff;
use crate::deploy::Deployment;
use crate::error::Result;
use crate::journal::{Act, Change, Hold, State};
use crate::outputs;

impl Engine {
    pub(super) async fn deploy(&self, at: Work<'_>) -> Result<Progress> {
        let Some(device) = &at.snapshot.device else {
            return Ok(Progress::Held);
        };
        if let Err(problem) = self.keyed(at)? {
            return self.fail(at, Hold::KeyLost, Act::Failed, &problem);
        }
        let Some(pass) = self.gate.enter() else {
            return self.wait_for(at, Hold::DeployPaused, None);
        };
        // From here on a device may use it.
        if !at.generation.hook_started {
            let change = Change::default().set("hook_started", true);
            self.journal.set(at.generation, change)?;
        }
        crate::journal::block(|| outputs::publish(&self.folder, device, at.generation.number))?;
        let output = match self.deploy.deploy(self.deployment(at)).await {
            Ok(output) => Some(output),
            Err(problem) => {
                pass.failed();
                return self.fail(at, Hold::Failed, Act::DeployFailed, &problem);
            }
        };
        pass.succeeded();
        if self.deploy.deploys_together() {
            let deployment = self.deployment(at);
            self.together()
                .push((at.id, at.generation.clone(), deployment));
            return Ok(Progress::Held);
        }
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

    /// Brings into use together what was deployed one by one.
    pub(super) async fn deploy_together(&self) -> Result<()> {
        let together = std::mem::take(&mut *self.together());
        if together.is_empty() {
            return Ok(());
        }
        let deployments = together.iter().map(|(_, _, deployment)| deployment.clone());
        let result = self.deploy.deploy_together(deployments.collect()).await;
        let now = self.now().time;
        for (id, generation, _) in &together {
            let (change, act, detail) = match &result {
                Ok(output) => {
                    Tally::add(&self.tally.deployed);
                    (Change::to(State::Deployed), Act::Deployed, output)
                }
                Err(problem) => {
                    Tally::add(&self.tally.failures);
                    let failures = generation.failures.saturating_add(1);
                    let retry_at = now.checked_add(backoff(failures)).ok();
                    let change = Change::hold(Hold::Failed, Some(problem.clone()), retry_at)
                        .set("failures", i64::from(failures));
                    (change, Act::DeployFailed, problem)
                }
            };
            let detail = Some(detail.as_str()).filter(|detail| !detail.is_empty());
            self.journal
                .change(*id, generation, change, now, act, detail)?;
        }
        Ok(())
    }

    fn together(&self) -> MutexGuard<'_, Vec<Together>> {
        self.together.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn verify(&self, at: Work<'_>) -> Result<Progress> {
        let output = match self.deploy.verify(self.deployment(at)).await {
            Ok(output) => Some(output),
            Err(problem) => return self.fail(at, Hold::Failed, Act::VerifyFailed, &problem),
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

    fn deployment(&self, at: Work<'_>) -> Deployment {
        let generation = at.generation;
        let generations = at.snapshot.generations.iter().rev();
        let mut before = generations
            .filter(|old| old.number < generation.number && old.state == State::Verified);
        let device = at.snapshot.device.as_ref();
        Deployment {
            device: at.snapshot.name.clone(),
            generation: generation.number,
            reason: generation.reason,
            zone: generation.zone.clone(),
            labels: device
                .map(|device| device.labels.clone())
                .unwrap_or_default(),
            certificate: generation.certificate.clone(),
            old_certificate: before.next().and_then(|old| old.certificate.clone()),
            folder: self.folder.generation(&at.snapshot.name, generation.number),
            output: device
                .and_then(|device| device.output.as_ref())
                .map(|output| self.folder.resolve(output)),
        }
    }
}

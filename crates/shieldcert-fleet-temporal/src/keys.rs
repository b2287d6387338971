//! The activities that touch keys. They run at the worker that has the keys.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shieldcert_fleet::steps::{
    DeployOutcome, DeploymentOf, PreparedCsr, Steps, StoredGeneration, WriteOutcome,
};
use shieldcert_fleet::{Device, DeviceName};
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use crate::names::WorkerName;

/// The keys of a worker.
pub(crate) struct Keys {
    steps: Arc<Steps>,
    worker: WorkerName,
    turns: Arc<Turns>,
}

/// One step brings a device's files into use at a time. One that was given up may still be at it.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<DeviceName, Weak<Turn<()>>>>);

impl Turns {
    async fn take(&self, device: &DeviceName) -> OwnedMutexGuard<()> {
        self.turn(device).lock_owned().await
    }

    fn turn(&self, device: &DeviceName) -> Arc<Turn<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(device).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Turn::new(()));
        turns.insert(device.clone(), Arc::downgrade(&turn));
        turn
    }
}

impl Keys {
    /// `turns` are those of the process.
    pub(crate) fn new(steps: Arc<Steps>, worker: WorkerName, turns: Arc<Turns>) -> Self {
        Self {
            steps,
            worker,
            turns,
        }
    }
}

/// What `prepare` needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PrepareInput {
    pub(crate) device: Device,
    pub(crate) number: u32,
    /// The CSR that the device has delivered.
    pub(crate) csr: Option<String>,
}

/// A key and a CSR that were made, and where the key is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PrepareOutput {
    pub(crate) worker: WorkerName,
    pub(crate) result: Result<PreparedCsr, String>,
}

/// What `write` needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WriteInput {
    pub(crate) device: DeviceName,
    pub(crate) generation: StoredGeneration,
    /// The certificate.
    pub(crate) pem: String,
}

/// What `deploy` and `verify` need.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeployInput {
    pub(crate) device: Device,
    pub(crate) deployment: DeploymentOf,
}

#[activities]
impl Keys {
    /// Makes key and CSR of a generation.
    #[activity]
    pub(crate) async fn prepare(
        self: Arc<Self>,
        context: ActivityContext,
        input: PrepareInput,
    ) -> Result<PrepareOutput, ActivityError> {
        let is_retry = context.info().attempt > 1;
        let prepared =
            self.steps
                .prepare(&input.device, input.number, input.csr.as_deref(), is_retry);
        let result = prepared.map_err(|error| error.to_string());
        if let Err(problem) = &result {
            warn(&input.device.name, "making a key", problem);
        }
        Ok(PrepareOutput {
            worker: self.worker.clone(),
            result,
        })
    }

    /// Writes the files of a generation.
    #[activity]
    pub(crate) async fn write(
        self: Arc<Self>,
        _context: ActivityContext,
        input: WriteInput,
    ) -> Result<WriteOutcome, ActivityError> {
        let written = self
            .steps
            .write(&input.device, &input.generation, &input.pem);
        if let WriteOutcome::KeyLost(problem) | WriteOutcome::Failed(problem) = &written {
            warn(&input.device, "writing files", problem);
        }
        Ok(written)
    }

    /// Brings a generation into use.
    #[activity]
    pub(crate) async fn deploy(
        self: Arc<Self>,
        context: ActivityContext,
        input: DeployInput,
    ) -> Result<DeployOutcome, ActivityError> {
        let deploying = async {
            let _turn = self.turns.take(&input.device.name).await;
            self.steps.deploy(&input.device, &input.deployment).await
        };
        let deployed = beating(&context, deploying).await;
        if let DeployOutcome::KeyLost(problem) | DeployOutcome::Failed(problem) = &deployed {
            warn(&input.device.name, "the deploy command", problem);
        }
        Ok(deployed)
    }

    /// Checks that a generation works.
    #[activity]
    pub(crate) async fn verify(
        self: Arc<Self>,
        context: ActivityContext,
        input: DeployInput,
    ) -> Result<DeployOutcome, ActivityError> {
        let verifying = self.steps.verify(&input.device, &input.deployment);
        let verified = beating(&context, verifying).await;
        if let DeployOutcome::Failed(problem) = &verified {
            warn(&input.device.name, "the verify command", problem);
        }
        Ok(verified)
    }
}

fn warn(device: &DeviceName, step: &str, problem: &str) {
    tracing::warn!(%device, problem, "{step} failed");
}

/// Tells the server meanwhile that the worker is alive.
async fn beating<T>(context: &ActivityContext, work: impl Future<Output = T>) -> T {
    let mut ticks = tokio::time::interval(interval(context));
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            _ = ticks.tick() => {
                let _ = context.record_heartbeat(()).await;
            }
        }
    }
}

/// How often the server is told that an activity goes on.
pub(crate) fn interval(context: &ActivityContext) -> Duration {
    let timeout = context.info().heartbeat_timeout;
    let timeout = timeout.filter(|timeout| !timeout.is_zero());
    timeout.unwrap_or(Duration::from_secs(30)) / 4
}

//! Devices that take a new certificate, or fail to.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use shieldcert_fleet::{Deploy, DeployResult, Deployment};
use tokio::time::sleep;

use crate::simulation::history::History;

pub(super) struct Deployer {
    random: Mutex<Rng>,
    /// How many of 16 fail.
    failing: u8,
    is_well: AtomicBool,
    history: History,
}

impl Deployer {
    pub(super) fn new(mut random: Rng, history: History) -> Self {
        Self {
            failing: if random.bool() { 0 } else { random.u8(0..=16) },
            random: Mutex::new(random),
            is_well: AtomicBool::new(false),
            history,
        }
    }

    pub(super) fn succeed_always(&self) {
        self.is_well.store(true, Ordering::Relaxed);
    }

    async fn try_it(&self, what: &str, deployment: Deployment) -> DeployResult {
        let (pause, fails) = {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            (random.u64(0..2_000), random.u8(0..16) < self.failing)
        };
        sleep(Duration::from_millis(pause)).await;
        let fails = fails && !self.is_well.load(Ordering::Relaxed);
        let (device, generation) = (&deployment.device, deployment.generation);
        self.history.add(format_args!(
            "{device} {generation}: {what}, fails: {fails}"
        ));
        match fails {
            true => Err(format!("the {what} of {device} fails")),
            false => Ok(String::new()),
        }
    }
}

impl Deploy for Deployer {
    fn deploy(
        &self,
        deployment: Deployment,
    ) -> Pin<Box<dyn Future<Output = DeployResult> + Send + '_>> {
        Box::pin(self.try_it("deployment", deployment))
    }

    fn verify(
        &self,
        deployment: Deployment,
    ) -> Pin<Box<dyn Future<Output = DeployResult> + Send + '_>> {
        Box::pin(self.try_it("verification", deployment))
    }
}

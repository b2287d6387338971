//! What the tests share: a fleet in a temporary folder, and the emulator.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use shieldcert::{Client, ClientCertificate, Zone};
use shieldcert_emulator::{Emulator, EmulatorBuilder, EmulatorTransport};
use shieldcert_fleet::{ApplyOptions, Connector, Fleet, Plan, PlanEntry, Summary};
use tempfile::TempDir;
use tokio::sync::watch;

pub(crate) const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) emulator: Emulator,
}

impl World {
    /// A fleet with this policy, beside one zone, and this manifest.
    pub(crate) fn new(emulator: EmulatorBuilder, policy: &str, manifest: &str) -> Self {
        let emulator = emulator.build().expect("builds");
        let folder = tempfile::tempdir().expect("a folder");
        let world = Self { folder, emulator };
        world.write(
            "fleet.toml",
            &format!("[zones.main]\nid = \"{ZONE}\"\n{policy}"),
        );
        world.write("devices.csv", manifest);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("is written");
    }

    pub(crate) fn fleet(&self) -> Fleet {
        let emulator = self.emulator.clone();
        let connector = Connector::new(move || {
            Ok(Client::builder()
                .token("test")
                .base_url(EmulatorTransport::BASE_URL)
                .transport(Arc::new(emulator.transport())))
        });
        Fleet::open(self.folder.path(), connector.with_credentials()).expect("a fleet")
    }

    /// A zone without the fleet.
    pub(crate) fn zone(&self, id: &str) -> Zone {
        let client = Client::builder()
            .token("test")
            .base_url(EmulatorTransport::BASE_URL)
            .transport(Arc::new(self.emulator.transport()))
            .build()
            .expect("a client");
        client.zone(id.parse().expect("an id"))
    }

    pub(crate) async fn certificates(&self) -> Vec<ClientCertificate> {
        let list = self.zone(ZONE).list().await.expect("is listed");
        list.into_iter().collect()
    }

    pub(crate) async fn plan(&self) -> (Plan, Vec<PlanEntry>) {
        let mut entries = Vec::new();
        let plan = self.fleet().plan(|entry| entries.push(entry)).await;
        (plan.expect("a plan"), entries)
    }

    pub(crate) async fn apply(&self) -> Summary {
        let (_stop, stopped) = watch::channel(false);
        let applied = self
            .fleet()
            .apply(&ApplyOptions::default(), stopped, |_| {})
            .await;
        applied.expect("is applied")
    }
}

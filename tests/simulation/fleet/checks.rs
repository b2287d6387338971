//! What must hold, checked against the service, the journal and the files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use jiff::{SignedDuration, Timestamp};
use shieldcert::Identity;
use shieldcert_fleet::{Act, Fleet};

use super::manifest::Manifest;
use crate::simulation::history::History;
use crate::simulation::service::plain;
use crate::simulation::world::World;

/// Shorter than any certificate of the simulation is valid.
const MIN_LIFETIME: SignedDuration = SignedDuration::from_hours(4 * 24);

/// What holds at every instant: by the journal, which is read as another process would.
pub(super) fn check_midway(fleet: &Fleet, history: &History) {
    let Ok(journal) = fleet.journal() else { return };
    let entries = journal.history(None, u32::MAX).expect("is read");
    // By device: which generations were verified, and which were issued and are not deployed, with when they were sent.
    let mut sent = BTreeMap::<(String, u32), Timestamp>::new();
    let mut verified = BTreeMap::<String, BTreeSet<u32>>::new();
    let mut undeployed = BTreeMap::<String, BTreeMap<u32, Timestamp>>::new();
    for entry in entries {
        let (Some(device), Some(generation)) = (entry.device, entry.generation) else {
            continue;
        };
        let device = device.to_string();
        let waiting = undeployed.entry(device.clone()).or_default();
        let detail = entry.detail.unwrap_or_default();
        match entry.act {
            // One that is usable is deployed: no other is made beside it, unless something else is wanted.
            Act::Planned if ["new", "time", "asked", "lost"].contains(&&*detail) => {
                // Those before the newest were replaced already.
                let mut newest = waiting
                    .iter()
                    .filter(|(number, _)| **number + 1 == generation);
                let usable =
                    newest.find(|(_, since)| entry.at.duration_since(**since) < MIN_LIFETIME);
                if let Some((usable, _)) = usable {
                    history.broken(format_args!(
                        "fleet: generation {generation} of {device} was begun ({detail}), and {usable} was not deployed yet"
                    ));
                }
            }
            Act::Sending => {
                sent.entry((device, generation)).or_insert(entry.at);
            }
            Act::Issued => {
                let since = sent.get(&(device, generation)).copied();
                waiting.insert(generation, since.unwrap_or(entry.at));
            }
            Act::Deployed => {
                waiting.remove(&generation);
            }
            Act::Revoked => {
                waiting.remove(&generation);
                let has_later = verified
                    .get(&device)
                    .is_some_and(|verified| verified.iter().any(|later| *later > generation));
                if detail.starts_with("a later one") && !has_later {
                    history.broken(format_args!(
                        "fleet: generation {generation} of {device} was revoked before a later one was verified"
                    ));
                }
            }
            Act::Verified => {
                verified.entry(device).or_default().insert(generation);
            }
            _ => {}
        }
    }
}

/// What holds in the end.
pub(super) async fn check_end(world: &World, manifest: &Manifest, fleet: &Fleet) {
    let history = &world.history;
    check_midway(fleet, history);
    if let Ok(journal) = fleet.journal() {
        for entry in journal.history(None, u32::MAX).expect("is read") {
            let device = entry
                .device
                .map(|device| device.to_string())
                .unwrap_or_default();
            let generation = entry.generation.unwrap_or_default();
            let detail = entry.detail.unwrap_or_default();
            history.add(format_args!(
                "journal  {} {device} {generation} {} {detail}",
                entry.at, entry.act
            ));
        }
    }
    let held = world.service.list().await;
    let fixed = world.fixed();
    for held in &held {
        if let Some(expected) = fixed.get(&*plain(&held.id))
            && expected.status != held.status
        {
            history.broken(format_args!(
                "fleet: the foreign {} was {}, and is {}",
                held.id, expected.status, held.status
            ));
        }
    }
    for (name, row) in &manifest.rows {
        let active: Vec<_> = held
            .iter()
            .filter(|held| held.common_name == *name && held.status == "active")
            .collect();
        let is_wanted = !row.is_absent && !manifest.revoked.contains(name);
        if active.len() != usize::from(is_wanted) {
            history.broken(format_args!(
                "fleet: {name} has {} active certificates, wanted: {is_wanted}",
                active.len()
            ));
            continue;
        }
        let [active] = active.as_slice() else {
            continue;
        };
        let current = fleet.folder().join("devices").join(name).join("current");
        let read = |file: &str| fs::read(current.join(file)).unwrap_or_default();
        let identity = match Identity::from_pem([read("key.pem"), read("cert.pem")].concat()) {
            Ok(identity) => identity,
            Err(error) => {
                history.broken(format_args!(
                    "fleet: the files of {name} are not usable: {error}"
                ));
                continue;
            }
        };
        let serial = identity.certificate().serial_number();
        if serial != active.serial {
            history.broken(format_args!(
                "fleet: {name} uses serial {serial}, and active is {}",
                active.serial
            ));
        }
    }
}

//! What must hold, checked against the service, the journal and the files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use shieldcert::Identity;
use shieldcert_fleet::{Act, Fleet};

use super::Play;
use crate::simulation::history::History;
use crate::simulation::service::plain;

/// What holds at every instant: by the journal, which is read as another process would.
pub(super) fn check_midway(fleet: &Fleet, history: &History) {
    let Ok(journal) = fleet.journal() else { return };
    let entries = journal.history(None, u32::MAX).expect("is read");
    // By device: which generations were issued, and which have left that state.
    let mut verified = BTreeMap::<String, BTreeSet<u32>>::new();
    let mut undeployed = BTreeMap::<String, BTreeSet<u32>>::new();
    for entry in entries {
        let (Some(device), Some(generation)) = (entry.device, entry.generation) else { continue };
        let device = device.to_string();
        let waiting = undeployed.entry(device.clone()).or_default();
        match entry.act {
            Act::Issued => {
                waiting.insert(generation);
                if waiting.len() > 1 {
                    history.broken(format_args!("fleet: {device} has the generations {waiting:?} undeployed at once"));
                }
            }
            Act::Deployed => {
                waiting.remove(&generation);
            }
            Act::Revoked => {
                waiting.remove(&generation);
                let is_replaced = entry.detail.as_deref().is_some_and(|detail| detail.starts_with("a later one"));
                let has_later = verified
                    .get(&device)
                    .is_some_and(|verified| verified.iter().any(|later| *later > generation));
                if is_replaced && !has_later {
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
pub(super) async fn check_end(play: &Play, fleet: &Fleet) {
    let history = &play.world.history;
    check_midway(fleet, history);
    let held = play.world.service.list().await;
    let fixed = play.world.fixed();
    for held in &held {
        if let Some(expected) = fixed.get(&*plain(&held.id))
            && expected.status != held.status
        {
            history.broken(format_args!("fleet: the foreign {} was {}, and is {}", held.id, expected.status, held.status));
        }
    }
    for (name, row) in &play.manifest.rows {
        let active: Vec<_> = held.iter().filter(|held| held.common_name == *name && held.status == "active").collect();
        let is_wanted = !row.is_absent && !play.manifest.revoked.contains(name);
        if active.len() != usize::from(is_wanted) {
            history.broken(format_args!("fleet: {name} has {} active certificates, wanted: {is_wanted}", active.len()));
            continue;
        }
        let [active] = active.as_slice() else { continue };
        let current = fleet.folder().join("devices").join(name).join("current");
        let read = |file: &str| fs::read(current.join(file)).unwrap_or_default();
        let identity = match Identity::from_pem([read("key.pem"), read("cert.pem")].concat()) {
            Ok(identity) => identity,
            Err(error) => {
                history.broken(format_args!("fleet: the files of {name} are not usable: {error}"));
                continue;
            }
        };
        let serial = identity.certificate().serial_number();
        if serial != active.serial {
            history.broken(format_args!("fleet: {name} uses serial {serial}, and active is {}", active.serial));
        }
    }
}

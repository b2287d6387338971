//! The devices of a fleet, as its owner wants them.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use shieldcert_fleet::{Ask, DeviceName};

/// What the owner wants of a device.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) is_absent: bool,
    pub(super) organization: String,
    pub(super) days: u32,
}

/// The manifest.
#[derive(Clone, Debug, Default)]
pub(super) struct Manifest {
    pub(super) rows: BTreeMap<String, Row>,
    /// Devices that an operator has revoked, and that nobody has asked to rotate since.
    pub(super) revoked: BTreeSet<String>,
    added: u32,
}

impl Manifest {
    pub(super) fn draw(random: &mut Rng) -> Self {
        let mut manifest = Self::default();
        for _ in 0..random.usize(1..=6) {
            manifest.add(random);
        }
        manifest
    }

    fn add(&mut self, random: &mut Rng) {
        self.added += 1;
        let row = Row {
            is_absent: random.u8(0..12) == 0,
            organization: "Acme".to_owned(),
            days: random.u32(5..=40),
        };
        self.rows.insert(format!("device-{}", self.added), row);
    }

    /// Changes a row or two.
    pub(super) fn change(&mut self, random: &mut Rng) {
        for _ in 0..random.usize(1..=2) {
            let Some(name) = self.name(random) else {
                self.add(random);
                continue;
            };
            let kind = random.u8(0..6);
            if kind == 0 {
                self.rows.remove(&name);
                continue;
            }
            let Some(row) = self.rows.get_mut(&name) else {
                continue;
            };
            match kind {
                1 => row.is_absent = !row.is_absent,
                2 => row.organization = format!("Acme {}", random.u8(0..3)),
                3 => row.days = random.u32(5..=40),
                _ => self.add(random),
            }
        }
    }

    fn name(&self, random: &mut Rng) -> Option<String> {
        let names: Vec<_> = self.rows.keys().cloned().collect();
        random.choice(names)
    }

    pub(super) fn any(&self, random: &mut Rng) -> Option<DeviceName> {
        self.name(random)?.parse().ok()
    }

    pub(super) fn asked(&mut self, name: &DeviceName, ask: Ask) {
        match ask {
            Ask::Revoke | Ask::RevokeNow => self.revoked.insert(name.to_string()),
            _ => self.revoked.remove(name.as_str()),
        };
    }

    pub(super) fn to_csv(&self) -> String {
        let mut text = "name,state,organization,days\n".to_owned();
        for (name, row) in &self.rows {
            let state = if row.is_absent { "absent" } else { "present" };
            text.push_str(&format!(
                "{name},{state},{},{}\n",
                row.organization, row.days
            ));
        }
        text
    }
}

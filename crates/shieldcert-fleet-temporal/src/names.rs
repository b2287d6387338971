//! What things are called at the server.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use shieldcert_fleet::DeviceName;

/// The name of a fleet at the server, and the beginning of the names of what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FleetName(String);

/// The name of a worker: where keys are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkerName(String);

/// The label that pins a device to a worker begins so.
const PIN: &str = "worker:";

/// The longest name.
const MAX_LEN: usize = 63;

fn check(text: &str) -> Result<(), String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || text.len() > MAX_LEN || !text.bytes().all(is_allowed) {
        return Err(format!(
            "{text:?} is not possible; use 1 to {MAX_LEN} letters, digits, dots, hyphens and underscores"
        ));
    }
    Ok(())
}

macro_rules! name {
    ($name:ident) => {
        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                check(text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(FleetName);
name!(WorkerName);

impl FleetName {
    /// The id of the workflow of the fleet.
    pub(crate) fn fleet_id(&self) -> String {
        self.0.clone()
    }

    /// The id of the workflow of a device.
    pub(crate) fn device_id(&self, device: &DeviceName) -> String {
        format!("{}/{device}", self.0)
    }

    /// The device of a workflow.
    pub(crate) fn device(&self, id: &str) -> Option<DeviceName> {
        id.strip_prefix(&self.0)?.strip_prefix('/')?.parse().ok()
    }

    /// The task queue of the workflows, which every worker polls.
    pub(crate) fn workflows(&self) -> String {
        self.0.clone()
    }

    /// The task queue of new keys, which every worker polls that takes devices.
    pub(crate) fn keys(&self) -> String {
        format!("{}/keys", self.0)
    }

    /// The task queue of the steps that touch a worker's keys.
    pub(crate) fn worker(&self, worker: &WorkerName) -> String {
        format!("{}/worker/{worker}", self.0)
    }

    /// The task queue of the requests of a budget.
    pub(crate) fn budget(&self, budget: &str) -> String {
        format!("{}/budget/{budget}", self.0)
    }
}

/// The worker that a label pins a device to.
pub(crate) fn pinned(labels: &[String]) -> Option<WorkerName> {
    let mut names = labels.iter().filter_map(|label| label.strip_prefix(PIN));
    names.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_queues_and_workflows() {
        let fleet: FleetName = "sensors".parse().expect("a name");
        let worker: WorkerName = "site-1".parse().expect("a name");
        let device: DeviceName = "a-1".parse().expect("a name");
        assert_eq!(fleet.device_id(&device), "sensors/a-1");
        assert_eq!(fleet.device("sensors/a-1"), Some(device));
        assert_eq!(fleet.device("sensors2/a-1"), None);
        assert_eq!(fleet.device("sensors"), None);
        assert_eq!(fleet.worker(&worker), "sensors/worker/site-1");
        for wrong in ["", "a/b", "a b", &"a".repeat(64)] {
            assert!(wrong.parse::<FleetName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_label_pins_a_device() {
        let labels = ["floor".to_owned(), "worker:site-1".to_owned()];
        assert_eq!(pinned(&labels).map(String::from).as_deref(), Some("site-1"));
        assert_eq!(pinned(&labels[..1]), None);
    }
}

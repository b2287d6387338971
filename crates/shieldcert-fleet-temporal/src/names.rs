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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkerName(String);

/// A task queue of a fleet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Queue {
    /// The workflows, which every worker polls.
    Workflows,
    /// New keys, which every worker polls that takes devices.
    Keys,
    /// The steps that touch a worker's keys.
    Worker(WorkerName),
    /// The requests of a budget.
    Budget(String),
    /// Nothing. A worker polls it, however busy it is, so it shows whether the worker is there.
    Alive(WorkerName),
}

/// The label that pins a device to a worker begins so.
const PIN: &str = "worker:";

/// The name of a fleet that has been given none.
pub(crate) const DEFAULT: &str = "fleet";

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

    /// A command about the fleet.
    pub(crate) fn command(&self, command: &str) -> String {
        match self.0.as_str() {
            DEFAULT => format!("shieldcert-temporal {command}"),
            other => format!("shieldcert-temporal --fleet {other} {command}"),
        }
    }

    /// What a task queue is called.
    pub(crate) fn queue(&self, queue: &Queue) -> String {
        match queue {
            Queue::Workflows => self.0.clone(),
            Queue::Keys => format!("{}/keys", self.0),
            Queue::Worker(worker) => format!("{}/worker/{worker}", self.0),
            Queue::Budget(budget) => format!("{}/budget/{budget}", self.0),
            Queue::Alive(worker) => format!("{}/alive/{worker}", self.0),
        }
    }

    /// The task queue of a name.
    pub(crate) fn parse_queue(&self, name: &str) -> Option<Queue> {
        let rest = name.strip_prefix(&self.0)?;
        if rest.is_empty() {
            return Some(Queue::Workflows);
        }
        match rest.strip_prefix('/')?.split_once('/') {
            None if rest == "/keys" => Some(Queue::Keys),
            Some(("worker", worker)) => Some(Queue::Worker(worker.parse().ok()?)),
            Some(("budget", budget)) => Some(Queue::Budget(budget.to_owned())),
            Some(("alive", worker)) => Some(Queue::Alive(worker.parse().ok()?)),
            _ => None,
        }
    }
}

/// The worker that a label pins a device to.
pub(crate) fn pinned(labels: &[String]) -> Option<WorkerName> {
    let mut names = labels.iter().filter_map(|label| label.strip_prefix(PIN));
    names.next()?.parse().ok()
}

/// Checks the labels that pin a device.
///
/// # Errors
/// Returns what is wrong with them.
pub(crate) fn check_pins(labels: &[String]) -> Result<(), String> {
    let mut pin = None;
    for label in labels {
        if let Some(name) = label.strip_prefix(PIN) {
            name.parse::<WorkerName>()
                .map_err(|problem| format!("the label {label} names no worker: {problem}"))?;
            if pin.replace(label).is_some_and(|first| first != label) {
                return Err("several labels pin it; leave one".to_owned());
            }
        }
    }
    Ok(())
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
        let queues = [
            (Queue::Workflows, "sensors"),
            (Queue::Keys, "sensors/keys"),
            (Queue::Worker(worker.clone()), "sensors/worker/site-1"),
            (Queue::Alive(worker), "sensors/alive/site-1"),
            (
                Queue::Budget("account/a".to_owned()),
                "sensors/budget/account/a",
            ),
        ];
        for (queue, name) in queues {
            assert_eq!(fleet.queue(&queue), name);
            assert_eq!(fleet.parse_queue(name), Some(queue));
        }
        for other in [
            "",
            "sensor",
            "sensors/a-1",
            "sensors2/keys",
            "sensors/worker/",
        ] {
            assert_eq!(fleet.parse_queue(other), None, "{other}");
        }
        for wrong in ["", "a/b", "a b", &"a".repeat(64)] {
            assert!(wrong.parse::<FleetName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_label_pins_a_device() {
        let labels = ["floor".to_owned(), "worker:site-1".to_owned()];
        assert_eq!(pinned(&labels).map(String::from).as_deref(), Some("site-1"));
        assert_eq!(pinned(&labels[..1]), None);
        check_pins(&labels).expect("are possible");
        for wrong in [&["worker:"][..], &["worker:a/b"], &["worker:a", "worker:b"]] {
            let labels: Vec<String> = wrong.iter().map(|label| (*label).to_owned()).collect();
            check_pins(&labels).expect_err("are refused");
        }
    }
}

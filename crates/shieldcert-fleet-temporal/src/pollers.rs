//! Which task queues workers poll, and what waits in those that none polls.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use shieldcert_fleet::DeviceName;
use temporalio_client::Client;
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::enums::v1::{
    PendingActivityState, PendingWorkflowTaskState, TaskQueueType, WorkflowExecutionStatus,
};
use temporalio_common::protos::temporal::api::taskqueue::v1::TaskQueue;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeTaskQueueRequest, DescribeWorkflowExecutionRequest,
};
use tonic::{Code, Request, Status};

use crate::failure::{Failure, Result};
use crate::fleet::FleetState;
use crate::names::{FleetName, Queue, WorkerName};

/// After how long a worker that has not polled again is taken to be gone. A poll takes a minute where there is nothing to do.
const GONE: Duration = Duration::from_secs(75);

/// A task queue at the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Polled {
    /// When a worker polled last. `None`: none did within the last minutes.
    pub(crate) last: Option<Timestamp>,
}

impl Polled {
    /// Whether a worker polls it.
    pub(crate) fn is_polled(&self) -> bool {
        let gone = SignedDuration::try_from(GONE).unwrap_or_default();
        self.last
            .is_some_and(|last| Timestamp::now().duration_since(last) < gone)
    }
}

/// Looks at task queues. Each is asked for once.
pub(crate) struct Pollers<'a> {
    pub(crate) client: &'a Client,
    pub(crate) fleet: &'a FleetName,
    /// `None`: nobody could be asked.
    members: Option<BTreeSet<WorkerName>>,
    known: Mutex<HashMap<Queue, Polled>>,
}

/// How many workflows are described at once.
const IN_FLIGHT: usize = 32;

impl<'a> Pollers<'a> {
    pub(crate) fn new(client: &'a Client, fleet: &'a FleetName) -> Self {
        Self {
            client,
            fleet,
            members: None,
            known: Mutex::default(),
        }
    }

    /// Returns who polls a task queue.
    pub(crate) async fn of(&self, queue: &Queue) -> Result<Polled> {
        if let Some(polled) = self.known().get(queue).copied() {
            return Ok(polled);
        }
        let kind = match queue {
            Queue::Workflows => TaskQueueType::Workflow,
            _ => TaskQueueType::Activity,
        };
        let name = self.fleet.queue(queue);
        let request = DescribeTaskQueueRequest {
            namespace: self.client.options().namespace.clone(),
            task_queue: Some(TaskQueue {
                name: name.clone(),
                ..TaskQueue::default()
            }),
            task_queue_type: kind as i32,
            ..DescribeTaskQueueRequest::default()
        };
        let mut service = self.client.connection().workflow_service();
        let described = service.describe_task_queue(Request::new(request)).await;
        let described = described
            .map_err(|status| failure(&name, &status))?
            .into_inner();
        let last = described.pollers.iter().filter_map(|poller| {
            let last = poller.last_access_time.as_ref()?;
            Timestamp::new(last.seconds, last.nanos).ok()
        });
        let polled = Polled { last: last.max() };
        self.known().insert(queue.clone(), polled);
        Ok(polled)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Queue, Polled>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says who the workers of the fleet are. A queue of another one is polled by nobody.
    pub(crate) fn set_members(&mut self, fleet: &FleetState) {
        self.members = Some(fleet.members.keys().cloned().collect());
    }

    /// Whether a worker polls a task queue, and is to.
    pub(crate) async fn is_polled(&self, queue: &Queue) -> Result<bool> {
        Ok(!self.is_of_stranger(queue) && self.of(queue).await?.is_polled())
    }

    /// Whether the queue is that of a worker that the fleet does not have.
    fn is_of_stranger(&self, queue: &Queue) -> bool {
        match (queue, &self.members) {
            (Queue::Worker(worker), Some(members)) => !members.contains(worker),
            _ => false,
        }
    }

    /// Describes the workflow of a device. `None`: there is none.
    pub(crate) async fn describe(&self, device: &DeviceName) -> Result<Option<Described>> {
        let request = DescribeWorkflowExecutionRequest {
            namespace: self.client.options().namespace.clone(),
            execution: Some(WorkflowExecution {
                workflow_id: self.fleet.device_id(device),
                run_id: String::new(),
            }),
        };
        let mut service = self.client.connection().workflow_service();
        let described = service
            .describe_workflow_execution(Request::new(request))
            .await;
        let described = match described {
            Ok(described) => described.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(failure(device, &status)),
        };
        let info = described.workflow_execution_info;
        let is_running =
            info.is_some_and(|info| info.status == WorkflowExecutionStatus::Running as i32);
        let scheduled = PendingActivityState::Scheduled as i32;
        let steps = described
            .pending_activities
            .iter()
            .filter(|step| step.state == scheduled);
        let names = steps.filter_map(|step| {
            let options = step.activity_options.as_ref()?;
            Some(options.task_queue.as_ref()?.name.clone())
        });
        let mut queues: Vec<Queue> = names
            .filter_map(|name| self.fleet.parse_queue(&name))
            .collect();
        let scheduled = PendingWorkflowTaskState::Scheduled as i32;
        if described
            .pending_workflow_task
            .is_some_and(|task| task.state == scheduled)
        {
            queues.push(Queue::Workflows);
        }
        let mut waits = None;
        for queue in queues {
            if !self.is_polled(&queue).await? {
                waits = Some(queue);
            }
        }
        Ok(Some(Described { is_running, waits }))
    }

    /// Returns the devices whose next step waits in a task queue that no worker polls.
    pub(crate) async fn waiting<'d>(
        &self,
        devices: impl Iterator<Item = &'d DeviceName>,
    ) -> Result<BTreeMap<DeviceName, Queue>> {
        let described = devices.map(|device| async move {
            let described = self.describe(device).await;
            (device.clone(), described)
        });
        let described: Vec<_> = described.collect();
        let mut described = stream::iter(described).buffer_unordered(IN_FLIGHT);
        let mut waiting = BTreeMap::new();
        while let Some((device, described)) = described.next().await {
            if let Some(queue) = described?.and_then(|described| described.waits) {
                waiting.insert(device, queue);
            }
        }
        Ok(waiting)
    }

    /// Says that no worker polls a task queue, and what to do.
    pub(crate) fn hint(&self, queue: &Queue) -> String {
        let start = self.fleet.command("worker --name NAME");
        match queue {
            Queue::Workflows => format!(
                "no worker of fleet {} is there; start one: {start}",
                self.fleet
            ),
            Queue::Keys => {
                format!("no worker takes devices; start one without --pinned-only: {start}")
            }
            Queue::Worker(worker) if self.is_of_stranger(queue) => format!(
                "the fleet has no worker {worker}; start one in a new folder, or change the label worker:{worker}"
            ),
            Queue::Worker(worker) => format!(
                "worker {worker} is not there; start it, or say `{}` if its keys are gone",
                self.fleet.command(&format!("worker-lost {worker}"))
            ),
            Queue::Budget(budget) => format!(
                "no worker sends requests of budget {budget}; start one with a --share above 0 whose fleet.toml has that \
                 budget"
            ),
        }
    }
}

/// What the server knows of a device's workflow.
pub(crate) struct Described {
    pub(crate) is_running: bool,
    /// The task queue that the next step waits in, if no worker polls it.
    pub(crate) waits: Option<Queue>,
}

fn failure(what: impl std::fmt::Display, status: &Status) -> Failure {
    Failure::failed(format!("{what}: {}", status.message()))
}

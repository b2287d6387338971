//! Which task queues workers poll, and what waits in those that none polls.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
use crate::fleet::{FleetState, Member};
use crate::names::{FleetName, Queue, WorkerName};

/// How much later than a worker another one may have polled while both are there. A poll takes a minute where there is nothing
/// to do.
const GONE: SignedDuration = SignedDuration::from_secs(75);

/// How many calls of the server a command has in flight.
pub(crate) const IN_FLIGHT: usize = 32;

/// Looks at task queues. Each is asked for once. The server's times are compared with each other, and not with this machine's
/// clock.
pub(crate) struct Pollers<'a> {
    pub(crate) client: &'a Client,
    pub(crate) fleet: &'a FleetName,
    /// The workers. `None`: none of them says so.
    members: Option<Vec<Member>>,
    known: Mutex<HashMap<Queue, Option<Timestamp>>>,
}

impl<'a> Pollers<'a> {
    pub(crate) fn new(client: &'a Client, fleet: &'a FleetName) -> Self {
        Self {
            client,
            fleet,
            members: None,
            known: Mutex::default(),
        }
    }

    /// Says who the workers of the fleet are, which one of them has just said.
    pub(crate) fn set_members(&mut self, fleet: &FleetState) {
        self.members = Some(fleet.members.values().cloned().collect());
    }

    /// Returns when a task queue was polled last. `None`: not within the last minutes.
    pub(crate) async fn last_poll(&self, queue: &Queue) -> Result<Option<Timestamp>> {
        if let Some(last) = self.known().get(queue).copied() {
            return Ok(last);
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
        let times = described.pollers.iter().filter_map(|poller| {
            let last = poller.last_access_time.as_ref()?;
            Timestamp::new(last.seconds, last.nanos).ok()
        });
        let last = times.max();
        self.known().insert(queue.clone(), last);
        Ok(last)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Queue, Option<Timestamp>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a worker does what waits in a task queue.
    pub(crate) async fn is_polled(&self, queue: &Queue) -> Result<bool> {
        let Some(members) = &self.members else {
            return Ok(self.last_poll(queue).await?.is_some());
        };
        for member in members {
            let polls = match queue {
                // Who the members are has just been said by a workflow.
                Queue::Workflows => return Ok(true),
                Queue::Keys => member.takes_devices,
                Queue::Worker(worker) | Queue::Alive(worker) => member.worker == *worker,
                Queue::Budget(budget) => member.budgets.contains(budget),
            };
            if polls && self.is_alive(&member.worker).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a worker polls. One of the fleet has just run a workflow, and so has polled within the last minute.
    async fn is_alive(&self, worker: &WorkerName) -> Result<bool> {
        let last = self.last_poll(&Queue::Alive(worker.clone())).await?;
        let newest = self.last_poll(&Queue::Workflows).await?;
        Ok(match (last, newest) {
            (Some(last), Some(newest)) => newest.duration_since(last) < GONE,
            (last, _) => last.is_some(),
        })
    }

    /// Whether the fleet does not have a worker.
    fn is_stranger(&self, worker: &WorkerName) -> bool {
        let members = self.members.as_ref();
        members.is_some_and(|members| !members.iter().any(|member| member.worker == *worker))
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
            Queue::Worker(worker) | Queue::Alive(worker) if self.is_stranger(worker) => format!(
                "the fleet has no worker {worker}; start one in a new folder, or change the label worker:{worker}"
            ),
            Queue::Worker(worker) | Queue::Alive(worker) => format!(
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

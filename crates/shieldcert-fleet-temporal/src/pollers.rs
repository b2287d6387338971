//! Which task queues workers poll, and what waits in those that none polls.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shieldcert_fleet::DeviceName;
use temporalio_client::Client;
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::enums::v1::{
    PendingActivityState, PendingWorkflowTaskState, TaskQueueType,
};
use temporalio_common::protos::temporal::api::taskqueue::v1::TaskQueue;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeTaskQueueRequest, DescribeWorkflowExecutionRequest,
};
use tonic::{Code, Request, Status};

use crate::failure::{Failure, Result};
use crate::names::{FleetName, Queue};

/// After how long a worker that has not polled again is taken to be gone. A poll takes a minute where there is nothing to do.
const GONE: Duration = Duration::from_secs(75);

/// A task queue at the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Polled {
    /// When a worker polled last. `None`: none did within the last minutes.
    pub(crate) last: Option<Timestamp>,
    /// About how many steps wait in it.
    pub(crate) backlog: u64,
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
    known: Mutex<HashMap<Queue, Polled>>,
}

impl<'a> Pollers<'a> {
    pub(crate) fn new(client: &'a Client, fleet: &'a FleetName) -> Self {
        Self {
            client,
            fleet,
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
            report_stats: true,
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
        let backlog = described
            .stats
            .map_or(0, |stats| stats.approximate_backlog_count);
        let polled = Polled {
            last: last.max(),
            backlog: u64::try_from(backlog).unwrap_or_default(),
        };
        self.known().insert(queue.clone(), polled);
        Ok(polled)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Queue, Polled>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the task queue that a device's next step waits in, if no worker polls it.
    pub(crate) async fn device_waits(&self, device: &DeviceName) -> Result<Option<Queue>> {
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
        for queue in queues {
            if !self.of(&queue).await?.is_polled() {
                return Ok(Some(queue));
            }
        }
        Ok(None)
    }

    /// Says that no worker polls a task queue, and what to do.
    pub(crate) fn hint(&self, queue: &Queue) -> String {
        match queue {
            Queue::Workflows => format!(
                "no worker of fleet {} is there; start one with `shieldcert-temporal worker`",
                self.fleet
            ),
            Queue::Keys => "no worker takes devices; start one without --pinned-only".to_owned(),
            Queue::Worker(worker) => format!(
                "worker {worker} is not there; start it, say `shieldcert-temporal worker-lost {worker}` if its keys are \
                 gone, or change the label worker:{worker}"
            ),
            Queue::Budget(budget) => format!(
                "no worker sends requests of budget {budget}; start one with a --share above 0 whose fleet.toml has that \
                 budget"
            ),
        }
    }
}

fn failure(what: impl std::fmt::Display, status: &Status) -> Failure {
    Failure::failed(format!("{what}: {}", status.message()))
}

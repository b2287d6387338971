//! The activities that send requests. They run at a worker that has a share of the budget.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shieldcert::{CertificateId, IssueIntent, ZoneId};
use shieldcert_fleet::steps::{
    FindOutcome, IssueOutcome, IssueRequest, Refusal, RefusalKind, RevokeOutcome, Steps,
};
use temporalio_client::{
    UntypedSignal, UntypedWorkflow, WorkflowListOptions, WorkflowSignalOptions,
};
use temporalio_common::data_converters::{PayloadConverter, RawValue};
use temporalio_common::protos::temporal::api::workflowservice::v1::RecordActivityTaskHeartbeatRequest;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::attributes::{CERTIFICATES, CSRS};
use crate::keys::interval;
use crate::names::FleetName;
use crate::state::{SHORT, Suspect};

/// The requests of a worker.
pub(crate) struct Requests {
    steps: Arc<Steps>,
    /// How many new requests are in flight, or wait for the rate limit. Their deadline begins when they get their turn.
    turns: Semaphore,
}

/// What came of a request, and what is learnt beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Timed<T> {
    pub(crate) value: T,
    pub(crate) service_time: Option<Timestamp>,
    /// How many requests were sent, those of attempts that were cut off left out.
    pub(crate) requests: u64,
}

/// What a request needs that may have been sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OpenInput {
    pub(crate) request: IssueRequest,
    pub(crate) intent: Option<IssueIntent>,
}

/// What a look needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FindInput {
    pub(crate) request: IssueRequest,
    pub(crate) intent: IssueIntent,
}

/// A certificate of a zone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RevokeInput {
    pub(crate) zone: ZoneId,
    pub(crate) certificate: CertificateId,
}

/// What `scan` needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ScanInput {
    pub(crate) fleet: FleetName,
    pub(crate) zone: ZoneId,
}

/// What a zone holds beside the fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// How many certificates may be active.
    pub active: u64,
    /// How many of them were reported to their devices, which decide.
    pub suspects: u64,
    /// How many are not of this fleet. They are left alone.
    pub foreign: u64,
}

/// How many devices are told of suspects at once.
const SIGNALS: usize = 16;

impl Requests {
    pub(crate) fn new(steps: Arc<Steps>, concurrency: usize) -> Self {
        Self {
            steps,
            turns: Semaphore::new(concurrency),
        }
    }

    async fn timed<T>(
        &self,
        work: impl Future<Output = Result<T, ActivityError>>,
    ) -> Result<Timed<T>, ActivityError> {
        let (done, requests) = Steps::count_requests(work).await;
        done.map(|value| Timed {
            value,
            service_time: self.steps.service_time(),
            requests,
        })
    }
}

#[activities]
impl Requests {
    /// Issues the certificate of a generation. The first attempt sends. Later ones find out what came of it, and send
    /// nothing: the first may still be at it, and stops at its deadline.
    #[activity]
    pub(crate) async fn issue(
        self: Arc<Self>,
        context: ActivityContext,
        request: IssueRequest,
    ) -> Result<Timed<IssueOutcome>, ActivityError> {
        let intent = Intent::default();
        if context.info().attempt <= 1 {
            let issuing = async {
                let _turn = self.turns.acquire().await;
                let began = Instant::now();
                if !is_current(&context).await {
                    let workflow = context.info().workflow_id.as_deref();
                    tracing::warn!(
                        workflow,
                        "the server has given the attempt up, so nothing is sent"
                    );
                    let problem = "the server does not confirm the attempt; a later one finds out";
                    return Err(std::io::Error::other(problem).into());
                }
                let prepared = |prepared: &IssueIntent| intent.set(Some(prepared.clone()));
                Ok(self.steps.issue(&request, began, prepared).await)
            };
            let outcome = async { beating(&context, &intent, issuing).await.flatten() };
            let issued = self.timed(outcome).await;
            warn_of(&context, &issued, problem);
            issued
        } else {
            // Where the server has heard of it in time. Otherwise the latest possible deadline is assumed.
            let known = context
                .heartbeat_details()
                .deserialize::<Option<IssueIntent>>();
            let known = known.ok().flatten().flatten();
            intent.set(known.clone());
            let resuming = self.steps.resume(&request, known);
            let resumed = self.timed(beating(&context, &intent, resuming)).await;
            warn_of(&context, &resumed, problem);
            resumed
        }
    }

    /// Finds out about a request that may have been sent, and sends nothing.
    #[activity]
    pub(crate) async fn resume(
        self: Arc<Self>,
        context: ActivityContext,
        input: OpenInput,
    ) -> Result<Timed<IssueOutcome>, ActivityError> {
        let resuming = self.steps.resume(&input.request, input.intent);
        let intent = Intent::default();
        let resumed = self.timed(beating(&context, &intent, resuming)).await;
        warn_of(&context, &resumed, problem);
        resumed
    }

    /// Finds what a request has led to beside what is known, and sends nothing.
    #[activity]
    pub(crate) async fn find(
        self: Arc<Self>,
        context: ActivityContext,
        input: FindInput,
    ) -> Result<Timed<FindOutcome>, ActivityError> {
        let finding = self.steps.find(&input.request, input.intent);
        let intent = Intent::default();
        self.timed(beating(&context, &intent, finding)).await
    }

    /// Revokes a certificate.
    #[activity]
    pub(crate) async fn revoke(
        self: Arc<Self>,
        context: ActivityContext,
        input: RevokeInput,
    ) -> Result<Timed<RevokeOutcome>, ActivityError> {
        let revoking = self.steps.revoke(&input.zone, &input.certificate);
        let intent = Intent::default();
        let revoked = self.timed(beating(&context, &intent, revoking)).await;
        warn_of(&context, &revoked, |outcome| match outcome {
            RevokeOutcome::Refused(refusal) => problem_of(refusal),
            _ => None,
        });
        revoked
    }

    /// Asks for the service's time.
    #[activity]
    pub(crate) async fn ask_time(
        self: Arc<Self>,
        context: ActivityContext,
        zone: ZoneId,
    ) -> Result<Timed<Option<Refusal>>, ActivityError> {
        let asking = async { self.steps.ask_time(&zone).await.err() };
        let intent = Intent::default();
        self.timed(beating(&context, &intent, asking)).await
    }

    /// Compares a zone with what the devices show, and tells devices of certificates that they don't. The devices decide.
    #[activity]
    pub(crate) async fn scan(
        self: Arc<Self>,
        context: ActivityContext,
        input: ScanInput,
    ) -> Result<Result<Scan, String>, ActivityError> {
        let scanning = self.scan_zone(&context, &input);
        beating(&context, &Intent::default(), scanning).await
    }
}

impl Requests {
    async fn scan_zone(
        &self,
        context: &ActivityContext,
        input: &ScanInput,
    ) -> Result<Scan, String> {
        let client = context.client();
        let query = format!(
            "WorkflowType = 'device' AND ExecutionStatus = 'Running' AND ShieldcertFleet = '{}'",
            input.fleet
        );
        let mut devices: HashMap<String, String> = HashMap::new();
        let mut known: HashMap<String, String> = HashMap::new();
        let mut workflows = client.list_workflows(query, WorkflowListOptions::default());
        while let Some(workflow) = workflows.next().await {
            let workflow = workflow.map_err(|error| error.to_string())?;
            let shown = workflow.search_attributes();
            for csr in shown.get(&CSRS).unwrap_or_default() {
                devices.insert(csr, workflow.id().to_owned());
            }
            for certificate in shown.get(&CERTIFICATES).unwrap_or_default() {
                known.insert(certificate, workflow.id().to_owned());
            }
        }
        // After the devices: one that is begun meanwhile is foreign to this scan, and found by the next.
        let listed = self.steps.list(&input.zone).await;
        let listed = listed.map_err(|refusal| refusal.problem)?;
        let mut scan = Scan {
            active: listed.len() as u64,
            ..Scan::default()
        };
        let mut suspects: HashMap<String, Vec<Suspect>> = HashMap::new();
        for certificate in listed {
            if known.contains_key(certificate.id.as_str()) {
                continue;
            }
            let csr = certificate.csr_sha256.as_deref().unwrap_or_default();
            let csr = &csr[..SHORT.min(csr.len())];
            match devices.get(csr) {
                Some(device) => {
                    scan.suspects += 1;
                    suspects.entry(device.clone()).or_default().push(Suspect {
                        zone: input.zone.clone(),
                        certificate: certificate.id,
                        fingerprint: certificate.fingerprint,
                        csr: csr.to_owned(),
                    });
                }
                None => scan.foreign += 1,
            }
        }
        let signals = suspects.into_iter().map(|(device, suspects)| {
            let client = client.clone();
            async move {
                let payloads = RawValue::from_value(&suspects, &PayloadConverter::default());
                client
                    .get_workflow_handle::<UntypedWorkflow>(device.clone())
                    .signal(
                        UntypedSignal::new("suspects"),
                        payloads,
                        WorkflowSignalOptions::default(),
                    )
                    .await
                    .map_err(|error| format!("{device}: {error}"))
            }
        });
        let mut signals = stream::iter(signals).buffer_unordered(SIGNALS);
        while let Some(sent) = signals.next().await {
            sent?;
        }
        Ok(scan)
    }
}

/// Says in the worker's log what went wrong.
fn warn_of<T>(
    context: &ActivityContext,
    outcome: &Result<Timed<T>, ActivityError>,
    problem: impl Fn(&T) -> Option<&str>,
) {
    let outcome = outcome.as_ref().ok();
    if let Some(problem) = outcome.and_then(|outcome| problem(&outcome.value)) {
        let info = context.info();
        tracing::warn!(
            workflow = info.workflow_id.as_deref(),
            activity = info.activity_type,
            problem,
            "a request failed"
        );
    }
}

/// What went wrong with a request to issue.
fn problem(outcome: &IssueOutcome) -> Option<&str> {
    match outcome {
        IssueOutcome::NotIssued { refusal } | IssueOutcome::Unclear { refusal, .. } => {
            problem_of(refusal)
        }
        IssueOutcome::Wrong { problem, .. } => Some(problem),
        _ => None,
    }
}

/// That a rate limit is reached is no problem: the request waits.
fn problem_of(refusal: &Refusal) -> Option<&str> {
    (refusal.kind != RefusalKind::RateLimited).then_some(&refusal.problem)
}

/// Whether this attempt is the one that the server waits for.
///
/// A process may stop for any time between two instructions, and an attempt may then begin, or go on, after a later one has
/// shown that nothing was sent. So the deadline of a request begins before the server says this: later attempts begin after
/// it, and wait for as long. Without a word of the server nothing is sent.
async fn is_current(context: &ActivityContext) -> bool {
    let info = context.info();
    let client = context.client();
    let request = RecordActivityTaskHeartbeatRequest {
        task_token: info.task_token.clone(),
        namespace: info.namespace.clone(),
        ..RecordActivityTaskHeartbeatRequest::default()
    };
    let mut service = client.connection().workflow_service();
    let beat = service
        .record_activity_task_heartbeat(tonic::Request::new(request))
        .await;
    beat.is_ok_and(|beat| !beat.into_inner().cancel_requested)
}

/// Tells the server meanwhile that the worker is alive, and what resumes the request. Ends the work when the server has given
/// it up.
async fn beating<T>(
    context: &ActivityContext,
    intent: &Intent,
    work: impl Future<Output = T>,
) -> Result<T, ActivityError> {
    let period = interval(context);
    // The first sign of life is the intent: the server is not told more often than it needs.
    let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            () = context.cancelled() => return Err(ActivityError::cancelled()),
            () = intent.changed.notified() => {}
            _ = ticks.tick() => {}
        }
        let _ = context.record_heartbeat(intent.get()).await;
    }
}

/// What resumes a request, as soon as it is known.
#[derive(Default)]
struct Intent {
    value: Mutex<Option<IssueIntent>>,
    changed: Notify,
}

impl Intent {
    fn set(&self, intent: Option<IssueIntent>) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = intent;
        self.changed.notify_one();
    }

    fn get(&self) -> Option<IssueIntent> {
        self.value
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

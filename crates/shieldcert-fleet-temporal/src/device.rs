//! The workflow of a device. It goes on as long as the device is in the manifest, and longer: it never ends by itself, since a
//! second one could be started for the same device once it had.

use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use shieldcert::ZoneId;
use shieldcert_fleet::steps::{
    DeployOutcome, FindOutcome, IssueOutcome, Now, RevokeOutcome, Step, StoredGeneration,
    WriteOutcome,
};
use shieldcert_fleet::{Ask, Hold};
use temporalio_common::ActivityDefinition;
use temporalio_common::{Priority, RetryPolicy};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::workflows::select;
use temporalio_sdk::{
    ActivityExecutionError, ActivityOptions, CancellableFuture, ContinueAsNewOptions,
    SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult, WorkflowTermination,
};

use crate::attributes::changes;
use crate::keys::{DeployInput, Keys, PrepareInput, WriteInput};
use crate::names::WorkerName;
use crate::requests::{FindInput, OpenInput, Requests, RevokeInput, Timed};
use crate::state::{DeviceState, Next, Row, Suspect, Urgency, WORKING};

/// The workflow of a device.
#[workflow]
pub struct DeviceWorkflow {
    state: DeviceState,
    /// How many signals came, by which a wait ends.
    signals: u64,
}

/// How many events a history may have before the workflow continues as new while nothing is to be done.
const RESTING_HISTORY: u32 = 25;

/// How many it may have in any case.
const MAX_HISTORY: u32 = 2_000;

/// How long making a key or writing files may take.
const FILES: Duration = Duration::from_secs(30);

/// How long after its timeout a deploy command may still be ending.
const ENDING: Duration = Duration::from_secs(15);

/// How long finding out about a request may take beside the settle window. That of [`shieldcert_fleet`], and a margin.
const FINDING: Duration = Duration::from_secs(700);

/// Why an activity has no result.
enum Stopped {
    /// Something came up that changes what is to be done.
    Interrupted,
    /// It failed.
    Failed(String),
    /// The key is not where it was.
    KeyLost(String),
}

type Context = WorkflowContext<DeviceWorkflow>;

#[workflow_methods]
impl DeviceWorkflow {
    #[init]
    fn new(_context: &WorkflowContextView, state: DeviceState) -> Self {
        Self { state, signals: 0 }
    }

    /// Does what the policy decides.
    ///
    /// # Errors
    /// Returns that it was cancelled, or is to continue as new. It has no other end.
    #[run(name = "device")]
    pub async fn run(context: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        loop {
            let at = time(context);
            let history = context.history_length();
            let next = context.state_mut(|this| this.state.next(at));
            if history > MAX_HISTORY {
                let state = context.state(|this| this.state.clone());
                context.continue_as_new(state, ContinueAsNewOptions::default())?;
            }
            match next {
                Next::Do(step) => perform(context, step).await,
                Next::Look(place) => look(context, place).await,
                Next::RevokeSurplus(place) => revoke_surplus(context, place).await,
                Next::AskTime(zone) => ask_time(context, zone).await,
                Next::Wait(until) => {
                    let resting = context.state(|this| this.state.resting(at));
                    show(context, resting, at);
                    if history > RESTING_HISTORY {
                        let state = context.state(|this| this.state.clone());
                        context.continue_as_new(state, ContinueAsNewOptions::default())?;
                    }
                    wait(context, until, at).await;
                }
            }
            // An operator gives the device up. What it has stays as it is.
            if context.cancellation_token().is_cancelled() {
                return Err(WorkflowTermination::cancelled());
            }
        }
    }

    /// The manifest's row, or the policy, has changed.
    #[signal(name = "row")]
    pub(crate) fn row(&mut self, _context: &mut SyncWorkflowContext<Self>, row: Row) {
        self.signals += 1;
        self.state.set_row(row);
    }

    /// The device has a new CSR, in PEM.
    #[signal(name = "csr")]
    pub(crate) fn csr(&mut self, _context: &mut SyncWorkflowContext<Self>, csr: String) {
        self.signals += 1;
        self.state.set_csr(csr);
    }

    /// The device is to have a new key and certificate. With `true`, its key has leaked.
    #[signal(name = "renew")]
    pub(crate) fn renew(&mut self, _context: &mut SyncWorkflowContext<Self>, has_leaked: bool) {
        self.signals += 1;
        self.state.ask(match has_leaked {
            true => Ask::RotateNow,
            false => Ask::Rotate,
        });
    }

    /// The device is to have no certificate. With `true`, its key has leaked.
    #[signal(name = "revoke")]
    pub(crate) fn revoke(&mut self, _context: &mut SyncWorkflowContext<Self>, has_leaked: bool) {
        self.signals += 1;
        self.state.ask(match has_leaked {
            true => Ask::RevokeNow,
            false => Ask::Revoke,
        });
    }

    /// What has failed is to be tried at once.
    #[signal(name = "retry")]
    pub(crate) fn retry(&mut self, _context: &mut SyncWorkflowContext<Self>) {
        self.signals += 1;
        self.state.retry_now();
    }

    /// Nothing is begun any more, or with `false` again.
    #[signal(name = "pause")]
    pub(crate) fn pause(&mut self, _context: &mut SyncWorkflowContext<Self>, is_paused: bool) {
        self.signals += 1;
        self.state.paused = is_paused;
    }

    /// A worker is lost, with the keys on it.
    #[signal(name = "worker-lost")]
    pub(crate) fn worker_lost(
        &mut self,
        _context: &mut SyncWorkflowContext<Self>,
        worker: WorkerName,
    ) {
        self.signals += 1;
        self.state.lose_worker(&worker);
    }

    /// Reconciliation found certificates that may be surplus.
    #[signal(name = "suspects")]
    pub(crate) fn suspects(
        &mut self,
        _context: &mut SyncWorkflowContext<Self>,
        suspects: Vec<Suspect>,
    ) {
        self.signals += 1;
        self.state.suspect(suspects);
    }

    /// What is known of the device.
    #[query(name = "state")]
    pub(crate) fn state(&self, _context: &WorkflowContextView) -> DeviceState {
        self.state.clone()
    }
}

/// The workflow's time: the server's, the same when it is replayed.
fn time(context: &Context) -> Timestamp {
    let time = context.workflow_time();
    time.and_then(|time| Timestamp::try_from(time).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

fn now(context: &Context) -> Now {
    let at = time(context);
    context.state(|this| this.state.now(at))
}

/// Shows what has changed.
fn show(context: &Context, word: &str, at: Timestamp) {
    let updates = context.state_mut(|this| {
        let mut shown = this.state.show(word);
        if word != WORKING {
            let held = this.state.held(at);
            shown.hold = held.map(|held| held.hold.as_str().to_owned());
        }
        let updates = changes(this.state.shown.as_ref(), &shown);
        this.state.shown = Some(shown);
        updates
    });
    if !updates.is_empty() {
        context.upsert_search_attributes(updates);
    }
}

/// Waits until a time, or a signal.
async fn wait(context: &Context, until: Option<Timestamp>, at: Timestamp) {
    let seen = context.state(|this| this.signals);
    let mut came = context
        .wait_condition(|this| this.signals != seen)
        .boxed_local()
        .fuse();
    let Some(until) = until else {
        let _ = came.await;
        return;
    };
    /// The longest timer. What is due later waits for several.
    const LONGEST: Duration = Duration::from_secs(30 * 86_400);
    let left = Duration::try_from(until.duration_since(at)).unwrap_or_default();
    // Timers fire a little early where the server rounds.
    let mut timer = context.timer(left.min(LONGEST) + Duration::from_millis(10));
    select! {
        _ = timer => {}
        _ = came => timer.cancel(),
    }
}

/// How an activity is run.
struct How {
    queue: String,
    timeout: Duration,
    beats: bool,
    urgency: Urgency,
    summary: String,
}

impl How {
    fn options(self, context: &Context) -> ActivityOptions {
        let heartbeat = context.state(|this| heartbeat(this.state.policy.settle_window));
        let retry = RetryPolicy::builder()
            .initial_interval(Duration::from_secs(1))
            .maximum_interval(Duration::from_secs(60))
            .build();
        ActivityOptions::with_start_to_close_timeout(self.timeout)
            .task_queue(self.queue)
            .maybe_heartbeat_timeout(self.beats.then_some(heartbeat))
            .retry_policy(retry)
            .priority(Priority::builder().priority_key(self.urgency.0).build())
            .do_not_eagerly_execute(true)
            .summary(self.summary)
            .build()
    }
}

/// After how long without a sign of life a worker's activity is given to another. A fraction of what finding out about its
/// request takes anyway.
fn heartbeat(settle_window: Duration) -> Duration {
    (settle_window / 2).clamp(Duration::from_secs(4), Duration::from_secs(30))
}

/// Runs an activity for as long as it is wanted. What a signal changes is weighed when it comes.
async fn run_while<A>(
    context: &Context,
    activity: A,
    input: A::Input,
    how: How,
    is_wanted: impl Fn(&mut DeviceState, Timestamp) -> bool,
) -> Result<A::Output, Stopped>
where
    A: ActivityDefinition,
    A::Output: temporalio_common::data_converters::TemporalDeserializable,
{
    let options = how.options(context);
    let mut running = context.execute_activity(activity, input, options);
    loop {
        let seen = context.state(|this| this.signals);
        let mut came = context
            .wait_condition(|this| this.signals != seen)
            .boxed_local()
            .fuse();
        select! {
            done = running => return done.map_err(stopped),
            _ = came => {
                let at = time(context);
                if !context.state_mut(|this| is_wanted(&mut this.state, at)) {
                    running.cancel();
                    return Err(Stopped::Interrupted);
                }
            }
        }
    }
}

fn stopped(error: ActivityExecutionError) -> Stopped {
    match error {
        ActivityExecutionError::Cancelled(_) => Stopped::Interrupted,
        other => Stopped::Failed(other.to_string()),
    }
}

/// Runs an activity at a worker. It waits for that worker for as long as nothing comes up.
async fn at_worker<A>(
    context: &Context,
    activity: A,
    input: A::Input,
    how: How,
    step: &Step,
) -> Result<A::Output, Stopped>
where
    A: ActivityDefinition,
    A::Output: temporalio_common::data_converters::TemporalDeserializable,
{
    let queue = how.queue.clone();
    run_while(context, activity, input, how, |state, at| {
        state.next(at) == Next::Do(step.clone()) && state.key_queue(step).as_ref() == Some(&queue)
    })
    .await
}

/// Runs an activity that sends requests, to its end, unless the zone gets another budget: nobody may work on the queue of the
/// old one any more.
async fn at_budget<A, T>(
    context: &Context,
    zone: &ZoneId,
    activity: A,
    input: A::Input,
    urgency: Urgency,
    summary: String,
) -> Result<T, Stopped>
where
    A: ActivityDefinition<Output = Timed<T>>,
    Timed<T>: temporalio_common::data_converters::TemporalDeserializable + 'static,
{
    let known = context.state(|this| {
        let state = &this.state;
        Some((state.budget_queue(zone)?, state.policy.settle_window))
    });
    let Some((queue, settle_window)) = known else {
        return Err(Stopped::Failed(format!(
            "zone {zone} is not in fleet.toml, and the device has a certificate in it; add it again"
        )));
    };
    let how = How {
        queue: queue.clone(),
        timeout: settle_window * 4 + FINDING,
        beats: true,
        urgency,
        summary,
    };
    let Timed {
        value,
        service_time,
        requests,
    } = run_while(context, activity, input, how, |state, _| {
        state.budget_queue(zone).as_ref() == Some(&queue)
    })
    .await?;
    let at = time(context);
    context.state_mut(|this| {
        this.state.tally.requests += requests;
        this.state.set_clock(service_time, at);
    });
    Ok(value)
}

/// Does a step, and records what came of it.
async fn perform(context: &Context, step: Step) {
    let is_shown = |this: &DeviceWorkflow| {
        let shown = this.state.shown.as_ref();
        shown.is_some_and(|shown| shown.state == WORKING)
    };
    if !context.state(is_shown) {
        show(context, WORKING, time(context));
    }
    let number = step.generation().unwrap_or_default();
    let urgency = context.state(|this| this.state.urgency(&step));
    let summary = format!("generation {number}");
    let outcome = match &step {
        Step::Begin(reason) => {
            let has_begun = context.state_mut(|this| this.state.begin(*reason));
            if !has_begun {
                // No zone is left for it. A changed row or policy says otherwise.
                wait(context, None, time(context)).await;
            }
            Ok(())
        }
        Step::Abandon(_) => {
            let now = now(context);
            context.state_mut(|this| this.state.abandon(number, None, now));
            Ok(())
        }
        Step::MakeKey(_) => make_key(context, number, urgency, summary, &step).await,
        Step::Send(_) => send(context, number, urgency, summary).await,
        Step::Resume(_) => resume(context, number, urgency, summary).await,
        Step::Settle(_) => settle(context, number, urgency, summary).await,
        Step::Write(_) => write(context, number, urgency, summary, &step).await,
        Step::Deploy(_) => deploy(context, number, urgency, summary, &step).await,
        Step::Verify(_) => verify(context, number, urgency, summary, &step).await,
        Step::Revoke(..) => revoke(context, number, urgency, summary).await,
    };
    let (hold, problem) = match outcome {
        Ok(()) | Err(Stopped::Interrupted) => return,
        Err(Stopped::Failed(problem)) => (Hold::Failed, problem),
        Err(Stopped::KeyLost(problem)) => (Hold::KeyLost, problem),
    };
    let now = now(context);
    context.state_mut(|this| this.state.fail(number, hold, &problem, now));
}

async fn make_key(
    context: &Context,
    number: u32,
    urgency: Urgency,
    summary: String,
    step: &Step,
) -> Result<(), Stopped> {
    let needed = context.state(|this| {
        let state = &this.state;
        let input = PrepareInput {
            device: state.snapshot.device.clone()?,
            number,
            csr: state.own_csr().map(str::to_owned),
        };
        Some((input, state.key_queue(step)?))
    });
    let Some((input, queue)) = needed else {
        return Err(Stopped::Interrupted);
    };
    let how = How {
        queue,
        timeout: FILES,
        beats: false,
        urgency,
        summary,
    };
    let made = at_worker(context, Keys::prepare, input, how, step).await?;
    match made.result {
        Ok(prepared) => {
            context.state_mut(|this| this.state.keyed(number, made.worker, prepared));
            Ok(())
        }
        Err(problem) => Err(Stopped::Failed(problem)),
    }
}

async fn send(
    context: &Context,
    number: u32,
    urgency: Urgency,
    summary: String,
) -> Result<(), Stopped> {
    let Some(request) = context.state(|this| this.state.request(number)) else {
        return Err(Stopped::Failed("its CSR is lost".to_owned()));
    };
    // From here on a request may have been sent. Its CSR is shown, so that reconciliation knows whose it is.
    context.state_mut(|this| this.state.sending(number));
    show(context, WORKING, time(context));
    let zone = request.zone.clone();
    let sent = at_budget(context, &zone, Requests::issue, request, urgency, summary).await;
    take(context, number, sent)
}

/// Records what came of a request. One without a result stays open, and is resumed.
fn take(
    context: &Context,
    number: u32,
    result: Result<IssueOutcome, Stopped>,
) -> Result<(), Stopped> {
    let now = now(context);
    context.state_mut(|this| match result {
        Ok(outcome) => {
            this.state.took(number, outcome, now);
            Ok(())
        }
        Err(Stopped::Interrupted) => Err(Stopped::Interrupted),
        Err(Stopped::Failed(problem) | Stopped::KeyLost(problem)) => {
            this.state.fail(number, Hold::Unclear, &problem, now);
            Ok(())
        }
    })
}

fn open(context: &Context, number: u32) -> Option<OpenInput> {
    context.state(|this| {
        Some(OpenInput {
            request: this.state.request(number)?,
            intent: this.state.generation(number)?.intent.clone(),
        })
    })
}

async fn resume(
    context: &Context,
    number: u32,
    urgency: Urgency,
    summary: String,
) -> Result<(), Stopped> {
    let Some(input) = open(context, number) else {
        return Err(Stopped::Failed("its CSR is lost".to_owned()));
    };
    let zone = input.request.zone.clone();
    let resumed = at_budget(context, &zone, Requests::resume, input, urgency, summary).await;
    take(context, number, resumed)
}

async fn settle(
    context: &Context,
    number: u32,
    urgency: Urgency,
    summary: String,
) -> Result<(), Stopped> {
    let Some(OpenInput { request, intent }) = open(context, number) else {
        return Err(Stopped::Failed("its CSR is lost".to_owned()));
    };
    let Some(intent) = intent else {
        // Only resuming knows what to assume. It sends nothing either.
        return resume(context, number, urgency, summary).await;
    };
    let zone = request.zone.clone();
    let input = FindInput {
        request,
        intent: intent.clone(),
    };
    let found = at_budget(context, &zone, Requests::find, input, urgency, summary).await;
    let now = now(context);
    context.state_mut(|this| match found {
        Ok(FindOutcome::Found(found)) => this.state.settled(number, found, Some(intent), now),
        Ok(FindOutcome::Unclear(refusal)) => this.state.refused(number, &refusal, true, now),
        Ok(_) => this
            .state
            .fail(number, Hold::Unclear, "an unknown outcome", now),
        Err(Stopped::Interrupted) => {}
        Err(Stopped::Failed(problem) | Stopped::KeyLost(problem)) => {
            this.state.fail(number, Hold::Unclear, &problem, now);
        }
    });
    Ok(())
}

async fn write(
    context: &Context,
    number: u32,
    urgency: Urgency,
    summary: String,
    step: &Step,
) -> Result<(), Stopped> {
    let needed = context.state(|this| {
        let generation = this.state.generation(number)?;
        let input = WriteInput {
            device: this.state.snapshot.name.clone(),
            generation: StoredGeneration::of(generation)?,
            pem: generation.pem.clone()?,
        };
        Some((input, this.state.key_queue(step)?))
    });
    let Some((input, queue)) = needed else {
        return Err(Stopped::Failed(
            "the service has shown no certificate to write".to_owned(),
        ));
    };
    let how = How {
        queue,
        timeout: FILES,
        beats: false,
        urgency,
        summary,
    };
    match at_worker(context, Keys::write, input, how, step).await? {
        WriteOutcome::Done => {
            context.state_mut(|this| this.state.written(number));
            Ok(())
        }
        WriteOutcome::KeyLost(problem) => Err(Stopped::KeyLost(problem)),
        WriteOutcome::Failed(problem) => Err(Stopped::Failed(problem)),
        _ => Err(Stopped::Failed("an unknown outcome".to_owned())),
    }
}

/// What deploying and verifying need.
fn deployment(
    context: &Context,
    number: u32,
    urgency: Urgency,
    summary: String,
    step: &Step,
) -> Option<(DeployInput, How)> {
    context.state(|this| {
        let (device, deployment) = this.state.deployment(number)?;
        let how = How {
            queue: this.state.key_queue(step)?,
            // With a command for each device, and one for all.
            timeout: this.state.policy.deploy_timeout * 2 + ENDING,
            beats: true,
            urgency,
            summary,
        };
        Some((DeployInput { device, deployment }, how))
    })
}

async fn deploy(
    context: &Context,
    number: u32,
    urgency: Urgency,
    summary: String,
    step: &Step,
) -> Result<(), Stopped> {
    let Some((input, how)) = deployment(context, number, urgency, summary, step) else {
        return Err(Stopped::Failed("its files are nowhere".to_owned()));
    };
    context.state_mut(|this| this.state.hook_started(number));
    let deployed = at_worker(context, Keys::deploy, input, how, step).await?;
    let now = now(context);
    match deployed {
        DeployOutcome::Done(_) => context.state_mut(|this| this.state.deployed(number)),
        DeployOutcome::Paused => {
            context.state_mut(|this| this.state.deploy_paused(number, now));
        }
        DeployOutcome::KeyLost(problem) => return Err(Stopped::KeyLost(problem)),
        DeployOutcome::Failed(problem) => return Err(Stopped::Failed(problem)),
        _ => return Err(Stopped::Failed("an unknown outcome".to_owned())),
    }
    Ok(())
}

async fn verify(
    context: &Context,
    number: u32,
    urgency: Urgency,
    summary: String,
    step: &Step,
) -> Result<(), Stopped> {
    let Some((input, how)) = deployment(context, number, urgency, summary, step) else {
        return Err(Stopped::Failed("its files are nowhere".to_owned()));
    };
    let verified = at_worker(context, Keys::verify, input, how, step).await?;
    let now = now(context);
    match verified {
        DeployOutcome::Done(_) => {
            context.state_mut(|this| this.state.verified(number, now));
            Ok(())
        }
        DeployOutcome::Failed(problem) => Err(Stopped::Failed(problem)),
        _ => Err(Stopped::Failed("an unknown outcome".to_owned())),
    }
}

async fn revoke(
    context: &Context,
    number: u32,
    urgency: Urgency,
    summary: String,
) -> Result<(), Stopped> {
    let input = context.state(|this| {
        let generation = this.state.generation(number)?;
        Some(RevokeInput {
            zone: generation.zone.clone(),
            certificate: generation.certificate.clone()?,
        })
    });
    let Some(input) = input else {
        let now = now(context);
        context.state_mut(|this| this.state.abandon(number, None, now));
        return Ok(());
    };
    let zone = input.zone.clone();
    let revoked = at_budget(context, &zone, Requests::revoke, input, urgency, summary).await?;
    let now = now(context);
    context.state_mut(|this| this.state.revoked(number, &revoked, now));
    Ok(())
}

/// How urgent looks and revocations of surplus are.
const ROUTINE: Urgency = Urgency(5);

async fn look(context: &Context, place: usize) {
    let look = context.state(|this| this.state.looks.get(place).cloned());
    let Some(look) = look else { return };
    let zone = look.request.zone.clone();
    let input = FindInput {
        request: look.request,
        intent: look.intent,
    };
    let summary = format!("look after generation {}", look.generation);
    let found = at_budget(context, &zone, Requests::find, input, ROUTINE, summary).await;
    let now = now(context);
    context.state_mut(|this| match found {
        Ok(FindOutcome::Found(found)) => this.state.looked(place, found),
        Ok(FindOutcome::Unclear(refusal)) => {
            this.state.look_failed(place, refusal.retry_after, now)
        }
        Err(Stopped::Interrupted) => {}
        _ => this.state.look_failed(place, None, now),
    });
}

async fn revoke_surplus(context: &Context, place: usize) {
    let surplus = context.state(|this| this.state.surplus.get(place).cloned());
    let Some(surplus) = surplus else { return };
    let input = RevokeInput {
        zone: surplus.zone.clone(),
        certificate: surplus.certificate,
    };
    let summary = "surplus".to_owned();
    let revoked = at_budget(
        context,
        &surplus.zone,
        Requests::revoke,
        input,
        ROUTINE,
        summary,
    )
    .await;
    let now = now(context);
    context.state_mut(|this| match revoked {
        Ok(RevokeOutcome::Refused(refusal)) => {
            this.state.surplus_refused(place, refusal.retry_after, now);
        }
        Ok(_) => this.state.surplus_revoked(place),
        Err(Stopped::Interrupted) => {}
        Err(_) => this.state.surplus_refused(place, None, now),
    });
}

async fn ask_time(context: &Context, zone: ZoneId) {
    let summary = "the service's time".to_owned();
    let asked = at_budget(
        context,
        &zone.clone(),
        Requests::ask_time,
        zone,
        ROUTINE,
        summary,
    )
    .await;
    if matches!(asked, Err(Stopped::Failed(_))) {
        // What is known goes on.
        let at = time(context);
        context.state_mut(|this| this.state.set_clock(None, at));
    }
}

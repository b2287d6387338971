//! What `revoke` and `reactivate` have in common: a plan, a confirmation, and many requests, whose outcomes are said.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use shieldcert::{BulkStream, CertificateId, ClientCertificate, Status, Zone};

use super::plan::Plan;
use crate::args::targets::TargetArgs;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::interrupts::Interrupts;
use crate::output::certificate::CertificateRow;
use crate::output::printer::Printer;
use crate::output::progress::Progress;
use crate::output::shell::this_command;

/// How often rows are shown while requests are under way.
const INTERVAL: Duration = Duration::from_millis(500);

// Not a doc comment: it would become that of the command.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    #[command(flatten)]
    targets: TargetArgs,

    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Wait until each has its new status, for up to five minutes each
    #[arg(long)]
    wait: bool,
}

/// What is done to each.
pub(crate) struct Change {
    /// `revoke`.
    pub(crate) verb: &'static str,
    /// `revoked`.
    pub(crate) done: &'static str,
    /// The status that it leads to, in the end.
    pub(crate) status: &'static str,
    /// What else a rehearsal does not show.
    pub(crate) unchecked: &'static str,
    pub(crate) needs_nothing: fn(&Status) -> bool,
    pub(crate) send: fn(&Zone, Ids, bool) -> BulkStream<CertificateId, ClientCertificate>,
}

/// The ids that are still to be sent. They end early when the command is to stop.
pub(crate) struct Ids {
    ids: VecDeque<CertificateId>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_stopped: AtomicBool,
    /// How many were taken to be sent.
    taken: AtomicUsize,
    /// Those that were taken, and of which nothing came yet.
    in_flight: Mutex<HashSet<CertificateId>>,
}

impl Shared {
    fn in_flight(&self) -> MutexGuard<'_, HashSet<CertificateId>> {
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Iterator for Ids {
    type Item = CertificateId;

    fn next(&mut self) -> Option<CertificateId> {
        if self.shared.is_stopped.load(Ordering::Relaxed) {
            return None;
        }
        let id = self.ids.pop_front()?;
        self.shared.taken.fetch_add(1, Ordering::Relaxed);
        self.shared.in_flight().insert(id.clone());
        Some(id)
    }
}

/// What has happened so far.
struct State {
    printer: Printer<CertificateRow>,
    /// What failed to be printed first. The rest is done all the same.
    printed: Result<()>,
    progress: Progress,
    interrupts: Interrupts,
    shared: Arc<Shared>,
    succeeded: usize,
    /// Those that were to be waited for, and are pending, since the command is to stop.
    pending: usize,
    failures: Vec<ExitCode>,
    is_interrupted: bool,
}

impl State {
    fn note_print(&mut self, print: impl FnOnce(&mut Printer<CertificateRow>) -> Result<()>) {
        if self.printed.is_ok() {
            self.printed = print(&mut self.printer);
        }
    }
}

impl Change {
    pub(crate) async fn run(&self, context: &Context, args: ChangeArgs) -> Result {
        let targets = args.targets.read(self.verb)?;
        let mut plan = Plan::make(context, targets, args.dry_run, self.needs_nothing).await?;
        if args.dry_run {
            plan.print(context)?;
            context
                .messages()
                .note(&format!("would {}", plan.describe(self.verb)));
            if args.wait && !plan.ids.is_empty() {
                context.messages().note("--wait takes more requests");
            }
            if plan.ids.len() + plan.unneeded() > 0 {
                context.messages().note("checked: the permission to read");
            }
            if !plan.ids.is_empty() {
                context.messages().note(&format!(
                    "not checked: the permission to write, which `shieldcert doctor --probe-write` checks{}",
                    self.unchecked
                ));
            }
            return Ok(ExitCode::of_many(
                plan.ids.len() + plan.unneeded(),
                &plan.failures,
            ));
        }
        plan.confirm(context, self.verb, args.yes)?;
        let total = plan.ids.len();
        let mut state = State {
            printer: context.printer()?,
            printed: Ok(()),
            progress: Progress::start(context.messages(), self.done, Some(total as u64)),
            interrupts: Interrupts::listen(),
            shared: Arc::default(),
            succeeded: 0,
            pending: 0,
            failures: std::mem::take(&mut plan.failures),
            is_interrupted: false,
        };
        for (place, zone) in plan.zones.iter().enumerate() {
            let ids = plan.ids.iter().filter(|(own, _)| *own == place);
            let ids = Ids {
                ids: ids.map(|(_, id)| id.clone()).collect(),
                shared: state.shared.clone(),
            };
            let results = (self.send)(zone, ids, args.wait);
            self.take(context, zone, results, args.wait, &mut state)
                .await;
        }
        state.note_print(Printer::finish);
        let State {
            printed,
            progress,
            shared,
            succeeded,
            pending,
            failures,
            is_interrupted,
            ..
        } = state;
        drop(progress);
        let left = total - shared.taken.load(Ordering::Relaxed);
        let unknown = shared.in_flight().len();
        let messages = context.messages();
        let was = |count| if count == 1 { "was" } else { "were" };
        let mut parts = vec![format!("{succeeded} {}", self.done)];
        if pending > 0 {
            parts.push(format!("{pending} pending"));
        }
        if plan.done > 0 {
            let count = plan.done;
            parts.push(format!("{count} {} already {}", was(count), self.status));
        }
        if plan.pending > 0 {
            let count = plan.pending;
            parts.push(format!("{count} {} already pending", was(count)));
        }
        if !failures.is_empty() {
            parts.push(format!("{} failed", failures.len()));
        }
        if unknown > 0 {
            parts.push(format!("{unknown} in flight, of which nothing is known"));
        }
        if left > 0 {
            parts.push(format!("{left} not sent"));
        }
        let is_nothing = succeeded + pending + failures.len() + unknown + left == 0;
        messages.note(&match parts.split_first() {
            Some((_, others)) if is_nothing && !others.is_empty() => {
                format!("nothing to {}: {}", self.verb, others.join(", "))
            }
            _ => parts.join(", "),
        });
        if pending > 0 || (succeeded > 0 && !args.wait) {
            messages.note(match args.wait {
                true => "the service completes what is pending within seconds",
                false => "the service completes this within seconds; --wait waits for it",
            });
        }
        if left + unknown > 0 {
            messages.note(&format!("to go on, which is safe: {}", this_command()));
        }
        if is_interrupted {
            return Ok(ExitCode::Interrupted);
        }
        match ExitCode::of_many(succeeded + plan.unneeded(), &failures) {
            ExitCode::Done => printed.map(|()| ExitCode::Done),
            code => Ok(code),
        }
    }

    /// Takes the outcomes in one zone.
    async fn take(
        &self,
        context: &Context,
        zone: &Zone,
        mut results: BulkStream<CertificateId, ClientCertificate>,
        mut waits: bool,
        state: &mut State,
    ) {
        let has_waited = waits;
        let mut shown = Instant::now();
        loop {
            let result = tokio::select! {
                biased;
                () = state.interrupts.next() => {
                    if state.is_interrupted {
                        return;
                    }
                    state.is_interrupted = true;
                    state.shared.is_stopped.store(true, Ordering::Relaxed);
                    let in_flight: VecDeque<_> = state.shared.in_flight().iter().cloned().collect();
                    if in_flight.is_empty() {
                        continue;
                    }
                    context.messages().note("finishing what is in flight; Ctrl-C again stops at once");
                    if waits {
                        // Whether each was sent or is being waited for is not known. Sending it again is safe, and says.
                        waits = false;
                        let ids = Ids { ids: in_flight, shared: Arc::default() };
                        results = (self.send)(zone, ids, false);
                    }
                    continue;
                }
                result = results.next() => result,
            };
            match result {
                None => return,
                Some((id, Ok(certificate))) => {
                    state.shared.in_flight().remove(&id);
                    match has_waited && !waits && certificate.status().is_pending() {
                        true => state.pending += 1,
                        false => state.succeeded += 1,
                    }
                    let now = context.now();
                    let row = CertificateRow::new(zone.id(), &certificate, now);
                    state.note_print(|printer| printer.print(&row, now));
                }
                Some((id, Err(error))) => {
                    state.shared.in_flight().remove(&id);
                    let mut failure = Failure::from(error).about(format!("certificate {id}"));
                    if state.failures.contains(&failure.code) {
                        // It was said what to do.
                        failure.hints.clear();
                    }
                    context.messages().error(&failure);
                    state.failures.push(failure.code);
                    if failure.code == ExitCode::NotAllowed {
                        // It is the same for the others.
                        state.shared.is_stopped.store(true, Ordering::Relaxed);
                    }
                }
            }
            state.progress.add(1);
            if shown.elapsed() >= INTERVAL {
                shown = Instant::now();
                state.note_print(Printer::flush_some);
            }
        }
    }
}

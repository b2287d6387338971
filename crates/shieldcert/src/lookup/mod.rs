//! Finds out whether requests to issue have led to certificates.
//!
//! A look-up has three outcomes: the certificate is *found*, it is *absent*, or that is *unknown*. Absent needs a proof,
//! see [`places`] and [`needle`]: everything that may hold the certificate was read, and every record there is provably
//! another one.
//!
//! Look-ups of one client in one zone share their requests, one at a time: what a look-up reads serves every request
//! that waits when it begins. Within a settle window only a few begin, so that many unclear requests share one.

mod collect;
pub(crate) mod needle;
mod order;
mod places;
pub(crate) mod queue;
pub(crate) mod unclear;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use self::collect::Collector;
use self::needle::{Findings, Needle, Unread};
use self::places::{Completeness, Places};
use self::queue::{Depth, Waiting};
use crate::context::Context;
use crate::error::Result;
use crate::get::Get;
use crate::list::List;
use crate::observe::trace;

/// How many requests a look-up may take for each certificate that it seeks.
const MAX_REQUESTS: u64 = 240;

/// How many records that can't be compared are fetched on their own.
const MAX_GETS: usize = 10;

/// How long a complete look-up waits for others that begin at the same time.
const GATHER: Duration = Duration::from_millis(20);

/// How long a look-up may take.
const DURATION: Duration = Duration::from_secs(30);

/// How look-ups of a zone are spread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) settle_window: Duration,
    /// When the caller gives up. Close to it, a look-up waits for no others.
    pub(crate) limit: Option<Instant>,
}

impl Pace {
    /// Whether the caller has the time to look only then.
    pub(crate) fn allows(self, at: Instant) -> bool {
        self.limit.is_none_or(|limit| at + DURATION < limit)
    }
}

/// Looks for the certificate of a request, together with the other look-ups of the zone.
pub(crate) async fn look(
    context: &Context,
    needle: Arc<Needle>,
    depth: Depth,
    pace: Pace,
) -> Findings {
    let line = context.shared.lookups.line(&context.zone_id);
    let window = pace.settle_window;
    loop {
        if depth == Depth::Complete {
            while let Some(at) = line.next_complete(window).filter(|at| pace.allows(*at)) {
                sleep_until(at).await;
            }
        }
        let mut reply = line.wait(needle.clone(), depth);
        let turn = line.take_turn().await;
        match reply.try_recv() {
            Ok(findings) => return findings,
            // The look-up that was to serve this one was dropped.
            Err(tokio::sync::oneshot::error::TryRecvError::Closed) => continue,
            Err(tokio::sync::oneshot::error::TryRecvError::Empty) => {}
        }
        if depth == Depth::Complete {
            sleep(GATHER).await;
        }
        let began = Instant::now();
        let waiting = line.take_waiting();
        if serve(context, waiting).await {
            line.note_complete(began);
        }
        drop(turn);
        if let Ok(findings) = reply.await {
            return findings;
        }
    }
}

/// Makes one look-up for all that wait, and replies to them. Returns whether it has read everything.
async fn serve(context: &Context, waiting: Vec<Waiting>) -> bool {
    let needles: Vec<_> = waiting
        .iter()
        .map(|waiting| waiting.needle.clone())
        .collect();
    let is_complete = waiting
        .iter()
        .any(|waiting| waiting.depth == Depth::Complete);
    let span = tracing::info_span!(
        "shieldcert.look_up",
        zone = %context.zone_id,
        certificates = needles.len(),
        complete = is_complete
    );
    let mut lookup = Lookup {
        context,
        collector: Collector::new(needles.clone()),
        is_whole: false,
    };
    let read = async {
        match is_complete {
            true => lookup.read_completely(&needles).await,
            false => Places::new(context, &mut lookup.collector)
                .read_ends()
                .await
                .map(|()| None),
        }
    };
    let unread = trace(span, read).await.unwrap_or_else(|error| {
        Some(Unread {
            problem: error.to_string(),
            can_retry: true,
        })
    });
    let is_whole = lookup.is_whole;
    let findings = lookup.collector.finish(is_whole);
    for (waiting, mut findings) in waiting.into_iter().zip(findings) {
        findings.unread.clone_from(&unread);
        waiting.reply(findings);
    }
    is_complete && unread.is_none()
}

struct Lookup<'a> {
    context: &'a Context,
    collector: Collector,
    /// Whether the whole list was read.
    is_whole: bool,
}

impl Lookup<'_> {
    /// Reads everything that may hold the certificates. Returns why it did not, if so.
    async fn read_completely(&mut self, needles: &[Arc<Needle>]) -> Result<Option<Unread>> {
        let max_requests = MAX_REQUESTS.saturating_mul(needles.len() as u64);
        let mut places = Places::new(self.context, &mut self.collector);
        let pages = match places.read_all(needles, max_requests).await? {
            Completeness::Proven => {
                self.get_incomparable().await?;
                // What a record without an id is, only the whole list may show.
                if !self.collector.has_unreadable() {
                    return Ok(None);
                }
                None
            }
            Completeness::Unproven { pages } => pages,
        };
        let too_long = || {
            Ok(Some(Unread::for_good(format!(
                "the zone has more certificates than {max_requests} requests can list"
            ))))
        };
        if pages.is_some_and(|pages| pages > max_requests) {
            return too_long();
        }
        // What the places held is added again.
        self.collector = Collector::new(needles.to_vec());
        let mut pages = List::new(self.context.clone()).pages();
        let mut requests = 0;
        while let Some(page) = pages.try_next().await? {
            for record in &page.certificates {
                self.collector.add(record);
            }
            for key in page.unreadable_keys {
                self.collector.add_unreadable(key);
            }
            requests += 1;
            if requests > max_requests {
                return too_long();
            }
        }
        self.get_incomparable().await?;
        self.is_whole = true;
        Ok(None)
    }

    /// Fetches records that can't be compared. A request of their own may show them in full.
    async fn get_incomparable(&mut self) -> Result<()> {
        for id in self.collector.incomparable_ids().into_iter().take(MAX_GETS) {
            match Get::new(self.context.clone(), id).send().await {
                Ok(record) => self.collector.replace(&record),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

//! Sees how certificates stand, for many waits at once.
//!
//! Each wait looks again and again. Looks that fall together are made together: a few pages of a list
//! show what as many requests as there are waits would. Which is cheaper is decided by the size of the
//! zone, and each look that the list did not answer is made on its own.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::certificate::{CertificateId, ClientCertificate, ZoneId};
use crate::error::Result;
use crate::list::{List, StatusFilter};
use crate::zone::Zone;

/// The looks of a client. Shared by its clones.
pub(crate) struct Lookout {
    started: Instant,
    gathering: Mutex<HashMap<ZoneId, Vec<Look>>>,
}

/// Someone wants to know how a certificate stands.
struct Look {
    id: CertificateId,
    answer: oneshot::Sender<ClientCertificate>,
}

/// Fewer looks than this are cheaper one by one.
const WORTH_A_LIST: usize = 4;

/// How long looks are gathered before they are made.
const GATHERING: Duration = Duration::from_millis(20);

/// Looks fall on multiples of this, so that they fall together.
const GRID: Duration = Duration::from_millis(500);

impl Lookout {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            gathering: Mutex::default(),
        }
    }

    fn gathering(&self) -> MutexGuard<'_, HashMap<ZoneId, Vec<Look>>> {
        self.gathering
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, zone: &ZoneId) -> Vec<Look> {
        self.gathering().remove(zone).unwrap_or_default()
    }

    /// The time to look next, when it should be in `delay`: a moment at which others look too.
    pub(crate) fn next_look(&self, delay: Duration) -> Instant {
        let next = Instant::now() + delay;
        if delay < GRID {
            return next;
        }
        let grid = GRID.as_millis();
        let since = next.saturating_duration_since(self.started).as_millis();
        let on_grid = since.div_ceil(grid) * grid;
        let on_grid = u64::try_from(on_grid).map(Duration::from_millis);
        on_grid.map_or(next, |on_grid| self.started + on_grid)
    }

    /// How a certificate stands now.
    pub(crate) async fn look(&self, zone: &Zone, id: &CertificateId) -> Result<ClientCertificate> {
        let (answer, answered) = oneshot::channel();
        let is_first = {
            let mut gathering = self.gathering();
            let looks = gathering.entry(zone.id().clone()).or_default();
            looks.push(Look {
                id: id.clone(),
                answer,
            });
            looks.len() == 1
        };
        if is_first {
            // The first looks for all. If it is dropped, the others are let go and look on their own.
            let mut gatherer = Gatherer(Some((self, zone)));
            sleep(GATHERING).await;
            let looks = self.take(zone.id());
            gatherer.0 = None;
            if looks.len() >= WORTH_A_LIST {
                look_for_all(zone, looks).await;
            }
        }
        match answered.await {
            Ok(certificate) => Ok(certificate),
            Err(_) => zone.get(id).await,
        }
    }
}

/// Lets go whoever waits, when it is dropped before it was done.
struct Gatherer<'a>(Option<(&'a Lookout, &'a Zone)>);

impl Drop for Gatherer<'_> {
    fn drop(&mut self) {
        if let Some((lookout, zone)) = self.0 {
            drop(lookout.take(zone.id()));
        }
    }
}

/// Answers what a list can answer more cheaply than the looks themselves, and lets the others go.
async fn look_for_all(zone: &Zone, looks: Vec<Look>) {
    let mut wanted: HashMap<CertificateId, Vec<Look>> = HashMap::new();
    for look in looks {
        wanted.entry(look.id.clone()).or_default().push(look);
    }
    let pages = |certificates: u64| certificates.div_ceil(u64::from(List::LARGEST_PAGE));
    // Half of what the looks would cost, lest a list that shows nothing is paid for in vain.
    let worth = wanted.len() as u64 / 2;
    let Ok((first, total)) = zone.list().single_page(1).await else {
        return;
    };
    if total.is_some_and(|total| pages(total) <= 1) {
        answer(&mut wanted, first);
    } else if total.is_some_and(|total| pages(total) <= worth) {
        see(zone, StatusFilter::All, worth, &mut wanted).await;
    } else {
        // What is still on its way is on one of these lists, however many certificates there are.
        see(zone, StatusFilter::PendingRevocation, worth, &mut wanted).await;
        see(zone, StatusFilter::PendingReactivation, worth, &mut wanted).await;
    }
}

async fn see(
    zone: &Zone,
    filter: StatusFilter,
    most_pages: u64,
    wanted: &mut HashMap<CertificateId, Vec<Look>>,
) {
    let mut pages = zone.list().status(filter).pages();
    for _ in 0..most_pages {
        match pages.try_next().await {
            Ok(Some(page)) if !wanted.is_empty() => answer(wanted, page.certificates),
            _ => return,
        }
    }
}

fn answer(
    wanted: &mut HashMap<CertificateId, Vec<Look>>,
    certificates: impl IntoIterator<Item = ClientCertificate>,
) {
    for certificate in certificates {
        for look in wanted.remove(certificate.id()).into_iter().flatten() {
            // Whoever is gone does not want to know any more.
            let _ = look.answer.send(certificate.clone());
        }
    }
}

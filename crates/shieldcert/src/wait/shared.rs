//! One poller for many waits.
//!
//! Polls that coincide are made together: a few pages of a list show what would otherwise take a request for each wait.
//! The size of the zone decides which is cheaper. A poll that the list did not serve is made on its own.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::sleep;

use super::queue::Poll;
use crate::certificate::ClientCertificate;
use crate::certificate::filter::StatusFilter;
use crate::certificate::id::CertificateId;
use crate::context::Context;
use crate::error::Result;
use crate::get::Get;
use crate::list::List;

/// Fewer polls than this are cheaper one by one.
const MIN_POLLS_FOR_LIST: usize = 4;

/// How long polls are collected before they are made.
const COLLECT_FOR: Duration = Duration::from_millis(20);

/// Returns the certificate as it is now.
pub(super) async fn poll(context: &Context, id: &CertificateId) -> Result<ClientCertificate> {
    let polls = &context.shared.polls;
    let (is_first, reply) = polls.push(&context.zone_id, id);
    if is_first {
        // The first one polls for all. If it is dropped, the others are released and poll on their own.
        let mut guard = ReleaseOnDrop(Some(context));
        sleep(COLLECT_FOR).await;
        let collected = polls.take(&context.zone_id);
        guard.0 = None;
        if collected.len() >= MIN_POLLS_FOR_LIST {
            poll_by_list(context, collected).await;
        }
    }
    match reply.await {
        Ok(certificate) => Ok(certificate),
        Err(_) => Get::new(context.clone(), id.clone()).send().await,
    }
}

struct ReleaseOnDrop<'a>(Option<&'a Context>);

impl Drop for ReleaseOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(context) = self.0 {
            drop(context.shared.polls.take(&context.zone_id));
        }
    }
}

type Wanted = HashMap<CertificateId, Vec<Poll>>;

/// Serves the polls that a list serves more cheaply, and releases the others.
async fn poll_by_list(context: &Context, polls: Vec<Poll>) {
    let mut wanted = Wanted::new();
    for poll in polls {
        wanted.entry(poll.id.clone()).or_default().push(poll);
    }
    let pages = |certificates: u64| certificates.div_ceil(u64::from(List::MAX_PAGE_SIZE));
    // Half of what single polls would cost, in case the list does not show the certificates.
    let max_pages = wanted.len() as u64 / 2;
    let list = List::new(context.clone());
    let Ok(first) = list.clone().single_page(1).await else {
        return;
    };
    let total = first.total_count;
    let first = first.records.into_iter().flatten();
    if total.is_some_and(|total| pages(total) <= 1) {
        reply(&mut wanted, first);
    } else if total.is_some_and(|total| pages(total) <= max_pages) {
        read_pages(list, max_pages, &mut wanted).await;
    } else {
        // A transition in progress shows on one of these lists, however many certificates there are.
        for filter in [
            StatusFilter::PendingRevocation,
            StatusFilter::PendingReactivation,
        ] {
            read_pages(list.clone().status(filter), max_pages, &mut wanted).await;
        }
    }
}

async fn read_pages(list: List, max_pages: u64, wanted: &mut Wanted) {
    let mut pages = list.pages();
    for _ in 0..max_pages {
        match pages.try_next().await {
            Ok(Some(page)) if !wanted.is_empty() => reply(wanted, page.certificates),
            _ => return,
        }
    }
}

fn reply(wanted: &mut Wanted, certificates: impl IntoIterator<Item = ClientCertificate>) {
    for certificate in certificates {
        for poll in wanted.remove(certificate.id()).into_iter().flatten() {
            // A wait that was dropped needs no reply.
            let _ = poll.reply.send(certificate.clone());
        }
    }
}

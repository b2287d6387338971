//! Listing the certificates of a zone, page by page behind the scenes, and missing none.
//!
//! # What is promised
//!
//! A list yields every certificate that was there, and matched the filter, for the whole time of the
//! listing, exactly once, whatever others issue, revoke and reactivate meanwhile, and whether the
//! service orders by age or by id. A certificate that came, went or changed its status meanwhile may be
//! in it, at most once.
//!
//! It rests on two things about the service: it never takes a certificate out of a zone, and it keeps
//! certificates in an order that does not change (by when they were issued, or by id).
//!
//! # How: without a filter
//!
//! Certificates only ever join such a list, so one that is there moves, if at all, to a later place.
//! Reading the pages forward, each in a state of the list no older than the page before it, misses
//! none: had a certificate moved from a page not yet read to one that was, it would have moved to an
//! earlier place. What moved to a later page is met twice there, and left out by its id.
//!
//! Pages are fetched ahead and several at once, so an answer may be from an older state than the one
//! before it. Which is older shows in `total_count`: the list only grows, so equal totals mean the same
//! list, and a smaller one an older list. A page from an older state than the page before it is fetched
//! again. Where there is no `total_count`, pages are fetched one after the other.
//!
//! # How: with a filter
//!
//! Certificates also leave such a list, and those behind them move to earlier places, over a page
//! boundary and past the reader. So each request overlaps the one before it by a certificate (`offset`
//! and `limit`), and is taken only if it holds one that has been read, an *anchor*. Say that everything
//! up to the anchor has been read (of what stayed the whole time). What an answer holds stands without a
//! gap in the service's order, so with it everything up to its last certificate has been read. The first
//! request starts at the beginning, and the last one reaches the end; in which order they were answered
//! does not matter. A request without an anchor shows that the list moved by more than the overlap: it
//! is dropped, and the reader steps back, further each time, until it finds one. The beginning of the
//! list always is one.
//!
//! Whether the service heeds `offset` at all shows in the first overlap: it stands at the start of an
//! answer that does. Where it doesn't, three times over, the list is read without the filter, as above,
//! and filtered here.
//!
//! # What it costs
//!
//! Without a filter the fewest requests there can be. With one, a certificate in each page is fetched
//! twice, and where `total_count` counts what the filter leaves out, up to as many requests as are
//! fetched ahead may find nothing at the end. Memory holds the pages fetched ahead and 16 bytes for
//! each certificate's id, in a hash set.

use std::collections::HashSet;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll, ready};
use std::vec;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream::FuturesOrdered;
use ring::digest::{SHA256, digest};
use shieldcert_api::types::ListClientCertificatesStatus;

use crate::certificate::{CertificateId, ClientCertificate, Status};
use crate::error::{Call, Error, Result};
use crate::trace::traced;
use crate::transport::BoxFuture;
use crate::transport::answer::Records;
use crate::transport::retry::RetryPolicy;
use crate::zone::Zone;

/// Which certificates a list holds, by their status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StatusFilter {
    /// Every one.
    #[default]
    All,
    /// Those that are `active`.
    Active,
    /// Those that are `pending_reactivation`.
    PendingReactivation,
    /// Those that are `pending_revocation`.
    PendingRevocation,
    /// Those that are `revoked`.
    Revoked,
}

impl StatusFilter {
    fn wire(self) -> ListClientCertificatesStatus {
        match self {
            Self::All => ListClientCertificatesStatus::All,
            Self::Active => ListClientCertificatesStatus::Active,
            Self::PendingReactivation => ListClientCertificatesStatus::PendingReactivation,
            Self::PendingRevocation => ListClientCertificatesStatus::PendingRevocation,
            Self::Revoked => ListClientCertificatesStatus::Revoked,
        }
    }
}

impl StatusFilter {
    fn matches(self, status: &Status) -> bool {
        match self {
            Self::All => true,
            Self::Active => *status == Status::Active,
            Self::PendingReactivation => *status == Status::PendingReactivation,
            Self::PendingRevocation => *status == Status::PendingRevocation,
            Self::Revoked => *status == Status::Revoked,
        }
    }
}

impl fmt::Display for StatusFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wire().fmt(f)
    }
}

impl FromStr for StatusFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "all" => Ok(Self::All),
            "active" => Ok(Self::Active),
            "pending_reactivation" => Ok(Self::PendingReactivation),
            "pending_revocation" => Ok(Self::PendingRevocation),
            "revoked" => Ok(Self::Revoked),
            other => Err(Error::input(
                "status",
                format!(
                    "{other:?} is not one to filter by; there are all, active, pending_reactivation, \
                     pending_revocation and revoked"
                ),
            )),
        }
    }
}

/// A list of certificates; made by [`Zone::list`].
///
/// As a [stream](Self::stream) it yields certificate after certificate with one page in memory; as
/// [pages](Self::pages) it yields what each request brought; awaited as it is, it collects them all.
///
/// ```no_run
/// # async fn example(zone: shieldcert::Zone) -> shieldcert::Result<()> {
/// use shieldcert::StatusFilter;
///
/// let mut active = zone.list().status(StatusFilter::Active).stream();
/// while let Some(certificate) = active.try_next().await? {
///     println!("{}", certificate.id());
/// }
/// let everything = zone.list().await?;
/// # let _ = everything;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is awaited or its stream is"]
pub struct List {
    zone: Zone,
    filter: StatusFilter,
    page_size: u32,
    prefetch: u32,
    retry: Option<RetryPolicy>,
}

impl List {
    /// The fewest certificates that the service puts on a page.
    pub const SMALLEST_PAGE: u32 = 5;
    /// The most certificates that the service puts on a page; what is asked for unless set.
    pub const LARGEST_PAGE: u32 = 50;
    /// How many requests may be under way at once unless set.
    pub const PREFETCH: u32 = 8;

    pub(crate) fn new(zone: Zone) -> Self {
        Self {
            zone,
            filter: StatusFilter::All,
            page_size: Self::LARGEST_PAGE,
            prefetch: Self::PREFETCH,
            retry: None,
        }
    }

    /// Lists only the certificates with this status.
    pub fn status(mut self, filter: StatusFilter) -> Self {
        self.filter = filter;
        self
    }

    /// How many certificates each request asks for, from 5 to 50; 50 unless set.
    ///
    /// Another number is an error once the list is awaited.
    pub fn page_size(mut self, certificates: u32) -> Self {
        self.page_size = certificates;
        self
    }

    /// How many requests may be under way at once, so that the service is busy while its answers are
    /// read; 8 unless set, and 1 at the least.
    ///
    /// At most this many pages are in memory beside the one being read.
    pub fn prefetch(mut self, requests: u32) -> Self {
        self.prefetch = requests.max(1);
        self
    }

    /// One page as it is, by its number from 1, and no promise about the others.
    pub(crate) async fn single_page(
        self,
        number: u64,
    ) -> Result<(Vec<ClientCertificate>, Option<u64>)> {
        let size = u64::from(self.page_size);
        let window = Window {
            start: (number - 1) * size,
            size,
            by: Addressing::Page,
        };
        let filter = self.filter;
        let (records, _) = fetch(self, filter, window).await?;
        let certificates = records.records.into_iter().flatten().collect();
        Ok((certificates, records.total_count))
    }

    /// How often and how long each call is tried, in place of the client's policy.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// The certificates, one by one.
    pub fn stream(self) -> CertificateStream {
        CertificateStream {
            pages: self.pages(),
            certificates: Vec::new().into_iter(),
            unreadable: Vec::new().into_iter(),
        }
    }

    /// The certificates, request by request.
    pub fn pages(self) -> PageStream {
        PageStream::new(self)
    }

    fn check(&self) -> Result<()> {
        if (Self::SMALLEST_PAGE..=Self::LARGEST_PAGE).contains(&self.page_size) {
            return Ok(());
        }
        Err(Error::input(
            "page size",
            format!(
                "{} is not possible; the service takes from {} to {}",
                self.page_size,
                Self::SMALLEST_PAGE,
                Self::LARGEST_PAGE
            ),
        ))
    }

    async fn collect(self) -> Result<Vec<ClientCertificate>> {
        let mut pages = self.pages();
        let mut all = Vec::new();
        while let Some(page) = pages.try_next().await? {
            if let Some(error) = page.unreadable.into_iter().next() {
                return Err(error);
            }
            all.extend(page.certificates);
        }
        Ok(all)
    }
}

impl IntoFuture for List {
    type Output = Result<Vec<ClientCertificate>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.collect())
    }
}

/// What one request of a list brought.
#[derive(Debug)]
#[non_exhaustive]
pub struct Page {
    /// The certificates that no page before it held, in the service's order.
    pub certificates: Vec<ClientCertificate>,
    /// The records that can't be read as a certificate with an id, each as an error that shows it.
    pub unreadable: Vec<Error>,
    /// How many certificates the service counts in the zone. The service may count those that the
    /// filter leaves out too.
    pub total_count: Option<u64>,
}

/// A stretch of the list, as one request asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    start: u64,
    size: u64,
    by: Addressing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Addressing {
    /// `page` and `per_page`.
    Page,
    /// `offset` and `limit`.
    Offset,
}

/// How the list is read; see the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Page after page of a list that only grows.
    Growing,
    /// Overlapping windows of a list that certificates also leave.
    Moving,
}

/// Where a list stands: what has been read, and what is to be asked for next.
struct Sweep {
    list: List,
    reading: Reading,
    /// The ids that have been read.
    seen: HashSet<u128>,
    /// The last certificate of the last answer that was taken.
    last: Option<u128>,
    /// The service has proved to heed an offset.
    heeds_offset: bool,
    /// How often it could have and did not.
    doubts: u32,
    /// Where the stretches that have been asked for end.
    asked_to: u64,
    /// The total of the last answer that was taken.
    total: Option<u64>,
    /// How many answers were taken since the reader last had to step back.
    taken: u64,
    /// How many answers in a row brought nothing new.
    idle: u32,
    /// How far to step back when an anchor is missing.
    step_back: u64,
    ended: bool,
}

/// What became of an answer.
enum Taken {
    Page(Page),
    /// It can't be used as it is: ask for this stretch, and for nothing behind it as yet.
    AskAgain(Window),
    /// It can't be used: start over from the beginning. What was read stays read.
    StartOver,
}

impl Sweep {
    /// A list that is that busy can't be read to its end.
    const MOST_IDLE: u32 = 1000;

    /// How often to give a service the benefit of the doubt that the list moved just then.
    const MOST_DOUBTS: u32 = 3;

    fn new(list: List) -> Self {
        let reading = match list.filter {
            StatusFilter::All => Reading::Growing,
            _ => Reading::Moving,
        };
        Self {
            list,
            reading,
            seen: HashSet::new(),
            last: None,
            heeds_offset: false,
            doubts: 0,
            asked_to: 0,
            total: None,
            taken: 0,
            idle: 0,
            step_back: 0,
            ended: false,
        }
    }

    /// The stretch behind those that were asked for; nothing if what is under way may be the last.
    fn ahead(&self, under_way: usize) -> Option<Window> {
        if under_way > 0 {
            let total = self.total?;
            let most = match self.reading {
                Reading::Growing => u64::from(self.list.prefetch),
                // The total may count far beyond the end of the list: fetch ahead no further than
                // the list has proved to reach.
                Reading::Moving => self.taken.min(u64::from(self.list.prefetch)),
            };
            if self.asked_to >= total || under_way as u64 >= most {
                return None;
            }
        }
        Some(self.window_from(self.asked_to))
    }

    fn window_from(&self, start: u64) -> Window {
        let size = u64::from(self.list.page_size);
        match self.reading {
            Reading::Moving if start > 0 => Window {
                start: start - 1,
                size,
                by: Addressing::Offset,
            },
            _ => Window {
                start,
                size,
                by: Addressing::Page,
            },
        }
    }

    /// Takes the answer to the next stretch in turn. `is_fresh` says that it was asked for when every
    /// answer before it had been taken.
    fn take(
        &mut self,
        window: Window,
        is_fresh: bool,
        records: Records,
        call: &Call,
    ) -> Result<Taken> {
        let count = records.records.len() as u64;
        match self.reading {
            Reading::Growing => {
                let is_older = matches!((records.total_count, self.total), (Some(now), Some(before)) if now < before);
                let is_unknown = records.total_count.is_none() || self.total.is_none();
                if !is_fresh && (is_older || is_unknown) {
                    return Ok(Taken::AskAgain(window));
                }
            }
            Reading::Moving if window.start > 0 => {
                let read = || records.records.iter().flatten();
                let ids = || read().map(|record| key(record.id()));
                let overlap = ids().position(|id| Some(id) == self.last);
                if !self.heeds_offset {
                    // The overlap stands at the start of an answer that heeds the offset, give or
                    // take what the list moved; and at the end of one that repeats the beginning.
                    if overlap.is_none_or(|place| place as u64 > window.size / 2) {
                        self.doubts += 1;
                        if self.doubts >= Self::MOST_DOUBTS {
                            self.reading = Reading::Growing;
                        }
                        return Ok(Taken::StartOver);
                    }
                    self.heeds_offset = true;
                }
                if !ids().any(|id| self.seen.contains(&id)) {
                    self.step_back = (self.step_back * 2).max(window.size / 2);
                    let start = (window.start + 1).saturating_sub(self.step_back);
                    tracing::debug!(start, "the list moved; stepping back");
                    return Ok(Taken::AskAgain(self.window_from(start)));
                }
            }
            Reading::Moving => {}
        }
        let page = self.read(records, call);
        self.step_back = 0;
        self.taken += 1;
        self.total = page.total_count;
        let reached = window.start + count;
        self.ended = count < window.size || page.total_count.is_some_and(|total| reached >= total);
        self.idle = if page.certificates.is_empty() {
            self.idle + 1
        } else {
            0
        };
        if self.idle >= Self::MOST_IDLE && !self.ended {
            return Err(Error::Answer {
                call: Box::new(call.clone()),
                problem: "the list does not come to an end: it repeats what it has answered before"
                    .into(),
                body: Bytes::new(),
            });
        }
        Ok(Taken::Page(page))
    }

    fn read(&mut self, records: Records, call: &Call) -> Page {
        let mut page = Page {
            certificates: Vec::with_capacity(records.records.len()),
            unreadable: Vec::new(),
            total_count: records.total_count,
        };
        for record in records.records {
            let certificate = match record {
                Ok(certificate) => certificate,
                Err(unreadable) => {
                    page.unreadable.push(unreadable.into_error(call));
                    continue;
                }
            };
            let id = key(certificate.id());
            self.last = Some(id);
            let is_wanted = self.filter_to_send() != StatusFilter::All
                || self.list.filter.matches(certificate.status());
            if is_wanted && self.seen.insert(id) {
                page.certificates.push(certificate);
            }
        }
        page
    }

    /// What the service is asked to filter by: nothing, where the filtering is done here.
    fn filter_to_send(&self) -> StatusFilter {
        match self.reading {
            Reading::Growing => StatusFilter::All,
            Reading::Moving => self.list.filter,
        }
    }
}

async fn fetch(list: List, filter: StatusFilter, window: Window) -> Result<(Records, Call)> {
    let span = tracing::info_span!(
        "shieldcert.list",
        zone = %list.zone.id(), status = %filter, start = window.start, size = window.size
    );
    traced(span, ask(list, filter, window)).await
}

async fn ask(list: List, filter: StatusFilter, window: Window) -> Result<(Records, Call)> {
    let policy = list.retry.as_ref().unwrap_or(list.zone.client().retry());
    list.zone
        .call(policy, async |api| {
            let request = api
                .list_client_certificates()
                .zone_id(list.zone.wire_id())
                .status(filter.wire());
            let request = match window.by {
                Addressing::Page => request
                    .page(window.start / window.size + 1)
                    .per_page(window.size as i64),
                // With the page size too: it is what a service heeds that does not heed the limit.
                Addressing::Offset => request
                    .offset(window.start as i64)
                    .limit(window.size as i64)
                    .per_page(window.size as i64),
            };
            request.send().await
        })
        .await
}

/// What tells ids apart in 16 bytes each: the ids themselves where they are 128 bits, as the
/// service's are, and a cryptographic hash of any other.
fn key(id: &CertificateId) -> u128 {
    let text = id.as_str();
    let (mut number, mut digits) = (0_u128, 0);
    // For every certificate of a list: nothing is allocated.
    for byte in text.bytes().filter(|byte| *byte != b'-') {
        match char::from(byte).to_digit(16) {
            Some(digit) if digits < 32 => number = number << 4 | u128::from(digit),
            // Not 128 bits in hex.
            _ => digits = 32,
        }
        digits += 1;
    }
    if digits == 32 {
        return number;
    }
    let hash = digest(&SHA256, text.as_bytes());
    hash.as_ref()
        .iter()
        .take(16)
        .fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// The pages of a list; made by [`List::pages`].
///
/// After an error the same page is asked for again when the stream is polled on; an error that
/// passes loses nothing.
#[must_use = "a stream does nothing until it is polled"]
pub struct PageStream {
    sweep: Sweep,
    under_way: FuturesOrdered<BoxFuture<'static, Answered>>,
    /// A stretch to be asked for before any other.
    again: Option<Window>,
    done: bool,
}

/// An answer, and what it is the answer to.
struct Answered {
    window: Window,
    /// How many answers had been taken when it was asked for.
    asked_after: u64,
    outcome: Result<(Records, Call)>,
}

impl PageStream {
    fn new(list: List) -> Self {
        Self {
            sweep: Sweep::new(list),
            under_way: FuturesOrdered::new(),
            again: None,
            done: false,
        }
    }

    /// The next page; nothing after the last.
    pub async fn try_next(&mut self) -> Result<Option<Page>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context))
            .await
            .transpose()
    }

    fn ask(&mut self) {
        if let Some(window) = self.again.take() {
            let future = self.request(window);
            self.under_way.push_front(future);
        }
        while let Some(window) = self.sweep.ahead(self.under_way.len()) {
            self.sweep.asked_to = window.start + window.size;
            let future = self.request(window);
            self.under_way.push_back(future);
        }
    }

    fn request(&self, window: Window) -> BoxFuture<'static, Answered> {
        let list = self.sweep.list.clone();
        let filter = self.sweep.filter_to_send();
        let asked_after = self.sweep.taken;
        Box::pin(async move {
            Answered {
                window,
                asked_after,
                outcome: fetch(list, filter, window).await,
            }
        })
    }

    /// Nothing that is under way is of use any more.
    fn drop_what_is_under_way(&mut self) {
        self.under_way = FuturesOrdered::new();
    }

    fn take(&mut self, answered: Answered) -> Result<Option<Page>> {
        let Answered {
            window,
            asked_after,
            outcome,
        } = answered;
        let (records, call) = match outcome {
            Ok(answer) => answer,
            Err(error) if window.by == Addressing::Offset && is_refusal(&error) => {
                self.sweep.reading = Reading::Growing;
                self.start_over();
                return Ok(None);
            }
            Err(error) => {
                // What was given wrongly stays wrong.
                self.done = error.is_input();
                self.again = Some(window);
                return Err(error);
            }
        };
        let is_fresh = asked_after == self.sweep.taken;
        match self.sweep.take(window, is_fresh, records, &call) {
            Ok(Taken::Page(page)) => {
                self.done = self.sweep.ended;
                if self.done {
                    self.drop_what_is_under_way();
                }
                Ok(Some(page))
            }
            Ok(Taken::AskAgain(again)) => {
                if again != window {
                    self.drop_what_is_under_way();
                    self.sweep.asked_to = again.start + again.size;
                    self.sweep.taken = 0;
                }
                self.again = Some(again);
                Ok(None)
            }
            Ok(Taken::StartOver) => {
                self.start_over();
                Ok(None)
            }
            Err(error) => {
                self.done = true;
                Err(error)
            }
        }
    }

    fn start_over(&mut self) {
        tracing::debug!(filter = %self.sweep.filter_to_send(), "reading the list from its beginning");
        self.drop_what_is_under_way();
        self.sweep.asked_to = 0;
        self.sweep.total = None;
    }
}

/// The service does not take the request as it is.
fn is_refusal(error: &Error) -> bool {
    error.status() == Some(http::StatusCode::BAD_REQUEST) && !error.is_not_allowed()
}

impl Stream for PageStream {
    type Item = Result<Page>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if this.done {
                return Poll::Ready(None);
            }
            if let Err(error) = this.sweep.list.check() {
                this.done = true;
                return Poll::Ready(Some(Err(error)));
            }
            this.ask();
            match ready!(Pin::new(&mut this.under_way).poll_next(context)) {
                None => return Poll::Ready(None),
                Some(answered) => match this.take(answered) {
                    Ok(None) => {}
                    Ok(Some(page)) => return Poll::Ready(Some(Ok(page))),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
            }
        }
    }
}

impl fmt::Debug for PageStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageStream").finish_non_exhaustive()
    }
}

/// The certificates of a list, one by one; made by [`List::stream`].
///
/// A record that can't be read is an error in its page's place, and the stream goes on after it, as
/// it does after an error that passes.
#[derive(Debug)]
#[must_use = "a stream does nothing until it is polled"]
pub struct CertificateStream {
    pages: PageStream,
    /// What is left of the last page.
    certificates: vec::IntoIter<ClientCertificate>,
    unreadable: vec::IntoIter<Error>,
}

impl CertificateStream {
    /// The next certificate; nothing after the last.
    pub async fn try_next(&mut self) -> Result<Option<ClientCertificate>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context))
            .await
            .transpose()
    }
}

impl Stream for CertificateStream {
    type Item = Result<ClientCertificate>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(certificate) = self.certificates.next() {
                return Poll::Ready(Some(Ok(certificate)));
            }
            if let Some(error) = self.unreadable.next() {
                return Poll::Ready(Some(Err(error)));
            }
            match ready!(Pin::new(&mut self.pages).poll_next(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(page)) => {
                    self.certificates = page.certificates.into_iter();
                    self.unreadable = page.unreadable.into_iter();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_apart_whatever_they_look_like() {
        let key = |text: &str| key(&text.parse().expect("an id"));
        assert_eq!(
            key("7bf7f70c-7600-42e1-81c4-e4c0da9aa515"),
            0x7bf7f70c_7600_42e1_81c4_e4c0da9aa515
        );
        assert_eq!(
            key("023e105f4ecef8ad9ca31a8372d0c353"),
            0x023e105f4ecef8ad9ca31a8372d0c353
        );
        assert_ne!(key("a"), key("b"));
        let nearly = "7bf7f70c760042e181c4e4c0da9aa51";
        for other in [
            format!("{nearly}g"),
            format!("g{nearly}"),
            format!("{nearly}55"),
            nearly.to_owned(),
        ] {
            assert_ne!(key(&other), key(&format!("{nearly}5")), "{other}");
            assert_ne!(key(&other) >> 64, 0, "{other} is hashed");
        }
        assert_ne!(key("a"), key("0000000000000000000000000000000a"));
    }

    #[test]
    fn filters_are_the_specs_words() {
        for text in [
            "all",
            "active",
            "pending_reactivation",
            "pending_revocation",
            "revoked",
        ] {
            assert_eq!(text.parse::<StatusFilter>().expect(text).to_string(), text);
        }
        let message = "Active"
            .parse::<StatusFilter>()
            .expect_err("is refused")
            .to_string();
        assert!(message.contains("there are all, active"), "{message}");
    }
}

//! Listing the certificates of a zone, page by page behind the scenes.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use ring::digest::{SHA256, digest};
use shieldcert_api::types::ListClientCertificatesStatus;

use crate::certificate::{CertificateId, ClientCertificate};
use crate::error::{Error, Result};
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
    retry: Option<RetryPolicy>,
}

impl List {
    /// The fewest certificates that the service puts on a page.
    pub const SMALLEST_PAGE: u32 = 5;
    /// The most certificates that the service puts on a page; what is asked for unless set.
    pub const LARGEST_PAGE: u32 = 50;

    pub(crate) fn new(zone: Zone) -> Self {
        Self {
            zone,
            filter: StatusFilter::All,
            page_size: Self::LARGEST_PAGE,
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

    /// How often and how long each call is tried, in place of the client's policy.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// The certificates, one by one.
    pub fn stream(self) -> CertificateStream {
        CertificateStream {
            pages: self.pages(),
            ready: VecDeque::new(),
        }
    }

    /// The certificates, request by request.
    pub fn pages(self) -> PageStream {
        PageStream {
            state: State::Idle(Box::new(Sweep {
                list: self,
                next_page: 1,
                seen: HashSet::new(),
            })),
        }
    }

    async fn collect(self) -> Result<Vec<ClientCertificate>> {
        let mut stream = self.stream();
        let mut all = Vec::new();
        while let Some(certificate) = stream.try_next().await? {
            all.push(certificate);
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

/// Where a list stands.
struct Sweep {
    list: List,
    next_page: u64,
    seen: HashSet<u128>,
}

impl Sweep {
    /// The next page, and whether it is the last. After an error it can be asked for again.
    async fn next(&mut self) -> Result<(Page, bool)> {
        let size = self.list.page_size;
        if !(List::SMALLEST_PAGE..=List::LARGEST_PAGE).contains(&size) {
            return Err(Error::input(
                "page size",
                format!(
                    "{size} is not possible; the service takes from {} to {}",
                    List::SMALLEST_PAGE,
                    List::LARGEST_PAGE
                ),
            ));
        }
        let (records, call) = self.fetch(self.next_page).await?;
        let count = records.records.len() as u64;
        let read_so_far = (self.next_page - 1) * u64::from(size) + count;
        let mut page = Page {
            certificates: Vec::with_capacity(records.records.len()),
            unreadable: Vec::new(),
            total_count: records.total_count,
        };
        for record in records.records {
            match record {
                Ok(certificate) if self.seen.insert(key(certificate.id())) => {
                    page.certificates.push(certificate);
                }
                // Moved here from an earlier page by certificates issued meanwhile.
                Ok(_) => {}
                Err(unreadable) => page.unreadable.push(unreadable.into_error(&call)),
            }
        }
        self.next_page += 1;
        let is_last = count < u64::from(size)
            || records
                .total_count
                .is_some_and(|total| read_so_far >= total);
        Ok((page, is_last))
    }

    #[tracing::instrument(
        name = "shieldcert.list",
        skip_all,
        fields(zone = %self.list.zone.id(), status = %self.list.filter, page),
        err(level = "debug")
    )]
    async fn fetch(&self, page: u64) -> Result<(Records, crate::error::Call)> {
        let list = &self.list;
        let policy = list.retry.as_ref().unwrap_or(list.zone.client().retry());
        list.zone
            .call(policy, async |api| {
                api.list_client_certificates()
                    .zone_id(list.zone.wire_id())
                    .status(list.filter.wire())
                    .page(page)
                    .per_page(list.page_size)
                    .send()
                    .await
            })
            .await
    }
}

/// What tells ids apart in 16 bytes each: the ids themselves where they are 128 bits, as the
/// service's are, and a cryptographic hash of any other.
fn key(id: &CertificateId) -> u128 {
    let text = id.as_str();
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    if digits.len() == 32
        && let Ok(number) = u128::from_str_radix(&digits, 16)
    {
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
    state: State,
}

enum State {
    Idle(Box<Sweep>),
    Fetching(BoxFuture<'static, Fetched>),
    Done,
}

/// A sweep that has made a step, and what the step brought.
type Fetched = (Box<Sweep>, Result<(Page, bool)>);

impl PageStream {
    /// The next page; nothing after the last.
    pub async fn try_next(&mut self) -> Result<Option<Page>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context))
            .await
            .transpose()
    }
}

impl Stream for PageStream {
    type Item = Result<Page>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Done => return Poll::Ready(None),
                State::Idle(mut sweep) => {
                    self.state = State::Fetching(Box::pin(async move {
                        let outcome = sweep.next().await;
                        (sweep, outcome)
                    }));
                }
                State::Fetching(mut future) => match future.as_mut().poll(context) {
                    Poll::Pending => {
                        self.state = State::Fetching(future);
                        return Poll::Pending;
                    }
                    Poll::Ready((sweep, outcome)) => {
                        let is_last = matches!(outcome, Ok((_, true)));
                        // What was given wrongly stays wrong.
                        let is_hopeless = outcome.as_ref().is_err_and(Error::is_input);
                        if !is_last && !is_hopeless {
                            self.state = State::Idle(sweep);
                        }
                        return Poll::Ready(Some(outcome.map(|(page, _)| page)));
                    }
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
    ready: VecDeque<Result<ClientCertificate>>,
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
            if let Some(item) = self.ready.pop_front() {
                return Poll::Ready(Some(item));
            }
            match ready!(Pin::new(&mut self.pages).poll_next(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(page)) => {
                    self.ready.extend(page.certificates.into_iter().map(Ok));
                    self.ready.extend(page.unreadable.into_iter().map(Err));
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

//! The streams of a list: by page and by certificate.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use futures_core::Stream;
use futures_util::stream::FuturesOrdered;

use super::fetch::{Addressing, PageRange, Query, fetch};
use super::page::Page;
use super::scan::{Mode, Scan, Step};
use crate::certificate::ClientCertificate;
use crate::certificate::envelope::RecordPage;
use crate::error::call::Call;
use crate::error::{Error, Result};
use crate::transport::BoxFuture;

/// The pages of a list. Created by [`List::pages`](crate::List::pages).
///
/// After an error, polling on fetches the same page again, so a transient error loses nothing.
#[must_use = "a stream does nothing until it is polled"]
pub struct PageStream {
    scan: Scan,
    in_flight: FuturesOrdered<BoxFuture<'static, Fetched>>,
    /// A range to fetch before any other.
    retry: Option<PageRange>,
    done: bool,
}

/// The outcome of a fetch.
struct Fetched {
    range: PageRange,
    /// How many responses had been used when it was requested.
    requested_after: u64,
    outcome: Result<(RecordPage, Call)>,
}

impl PageStream {
    pub(super) fn new(query: Query) -> Self {
        Self {
            scan: Scan::new(query),
            in_flight: FuturesOrdered::new(),
            retry: None,
            done: false,
        }
    }

    /// Returns the next page; `None` after the last.
    ///
    /// # Errors
    /// Returns the error of the request, or one that says why the list can't be read to its end.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the next call continues where it was.
    pub async fn try_next(&mut self) -> Result<Option<Page>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context))
            .await
            .transpose()
    }

    /// Starts the requests that are due.
    fn start(&mut self) {
        if let Some(range) = self.retry.take() {
            let future = self.request(range);
            self.in_flight.push_front(future);
        }
        while let Some(range) = self.scan.prefetch(self.in_flight.len()) {
            self.scan.requested_to = range.end();
            let future = self.request(range);
            self.in_flight.push_back(future);
        }
    }

    fn request(&self, range: PageRange) -> BoxFuture<'static, Fetched> {
        let query = self.scan.query.clone();
        let filter = self.scan.service_filter();
        let requested_after = self.scan.used;
        Box::pin(async move {
            Fetched {
                range,
                requested_after,
                outcome: fetch(query, filter, range).await,
            }
        })
    }

    fn abandon_in_flight(&mut self) {
        self.in_flight = FuturesOrdered::new();
    }

    /// Takes the outcome of the next fetch in order. `None` if another fetch is needed first.
    fn advance(&mut self, fetched: Fetched) -> Result<Option<Page>> {
        let Fetched {
            range,
            requested_after,
            outcome,
        } = fetched;
        let (response, call) = match outcome {
            Ok(response) => response,
            Err(error) if range.by == Addressing::Offset && is_refusal(&error) => {
                self.scan.mode = Mode::Growing;
                self.restart();
                return Ok(None);
            }
            Err(error) => {
                // Invalid input stays invalid.
                self.done = error.is_invalid_input();
                self.retry = Some(range);
                return Err(error);
            }
        };
        let is_fresh = requested_after == self.scan.used;
        match self.scan.advance(range, is_fresh, response, &call) {
            Ok(Step::Page(page)) => {
                self.done = self.scan.ended;
                if self.done {
                    self.abandon_in_flight();
                }
                Ok(Some(page))
            }
            Ok(Step::Retry(retry)) => {
                if retry != range {
                    self.abandon_in_flight();
                    self.scan.requested_to = retry.end();
                    self.scan.used = 0;
                }
                self.retry = Some(retry);
                Ok(None)
            }
            Ok(Step::Restart) => {
                self.restart();
                Ok(None)
            }
            Err(error) => {
                self.done = true;
                Err(error)
            }
        }
    }

    fn restart(&mut self) {
        tracing::debug!(filter = %self.scan.service_filter(), "reading the list from its beginning");
        self.abandon_in_flight();
        self.scan.requested_to = 0;
        self.scan.total = None;
    }
}

/// Whether the service rejects the request as it is.
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
            if let Err(error) = this.scan.query.check() {
                this.done = true;
                return Poll::Ready(Some(Err(error.into())));
            }
            this.start();
            match ready!(Pin::new(&mut this.in_flight).poll_next(context)) {
                None => return Poll::Ready(None),
                Some(fetched) => match this.advance(fetched) {
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

/// The certificates of a list. Created by [`List::stream`](crate::List::stream).
///
/// A record that can't be read is an error after the other records of its page, and the stream continues after it, as
/// it does after a transient error.
#[derive(Debug)]
#[must_use = "a stream does nothing until it is polled"]
pub struct CertificateStream {
    pages: PageStream,
    /// What is left of the last page.
    certificates: vec::IntoIter<ClientCertificate>,
    unreadable: vec::IntoIter<Error>,
}

impl CertificateStream {
    pub(super) fn new(pages: PageStream) -> Self {
        Self {
            pages,
            certificates: Vec::new().into_iter(),
            unreadable: Vec::new().into_iter(),
        }
    }

    /// Returns the next certificate; `None` after the last.
    ///
    /// # Errors
    /// Returns the error of a request, of a record that can't be read, or one that says why the list can't be read to
    /// its end.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the next call continues where it was.
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
                }
            }
        }
    }
}

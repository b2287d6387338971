//! The streams of a list: by page and by certificate.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use futures_core::Stream;
use futures_util::stream::FuturesOrdered;

use super::fetch::{Query, fetch};
use super::page::Page;
use super::range::PageRange;
use super::scan::Scan;
use crate::certificate::ClientCertificate;
use crate::certificate::envelope::RecordPage;
use crate::certificate::unreadable::UnreadableRecord;
use crate::error::call::Call;
use crate::error::{Error, Result};
use crate::transport::BoxFuture;

/// The pages of a list. Created by [`List::pages`](crate::List::pages).
///
/// A stream that has ended, or has returned an error, stays ended.
#[must_use = "a stream does nothing until it is polled"]
pub struct PageStream {
    scan: Scan,
    in_flight: FuturesOrdered<BoxFuture<'static, Fetched>>,
    done: bool,
}

/// The outcome of a fetch.
struct Fetched {
    range: PageRange,
    /// How many were in flight when it was requested.
    ahead: usize,
    outcome: Result<(RecordPage, Call)>,
}

impl PageStream {
    pub(super) fn new(query: Query) -> Self {
        Self {
            scan: Scan::new(query),
            in_flight: FuturesOrdered::new(),
            done: false,
        }
    }

    /// Returns the next page; `None` after the last, and after an error.
    ///
    /// # Errors
    /// Returns the error of the request, or one that says why the list can't be read to its end. What was returned
    /// before is right, but not everything.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the next call continues where it was.
    pub async fn try_next(&mut self) -> Result<Option<Page>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context))
            .await
            .transpose()
    }

    /// Starts the requests that are due. At least one is in flight then.
    fn start(&mut self) {
        if self.in_flight.is_empty() {
            let range = self.scan.next();
            self.request(range);
        }
        while let Some(range) = self.scan.prefetch(self.in_flight.len()) {
            self.request(range);
        }
    }

    fn request(&mut self, range: PageRange) {
        let ahead = self.in_flight.len();
        let query = self.scan.query.clone();
        let filter = self.scan.service_filter;
        self.in_flight.push_back(Box::pin(async move {
            Fetched {
                range,
                ahead,
                outcome: fetch(query, filter, range).await,
            }
        }));
    }

    /// Takes the outcome of the next fetch in order. `None` if another fetch is needed first.
    fn advance(&mut self, fetched: Fetched) -> Result<Option<Page>> {
        let Fetched {
            range,
            ahead,
            outcome,
        } = fetched;
        let taken = match outcome {
            Ok((response, call)) => self.scan.take(range, ahead, response, &call)?,
            Err(error) if range.start > 0 && is_refusal(&error) => {
                self.scan.refuse(range, error)?
            }
            Err(error) => return Err(error),
        };
        self.done = self.scan.ended;
        if self.done
            && let Some(keys) = self.scan.take_unreadable()
        {
            let context = &self.scan.query.context;
            context.shared.unreadable.set(&context.zone_id, keys);
        }
        if self.done || !taken.continues {
            self.in_flight = FuturesOrdered::new();
        }
        Ok(taken.page)
    }
}

/// Whether the service rejects the range. A gateway in front of it knows nothing of ranges.
fn is_refusal(error: &Error) -> bool {
    use http::StatusCode;
    let statuses = [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND];
    matches!(error, Error::Api { .. })
        && error
            .status()
            .is_some_and(|status| statuses.contains(&status))
        && !error.is_not_allowed()
        && !error.is_quota_reached()
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
            let fetched = ready!(Pin::new(&mut this.in_flight).poll_next(context));
            match this.advance(fetched.expect("a request is in flight")) {
                Ok(None) => {}
                Ok(Some(page)) => return Poll::Ready(Some(Ok(page))),
                Err(error) => {
                    this.done = true;
                    this.in_flight = FuturesOrdered::new();
                    return Poll::Ready(Some(Err(error)));
                }
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
/// Records that can't be read are collected beside them, see [`take_unreadable`](Self::take_unreadable). A stream that
/// has ended, or has returned an error, stays ended.
#[derive(Debug)]
#[must_use = "a stream does nothing until it is polled"]
pub struct CertificateStream {
    pages: PageStream,
    /// What is left of the last page.
    certificates: vec::IntoIter<ClientCertificate>,
    unreadable: Vec<UnreadableRecord>,
}

impl CertificateStream {
    pub(super) fn new(pages: PageStream) -> Self {
        Self {
            pages,
            certificates: Vec::new().into_iter(),
            unreadable: Vec::new(),
        }
    }

    /// Returns the next certificate; `None` after the last, and after an error.
    ///
    /// # Errors
    /// Returns the error of a request, or one that says why the list can't be read to its end. What was returned before
    /// is right, but not everything.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the next call continues where it was.
    pub async fn try_next(&mut self) -> Result<Option<ClientCertificate>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context))
            .await
            .transpose()
    }

    /// Takes the records that were met since the last call of this method and can't be read as a certificate with an
    /// id.
    pub fn take_unreadable(&mut self) -> Vec<UnreadableRecord> {
        std::mem::take(&mut self.unreadable)
    }
}

impl Stream for CertificateStream {
    type Item = Result<ClientCertificate>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(certificate) = self.certificates.next() {
                return Poll::Ready(Some(Ok(certificate)));
            }
            match ready!(Pin::new(&mut self.pages).poll_next(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(page)) => {
                    self.certificates = page.certificates.into_iter();
                    self.unreadable.extend(page.unreadable);
                }
            }
        }
    }
}

//! Lists the certificates of a zone.

mod dedup;
mod fetch;
pub(crate) mod page;
mod range;
mod scan;
pub(crate) mod stream;

use self::fetch::{Query, fetch};
use self::page::CertificateList;
use self::range::{MAX_PAGE_SIZE, MIN_PAGE_SIZE, PageRange};
use self::stream::{CertificateStream, PageStream};
use crate::certificate::ClientCertificate;
use crate::certificate::filter::StatusFilter;
use crate::context::Context;
use crate::error::Result;
use crate::transport::BoxFuture;
use crate::transport::retry::RetryPolicy;

/// A list of certificates. Created by [`Zone::list`](crate::Zone::list).
///
/// [`stream`](Self::stream) yields certificate by certificate with few pages in memory, [`pages`](Self::pages) yields
/// page by page, and `.await` collects all certificates. They come in the service's order, which is not documented. A list
/// takes 20 requests for each 1,000 certificates.
///
/// A certificate that was there, and matched the filter, the whole time of the listing is in it exactly once, whatever
/// others issue, revoke and reactivate meanwhile.
///
/// # Errors
/// Returns the error of a request that failed for good, or one that says why the list can't be read to its end.
///
/// # Cancel safety
/// Dropping the future or a stream changes nothing at the service.
///
/// # Examples
///
/// ```no_run
/// use shieldcert::{StatusFilter, Zone};
///
/// # async fn example(zone: Zone) -> shieldcert::Result<()> {
/// let mut active = zone.list().status(StatusFilter::Active).stream();
/// while let Some(certificate) = active.try_next().await? {
///     println!("{}", certificate.id());
/// }
/// let all = zone.list().await?;
/// println!("{} certificates", all.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is awaited or its stream is polled"]
pub struct List {
    query: Query,
}

impl List {
    /// The smallest page that the service accepts: 5 certificates.
    pub const MIN_PAGE_SIZE: u32 = MIN_PAGE_SIZE;
    /// The largest page that the service accepts, and the default of [`page_size`](Self::page_size): 50 certificates.
    pub const MAX_PAGE_SIZE: u32 = MAX_PAGE_SIZE;
    /// The default of [`prefetch`](Self::prefetch): 8 requests.
    pub const DEFAULT_PREFETCH: u32 = 8;

    pub(crate) fn new(context: Context) -> Self {
        Self {
            query: Query {
                context,
                filter: StatusFilter::All,
                page_size: Self::MAX_PAGE_SIZE,
                prefetch: Self::DEFAULT_PREFETCH,
            },
        }
    }

    /// Lists only the certificates with this status. Default: all.
    pub fn status(mut self, filter: StatusFilter) -> Self {
        self.query.filter = filter;
        self
    }

    /// Sets how many certificates each request asks for, from 5 to 50. Default: 50.
    ///
    /// Another number is an error when the list is awaited or polled.
    pub fn page_size(mut self, certificates: u32) -> Self {
        self.query.page_size = certificates;
        self
    }

    /// Sets how many requests may be in flight at once. Default: 8. 0 counts as 1.
    ///
    /// At most this many pages are in memory, beside the one that is being read.
    pub fn prefetch(mut self, requests: u32) -> Self {
        self.query.prefetch = requests.max(1);
        self
    }

    /// Overrides the client's retry policy for each request.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.query.context.set_retry(policy);
        self
    }

    /// Returns the certificates one by one.
    pub fn stream(self) -> CertificateStream {
        CertificateStream::new(self.pages())
    }

    /// Returns the certificates page by page.
    pub fn pages(self) -> PageStream {
        PageStream::new(self.query)
    }

    /// Collects all certificates. The same as `.await`, for where a plain future is needed.
    ///
    /// # Errors
    /// See [`List`]. A record that can't be read is no error: see [`CertificateList::unreadable`].
    pub fn send(self) -> BoxFuture<'static, Result<CertificateList>> {
        Box::pin(self.collect())
    }

    async fn collect(self) -> Result<CertificateList> {
        let mut pages = self.pages();
        let (mut certificates, mut unreadable) = (Vec::new(), Vec::new());
        while let Some(page) = pages.try_next().await? {
            certificates.extend(page.certificates);
            unreadable.extend(page.unreadable);
        }
        Ok(CertificateList::new(certificates, unreadable))
    }

    /// Fetches one page by its number from 1, with the service's total, and without a promise about the other pages.
    pub(crate) async fn single_page(
        self,
        number: u64,
    ) -> Result<(Vec<ClientCertificate>, Option<u64>)> {
        let range = PageRange::page(number, self.query.page_size.into());
        let filter = self.query.filter;
        let (response, _) = fetch(self.query, filter, range).await?;
        let certificates = response.records.into_iter().flatten().collect();
        Ok((certificates, response.total_count))
    }
}

impl IntoFuture for List {
    type Output = Result<CertificateList>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.send()
    }
}

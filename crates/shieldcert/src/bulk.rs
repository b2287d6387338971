//! Bulk operations: many items, several in flight, one result for each.

use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use futures_core::Stream;
use futures_util::{StreamExt, stream};

use crate::certificate::ClientCertificate;
use crate::certificate::id::CertificateId;
use crate::context::Context;
use crate::error::Result;
use crate::issue::options::{IssueOptions, issue_options};
use crate::issue::{Issue, Issued};
use crate::pki::csr::Csr;
use crate::revoke::{Reactivate, Revoke};
use crate::transport::retry::RetryPolicy;

/// How many items of a bulk operation are in flight by default.
const DEFAULT_CONCURRENCY: usize = 16;

type Items<T> = Box<dyn Iterator<Item = T> + Send>;

/// Issues a certificate for each of many CSRs. Created by [`Zone::issue_all`](crate::Zone::issue_all).
///
/// Each CSR is issued exactly once, as by [`Zone::issue`](crate::Zone::issue), and each setting is for each of them. All
/// share the client's rate limit. While the service blocks the client, they pause, however long that is; only a
/// [`deadline`](Self::deadline) or a `time_limit` of the retry policy bounds it.
///
/// # Examples
///
/// ```no_run
/// use shieldcert::{Csr, Zone};
///
/// # async fn example(zone: Zone, csrs: Vec<Csr>) {
/// let mut results = zone.issue_all(csrs).validity_days(90).concurrency(32).stream();
/// while let Some((csr, result)) = results.next().await {
///     match result {
///         Ok(issued) => println!("{} {:?}", issued.certificate.id(), csr.common_name()),
///         Err(error) => eprintln!("{:?}: {error}", csr.common_name()),
///     }
/// }
/// # }
/// ```
#[must_use = "nothing is sent until its stream is polled"]
pub struct IssueAll {
    context: Context,
    csrs: Items<Csr>,
    options: IssueOptions,
    concurrency: usize,
}

issue_options!(IssueAll);

impl IssueAll {
    pub(crate) fn new(context: Context, csrs: impl Iterator<Item = Csr> + Send + 'static) -> Self {
        Self {
            context,
            csrs: Box::new(csrs),
            options: IssueOptions::default(),
            concurrency: DEFAULT_CONCURRENCY,
        }
    }

    /// Sets how many are in flight at once. Default: 16. 0 counts as 1.
    pub fn concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests;
        self
    }

    /// Returns the results as they complete, each with its CSR.
    ///
    /// # Cancel safety
    /// Dropping the stream abandons what is in flight; for those CSRs a certificate may have been issued. Look for them
    /// with [`Zone::find_by_csr`](crate::Zone::find_by_csr).
    pub fn stream(self) -> BulkStream<Csr, Issued> {
        let Self {
            mut context,
            csrs,
            options,
            concurrency,
        } = self;
        context.set_patient();
        let results = stream::iter(csrs).map(move |csr| {
            let issue = Issue::with_options(context.clone(), csr.clone(), options.clone());
            async move { (csr, issue.send().await) }
        });
        BulkStream(Box::pin(results.buffer_unordered(concurrency.max(1))))
    }
}

impl fmt::Debug for IssueAll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssueAll")
            .field("options", &self.options)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}

/// Revokes many certificates. Created by [`Zone::revoke_all`](crate::Zone::revoke_all).
///
/// All share the client's rate limit. While the service blocks the client, they pause, however long that is; only a
/// `time_limit` of the retry policy bounds it.
///
/// # Examples
///
/// ```no_run
/// use shieldcert::{CertificateId, Zone};
///
/// # async fn example(zone: Zone, ids: Vec<CertificateId>) {
/// let mut results = zone.revoke_all(ids).until_settled().stream();
/// while let Some((id, result)) = results.next().await {
///     match result {
///         Ok(certificate) => println!("{id} {}", certificate.status()),
///         Err(error) => eprintln!("{id}: {error}"),
///     }
/// }
/// # }
/// ```
#[must_use = "nothing is sent until its stream is polled"]
pub struct RevokeAll(TransitionAll);

/// Reactivates many certificates. Created by [`Zone::reactivate_all`](crate::Zone::reactivate_all).
///
/// All share the client's rate limit. While the service blocks the client, they pause, however long that is; only a
/// `time_limit` of the retry policy bounds it.
#[must_use = "nothing is sent until its stream is polled"]
pub struct ReactivateAll(TransitionAll);

struct TransitionAll {
    context: Context,
    ids: Items<CertificateId>,
    until_settled: bool,
    concurrency: usize,
}

/// What both operations have.
macro_rules! transition_all {
    ($name:ident, $one:ident, $status:literal) => {
        impl $name {
            pub(crate) fn new(
                context: Context,
                ids: impl Iterator<Item = CertificateId> + Send + 'static,
            ) -> Self {
                Self(TransitionAll {
                    context,
                    ids: Box::new(ids),
                    until_settled: false,
                    concurrency: DEFAULT_CONCURRENCY,
                })
            }

            #[doc = concat!("Waits until each certificate is `", $status, "`; see [`", stringify!($one), "::until_settled`].")]
            /// Requests, and their waits for the rate limit, do not count toward the five minutes of a wait.
            pub fn until_settled(mut self) -> Self {
                self.0.until_settled = true;
                self
            }

            /// Overrides the client's retry policy for each certificate.
            pub fn retry(mut self, policy: RetryPolicy) -> Self {
                self.0.context.set_retry(policy);
                self
            }

            /// Sets how many are in flight at once. Default: 16. 0 counts as 1.
            pub fn concurrency(mut self, requests: usize) -> Self {
                self.0.concurrency = requests;
                self
            }

            /// Returns the results as they complete, each with its id.
            ///
            /// # Cancel safety
            /// Dropping the stream abandons what is in flight, on which the service may have acted. Sending it again
            /// is safe.
            pub fn stream(self) -> BulkStream<CertificateId, ClientCertificate> {
                let TransitionAll {
                    mut context,
                    ids,
                    until_settled,
                    concurrency,
                } = self.0;
                context.set_patient();
                let results = stream::iter(ids).map(move |id| {
                    let one = $one::new(context.clone(), id.clone());
                    async move {
                        let result = match until_settled {
                            true => one.until_settled().send().await,
                            false => one.send().await,
                        };
                        (id, result)
                    }
                });
                BulkStream(Box::pin(results.buffer_unordered(concurrency.max(1))))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("until_settled", &self.0.until_settled)
                    .field("concurrency", &self.0.concurrency)
                    .finish_non_exhaustive()
            }
        }
    };
}

transition_all!(RevokeAll, Revoke, "revoked");
transition_all!(ReactivateAll, Reactivate, "active");

/// The results of a bulk operation as they complete, each with the item that it is for.
#[must_use = "a stream does nothing until it is polled"]
pub struct BulkStream<I, T>(Pin<Box<dyn Stream<Item = (I, Result<T>)> + Send>>);

impl<I, T> BulkStream<I, T> {
    /// Returns the next result; `None` after the last.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<(I, Result<T>)> {
        self.0.next().await
    }
}

impl<I, T> Stream for BulkStream<I, T> {
    type Item = (I, Result<T>);

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl<I, T> fmt::Debug for BulkStream<I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkStream").finish_non_exhaustive()
    }
}

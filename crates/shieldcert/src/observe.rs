//! What a user can observe of a client: a summary of each call, and spans around operations.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use tracing::{Instrument, Span};

/// A finished call to the service, for metrics.
///
/// One operation makes one call or several: a list makes one for each page, a wait one for each poll. See
/// [`ClientBuilder::on_call`](crate::ClientBuilder::on_call).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallSummary {
    /// The operation id of the spec, such as `list_client_certificates`.
    pub operation: &'static str,
    /// The HTTP method.
    pub method: Method,
    /// The HTTP status of the last response. `None` if the last attempt got no response.
    pub status: Option<StatusCode>,
    /// How often the request was sent.
    pub attempts: u32,
    /// How long the call waited for the rate limit, all attempts together.
    pub rate_limit_wait: Duration,
    /// How long the call took, with all attempts and waits.
    pub duration: Duration,
}

type OnCall = dyn Fn(&CallSummary) + Send + Sync;

/// The hook that a user set.
#[derive(Clone, Default)]
pub(crate) struct CallHook(Option<Arc<OnCall>>);

impl CallHook {
    pub(crate) fn new(hook: impl Fn(&CallSummary) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    pub(crate) fn call(&self, summary: impl FnOnce() -> CallSummary) {
        if let Some(hook) = &self.0 {
            hook(&summary());
        }
    }
}

impl fmt::Debug for CallHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CallHook").field(&self.0.is_some()).finish()
    }
}

/// Runs an operation in its span and records there if it fails.
pub(crate) async fn trace<T, E: fmt::Display>(
    span: Span,
    operation: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let recorded = async {
        operation.await.inspect_err(|error| {
            tracing::debug!(%error, "failed");
        })
    };
    recorded.instrument(span).await
}

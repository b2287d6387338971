//! What every operation holds: the client's shared state and the zone.

use std::fmt;
use std::sync::Arc;

use shieldcert_api::{ResponseValue, types};

use crate::certificate::id::ZoneId;
use crate::error::Result;
use crate::error::call::Call;
use crate::error::input::InvalidInput;
use crate::transport::exchange::{Exchange, Stack};
use crate::transport::response::{self, Envelope};
use crate::transport::retry::RetryPolicy;
use crate::wait::queue::PollQueue;

/// What the clones of a client share.
pub(crate) struct Shared {
    /// Without a slash at the end.
    pub(crate) base_url: String,
    pub(crate) stack: Arc<Stack>,
    pub(crate) retry: RetryPolicy,
    pub(crate) polls: PollQueue,
}

/// The zone of an operation, and what its calls need.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) zone_id: ZoneId,
    /// The operation's own policy, in place of the client's.
    retry: Option<RetryPolicy>,
}

impl Context {
    pub(crate) fn new(shared: Arc<Shared>, zone_id: ZoneId) -> Self {
        Self {
            shared,
            zone_id,
            retry: None,
        }
    }

    pub(crate) fn set_retry(&mut self, policy: RetryPolicy) {
        self.retry = Some(policy);
    }

    pub(crate) fn retry(&self) -> &RetryPolicy {
        self.retry.as_ref().unwrap_or(&self.shared.retry)
    }

    /// The zone id as the generated client takes it.
    pub(crate) fn zone(&self) -> String {
        self.zone_id.to_string()
    }

    /// Makes one operation's call and reads its response.
    pub(crate) async fn call<E: Envelope>(
        &self,
        request: impl AsyncFnOnce(
            shieldcert_api::Client,
        ) -> Result<
            ResponseValue<E>,
            shieldcert_api::Error<types::ApiResponseCommonFailure>,
        >,
    ) -> Result<(E::Content, Call)> {
        let stack = self.shared.stack.clone();
        let exchange = Arc::new(Exchange::new(stack, self.retry().clone()));
        let api = shieldcert_api::Client::with_transport(&self.shared.base_url, exchange.clone());
        let parsed = request(api).await;
        match exchange.take() {
            Some(outcome) => response::read(parsed.ok().map(ResponseValue::into_inner), outcome),
            None => {
                let problem = match parsed {
                    Err(error) => format!("it can't be built ({error})"),
                    Ok(_) => "it was not sent".to_owned(),
                };
                Err(InvalidInput::new("request", problem).into())
            }
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("base_url", &self.shared.base_url)
            .field("zone_id", &self.zone_id)
            .field("retry", self.retry())
            .finish_non_exhaustive()
    }
}

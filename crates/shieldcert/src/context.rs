//! What every operation holds: the client's shared state and the zone.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use shieldcert_api::{ResponseValue, types};
use tokio::time::{Instant, sleep};

use crate::certificate::id::ZoneId;
use crate::error::call::Call;
use crate::error::input::InvalidInput;
use crate::error::{Error, Result};
use crate::issue::registry::IssueRegistry;
use crate::list::unreadable::LastUnreadable;
use crate::lookup::queue::LookupQueue;
use crate::observe::CallSummary;
use crate::transport::clock::{self, SendWindow};
use crate::transport::deadline::{deadline_after, earlier};
use crate::transport::exchange::{Attempt, Exchange, NoResponse, Stack};
use crate::transport::rate_limit::{Bounds, Permit};
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
    pub(crate) unreadable: LastUnreadable,
    pub(crate) lookups: LookupQueue,
    pub(crate) issues: IssueRegistry,
}

/// The zone of an operation, and what its calls need.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) zone_id: ZoneId,
    /// The operation's own policy, in place of the client's.
    retry: Option<RetryPolicy>,
    deadline: Option<Instant>,
    is_patient: bool,
}

/// The outcome of a call, and when it was sent.
pub(crate) struct Sends<T> {
    pub(crate) result: Result<(T, Call)>,
    /// The last attempt that the transport had. `None` if it had none.
    pub(crate) window: Option<SendWindow>,
}

impl Context {
    pub(crate) fn new(shared: Arc<Shared>, zone_id: ZoneId) -> Self {
        Self {
            shared,
            zone_id,
            retry: None,
            deadline: None,
            is_patient: false,
        }
    }

    pub(crate) fn set_retry(&mut self, policy: RetryPolicy) {
        self.retry = Some(policy);
    }

    /// Bounds every attempt of every call, and every wait for the limit or between attempts. A request whose deadline
    /// has passed is not sent. An earlier deadline that was set before stays.
    pub(crate) fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = earlier(self.deadline, deadline);
    }

    /// Makes calls wait for the end of a block of the rate limit, however long it is, within their deadline.
    pub(crate) fn set_patient(&mut self) {
        self.is_patient = true;
    }

    pub(crate) fn is_patient(&self) -> bool {
        self.is_patient
    }

    pub(crate) fn retry(&self) -> &RetryPolicy {
        self.retry.as_ref().unwrap_or(&self.shared.retry)
    }

    /// The zone id as the generated client takes it.
    pub(crate) fn zone(&self) -> String {
        self.zone_id.to_string()
    }

    /// How long calls wait for the rate limit, if they begin now.
    fn bounds(&self) -> Bounds {
        let policy = self.retry();
        let started = Instant::now();
        let limit = policy.time_limit;
        let limit = limit.and_then(|limit| deadline_after(started, limit));
        Bounds {
            started,
            deadline: earlier(self.deadline, limit),
            max_block: (!self.is_patient).then_some(policy.max_retry_after),
        }
    }

    /// Takes the permit for a request to issue ahead, to give it to [`send`](Self::send). Waits for the rate limit.
    ///
    /// A permit that is dropped gives its place back.
    pub(crate) async fn reserve(&self) -> Result<Permit> {
        let reserved = self.shared.stack.limiter.reserve(self.bounds()).await;
        reserved.map_err(|refused| self.not_created(refused))
    }

    /// The error of a request to issue that was not sent.
    pub(crate) fn not_created(&self, reason: impl Into<NoResponse>) -> Error {
        let path = format!("/zones/{}/client_certificates", self.zone_id);
        failure(Call::new(Method::POST, path), reason.into())
    }

    /// Makes one operation's call and reads its response.
    pub(crate) async fn call<E: Envelope>(
        &self,
        request: impl AsyncFnOnce(
            shieldcert_api::Client,
        ) -> Result<
            ResponseValue<E>,
            shieldcert_api::Error<types::ApiResponseCommonFailure>,
        > + Clone,
    ) -> Result<(E::Content, Call)> {
        self.send(None, request).await.result
    }

    /// Makes one operation's call: sends, reads the response, and does so again as the policy allows.
    ///
    /// The first attempt uses the permit, if there is one, instead of waiting for the rate limit.
    pub(crate) async fn send<E: Envelope>(
        &self,
        mut permit: Option<Permit>,
        request: impl AsyncFnOnce(
            shieldcert_api::Client,
        ) -> Result<
            ResponseValue<E>,
            shieldcert_api::Error<types::ApiResponseCommonFailure>,
        > + Clone,
    ) -> Sends<E::Content> {
        let stack = &self.shared.stack;
        let timeout = self.retry().attempt_timeout;
        let mut progress = Progress::new(self.bounds());
        loop {
            let exchange = Exchange::new(stack.clone(), timeout, progress.bounds, permit.take());
            let exchange = Arc::new(exchange);
            let base_url = &self.shared.base_url;
            let api = shieldcert_api::Client::with_transport(base_url, exchange.clone());
            // Boxed, since the generated client's futures are large, and would be part of every future above.
            let parsed = Box::pin(request.clone()(api)).await;
            let Some(attempt) = exchange.take() else {
                let problem = match parsed {
                    Err(error) => format!("it can't be built ({error})"),
                    Ok(_) => "it was not sent".to_owned(),
                };
                return Sends {
                    result: Err(InvalidInput::new("request", problem).into()),
                    window: progress.window,
                };
            };
            let parsed = parsed.ok().map(ResponseValue::into_inner);
            let result = progress.add(stack, attempt, parsed);
            let delay = match &result {
                Ok(_) => None,
                Err(error) => self.next_delay(&mut progress, error),
            };
            let Some(delay) = delay else {
                if result.as_ref().map_or_else(Error::is_refusal, |_| true) {
                    stack.retry_budget.earn();
                }
                stack.on_call.call(|| progress.summarize());
                return Sends {
                    result: result.map(|content| (content, progress.call)),
                    window: progress.window,
                };
            };
            sleep(delay).await;
        }
    }

    /// Returns how long to wait before the next attempt, or `None` if there is none.
    fn next_delay(&self, progress: &mut Progress, error: &Error) -> Option<Duration> {
        let policy = self.retry();
        let stack = &self.shared.stack;
        let call = &progress.call;
        let delay = if call.status == Some(StatusCode::TOO_MANY_REQUESTS) {
            // The limiter holds every request of the client until the block is over.
            let retries = policy.retries_refusal(&call.method, error)
                && stack.limiter.check_block(progress.bounds).is_ok();
            retries.then_some(Duration::ZERO)?
        } else {
            progress.failures += 1;
            let delay = policy.next_delay(progress.failures, &call.method, error)?;
            let next = deadline_after(Instant::now(), delay)?;
            let is_too_late = progress
                .bounds
                .deadline
                .is_some_and(|deadline| next >= deadline);
            if is_too_late || !stack.retry_budget.try_spend() {
                return None;
            }
            delay
        };
        tracing::debug!(
            method = %call.method,
            path = call.path,
            attempts = call.attempts,
            ?delay,
            failure = %error,
            "retrying"
        );
        progress.call.earlier_unclear |= error.is_ambiguous();
        Some(delay)
    }
}

/// A call in progress.
struct Progress {
    bounds: Bounds,
    call: Call,
    operation: &'static str,
    rate_limit_wait: Duration,
    window: Option<SendWindow>,
    /// How many attempts failed in another way than with a 429.
    failures: u32,
}

impl Progress {
    fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            call: Call::new(Method::GET, String::new()),
            operation: "",
            rate_limit_wait: Duration::ZERO,
            window: None,
            failures: 0,
        }
    }

    /// Takes what happened to an attempt, and reads its response.
    fn add<E: Envelope>(
        &mut self,
        stack: &Stack,
        attempt: Attempt,
        parsed: Option<E>,
    ) -> Result<E::Content> {
        let call = &mut self.call;
        self.operation = attempt.operation;
        self.rate_limit_wait += attempt.rate_limit_wait;
        if attempt.window.is_some() {
            self.window = attempt.window;
            call.attempts += 1;
        }
        call.method = attempt.method;
        call.path = attempt.path;
        let received = match attempt.outcome {
            Ok(received) => received,
            Err(no_response) => {
                (call.status, call.ray_id, call.retry_after) = (None, None, None);
                return Err(failure(call.clone(), no_response));
            }
        };
        let ray_id = received.headers.get("cf-ray");
        let ray_id = ray_id.and_then(|value| value.to_str().ok());
        call.status = Some(received.status);
        call.ray_id = ray_id.map(|ray_id| stack.redactor.redact(ray_id).into_owned());
        call.retry_after = received.retry_after;
        let reading = response::read(parsed, call, received.body, &stack.redactor);
        if reading.is_envelope
            && let (Some(date), Some(window)) = (clock::date(&received.headers), attempt.window)
        {
            stack.clock.update(date, window);
        }
        reading.result
    }

    fn summarize(&self) -> CallSummary {
        CallSummary {
            operation: self.operation,
            method: self.call.method.clone(),
            status: self.call.status,
            attempts: self.call.attempts,
            rate_limit_wait: self.rate_limit_wait,
            duration: self.bounds.started.elapsed(),
        }
    }
}

/// The error of a call that got no response.
fn failure(call: Call, no_response: NoResponse) -> Error {
    let call = Box::new(call);
    match no_response {
        NoResponse::RateLimited(wait) => Error::RateLimited { call, wait },
        NoResponse::Failed(cause) => Error::Transport { call, cause },
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

//! Injects faults between requests and the service, and the latency of a network.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::app::App;
use super::body::{collect, rebuild};
use super::envelope::{Failure, injected};
use super::history::Event;
use super::network::Network;
use super::observe::{Moment, Observation};
use super::quirk::{alter_head, http_date};
use super::rate_limit::Counted;
use crate::chaos::quirk::Applied;
use crate::chaos::{self, CannedResponse, Fault, Kind, Operation};
use crate::settings::{BASE_PATH, round_up_to_seconds};

/// Passes a request on to the service, or injects the next fault. Dates every response.
pub(super) async fn inject(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with(BASE_PATH);
    let mut response = match is_api {
        true => deliver(&app, request, next).await,
        false => next.run(request).await,
    };
    if !response.headers().contains_key(DATE) {
        let now = http_date(app.service.clock.now());
        response.headers_mut().insert(DATE, now);
    }
    response
}

async fn deliver(app: &Arc<App>, request: Request, next: Next) -> Response {
    let uri = request.uri();
    let network = request.extensions().get::<Arc<Network>>();
    let network = network.unwrap_or_else(|| app.network()).clone();
    let mut exchange = Exchange {
        app: app.clone(),
        quirks: Arc::default(),
        network: network.clone(),
        operation: Operation::of_request(request.method(), uri.path()),
        method: request.method().clone(),
        path: uri
            .path_and_query()
            .map_or("", |path| path.as_str())
            .to_owned(),
    };
    // Tokio's timer has a resolution of a millisecond: it would take one for no latency at all.
    let latency = app.service.settings.latency;
    if !latency.is_zero() {
        app.service.clock.sleep(latency).await;
    }
    let fault = network.next_fault(exchange.operation);
    let quirks = Arc::new(network.draw_quirks(fault.as_ref()));
    exchange.quirks = quirks.clone();
    let mut response = match fault {
        None => {
            exchange.observe(Moment::Sent {
                fault: None,
                time: Duration::ZERO,
            });
            exchange.act(request, next, None).await
        }
        Some(fault) => exchange.inject(&fault, request, next).await,
    };
    alter_head(&quirks, &app.service.clock, &mut response);
    response
}

/// A request, as the history and the observer have it.
struct Exchange {
    app: Arc<App>,
    network: Arc<Network>,
    /// Drawn for this request.
    quirks: Arc<Applied>,
    operation: Option<Operation>,
    method: Method,
    path: String,
}

impl Exchange {
    fn observe(&self, moment: Moment<'_>) {
        if let Some(observer) = self.network.observer() {
            observer(&Observation {
                at: self.app.service.clock.elapsed(),
                connection: self.network.id(),
                method: &self.method,
                path: &self.path,
                operation: self.operation,
                moment,
            });
        }
    }

    fn note(&self, status: Option<StatusCode>, fault: Option<&Fault>, over_quota: bool) {
        self.app.history().add(Event {
            at: self.app.service.clock.elapsed().as_secs_f64(),
            method: self.method.to_string(),
            path: self.path.clone(),
            operation: self.operation,
            status: status.map(|status| status.as_u16()),
            fault: fault.map(Fault::name),
            connection: self.network.id(),
            over_quota,
        });
    }

    /// Has the rate limiter count the request.
    fn count(&self) -> Counted {
        let clock = &self.app.service.clock;
        let counted = self.network.limiter().count(|| clock.elapsed());
        if counted.is_over_quota {
            self.observe(Moment::OverQuota);
            self.app.warn_of_limit(counted.left);
        }
        counted
    }

    async fn act(&self, request: Request, next: Next, fault: Option<&Fault>) -> Response {
        let counted = self.count();
        let response = self.serve(request, next, counted).await;
        self.note(Some(response.status()), fault, counted.is_over_quota);
        response
    }

    async fn serve(&self, mut request: Request, next: Next, counted: Counted) -> Response {
        request.extensions_mut().insert(counted);
        let has_quirks = !self.quirks.is_empty();
        if has_quirks {
            request.extensions_mut().insert(self.quirks.clone());
        }
        let response = next.run(request).await;
        if self.network.observer().is_none() && !has_quirks {
            return response;
        }
        let (parts, body) = collect(response).await;
        let ca_pem = || self.app.service.ca.pem();
        let altered = self
            .operation
            .and_then(|operation| self.quirks.alter(operation, ca_pem, &body));
        let body = altered.map_or(body, Bytes::from);
        self.observe(Moment::Responded {
            status: parts.status.as_u16(),
            body: &body,
        });
        rebuild(parts, body)
    }

    /// Lets the service act, if the fault says so.
    async fn act_if(&self, acts: bool, request: Request, next: Next, fault: &Fault) {
        if acts {
            self.act(request, next, Some(fault)).await;
        } else {
            self.note(None, Some(fault), false);
        }
    }

    /// Has the service act later, though the requester may be gone by then. A reset cancels it.
    ///
    /// The request is counted now: it has arrived. If the limiter refuses it, the service does not act later.
    async fn act_later(self, time: Duration, request: Request, next: Next, fault: &Fault) {
        let counted = self.count();
        self.note(None, Some(fault), counted.is_over_quota);
        let (parts, body) = request.into_parts();
        // The rest of an incomplete body never comes.
        let Ok(body) = body.collect().await else {
            return;
        };
        let request = Request::from_parts(parts, Body::from(body.to_bytes()));
        let generation = self.app.generation();
        tokio::spawn(async move {
            self.app.service.clock.sleep(time).await;
            if self.app.generation() == generation {
                self.serve(request, next, counted).await;
            }
        });
    }

    async fn inject(self, fault: &Fault, request: Request, next: Next) -> Response {
        let (method, path) = (&self.method, &self.path);
        tracing::info!(fault = fault.name(), %method, path, "fault injected");
        let clock = self.app.service.clock.clone();
        let time = fault.time(|| self.network.draw_fraction());
        self.observe(Moment::Sent {
            fault: Some(fault),
            time,
        });
        match fault.kind() {
            Kind::RefuseConnection => {
                self.note(None, Some(fault), false);
                fail(io::ErrorKind::ConnectionRefused)
            }
            Kind::Lose { acts } => {
                self.act_if(acts, request, next, fault).await;
                std::future::pending().await
            }
            Kind::Reset { acts } => {
                self.act_if(acts, request, next, fault).await;
                fail(io::ErrorKind::ConnectionReset)
            }
            Kind::BadGateway { acts } => {
                self.act_if(acts, request, next, fault).await;
                page(StatusCode::BAD_GATEWAY)
            }
            Kind::Late { responds } => {
                self.act_later(time, request, next, fault).await;
                match responds {
                    true => page(StatusCode::GATEWAY_TIMEOUT),
                    false => std::future::pending().await,
                }
            }
            Kind::Stall => {
                let response = self.act(request, next, Some(fault)).await;
                clock.sleep(time).await;
                response
            }
            Kind::Slow => {
                let response = self.act(request, next, Some(fault)).await;
                slow_down(response, self.app, time).await
            }
            Kind::Html => {
                self.act(request, next, Some(fault)).await;
                html(StatusCode::OK, "<html><body><h1>Welcome</h1></body></html>")
            }
            Kind::Truncate => {
                let response = self.act(request, next, Some(fault)).await;
                let (parts, body) = collect(response).await;
                rebuild(parts, body.slice(..body.len() / 2))
            }
            Kind::RateLimit => {
                self.note(None, Some(fault), false);
                let mut response = Failure::RateLimited.into_response();
                let seconds = round_up_to_seconds(time);
                response.headers_mut().insert(RETRY_AFTER, seconds.into());
                response
            }
            Kind::Block => {
                self.network.limiter().block(clock.elapsed(), time);
                self.act(request, next, Some(fault)).await
            }
            Kind::Respond { acts } => {
                self.act_if(acts, request, next, fault).await;
                fault
                    .response()
                    .map_or_else(|| page(StatusCode::BAD_GATEWAY), build)
            }
            Kind::Preset { acts, response } => {
                self.act_if(acts, request, next, fault).await;
                let response = response.parse::<CannedResponse>();
                response.map_or_else(|_| page(StatusCode::BAD_GATEWAY), |canned| build(&canned))
            }
            Kind::OriginError { acts } => {
                self.act_if(acts, request, next, fault).await;
                // The fraction is below 1.
                let status = 520 + (self.network.draw_fraction() * 7.0) as u16;
                page(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY))
            }
            Kind::BadByte(corruption) => {
                let response = self.act(request, next, Some(fault)).await;
                let (parts, body) = collect(response).await;
                rebuild(parts, corruption.corrupt(body))
            }
            Kind::Quirk => self.act(request, next, Some(fault)).await,
            Kind::Alter(alteration) => {
                let response = self.act(request, next, Some(fault)).await;
                let (parts, body) = collect(response).await;
                let altered = alteration.alter(&body).map_or(body, Bytes::from);
                rebuild(parts, altered)
            }
        }
    }
}

fn build(canned: &CannedResponse) -> Response {
    let (status, headers, body) = canned.parts();
    let mut response = match body {
        chaos::Body::Page => page(status),
        chaos::Body::Error(code) => injected(status, *code),
        chaos::Body::Bytes(body) => {
            let kind = match body.first() {
                Some(b'{' | b'[') => "application/json",
                Some(b'<') => "text/html; charset=utf-8",
                _ => "text/plain; charset=utf-8",
            };
            let kind = HeaderValue::from_static(kind);
            (status, [(CONTENT_TYPE, kind)], body.clone()).into_response()
        }
    };
    for (name, _) in headers {
        response.headers_mut().remove(name);
    }
    for (name, value) in headers {
        response.headers_mut().append(name, value.clone());
    }
    response
}

/// A gateway's page about a status.
fn page(status: StatusCode) -> Response {
    let reason = status.canonical_reason().unwrap_or_default();
    let title = format!("{} {reason}", status.as_u16());
    html(
        status,
        &format!("<html><body><h1>{title}</h1></body></html>"),
    )
}

fn html(status: StatusCode, page: &str) -> Response {
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    (status, [(CONTENT_TYPE, kind)], page.to_owned()).into_response()
}

/// A response whose body fails at once: the server closes the connection without a byte of it.
fn fail(kind: io::ErrorKind) -> Response {
    let error = Err::<Frame<Bytes>, _>(io::Error::from(kind));
    let failure = futures_util::stream::once(std::future::ready(error));
    Response::new(Body::new(StreamBody::new(failure)))
}

async fn slow_down(response: Response, app: Arc<App>, between: Duration) -> Response {
    let (mut parts, body) = collect(response).await;
    parts.headers.remove(CONTENT_LENGTH);
    let bytes = futures_util::stream::unfold((body, app), move |(mut rest, app)| async move {
        if rest.is_empty() {
            return None;
        }
        app.service.clock.sleep(between).await;
        let byte = rest.split_to(1);
        Some((Ok::<_, Infallible>(Frame::data(byte)), (rest, app)))
    });
    Response::from_parts(parts, Body::new(StreamBody::new(bytes)))
}

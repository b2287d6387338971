//! Puts faults between requests and the service, and the latency of a network.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::time::sleep;

use crate::assumptions::RATE_LIMITED;
use crate::chaos::Fault;
use crate::envelope::Failure;
use crate::routes::BASE_PATH;
use crate::service::Service;

/// Lets a request through to the service, or strikes.
pub(crate) async fn trouble(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request
        .uri()
        .path_and_query()
        .map_or("", |path| path.as_str())
        .to_owned();
    if !path.starts_with(BASE_PATH) {
        return next.run(request).await;
    }
    // The timer counts in milliseconds: even no time at all would take one.
    if !service.settings.latency.is_zero() {
        sleep(service.settings.latency).await;
    }
    let method = request.method().clone();
    let struck = service.strike();
    let name = struck.map(|(name, _)| name);
    let note = |status: Option<StatusCode>| {
        service
            .history
            .add(&method, &path, status.map(|status| status.as_u16()), name);
    };
    let Some((name, fault)) = struck else {
        let response = next.run(request).await;
        note(Some(response.status()));
        return response;
    };
    tracing::info!(fault = name, %method, path, "strikes");
    let act = async |request, next: Next| {
        let response = next.run(request).await;
        note(Some(response.status()));
        response
    };
    match fault {
        Fault::Silence { acts: false } => {
            note(None);
            std::future::pending().await
        }
        Fault::Silence { acts: true } => {
            act(request, next).await;
            std::future::pending().await
        }
        Fault::Gateway { acts } => {
            if acts {
                act(request, next).await;
            } else {
                note(None);
            }
            gateway(StatusCode::BAD_GATEWAY)
        }
        Fault::Late(time) => {
            note(None);
            act_later(time, request, next).await;
            gateway(StatusCode::GATEWAY_TIMEOUT)
        }
        Fault::Reset { acts } => {
            if acts {
                act(request, next).await;
            } else {
                note(None);
            }
            broken()
        }
        Fault::Stall(time) => {
            let response = act(request, next).await;
            sleep(time).await;
            response
        }
        Fault::Slow(time) => slowed(act(request, next).await, time).await,
        Fault::Html => {
            act(request, next).await;
            html(StatusCode::OK, "<html><body><h1>Welcome</h1></body></html>")
        }
        Fault::Truncate => {
            let (parts, body) = whole(act(request, next).await).await;
            rebuilt(parts, body.slice(..body.len() / 2))
        }
        Fault::RateLimit(time) => {
            note(None);
            let failure = Failure::new(StatusCode::TOO_MANY_REQUESTS, RATE_LIMITED, "Rate limited");
            let mut response = failure.into_response();
            let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
            response
        }
        Fault::Altered(alteration) => {
            let (parts, body) = whole(act(request, next).await).await;
            let altered = alteration.alter(&body).map_or(body, Bytes::from);
            rebuilt(parts, altered)
        }
    }
}

/// The service acts though whoever asked has had a gateway's answer and is gone.
async fn act_later(time: Duration, request: Request, next: Next) {
    let (parts, body) = request.into_parts();
    // What does not arrive whole by now never will.
    let Ok(body) = body.collect().await else {
        return;
    };
    let request = Request::from_parts(parts, Body::from(body.to_bytes()));
    tokio::spawn(async move {
        sleep(time).await;
        next.run(request).await;
    });
}

fn gateway(status: StatusCode) -> Response {
    let reason = status.canonical_reason().unwrap_or_default();
    html(
        status,
        &format!(
            "<html><body><h1>{} {reason}</h1></body></html>",
            status.as_u16()
        ),
    )
}

fn html(status: StatusCode, page: &str) -> Response {
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    (status, [(CONTENT_TYPE, kind)], page.to_owned()).into_response()
}

/// An answer whose body fails at once: the server breaks the connection off.
fn broken() -> Response {
    let failure = futures_util::stream::once(std::future::ready(Err::<Frame<Bytes>, _>(
        io::Error::from(io::ErrorKind::ConnectionReset),
    )));
    Response::new(Body::new(StreamBody::new(failure)))
}

async fn whole(response: Response) -> (http::response::Parts, Bytes) {
    let (parts, body) = response.into_parts();
    // The service's own bodies are in memory and never fail.
    let body = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    (parts, body)
}

fn rebuilt(mut parts: http::response::Parts, body: Bytes) -> Response {
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(body))
}

async fn slowed(response: Response, between: Duration) -> Response {
    let (mut parts, body) = whole(response).await;
    parts.headers.remove(CONTENT_LENGTH);
    let bytes = futures_util::stream::unfold(body, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        sleep(between).await;
        let byte = rest.split_to(1);
        Some((Ok::<_, Infallible>(Frame::data(byte)), rest))
    });
    Response::from_parts(parts, Body::new(StreamBody::new(bytes)))
}

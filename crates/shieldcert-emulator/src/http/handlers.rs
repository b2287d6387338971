//! From a request to an operation, and back to a response.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Uri};
use tokio::time::Instant;

use super::app::App;
use super::body::{parse_create, parse_edit};
use super::envelope::{Failure, Reason, collection, single};
use super::extract::{
    CertificatePath, FullBody, ReadAccess, WriteAccess, ZonePath, invalid_identifier,
};
use super::query::ListQuery;
use super::quirk::{self, Quirked};
use super::rate_limit::Counted;
use crate::chaos::Operation;
use crate::chaos::quirk::Kind;

type Shared = State<Arc<App>>;

pub(super) async fn ca(State(app): Shared) -> Response {
    let pem = HeaderValue::from_static("application/x-pem-file");
    ([(CONTENT_TYPE, pem)], app.service.ca.pem()).into_response()
}

pub(super) async fn list(
    State(app): Shared,
    ZonePath(zone): ZonePath,
    _: ReadAccess,
    Quirked(quirks): Quirked,
    uri: Uri,
) -> Result<Response, Failure> {
    let Query(mut query) = Query::<Vec<(String, String)>>::try_from_uri(&uri)
        .map_err(|error| Failure::InvalidQuery(error.to_string()))?;
    quirk::ignore_parameters(&quirks, &mut query);
    let mut query = ListQuery::parse(&query)?;
    if let Some(records) = quirks.cap() {
        query.cap(records);
    }
    if quirks.has(Kind::RepeatPage) {
        query.go_back();
    }
    let service = &app.service;
    let listed = quirk::list(&quirks, service, zone, &mut query.selection).await?;
    let info = query.result_info(listed.certificates.len(), listed.total_count);
    let response = collection(listed.certificates, info);
    quirk::alter_total(&quirks, service, zone, &query.selection, response).await
}

pub(super) async fn create(
    State(app): Shared,
    ZonePath(zone): ZonePath,
    _: WriteAccess,
    Quirked(quirks): Quirked,
    FullBody(body): FullBody,
) -> Result<Response, Failure> {
    let (csr, validity_days) = parse_create(&body)?;
    let service = app.service.clone();
    let created = service.create(zone, csr, validity_days, quirk::signing(&quirks));
    Ok(single(created.await?))
}

pub(super) async fn details(
    State(app): Shared,
    CertificatePath(zone, id): CertificatePath,
    _: ReadAccess,
    Quirked(quirks): Quirked,
) -> Result<Response, Failure> {
    let as_of = quirk::as_of(&quirks, &app.service);
    Ok(single(app.service.get(zone, id, as_of).await?))
}

pub(super) async fn edit(
    State(app): Shared,
    CertificatePath(zone, id): CertificatePath,
    _: WriteAccess,
    Quirked(quirks): Quirked,
    FullBody(body): FullBody,
) -> Result<Response, Failure> {
    parse_edit(&body)?;
    let repeatable = !quirks.has(Kind::RefuseRepeats);
    Ok(single(app.service.reactivate(zone, id, repeatable).await?))
}

pub(super) async fn revoke(
    State(app): Shared,
    CertificatePath(zone, id): CertificatePath,
    _: WriteAccess,
    Quirked(quirks): Quirked,
) -> Result<Response, Failure> {
    let repeatable = !quirks.has(Kind::RefuseRepeats);
    Ok(single(app.service.revoke(zone, id, repeatable).await?))
}

pub(super) async fn no_route(uri: Uri) -> Failure {
    // An empty id is as invalid as any other malformed one.
    let path = uri.path();
    if path.contains("/zones//client_certificates") || path.ends_with("/client_certificates/") {
        return invalid_identifier(&uri);
    }
    Failure::NoRoute
}

// The router adds the `Allow` header.
pub(super) async fn no_method(method: Method) -> Failure {
    Failure::MethodNotAllowed(method)
}

/// Refuses what the rate limit refuses, gives every response its ray and what is left of the limit, and logs it.
pub(super) async fn respond(State(app): Shared, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let operation = Operation::of_request(&method, &path);
    // Requests that are not the API's are not counted.
    let counted = request.extensions().get::<Counted>().copied();
    let refused_for = counted.and_then(|counted| counted.refused_for);
    let mut response = match refused_for {
        None => next.run(request).await,
        Some(_) => Failure::RateLimited.into_response(),
    };
    let headers = response.headers_mut();
    if let Some(left) = counted.and_then(|counted| counted.left) {
        headers.insert("ratelimit", header_value(left.header()));
        headers.insert("ratelimit-policy", header_value(left.policy()));
    }
    if let Some(seconds) = refused_for {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    let ray = format!(
        "{:016x}-LCL",
        u64::from_be_bytes(app.service.random.bytes())
    );
    let reason = response.extensions().get::<Reason>();
    tracing::info!(
        operation = operation.map(tracing::field::display),
        %method,
        path,
        status = response.status().as_u16(),
        code = reason.map(|reason| reason.code),
        reason = reason.map(|reason| &*reason.message),
        duration = ?began.elapsed(),
        ray,
        "response"
    );
    response.headers_mut().insert("cf-ray", header_value(ray));
    response
}

fn header_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("the emulator's header values are visible ASCII")
}

//! From HTTP to the five operations and back: paths, methods, bodies, and what every answer carries.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri};
use http_body_util::BodyExt;
use tokio::time::Instant;
use uuid::Uuid;

use crate::assumptions::{
    BODY_LIMIT, BODY_NOT_UNDERSTOOD, BODY_TOO_LARGE, METHOD_NOT_ALLOWED, NO_ROUTE,
    QUERY_NOT_UNDERSTOOD, RATE_LIMITED,
};
use crate::auth::Access;
use crate::control;
use crate::envelope::{self, Failure};
use crate::paging::Selection;
use crate::service::Service;
use crate::store::ZoneId;
use crate::trouble::trouble;

/// The path that every route is below.
pub(crate) const BASE_PATH: &str = "/client/v4";

/// How much of a body that is too large is read and dropped, so that its sender gets to see the answer.
const DRAIN_LIMIT: usize = 64 << 20;

type Shared = State<Arc<Service>>;

pub(crate) fn router(service: Arc<Service>) -> Router {
    let certificates = format!("{BASE_PATH}/zones/{{zone_id}}/client_certificates");
    let certificate = format!("{certificates}/{{certificate_id}}");
    let control = if service.settings.control {
        control::router()
    } else {
        Router::new()
    };
    Router::new()
        .route(&certificates, get(list).post(create))
        .route(&certificate, get(details).patch(edit).delete(revoke))
        .route(CA_PATH, get(ca))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(service.clone(), answer))
        .layer(middleware::from_fn_with_state(service.clone(), trouble))
        .merge(control)
        .with_state(service)
}

/// Where the CA's certificate is to be had, without a credential.
const CA_PATH: &str = "/__shieldcert/ca.pem";

async fn ca(State(service): Shared) -> Response {
    let pem = HeaderValue::from_static("application/x-pem-file");
    ([(http::header::CONTENT_TYPE, pem)], service.authority.pem()).into_response()
}

// The order of a handler's arguments is the order of its checks: route, credentials, then the rest.

async fn list(
    State(service): Shared,
    InZone(zone): InZone,
    _: MayRead,
    uri: Uri,
) -> Result<Response, Failure> {
    let Query(query) = Query::<Vec<(String, String)>>::try_from_uri(&uri).map_err(|error| {
        Failure::new(
            StatusCode::BAD_REQUEST,
            QUERY_NOT_UNDERSTOOD,
            error.to_string(),
        )
    })?;
    let selection = Selection::from_query(&query)?;
    let (certificates, info) = service.list(zone, &selection).await?;
    Ok(envelope::collection(certificates, info))
}

async fn create(
    State(service): Shared,
    InZone(zone): InZone,
    _: MayWrite,
    Whole(body): Whole,
) -> Result<Response, Failure> {
    service.create(zone, &body).await.map(envelope::single)
}

async fn details(
    State(service): Shared,
    Target(zone, id): Target,
    _: MayRead,
) -> Result<Response, Failure> {
    service.get(zone, id).await.map(envelope::single)
}

async fn edit(
    State(service): Shared,
    Target(zone, id): Target,
    _: MayWrite,
    Whole(body): Whole,
) -> Result<Response, Failure> {
    service.edit(zone, id, &body).await.map(envelope::single)
}

async fn revoke(
    State(service): Shared,
    Target(zone, id): Target,
    _: MayWrite,
) -> Result<Response, Failure> {
    service.revoke(zone, id).await.map(envelope::single)
}

async fn no_route(uri: Uri) -> Failure {
    // An id left empty is an identifier that is not valid, as any other malformed one.
    let path = uri.path();
    if path.contains("/zones//client_certificates") || path.ends_with("/client_certificates/") {
        return malformed_id(&uri);
    }
    Failure::new(StatusCode::NOT_FOUND, NO_ROUTE, "No route for that URI")
}

// The router adds the `Allow` header.
pub(crate) async fn no_method(method: Method) -> Failure {
    Failure::new(
        StatusCode::METHOD_NOT_ALLOWED,
        METHOD_NOT_ALLOWED,
        format!("Method {method} not available for that URI"),
    )
}

/// Counts the request, gives every answer its ray and what is left of the limit, and leaves a line about it.
async fn answer(State(service): Shared, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let meter = service
        .meter
        .as_ref()
        .filter(|_| path.starts_with(BASE_PATH));
    let counted = meter.map(|meter| (meter, meter.count(Instant::now())));
    let refused_for = counted.and_then(|(_, counted)| counted.refused_for);
    let mut response = match refused_for {
        None => next.run(request).await,
        Some(_) => Failure::new(StatusCode::TOO_MANY_REQUESTS, RATE_LIMITED, "Rate limited")
            .into_response(),
    };
    let headers = response.headers_mut();
    if let Some((meter, counted)) = counted {
        headers.insert("ratelimit", visible(counted.header()));
        headers.insert("ratelimit-policy", visible(meter.policy()));
    }
    if let Some(seconds) = refused_for {
        headers.insert(http::header::RETRY_AFTER, seconds.into());
    }
    let ray = format!("{:016x}-LCL", u64::from_be_bytes(service.random.bytes()));
    tracing::info!(%method, path, status = response.status().as_u16(), ray, "answered");
    response.headers_mut().insert("cf-ray", visible(ray));
    response
}

fn visible(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("what the emulator puts into headers is visible ASCII")
}

/// The zone that the path names.
struct InZone(ZoneId);

impl FromRequestParts<Arc<Service>> for InZone {
    type Rejection = Failure;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, Failure> {
        let zone = path_parameter(parts, service, "zone_id").await?;
        let zone = ZoneId::parse(&zone).ok_or_else(|| malformed_id(&parts.uri))?;
        Ok(Self(zone))
    }
}

/// The zone and the certificate that the path names.
struct Target(ZoneId, Uuid);

impl FromRequestParts<Arc<Service>> for Target {
    type Rejection = Failure;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, Failure> {
        let InZone(zone) = InZone::from_request_parts(parts, service).await?;
        let id = path_parameter(parts, service, "certificate_id").await?;
        // The parser knows braces and URNs too, which are of other lengths.
        let id = Uuid::try_parse(&id)
            .ok()
            .filter(|_| matches!(id.len(), 32 | 36))
            .ok_or_else(|| malformed_id(&parts.uri))?;
        Ok(Self(zone, id))
    }
}

async fn path_parameter(
    parts: &mut Parts,
    service: &Arc<Service>,
    name: &str,
) -> Result<String, Failure> {
    let parameters = RawPathParams::from_request_parts(parts, service).await;
    parameters
        .ok()
        .and_then(|all| {
            let mut named = all.iter().filter(|(key, _)| *key == name);
            named.next().map(|(_, value)| value.to_owned())
        })
        .ok_or_else(|| malformed_id(&parts.uri))
}

fn malformed_id(uri: &Uri) -> Failure {
    let path = uri.path();
    let path = path.strip_prefix(BASE_PATH).unwrap_or(path);
    Failure::new(
        StatusCode::NOT_FOUND,
        7003,
        format!("Could not route to {path}, perhaps your object identifier is invalid?"),
    )
}

/// The caller's credential allows reading.
struct MayRead;

impl FromRequestParts<Arc<Service>> for MayRead {
    type Rejection = Failure;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, Failure> {
        service.credentials.check(&parts.headers, Access::Read)?;
        Ok(Self)
    }
}

/// The caller's credential allows writing.
struct MayWrite;

impl FromRequestParts<Arc<Service>> for MayWrite {
    type Rejection = Failure;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, Failure> {
        service.credentials.check(&parts.headers, Access::Write)?;
        Ok(Self)
    }
}

/// The whole body, of at most [`BODY_LIMIT`] bytes.
struct Whole(Bytes);

impl FromRequest<Arc<Service>> for Whole {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &Arc<Service>) -> Result<Self, Failure> {
        let mut body: Body = request.into_body();
        let (mut whole, mut received) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| {
                Failure::new(
                    StatusCode::BAD_REQUEST,
                    BODY_NOT_UNDERSTOOD,
                    "The request body ended before it was complete",
                )
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            received += data.len();
            if received <= BODY_LIMIT {
                whole.extend_from_slice(&data);
            } else if received > DRAIN_LIMIT {
                break;
            }
        }
        if received > BODY_LIMIT {
            return Err(Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                BODY_TOO_LARGE,
                format!("The request body is larger than {BODY_LIMIT} bytes"),
            ));
        }
        Ok(Self(whole.into()))
    }
}

//! The control endpoints, for tests in any language: apart from the API's paths, and off by default.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use http::{HeaderValue, StatusCode, header};
use jiff::{Span, SpanRelativeTo, Timestamp};
use serde::Serialize;

use super::app::App;
use super::auth::Access;
use super::handlers::no_method;
use crate::chaos::{Chaos, Quirks, Script};
use crate::core::store::ZoneId;
use crate::error::{Error, ParseError};
use crate::fixture::Fixture;

type Shared = State<Arc<App>>;

/// Plain text but for certificates and the history, which are JSON. [`EmulatorBuilder::control`](crate::EmulatorBuilder::control)
/// documents each.
pub(super) fn router(app: Arc<App>) -> Router<Arc<App>> {
    let script = get(script)
        .put(replace_script)
        .post(append_script)
        .delete(clear_script);
    Router::new()
        .route("/__shieldcert/chaos", get(chaos).put(set_chaos))
        .route("/__shieldcert/quirks", get(quirks).put(set_quirks))
        .route("/__shieldcert/script", script)
        .route("/__shieldcert/history", get(history))
        .route("/__shieldcert/reset", post(reset))
        .route("/__shieldcert/clock", get(clock).post(advance))
        .route(
            "/__shieldcert/zones/{zone_id}/client_certificates",
            post(add_certificates),
        )
        .route("/__shieldcert/", get(index))
        .route(ALL, any(unknown))
        .method_not_allowed_fallback(no_method)
        .route_layer(from_fn_with_state(app, authorize))
}

/// The paths of the control endpoints.
pub(super) const ALL: &str = "/__shieldcert/{*endpoint}";

/// What there is. [`EmulatorBuilder::control`](crate::EmulatorBuilder::control) says the same.
const INDEX: &str = "\
GET                  /__shieldcert/ca.pem   the certificate of the CA
GET PUT              /__shieldcert/chaos    faults by chance: lose-response=5%, html=1%
GET PUT              /__shieldcert/quirks   how the service differs: cap=25, total=missing
GET PUT POST DELETE  /__shieldcert/script   faults in order, a rule a line: create: lose-response
GET                  /__shieldcert/history  the last requests, and their faults
POST                 /__shieldcert/reset    how it started; a database is emptied
GET POST             /__shieldcert/clock    the time, and forward: advance=30d; --db does not keep that
POST                 /__shieldcert/zones/ZONE/client_certificates
                                            adds certificates: {\"common_name\": \"sensor-001\", \"status\": \"revoked\"}
";

async fn index() -> &'static str {
    INDEX
}

async fn unknown(request: Request) -> Response {
    let path = request.uri().path();
    let message = format!("{path} is no control endpoint. There are:\n{INDEX}");
    (StatusCode::NOT_FOUND, message).into_response()
}

pub(super) async fn not_served() -> (StatusCode, &'static str) {
    (
        StatusCode::NOT_FOUND,
        "The control endpoints are not served; start the emulator with --control, or build it with \
         EmulatorBuilder::control.\n",
    )
}

/// Lets pass who presents the secret, if there is one.
async fn authorize(State(app): Shared, request: Request, next: Next) -> Response {
    let credentials = app.control_credentials();
    let is_allowed =
        credentials.is_empty() || credentials.check(request.headers(), Access::Write).is_ok();
    match is_allowed {
        true => next.run(request).await,
        false => {
            let message =
                "Send the secret of the control endpoints: Authorization: Bearer SECRET\n";
            (StatusCode::UNAUTHORIZED, message).into_response()
        }
    }
}

async fn add_certificates(
    State(app): Shared,
    Path(zone): Path<String>,
    body: Bytes,
) -> Result<Response, Response> {
    let added = async {
        let zone = ZoneId::parse(&zone).ok_or(Error::Zone(zone))?;
        let mut added = Vec::new();
        for fixture in Fixture::parse_all(&body)? {
            added.push(fixture.add(&app.service, zone).await?);
        }
        Ok::<_, Error>(added)
    };
    match added.await {
        Ok(records) => Ok(json(&records)),
        Err(error) => Err((StatusCode::BAD_REQUEST, format!("{error}\n")).into_response()),
    }
}

fn json(value: &(impl Serialize + ?Sized)) -> Response {
    let body = serde_json::to_vec(value).expect("strings and numbers always serialize");
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], body).into_response()
}

async fn chaos(State(app): Shared) -> String {
    app.network().chaos().to_string()
}

async fn set_chaos(State(app): Shared, body: String) -> Result<String, Response> {
    let chaos: Chaos = body.parse().map_err(bad_request)?;
    let text = chaos.to_string();
    app.network().set_chaos(chaos);
    Ok(text)
}

async fn quirks(State(app): Shared) -> String {
    app.network().quirks().to_string()
}

async fn set_quirks(State(app): Shared, body: String) -> Result<String, Response> {
    let quirks: Quirks = body.parse().map_err(bad_request)?;
    let text = quirks.to_string();
    app.network().set_quirks(quirks);
    Ok(text)
}

async fn script(State(app): Shared) -> String {
    app.network().pending_script().to_string()
}

async fn replace_script(State(app): Shared, body: String) -> Result<String, Response> {
    app.network()
        .replace_script(body.parse::<Script>().map_err(bad_request)?);
    Ok(app.network().pending_script().to_string())
}

async fn append_script(State(app): Shared, body: String) -> Result<String, Response> {
    app.network()
        .append_script(body.parse::<Script>().map_err(bad_request)?);
    Ok(app.network().pending_script().to_string())
}

async fn clear_script(State(app): Shared) -> StatusCode {
    app.network().replace_script([]);
    StatusCode::NO_CONTENT
}

async fn history(State(app): Shared) -> Response {
    json(&*app.history().snapshot())
}

async fn reset(State(app): Shared) -> Result<StatusCode, Response> {
    match app.reset().await {
        Ok(()) => {
            tracing::info!("reset");
            Ok(StatusCode::NO_CONTENT)
        }
        Err(error) => {
            let message = format!("{error}\n");
            Err((StatusCode::INTERNAL_SERVER_ERROR, message).into_response())
        }
    }
}

/// The time, in RFC 3339.
async fn clock(State(app): Shared) -> String {
    let now = SystemTime::UNIX_EPOCH.checked_add(app.service.clock.now());
    let now = Timestamp::try_from(now.unwrap_or(UNIX_EPOCH));
    now.unwrap_or(Timestamp::MAX).to_string()
}

async fn advance(state: Shared, body: String) -> Result<String, Response> {
    let by = parse_advance(&body).map_err(bad_request)?;
    state.service.clock.advance(by);
    Ok(clock(state).await)
}

fn parse_advance(body: &str) -> Result<Duration, ParseError> {
    let time = body.trim().strip_prefix("advance=");
    let time = time.and_then(|time| time.trim().parse::<Span>().ok());
    let time = time.and_then(|time| time.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let time = time.and_then(|time| Duration::try_from(time).ok());
    time.ok_or_else(|| {
        ParseError::new(format!(
            "{body:?} does not say how far to move the clock forward, which is its only direction; write advance=1h or \
             advance=30d"
        ))
    })
}

fn bad_request(error: ParseError) -> Response {
    let message = format!("{error}\nThe body is plain text.\n");
    (StatusCode::BAD_REQUEST, message).into_response()
}

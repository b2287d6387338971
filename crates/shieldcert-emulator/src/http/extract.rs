//! What handlers take from a request. The order of a handler's arguments is the order of the checks.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use http::Uri;
use http::request::Parts;
use http_body_util::BodyExt;
use uuid::Uuid;

use super::app::App;
use super::auth::Access;
use super::envelope::Failure;
use crate::assumptions::MAX_BODY_BYTES;
use crate::chaos::quirk::parse_odd_id;
use crate::core::store::ZoneId;
use crate::settings::BASE_PATH;

/// How much of a body that is too large is read and dropped, so that its sender gets the response.
const MAX_DRAINED_BYTES: usize = 64 << 20;

/// The zone in the path.
pub(super) struct ZonePath(pub(super) ZoneId);

impl FromRequestParts<Arc<App>> for ZonePath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let zone = path_parameter(parts, app, "zone_id").await?;
        let zone = ZoneId::parse(&zone).ok_or_else(|| invalid_identifier(&parts.uri))?;
        Ok(Self(zone))
    }
}

/// The zone and the certificate in the path.
pub(super) struct CertificatePath(pub(super) ZoneId, pub(super) Uuid);

impl FromRequestParts<Arc<App>> for CertificatePath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let ZonePath(zone) = ZonePath::from_request_parts(parts, app).await?;
        let id = path_parameter(parts, app, "certificate_id").await?;
        // The parser also accepts braces and URNs, which have other lengths.
        let id = Uuid::try_parse(&id)
            .ok()
            .filter(|_| matches!(id.len(), 32 | 36))
            .or_else(|| parse_odd_id(&id))
            .ok_or_else(|| invalid_identifier(&parts.uri))?;
        Ok(Self(zone, id))
    }
}

async fn path_parameter(parts: &mut Parts, app: &Arc<App>, name: &str) -> Result<String, Failure> {
    let parameters = RawPathParams::from_request_parts(parts, app).await;
    parameters
        .ok()
        .and_then(|all| {
            let mut named = all.iter().filter(|(key, _)| *key == name);
            named.next().map(|(_, value)| value.to_owned())
        })
        .ok_or_else(|| invalid_identifier(&parts.uri))
}

pub(super) fn invalid_identifier(uri: &Uri) -> Failure {
    let path = uri.path();
    let path = path.strip_prefix(BASE_PATH).unwrap_or(path);
    Failure::InvalidIdentifier(path.to_owned())
}

/// The credential allows reading.
pub(super) struct ReadAccess;

impl FromRequestParts<Arc<App>> for ReadAccess {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        app.credentials().check(&parts.headers, Access::Read)?;
        Ok(Self)
    }
}

/// The credential allows writing.
pub(super) struct WriteAccess;

impl FromRequestParts<Arc<App>> for WriteAccess {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        app.credentials().check(&parts.headers, Access::Write)?;
        Ok(Self)
    }
}

/// The complete body, of at most [`MAX_BODY_BYTES`].
pub(super) struct FullBody(pub(super) Bytes);

impl FromRequest<Arc<App>> for FullBody {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, Failure> {
        let mut body: Body = request.into_body();
        let (mut full, mut received) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| {
                Failure::InvalidBody("The request body ended before it was complete".to_owned())
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            received += data.len();
            if received <= MAX_BODY_BYTES {
                full.extend_from_slice(&data);
            } else if received > MAX_DRAINED_BYTES {
                break;
            }
        }
        if received > MAX_BODY_BYTES {
            return Err(Failure::BodyTooLarge);
        }
        Ok(Self(full.into()))
    }
}

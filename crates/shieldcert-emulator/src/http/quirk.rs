//! Quirks in requests and responses.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::header::{DATE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde_json::Value;

use super::app::App;
use super::body::{collect, rebuild};
use super::envelope::Failure;
use crate::chaos::quirk::{Applied, BeyondEnd, Kind, RetryAfter, Total};
use crate::core::clock::Clock;
use crate::core::service::{Listed, Service, Signing};
use crate::core::store::{Selection, View, ZoneId};

/// The quirks that change the request: none, as a rule.
pub(super) struct Quirked(pub(super) Arc<Applied>);

impl FromRequestParts<Arc<App>> for Quirked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &Arc<App>,
    ) -> Result<Self, std::convert::Infallible> {
        let applied = parts.extensions.get::<Arc<Applied>>();
        Ok(Self(applied.cloned().unwrap_or_default()))
    }
}

/// Leaves out the parameters that are ignored.
pub(super) fn ignore_parameters(applied: &Applied, query: &mut Vec<(String, String)>) {
    for (kind, names) in [
        (Kind::IgnorePage, &["page"][..]),
        (Kind::IgnorePerPage, &["per_page"]),
        (Kind::IgnoreOffset, &["offset", "limit"]),
        (Kind::IgnoreStatus, &["status"]),
    ] {
        if applied.has(kind) {
            query.retain(|(name, _)| !names.contains(&name.as_str()));
        }
    }
}

/// How a list is shown.
pub(super) fn view(applied: &Applied, service: &Service) -> View {
    View {
        order: applied.order().unwrap_or(service.settings.order),
        as_of: as_of(applied, service),
    }
}

/// The time whose state is shown, if it is not now.
pub(super) fn as_of(applied: &Applied, service: &Service) -> Option<Duration> {
    applied
        .lag()
        .map(|lag| service.clock.now().saturating_sub(lag))
}

/// What the CA makes of a validity.
pub(super) fn signing(applied: &Applied) -> Signing {
    let days = |days| i64::try_from(days).unwrap_or(i64::MAX);
    Signing {
        backdate: applied
            .find(|kind| match kind {
                Kind::Backdate(time) => Some(time),
                _ => None,
            })
            .unwrap_or_default(),
        max_validity: applied.find(|kind| match kind {
            Kind::MaxValidity(max) => Some(days(max)),
            _ => None,
        }),
        extra_validity: applied
            .find(|kind| match kind {
                Kind::ExtraValidity(extra) => Some(days(extra)),
                _ => None,
            })
            .unwrap_or_default(),
    }
}

/// Lists, with what is different about a page beyond the end, and cuts the page.
pub(super) async fn list(
    applied: &Applied,
    service: &Service,
    zone: ZoneId,
    selection: &mut Selection,
) -> Result<Listed, Failure> {
    let view = view(applied, service);
    let mut listed = service.list(zone, selection, view).await?;
    let is_beyond = selection.offset > 0 && listed.certificates.is_empty();
    match applied.beyond_end().filter(|_| is_beyond) {
        None => {}
        Some(BeyondEnd::BadRequest) => return Err(Failure::BeyondEnd(StatusCode::BAD_REQUEST)),
        Some(BeyondEnd::NotFound) => return Err(Failure::BeyondEnd(StatusCode::NOT_FOUND)),
        Some(BeyondEnd::LastPage) => {
            let last = (listed.matching as u64).saturating_sub(1) / selection.limit;
            selection.offset = last * selection.limit;
            listed = service.list(zone, selection, view).await?;
        }
    }
    if let Some(records) = applied.cut() {
        listed.certificates.truncate(records);
    }
    Ok(listed)
}

/// Says something else in `total_count`.
pub(super) async fn alter_total(
    applied: &Applied,
    service: &Service,
    zone: ZoneId,
    selection: &Selection,
    response: Response,
) -> Result<Response, Failure> {
    let Some(quirk) = applied.total() else {
        return Ok(response);
    };
    let (parts, body) = collect(response).await;
    let mut envelope: Value = serde_json::from_slice(&body).unwrap_or_default();
    let now = service.clock.now();
    let info = &mut envelope["result_info"];
    let right = info["total_count"].as_u64().unwrap_or_default();
    let total: Value = match quirk {
        Total::Missing => Value::Null,
        Total::Text => right.to_string().into(),
        Total::Zero => 0.into(),
        Total::Page => info["count"].clone(),
        Total::Active => {
            let active = service.active(zone).await?;
            (active as u64).into()
        }
        Total::Float => (right as f64).into(),
        Total::Fixed(number) => number.into(),
        Total::Lag(time) => {
            let at = now.saturating_sub(time);
            total_at(service, zone, selection, at).await?.into()
        }
        Total::Cached(time) => {
            let period = time.as_nanos().max(1);
            let age = u64::try_from(now.as_nanos() % period).unwrap_or(u64::MAX);
            let at = now.saturating_sub(Duration::from_nanos(age));
            total_at(service, zone, selection, at).await?.into()
        }
    };
    if let Some(info) = info.as_object_mut() {
        match total.as_u64() {
            Some(number) => {
                let pages = number.div_ceil(selection.limit);
                info.insert("total_pages".to_owned(), pages.into());
            }
            None => {
                info.remove("total_pages");
            }
        }
        match total {
            Value::Null => info.remove("total_count"),
            total => info.insert("total_count".to_owned(), total),
        };
    }
    Ok(rebuild(parts, envelope.to_string().into()))
}

async fn total_at(
    service: &Service,
    zone: ZoneId,
    selection: &Selection,
    at: Duration,
) -> Result<u64, Failure> {
    let selection = Selection {
        offset: 0,
        limit: 0,
        ..*selection
    };
    let view = View {
        as_of: Some(at),
        order: service.settings.order,
    };
    let listed = service.list(zone, &selection, view).await?;
    Ok(listed.total_count as u64)
}

/// Changes the status and the headers of a response, whoever made it.
pub(super) fn alter_head(applied: &Applied, clock: &Clock, response: &mut Response) {
    if applied.is_empty() {
        return;
    }
    let offset = applied.find(|kind| match kind {
        Kind::DateOffset(offset) => Some(offset),
        _ => None,
    });
    let now = match offset {
        Some(offset) if offset.is_negative() => clock.now().saturating_sub(offset.unsigned_abs()),
        Some(offset) => clock.now().saturating_add(offset.unsigned_abs()),
        None => clock.now(),
    };
    let headers = response.headers_mut();
    if applied.has(Kind::NoDate) {
        // The server would add the machine's time if there were none.
        headers.insert(DATE, HeaderValue::from_static(""));
    } else if offset.is_some() {
        headers.insert(DATE, http_date(now));
    }
    if applied.has(Kind::NoRateLimit) {
        headers.remove("ratelimit");
        headers.remove("ratelimit-policy");
    }
    let quirk = applied.find(|kind| match kind {
        Kind::RetryAfter(value) => Some(value),
        _ => None,
    });
    if let (Some(quirk), Some(seconds)) = (quirk, headers.get(RETRY_AFTER)) {
        let seconds = seconds.to_str().ok().and_then(|text| text.parse().ok());
        let until = now.saturating_add(Duration::from_secs(seconds.unwrap_or_default()));
        match quirk {
            RetryAfter::Missing => headers.remove(RETRY_AFTER),
            RetryAfter::Text(text) => headers.insert(RETRY_AFTER, HeaderValue::from_static(text)),
            RetryAfter::Date => headers.insert(RETRY_AFTER, http_date(until)),
        };
    }
    let is_refusal =
        response.status().is_client_error() && response.status() != StatusCode::TOO_MANY_REQUESTS;
    if applied.has(Kind::RefuseWith200) && is_refusal {
        *response.status_mut() = StatusCode::OK;
    }
}

/// The value of a header that has a time, given since 1970.
pub(super) fn http_date(time: Duration) -> HeaderValue {
    // The format has four digits for the year.
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let time = UNIX_EPOCH + time.min(LAST);
    HeaderValue::try_from(httpdate::fmt_http_date(time)).expect("a date is visible ASCII")
}

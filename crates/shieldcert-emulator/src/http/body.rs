//! Bodies of requests, and of responses.

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use serde_json::{Map, Number, Value};

use super::envelope::Failure;

/// Reads the body of a create: the CSR, and the validity in days.
pub(super) fn parse_create(body: &[u8]) -> Result<(String, i64), Failure> {
    let mut body = parse_object(body, r#"{"csr": "…", "validity_days": 365}"#)?;
    let csr = match body.remove("csr") {
        Some(Value::String(csr)) => csr,
        Some(_) => return Err(invalid_field("csr", "must be a string")),
        None => return Err(invalid_field("csr", "is missing")),
    };
    let validity_days = match body.get("validity_days") {
        Some(value) => value.as_number().and_then(whole_number),
        None => return Err(invalid_field("validity_days", "is missing")),
    };
    let validity_days =
        validity_days.ok_or_else(|| invalid_field("validity_days", "must be a whole number"))?;
    Ok((csr, validity_days))
}

/// Reads the body of an edit, which asks for a reactivation or for nothing.
pub(super) fn parse_edit(body: &[u8]) -> Result<(), Failure> {
    match parse_object(body, r#"{"reactivate": true}"#)?.get("reactivate") {
        Some(Value::Bool(true)) => Ok(()),
        Some(Value::Bool(false)) | None => Err(Failure::InvalidEdit),
        Some(_) => Err(invalid_field("reactivate", "must be a boolean")),
    }
}

/// `expected` is what to send, for messages.
fn parse_object(body: &[u8], expected: &str) -> Result<Map<String, Value>, Failure> {
    if body.trim_ascii().is_empty() {
        let message = format!("The request body is empty; send {expected}");
        return Err(Failure::InvalidBody(message));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Failure::InvalidBody(
            "The request body must be a JSON object".to_owned(),
        )),
        Err(error) => Err(Failure::InvalidBody(format!(
            "Malformed JSON in request body: {error}"
        ))),
    }
}

/// The number, if it is an integer. In JSON `365.0` is the same as `365`.
fn whole_number(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        // A cast would saturate far beyond this.
        (float.fract() == 0.0 && float.abs() < 1e15).then_some(float as i64)
    })
}

fn invalid_field(name: &str, problem: &str) -> Failure {
    Failure::InvalidBody(format!("Invalid request body: `{name}` {problem}"))
}

/// Reads a response of the service's.
pub(super) async fn collect(response: Response) -> (http::response::Parts, Bytes) {
    let (parts, body) = response.into_parts();
    // The service's bodies are in memory and never fail.
    let body = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    (parts, body)
}

/// Puts a response together again, with another body.
pub(super) fn rebuild(mut parts: http::response::Parts, body: Bytes) -> Response {
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(body))
}

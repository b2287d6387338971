//! Cloudflare's envelope: the shape of every answer, good or bad.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use shieldcert_api::types;

/// A call that failed: the HTTP status and the one error in the envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) code: i64,
    pub(crate) message: Cow<'static, str>,
    pub(crate) cause: Option<Cause>,
}

/// What led to the error: an entry of `error_chain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Cause {
    pub(crate) code: i64,
    pub(crate) message: &'static str,
}

impl Failure {
    pub(crate) fn new(
        status: StatusCode,
        code: i64,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            cause: None,
        }
    }

    pub(crate) fn caused_by(self, code: i64, message: &'static str) -> Self {
        Self {
            cause: Some(Cause { code, message }),
            ..self
        }
    }
}

// The generated failure envelope leaves a null result out, and the spec asks for it to be there.
#[derive(Serialize)]
struct FailureEnvelope<'a> {
    success: bool,
    errors: [FailureError<'a>; 1],
    messages: [(); 0],
    result: (),
}

#[derive(Serialize)]
struct FailureError<'a> {
    code: i64,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_chain: Option<[&'a Cause; 1]>,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        json(
            self.status,
            &FailureEnvelope {
                success: false,
                errors: [FailureError {
                    code: self.code,
                    message: &self.message,
                    error_chain: self.cause.as_ref().map(|cause| [cause]),
                }],
                messages: [],
                result: (),
            },
        )
    }
}

/// The answer to a call on one certificate.
pub(crate) fn single(certificate: types::ClientCertificate) -> Response {
    let mut body = types::ClientCertificateResponseSingle::default();
    body.success = Some(true);
    body.errors = Some(nothing());
    body.messages = Some(nothing());
    body.result = Some(certificate);
    json(StatusCode::OK, &body)
}

/// The answer to a list.
pub(crate) fn collection(
    certificates: Vec<types::ClientCertificate>,
    info: types::ClientCertificateResponseCollectionResultInfo,
) -> Response {
    let mut body = types::ClientCertificateResponseCollection::default();
    body.success = Some(true);
    body.errors = Some(nothing());
    body.messages = Some(nothing());
    body.result = Some(certificates);
    body.result_info = Some(info);
    json(StatusCode::OK, &body)
}

fn nothing() -> types::Messages {
    types::Messages(Vec::new())
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body)
        .expect("envelopes are structs of strings and numbers, which always serialize");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

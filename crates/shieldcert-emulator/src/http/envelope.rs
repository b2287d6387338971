//! Cloudflare's envelope: the shape of every response, and the status, code and message of every refusal.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use shieldcert_api::{codes, types};

use crate::assumptions::{
    BODY_TOO_LARGE, CERTIFICATE_NOT_FOUND, INTERNAL, INVALID_BODY, INVALID_CSR, INVALID_EDIT,
    INVALID_QUERY, INVALID_VALIDITY, MAX_BODY_BYTES, MAX_VALIDITY_DAYS, METHOD_NOT_ALLOWED,
    QUOTA_STATUS, RATE_LIMITED, REACTIVATION_REFUSED, REPEAT_REFUSED,
};
use crate::core::refusal::Refusal;

/// Why a request fails.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The service refuses it.
    Refused(Refusal),
    /// The path leads nowhere.
    NoRoute,
    /// An id in this path, which is below the base path, is malformed.
    InvalidIdentifier(String),
    /// The path does not have this method.
    MethodNotAllowed(Method),
    /// A header that holds a credential is missing or malformed.
    InvalidHeader(CredentialHeader),
    /// The credential is not one of those that are accepted.
    Authentication,
    /// The credential does not allow this.
    NotPermitted,
    /// The query is not understood, or a parameter is out of bounds.
    InvalidQuery(String),
    /// The body is not understood, or lacks a field.
    InvalidBody(String),
    BodyTooLarge,
    /// An edit that changes nothing.
    InvalidEdit,
    RateLimited,
    /// A quirk: the list has no such page.
    BeyondEnd(StatusCode),
}

/// A header that holds a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CredentialHeader {
    Authorization,
    AuthEmail,
    AuthKey,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// An error of the envelope, and the HTTP status that goes with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: i64,
    pub(crate) message: Cow<'static, str>,
    pub(crate) cause: Option<Cause>,
}

/// An entry of `error_chain`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Cause {
    pub(crate) code: i64,
    pub(crate) message: &'static str,
}

impl Failure {
    pub(crate) fn into_error(self) -> ApiError {
        let (status, code, message): (_, _, Cow<'static, str>) = match self {
            Self::Refused(refusal) => describe(refusal),
            Self::NoRoute => (
                StatusCode::NOT_FOUND,
                codes::NO_ROUTE,
                "No route for that URI".into(),
            ),
            Self::InvalidIdentifier(path) => (
                StatusCode::NOT_FOUND,
                codes::INVALID_IDENTIFIER,
                format!("Could not route to {path}, perhaps your object identifier is invalid?")
                    .into(),
            ),
            Self::MethodNotAllowed(method) => (
                StatusCode::METHOD_NOT_ALLOWED,
                METHOD_NOT_ALLOWED,
                format!("Method {method} not available for that URI").into(),
            ),
            Self::InvalidHeader(header) => {
                return ApiError {
                    status: StatusCode::BAD_REQUEST,
                    code: codes::INVALID_HEADERS,
                    message: "Invalid request headers".into(),
                    cause: Some(header.cause()),
                };
            }
            Self::Authentication => (
                StatusCode::FORBIDDEN,
                codes::AUTHENTICATION,
                "Authentication error".into(),
            ),
            Self::NotPermitted => (
                StatusCode::FORBIDDEN,
                codes::NOT_PERMITTED,
                "Unauthorized to access requested resource".into(),
            ),
            Self::InvalidQuery(message) => (StatusCode::BAD_REQUEST, INVALID_QUERY, message.into()),
            Self::InvalidBody(message) => (StatusCode::BAD_REQUEST, INVALID_BODY, message.into()),
            Self::BodyTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                BODY_TOO_LARGE,
                format!("The request body is larger than {MAX_BODY_BYTES} bytes").into(),
            ),
            Self::InvalidEdit => (
                StatusCode::BAD_REQUEST,
                INVALID_EDIT,
                "There is nothing to do: an edit is `{\"reactivate\": true}`".into(),
            ),
            Self::RateLimited => (
                StatusCode::TOO_MANY_REQUESTS,
                RATE_LIMITED,
                "Rate limited".into(),
            ),
            Self::BeyondEnd(status) => (status, INVALID_QUERY, "The list has no such page".into()),
        };
        ApiError {
            status,
            code,
            message,
            cause: None,
        }
    }
}

fn describe(refusal: Refusal) -> (StatusCode, i64, Cow<'static, str>) {
    match refusal {
        Refusal::NotFound => (
            StatusCode::NOT_FOUND,
            CERTIFICATE_NOT_FOUND,
            "The zone has no client certificate with this id".into(),
        ),
        Refusal::InvalidCsr(error) => (
            StatusCode::BAD_REQUEST,
            INVALID_CSR,
            error.to_string().into(),
        ),
        Refusal::InvalidValidity => (
            StatusCode::BAD_REQUEST,
            INVALID_VALIDITY,
            format!("`validity_days` must be from 1 to {MAX_VALIDITY_DAYS}").into(),
        ),
        Refusal::QuotaReached => (
            StatusCode::from_u16(QUOTA_STATUS).unwrap_or(StatusCode::BAD_REQUEST),
            codes::QUOTA_REACHED,
            "The zone's quota of active client certificates is reached".into(),
        ),
        Refusal::Revoked => (
            StatusCode::CONFLICT,
            REACTIVATION_REFUSED,
            "A revoked certificate can't be reactivated".into(),
        ),
        Refusal::Repeated => (
            StatusCode::CONFLICT,
            REPEAT_REFUSED,
            "The certificate has, or will have, the status that is asked for".into(),
        ),
        Refusal::NeedsMemory => (
            StatusCode::INTERNAL_SERVER_ERROR,
            INTERNAL,
            "A quirk, or the order of lists, needs the store in memory; start the emulator without a database"
                .into(),
        ),
        Refusal::StoreFailed => (
            StatusCode::INTERNAL_SERVER_ERROR,
            INTERNAL,
            "The store failed, and nothing was changed".into(),
        ),
        Refusal::SigningFailed => (
            StatusCode::INTERNAL_SERVER_ERROR,
            INTERNAL,
            "The certificate could not be signed".into(),
        ),
    }
}

impl CredentialHeader {
    fn cause(self) -> Cause {
        let (code, message) = match self {
            Self::Authorization => (
                codes::INVALID_AUTHORIZATION,
                "Invalid format for Authorization header",
            ),
            Self::AuthEmail => (
                codes::INVALID_AUTH_EMAIL,
                "Invalid format for X-Auth-Email header",
            ),
            Self::AuthKey => (
                codes::INVALID_AUTH_KEY,
                "Invalid format for X-Auth-Key header",
            ),
        };
        Cause { code, message }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.into_error().into_response()
    }
}

// The generated failure envelope leaves out a null result, which the spec requires.
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

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let envelope = FailureEnvelope {
            success: false,
            errors: [FailureError {
                code: self.code,
                message: &self.message,
                error_chain: self.cause.as_ref().map(|cause| [cause]),
            }],
            messages: [],
            result: (),
        };
        let mut response = json(self.status, &envelope);
        response.extensions_mut().insert(Reason {
            code: self.code,
            message: self.message,
        });
        response
    }
}

/// What a response with an error says, for the log.
#[derive(Debug, Clone)]
pub(crate) struct Reason {
    pub(crate) code: i64,
    pub(crate) message: Cow<'static, str>,
}

/// The envelope of a fault with this code.
pub(crate) fn injected(status: StatusCode, code: i64) -> Response {
    let error = ApiError {
        status,
        code,
        message: "Injected fault".into(),
        cause: None,
    };
    error.into_response()
}

/// The response with one certificate.
pub(crate) fn single(certificate: types::ClientCertificate) -> Response {
    let mut envelope = types::ClientCertificateResponseSingle::default();
    let none = || Some(types::Messages(Vec::new()));
    envelope.success = Some(true);
    envelope.errors = none();
    envelope.messages = none();
    envelope.result = Some(certificate);
    json(StatusCode::OK, &envelope)
}

/// The response to a list.
pub(crate) fn collection(
    certificates: Vec<types::ClientCertificate>,
    info: types::ClientCertificateResponseCollectionResultInfo,
) -> Response {
    let mut envelope = types::ClientCertificateResponseCollection::default();
    let none = || Some(types::Messages(Vec::new()));
    envelope.success = Some(true);
    envelope.errors = none();
    envelope.messages = none();
    envelope.result = Some(certificates);
    envelope.result_info = Some(info);
    json(StatusCode::OK, &envelope)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::csr::CsrError;

    #[test]
    fn every_failure_has_its_status_code_and_message() {
        let failures = [
            Refusal::NotFound.into(),
            Refusal::InvalidCsr(CsrError::NotPem).into(),
            Refusal::InvalidCsr(CsrError::OtherLabel("CERTIFICATE".to_owned())).into(),
            Refusal::InvalidCsr(CsrError::NotPkcs10).into(),
            Refusal::InvalidCsr(CsrError::RsaSize(1024)).into(),
            Refusal::InvalidCsr(CsrError::KeyType).into(),
            Refusal::InvalidCsr(CsrError::SignatureAlgorithm).into(),
            Refusal::InvalidCsr(CsrError::Signature).into(),
            Refusal::InvalidValidity.into(),
            Refusal::QuotaReached.into(),
            Refusal::Revoked.into(),
            Refusal::Repeated.into(),
            Refusal::NeedsMemory.into(),
            Refusal::StoreFailed.into(),
            Refusal::SigningFailed.into(),
            Failure::NoRoute,
            Failure::InvalidIdentifier("/zones/x".to_owned()),
            Failure::MethodNotAllowed(Method::PUT),
            Failure::InvalidHeader(CredentialHeader::Authorization),
            Failure::InvalidHeader(CredentialHeader::AuthEmail),
            Failure::InvalidHeader(CredentialHeader::AuthKey),
            Failure::Authentication,
            Failure::NotPermitted,
            Failure::BodyTooLarge,
            Failure::InvalidEdit,
            Failure::RateLimited,
            Failure::BeyondEnd(StatusCode::NOT_FOUND),
        ];
        let lines = failures.map(|failure| {
            let error = failure.into_error();
            let (status, code) = (error.status.as_u16(), error.code);
            let cause = error.cause.map_or(String::new(), |cause| {
                format!(" ({} {})", cause.code, cause.message)
            });
            format!("{status} {code} {}{cause}", error.message)
        });
        insta::assert_snapshot!(lines.join("\n"));
    }
}

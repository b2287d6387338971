//! The bodies of the fuzz targets for the client. Each accepts any bytes and must not panic.

// A panic is what a fuzzer finds; no user reads these docs.
#![allow(clippy::missing_panics_doc)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use shieldcert::{Client, Csr, Error, PrivateKey, RetryPolicy};

use crate::kit::tap::Tap;
use crate::kit::{TOKEN, id, zone};

/// Runs operations against a service that sends this response to every request.
fn call_operations(response: http::Response<Bytes>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let builder = Client::builder()
        .token(TOKEN)
        .retry(RetryPolicy::default().max_attempts(2));
    let zone = zone(builder.transport(Arc::new(Tap::responding(response))));
    let id = id();
    runtime.block_on(async {
        let mut pages = zone.list().pages();
        for _ in 0..3 {
            format(pages.try_next().await);
        }
        format(zone.get(&id).await);
        let wait = zone.revoke(&id).until_settled();
        format(wait.timeout(Duration::from_secs(5)).await);
    });
}

/// Formats the error, if there is one: that must not panic either.
fn format<T>(result: Result<T, Error>) {
    if let Err(error) = result {
        let _ = format!("{error} {error:?}");
    }
}

/// Feeds a response: a byte for the status, then the body.
pub fn response(data: &[u8]) {
    let Some((status, body)) = data.split_first() else {
        return;
    };
    // Mostly 200: the body of a success is parsed in the most detail.
    let status = if *status < 160 {
        200
    } else {
        200 + u16::from(*status)
    };
    let response = http::Response::builder().status(status);
    call_operations(
        response
            .body(Bytes::copy_from_slice(body))
            .expect("a response"),
    );
}

/// Feeds rate limit headers, one per line.
pub fn rate_limit_headers(data: &[u8]) {
    let names = ["ratelimit", "ratelimit-policy", "retry-after"];
    let body = Bytes::from_static(b"{\"success\":true,\"result\":[]}");
    let mut response = http::Response::new(body);
    for (line, name) in data
        .split(|byte| *byte == b'\n')
        .zip(names.into_iter().cycle())
    {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            response
                .headers_mut()
                .append(HeaderName::from_static(name), value);
        }
    }
    if data.first().is_some_and(|byte| byte % 4 == 0) {
        *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
    }
    call_operations(response);
}

/// Feeds a CSR or a private key, in PEM or DER.
pub fn pem(data: &[u8]) {
    for csr in [Csr::from_pem(data), Csr::from_der(data)]
        .into_iter()
        .flatten()
    {
        assert_eq!(
            Csr::from_pem(csr.to_pem()).expect("what was written is read"),
            csr
        );
        let _ = (csr.common_name(), csr.sha256());
    }
    for key in [PrivateKey::from_pem(data), PrivateKey::from_pkcs8(data)]
        .into_iter()
        .flatten()
    {
        let _ = format!("{key:?}");
    }
}

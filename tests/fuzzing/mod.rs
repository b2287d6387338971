//! The bodies of the fuzz targets for the client. Each accepts any bytes, and must not panic.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use shieldcert::transport::{BoxFuture, Transport, TransportError};
use shieldcert::{Client, Csr, PrivateKey, RetryPolicy};

struct Always(http::Response<Bytes>);

impl Transport for Always {
    fn send(
        &self,
        _: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        let response = self.0.clone();
        Box::pin(async { Ok(response) })
    }
}

fn ask_everything(response: http::Response<Bytes>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let builder = Client::builder()
        .token("s3cret")
        .retry(RetryPolicy::default().attempts(2));
    let zone = crate::zone(builder.transport(std::sync::Arc::new(Always(response))));
    let id = "7bf7f70c-7600-42e1-81c4-e4c0da9aa515"
        .parse()
        .expect("an id");
    runtime.block_on(async {
        let mut pages = zone.list().pages();
        for _ in 0..3 {
            let _ = pages
                .try_next()
                .await
                .map_err(|error| format!("{error} {error:?}"));
        }
        let _ = zone
            .get(&id)
            .await
            .map_err(|error| format!("{error} {error:?}"));
        let wait = zone
            .revoke(&id)
            .until_settled()
            .timeout(Duration::from_secs(5));
        let _ = wait.await.map_err(|error| format!("{error} {error:?}"));
    });
}

/// Feeds a response: its status and its body.
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
    ask_everything(
        response
            .body(Bytes::copy_from_slice(body))
            .expect("a response"),
    );
}

/// Feeds rate limit headers, one a line.
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
    ask_everything(response);
}

/// Feeds PEM and DER.
pub fn pem(data: &[u8]) {
    for csr in [Csr::from_pem(data), Csr::from_der(data)]
        .into_iter()
        .flatten()
    {
        assert_eq!(
            Csr::from_pem(csr.to_pem()).expect("what was read is written"),
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

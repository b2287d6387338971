//! Connects the generated client to its transport.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use progenitor_client::{ClientHooks, OperationInfo};

use crate::generated::Client;
use crate::transport::{
    BuiltUrl, Operation, Seam, Transport, TransportError, TransportErrorKind, classify,
};

impl Client {
    /// Creates a client that sends through `transport`, to paths below `base_url` (without a slash at the end).
    pub fn with_transport(base_url: &str, transport: Arc<dyn Transport>) -> Self {
        Self::new_with_client(base_url, REQUEST_BUILDER.clone(), Seam(transport))
    }
}

/// The generated client builds its requests with a reqwest client. This one never sends anything, so it loads no root
/// certificates.
static REQUEST_BUILDER: LazyLock<reqwest::Client> = LazyLock::new(|| {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default TLS versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder()
        .no_proxy()
        .tls_backend_preconfigured(tls)
        .build()
        .expect("a client without settings that can be wrong")
});

impl ClientHooks<Seam> for Client {
    async fn exec(
        &self,
        mut request: reqwest::Request,
        info: &OperationInfo,
    ) -> reqwest::Result<reqwest::Response> {
        // The generator adds the document's version as a header that the spec does not have.
        request.headers_mut().remove("api-version");
        let operation = Operation(info.operation_id);
        let outcome = match into_http(request, operation) {
            Ok(request) => self.inner.0.send(request).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(response) => Ok(response.into()),
            Err(error) => Err(wrap(error).await),
        }
    }
}

fn into_http(
    request: reqwest::Request,
    operation: Operation,
) -> Result<http::Request<Bytes>, TransportError> {
    let built = BuiltUrl(Arc::new(request.url().clone()));
    let request = http::Request::<reqwest::Body>::try_from(request).map_err(classify)?;
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(operation);
    parts.extensions.insert(built);
    // The API's bodies are JSON, which the generated client has in memory.
    let body = match body.as_bytes() {
        Some(bytes) => Bytes::copy_from_slice(bytes),
        None => return Err(TransportErrorKind::NotSent.into()),
    };
    Ok(http::Request::from_parts(parts, body))
}

/// Wraps an error in a `reqwest::Error`, which the hook must return. reqwest has no constructor for one but wraps the
/// error of a body that fails. [`TransportError::find`] unwraps it.
async fn wrap(error: TransportError) -> reqwest::Error {
    let failing = futures_util::stream::once(std::future::ready(Err::<Bytes, _>(error)));
    let response = http::Response::new(reqwest::Body::wrap_stream(failing));
    match reqwest::Response::from(response).bytes().await {
        Err(error) => error.without_url(),
        Ok(_) => unreachable!("a body whose first and only chunk is an error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::into_reqwest;

    const URL: &str = "https://api.example.com:8443/client/v4/zones/z%2Fy?page=2&status=all";

    fn request() -> http::Request<Bytes> {
        let built = reqwest::Request::new(http::Method::GET, URL.parse().expect("a URL"));
        into_http(built, Operation("list")).expect("a request")
    }

    #[test]
    fn a_request_goes_to_the_url_that_was_built() {
        let sent = into_reqwest(request()).expect("a request");
        assert_eq!(sent.url().as_str(), URL);
    }

    /// A layer may redirect a request. The URL that was built must not undo that.
    #[test]
    fn a_redirected_request_goes_to_its_new_uri() {
        for other in [
            "http://api.example.com:8443/client/v4/zones/z%2Fy?page=2&status=all",
            "https://api.example.com:8443/client/v4/zones/z%2Fy?page=2&status=al",
            "https://api.example.com:8443/client/v4/zones/z%2Fy?page=2&status=all&more",
            "https://api.example.com/client/v4/zones/z%2Fy?page=2&status=all",
            "https://127.0.0.1/",
        ] {
            let mut redirected = request();
            *redirected.uri_mut() = other.parse().expect("a URI");
            let sent = into_reqwest(redirected).expect("a request");
            assert_eq!(sent.url().as_str(), other);
        }
    }
}

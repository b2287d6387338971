//! Clients that are broken on purpose, from outside: each sabotage breaks one promise.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use shieldcert::{BoxFuture, Transport, TransportError, TransportErrorKind};

use super::network::{NetworkTransport, respond};

/// A way to break a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A create is sent again after any failure.
    RetryBlindly,
    /// The search for a lost certificate finds nothing.
    BreakSearch,
    /// A list that moved looks as if it had not.
    IgnoreDrift,
    /// `Retry-After` is not seen.
    IgnoreRetryAfter,
}

impl Sabotage {
    /// Every one.
    pub const ALL: [Self; 4] = [
        Self::RetryBlindly,
        Self::BreakSearch,
        Self::IgnoreDrift,
        Self::IgnoreRetryAfter,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::RetryBlindly => "retry-blindly",
            Self::BreakSearch => "break-search",
            Self::IgnoreDrift => "ignore-drift",
            Self::IgnoreRetryAfter => "ignore-retry-after",
        }
    }

    /// The search reads a list. If clients list too, breaking it would break that.
    pub(super) fn shows_in_issues_alone(self) -> bool {
        self == Self::BreakSearch
    }
}

impl fmt::Display for Sabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Sabotage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|sabotage| sabotage.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("{text:?} is unknown; give one of {names}")
        })
    }
}

/// Stands between a client and its network.
pub(super) struct Saboteur {
    sabotage: Sabotage,
    inner: NetworkTransport,
    /// The last record of the last list response.
    last: Arc<Mutex<Option<Value>>>,
}

impl Saboteur {
    pub(super) fn new(sabotage: Sabotage, inner: NetworkTransport) -> Self {
        Self {
            sabotage,
            inner,
            last: Arc::default(),
        }
    }

    async fn retry_blindly(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        for _ in 0..2 {
            match self.inner.send(request.clone()).await {
                Ok(response) if response.status().is_server_error() => {}
                Err(error) if error.kind() != TransportErrorKind::NotSent => {}
                outcome => return outcome,
            }
        }
        self.inner.send(request).await
    }

    /// Removes the overlap from the request and adds it to the response, and hides totals that would tell an older list
    /// from a newer one.
    async fn ignore_drift(
        &self,
        mut request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let uri = request.uri().to_string();
        let (base, query) = uri.split_once('?').unwrap_or((&uri, ""));
        let mut is_overlapping = false;
        let parameters = query
            .split('&')
            .map(|parameter| match parameter.split_once('=') {
                Some(("offset", value)) => {
                    is_overlapping = true;
                    format!("offset={}", value.parse::<u64>().unwrap_or(0) + 1)
                }
                Some(("limit", value)) => {
                    format!("limit={}", value.parse::<u64>().unwrap_or(2) - 1)
                }
                _ => parameter.to_owned(),
            });
        let query = parameters.collect::<Vec<_>>().join("&");
        *request.uri_mut() = format!("{base}?{query}").parse().expect("a URI");
        let response = self.inner.send(request).await?;
        let (parts, body) = response.into_parts();
        let Ok(mut envelope) = serde_json::from_slice::<Value>(&body) else {
            return Ok(http::Response::from_parts(parts, body));
        };
        if let Some(records) = envelope["result"].as_array_mut() {
            let mut last = self.last.lock().expect("not poisoned");
            if is_overlapping && let Some(anchor) = last.clone() {
                records.insert(0, anchor);
            }
            *last = records.last().cloned();
            envelope["result_info"]["total_count"] = 1_000_000.into();
        }
        Ok(http::Response::from_parts(
            parts,
            envelope.to_string().into(),
        ))
    }
}

impl Transport for Saboteur {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        let is_list = request.uri().query().is_some();
        match self.sabotage {
            Sabotage::RetryBlindly if request.method() == Method::POST => {
                Box::pin(self.retry_blindly(request))
            }
            Sabotage::BreakSearch if is_list => Box::pin(async {
                Ok(respond(
                    200,
                    br#"{"success":true,"result":[],"result_info":{"total_count":0}}"#,
                ))
            }),
            Sabotage::IgnoreDrift if is_list => Box::pin(self.ignore_drift(request)),
            Sabotage::IgnoreRetryAfter => Box::pin(async {
                let mut response = self.inner.send(request).await?;
                for header in ["retry-after", "ratelimit", "ratelimit-policy"] {
                    response.headers_mut().remove(header);
                }
                Ok(response)
            }),
            _ => self.inner.send(request),
        }
    }
}

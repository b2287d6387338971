//! The service, as the environment states it.

use std::env;

use anyhow::Context;

/// The service that contenders call.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its base URL, without a slash at the end.
    pub base_url: String,
    /// The token to call with.
    pub token: String,
    /// The zone to work in.
    pub zone: String,
}

impl Service {
    /// Reads `CLOUDFLARE_BASE_URL`, `CLOUDFLARE_API_TOKEN` and `CLOUDFLARE_ZONE_ID`.
    pub fn from_env() -> anyhow::Result<Self> {
        let variable = |name| env::var(name).with_context(|| format!("{name} is not set"));
        Ok(Self {
            base_url: variable("CLOUDFLARE_BASE_URL")?,
            token: variable("CLOUDFLARE_API_TOKEN")?,
            zone: variable("CLOUDFLARE_ZONE_ID")?,
        })
    }

    /// Returns the URL of the zone's certificates.
    pub fn certificates(&self) -> String {
        format!("{}/zones/{}/client_certificates", self.base_url, self.zone)
    }

    /// Returns a reqwest client that sends the token and has defaults otherwise.
    ///
    /// It uses the same crypto provider as Shieldcert, so that starting costs both the same.
    pub fn http(&self) -> anyhow::Result<::reqwest::Client> {
        // An error means that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut token = ::reqwest::header::HeaderValue::try_from(format!("Bearer {}", self.token))?;
        token.set_sensitive(true);
        let headers = [(::reqwest::header::AUTHORIZATION, token)];
        Ok(::reqwest::Client::builder()
            .default_headers(headers.into_iter().collect())
            .build()?)
    }
}

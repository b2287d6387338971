//! The five operations, without HTTP: what each does, and when it refuses.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value};
use shieldcert_api::types::{
    ClientCertificate, ClientCertificateResponseCollectionResultInfo as ResultInfo, Identifier,
};
use uuid::Uuid;

use crate::assumptions::{
    BODY_NOT_UNDERSTOOD, CERTIFICATE_NOT_FOUND, CSR_REFUSED, EDIT_REFUSED, INTERNAL,
    MAX_VALIDITY_DAYS, QUOTA_STATUS, REACTIVATION_REFUSED, VALIDITY_REFUSED,
};
use crate::auth::Credentials;
use crate::authority::Authority;
use crate::chaos::{Chaos, Fault};
use crate::clock::Clock;
use crate::csr::Csr;
use crate::emulator::{IdStyle, Order, TotalCount};
use crate::envelope::Failure;
use crate::error::BoxError;
use crate::history::History;
use crate::paging::Selection;
use crate::random::Random;
use crate::rate_limit::Meter;
use crate::store::{Found, Store, ZoneId};
use crate::transition::{Change, Refusal, Status};

/// The service behind the routes.
pub(crate) struct Service {
    pub(crate) credentials: Credentials,
    pub(crate) authority: Authority,
    pub(crate) random: Random,
    pub(crate) clock: Clock,
    pub(crate) store: Store,
    pub(crate) meter: Option<Meter>,
    pub(crate) history: History,
    pub(crate) chaos: Mutex<Chaos>,
    /// What faults are drawn from, apart from everything else: setting them changes no id.
    pub(crate) chaos_random: Random,
    pub(crate) settings: Settings,
}

/// The choices of the builder that the operations depend on.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) transition_delay: Duration,
    pub(crate) reactivate_revoked: bool,
    pub(crate) order: Order,
    pub(crate) total_count: TotalCount,
    pub(crate) ids: IdStyle,
    pub(crate) sign_inline: bool,
    /// How long every request is on its way.
    pub(crate) latency: Duration,
    pub(crate) control: bool,
    /// The most certificates of a zone that may be active at once.
    pub(crate) quota: Option<usize>,
}

impl Service {
    /// What strikes the next request, if anything does.
    pub(crate) fn strike(&self) -> Option<(&'static str, Fault)> {
        self.chaos_lock().strike(&self.chaos_random)
    }

    pub(crate) fn chaos(&self) -> Chaos {
        self.chaos_lock().clone()
    }

    /// Sets the faults, and draws them from the start of the seed again.
    pub(crate) fn set_chaos(&self, chaos: Chaos) {
        let mut set = self.chaos_lock();
        self.chaos_random.restart();
        *set = chaos;
    }

    fn chaos_lock(&self) -> MutexGuard<'_, Chaos> {
        self.chaos.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn list(
        &self,
        zone: ZoneId,
        selection: &Selection,
    ) -> Result<(Vec<ClientCertificate>, ResultInfo), Failure> {
        let stretch = self.store.list(zone, selection, self.settings.order).await;
        let stretch = stretch.map_err(|error| broken(&error))?;
        let total = match self.settings.total_count {
            TotalCount::Unfiltered => stretch.all,
            TotalCount::Filtered => stretch.matching,
        };
        let info = selection.result_info(stretch.certificates.len(), total);
        let certificates = stretch.certificates.into_iter().map(with_status).collect();
        Ok((certificates, info))
    }

    pub(crate) async fn get(&self, zone: ZoneId, id: Uuid) -> Result<ClientCertificate, Failure> {
        let found = self
            .store
            .get(zone, id)
            .await
            .map_err(|error| broken(&error))?;
        found.map(with_status).ok_or_else(not_found)
    }

    pub(crate) async fn create(
        self: Arc<Self>,
        zone: ZoneId,
        body: &[u8],
    ) -> Result<ClientCertificate, Failure> {
        let body = object(body)?;
        let csr = match body.get("csr") {
            Some(Value::String(csr)) => csr.clone(),
            Some(_) => return Err(field("csr", "a string")),
            None => return Err(field("csr", "there")),
        };
        let validity_days = match body.get("validity_days") {
            Some(Value::Number(number)) => {
                whole(number).ok_or_else(|| field("validity_days", "a whole number"))?
            }
            Some(_) => return Err(field("validity_days", "a whole number")),
            None => return Err(field("validity_days", "there")),
        };
        if !(1..=MAX_VALIDITY_DAYS).contains(&validity_days) {
            return Err(bad(
                VALIDITY_REFUSED,
                format!("`validity_days` must be from 1 to {MAX_VALIDITY_DAYS}"),
            ));
        }
        // Not signed in vain; whether there is a place is decided when the certificate takes it.
        let active = self
            .store
            .active(zone)
            .await
            .map_err(|error| broken(&error))?;
        if self.settings.quota.is_some_and(|quota| active >= quota) {
            return Err(quota_reached());
        }
        let id = self.random.uuid();
        let serial = self.random.bytes();
        let service = self.clone();
        let sign = move || {
            let csr = Csr::parse(&csr).map_err(|error| bad(CSR_REFUSED, error.to_string()))?;
            service
                .authority
                .issue(&csr, serial, service.clock.unix_seconds(), validity_days)
                .map_err(|error| internal(&error))
        };
        let mut certificate = if self.settings.sign_inline {
            sign()
        } else {
            // Verifying and signing take long enough to hold up what else this thread has to serve.
            let signed = tokio::task::spawn_blocking(sign).await;
            signed.map_err(|error| internal(&error.into()))?
        }?;
        certificate.id = Some(Identifier(self.settings.ids.write(id)));
        let certificate = Arc::new(certificate);
        let quota = self.settings.quota;
        let kept = self
            .store
            .insert(zone, id, certificate.clone(), quota)
            .await;
        if !kept.map_err(|error| broken(&error))? {
            return Err(quota_reached());
        }
        Ok(with_status((certificate, Status::Active)))
    }

    pub(crate) async fn edit(
        &self,
        zone: ZoneId,
        id: Uuid,
        body: &[u8],
    ) -> Result<ClientCertificate, Failure> {
        match object(body)?.get("reactivate") {
            Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) | None => {
                return Err(bad(
                    EDIT_REFUSED,
                    "There is nothing to do: an edit is `{\"reactivate\": true}`",
                ));
            }
            Some(_) => return Err(field("reactivate", "a boolean")),
        }
        let reactivate = Change::Reactivate {
            revoked_too: self.settings.reactivate_revoked,
            quota: self.settings.quota,
        };
        self.changed(zone, id, reactivate).await
    }

    pub(crate) async fn revoke(
        &self,
        zone: ZoneId,
        id: Uuid,
    ) -> Result<ClientCertificate, Failure> {
        self.changed(zone, id, Change::Revoke).await
    }

    async fn changed(
        &self,
        zone: ZoneId,
        id: Uuid,
        change: Change,
    ) -> Result<ClientCertificate, Failure> {
        let delay = self.settings.transition_delay;
        let changed = self.store.change(zone, id, change, delay).await;
        match changed
            .map_err(|error| broken(&error))?
            .ok_or_else(not_found)?
        {
            Ok(found) => Ok(with_status(found)),
            Err(Refusal::QuotaReached) => Err(quota_reached()),
            Err(Refusal::Revoked) => Err(Failure::new(
                StatusCode::CONFLICT,
                REACTIVATION_REFUSED,
                "A revoked certificate can't be reactivated",
            )),
        }
    }
}

fn quota_reached() -> Failure {
    Failure::new(
        StatusCode::from_u16(QUOTA_STATUS).unwrap_or(StatusCode::BAD_REQUEST),
        1445,
        "The zone's quota of active client certificates is reached",
    )
}

/// The store failed: nothing was changed.
fn broken(error: &BoxError) -> Failure {
    tracing::error!(
        error = &**error as &dyn std::error::Error,
        "the store failed"
    );
    Failure::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        INTERNAL,
        "The store failed, and nothing was changed",
    )
}

fn with_status((certificate, status): Found) -> ClientCertificate {
    let mut described = (*certificate).clone();
    described.status = Some(status.as_str().to_owned());
    described
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Failure> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(bad(
            BODY_NOT_UNDERSTOOD,
            "The request body must be a JSON object",
        )),
        Err(error) => Err(bad(
            BODY_NOT_UNDERSTOOD,
            format!("Malformed JSON in request body: {error}"),
        )),
    }
}

/// The number where it is whole. `365.0` is: JSON does not tell it from `365`.
fn whole(number: &serde_json::Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        // Past this, no validity makes sense and the cast below would saturate.
        (float.fract() == 0.0 && float.abs() < 1e15).then_some(float as i64)
    })
}

fn field(name: &str, needed: &str) -> Failure {
    bad(
        BODY_NOT_UNDERSTOOD,
        format!("Invalid request body: `{name}` must be {needed}"),
    )
}

fn bad(code: i64, message: impl Into<std::borrow::Cow<'static, str>>) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, code, message)
}

fn not_found() -> Failure {
    Failure::new(
        StatusCode::NOT_FOUND,
        CERTIFICATE_NOT_FOUND,
        "The zone has no client certificate with this id",
    )
}

fn internal(error: &BoxError) -> Failure {
    tracing::error!(error = &**error as &dyn std::error::Error, "could not sign");
    Failure::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        INTERNAL,
        "The certificate could not be signed",
    )
}

//! The five operations, without HTTP: what each does, and when it refuses.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value};
use shieldcert_api::types::{
    ClientCertificate, ClientCertificateResponseCollectionResultInfo as ResultInfo, Identifier,
};
use tokio::time::Instant;
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
use crate::transition::{Status, Target};

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

    pub(crate) fn set_chaos(&self, chaos: Chaos) {
        *self.chaos_lock() = chaos;
    }

    fn chaos_lock(&self) -> MutexGuard<'_, Chaos> {
        self.chaos.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn list(
        &self,
        zone: ZoneId,
        selection: &Selection,
    ) -> (Vec<ClientCertificate>, ResultInfo) {
        let filtered = self.settings.total_count == TotalCount::Filtered;
        let stretch = self.store.list(
            zone,
            selection,
            self.settings.order,
            filtered,
            Instant::now(),
        );
        let total = stretch.matching.unwrap_or(stretch.all);
        let info = selection.result_info(stretch.certificates.len(), total);
        let certificates = stretch.certificates.into_iter().map(with_status).collect();
        (certificates, info)
    }

    pub(crate) fn get(&self, zone: ZoneId, id: Uuid) -> Result<ClientCertificate, Failure> {
        self.store
            .get(zone, id, Instant::now())
            .map(with_status)
            .ok_or_else(not_found)
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
        if self.is_full(self.store.active(zone)) {
            return Err(self.quota_reached());
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
        certificate.id = Some(Identifier(match self.settings.ids {
            IdStyle::Hyphenated => id.hyphenated().to_string(),
            IdStyle::Hex => id.simple().to_string(),
        }));
        let certificate = Arc::new(certificate);
        if !self
            .store
            .insert(zone, id, certificate.clone(), self.settings.quota)
        {
            return Err(self.quota_reached());
        }
        Ok(with_status((certificate, Status::Active)))
    }

    pub(crate) fn edit(
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
        let now = Instant::now();
        self.changed(zone, id, now, Target::Active)
    }

    pub(crate) fn revoke(&self, zone: ZoneId, id: Uuid) -> Result<ClientCertificate, Failure> {
        self.changed(zone, id, Instant::now(), Target::Revoked)
    }

    fn is_full(&self, active: usize) -> bool {
        self.settings.quota.is_some_and(|quota| active >= quota)
    }

    fn quota_reached(&self) -> Failure {
        Failure::new(
            StatusCode::from_u16(QUOTA_STATUS).unwrap_or(StatusCode::BAD_REQUEST),
            1445,
            "The zone's quota of active client certificates is reached",
        )
    }

    fn changed(
        &self,
        zone: ZoneId,
        id: Uuid,
        now: Instant,
        target: Target,
    ) -> Result<ClientCertificate, Failure> {
        let Settings {
            transition_delay,
            reactivate_revoked,
            ..
        } = self.settings;
        let changed = self.store.change(zone, id, now, |transition, active| {
            if target == Target::Active && !transition.is_towards_active() && self.is_full(active) {
                return Err(self.quota_reached());
            }
            let revoked = transition.status(now) == Status::Revoked;
            if target == Target::Active && revoked && !reactivate_revoked {
                return Err(Failure::new(
                    StatusCode::CONFLICT,
                    REACTIVATION_REFUSED,
                    "A revoked certificate can't be reactivated",
                ));
            }
            transition.turn(target, now, transition_delay);
            Ok(())
        });
        changed.ok_or_else(not_found)?.map(with_status)
    }
}

fn with_status((certificate, status): Found) -> ClientCertificate {
    ClientCertificate {
        status: Some(status.as_str().to_owned()),
        ..(*certificate).clone()
    }
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

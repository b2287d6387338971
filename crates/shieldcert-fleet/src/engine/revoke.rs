//! Revokes the certificates of generations.

use shieldcert::{CertificateId, Zone};

use super::issue::may_be_active;
use super::{Engine, Progress, Purpose, Tally, Work};
use crate::error::{Error, Result};
use crate::journal::{Act, Change, Hold, State};
use crate::policy::RevokeReason;

impl Engine {
    pub(super) async fn revoke(&self, at: Work<'_>, reason: RevokeReason) -> Result<Progress> {
        let Some(id) = &at.generation.certificate else {
            return self.abandon(at, None);
        };
        if !self.may_revoke(reason) {
            return Ok(Progress::Held);
        }
        let zone_id = &at.generation.zone;
        let _admission = match self.admit(zone_id, Purpose::Other).await {
            Ok(admission) => admission,
            Err(hold) => return self.wait_for(at, hold, None),
        };
        let zone = match self.budgets.zone(zone_id).await {
            Ok(zone) => zone,
            Err(error @ (Error::Token { .. } | Error::Zone { .. })) => {
                self.zones.forbid(zone_id);
                return self.wait_for(at, Hold::Permission, Some(&error.to_string()));
            }
            Err(error) => return Err(error),
        };
        let detail = match zone.revoke(id).await {
            Ok(_) => reason.as_str().to_owned(),
            Err(error) if error.is_not_found() => match is_gone(&zone, id).await {
                Ok(true) => format!("{}; the zone does not have it", reason.as_str()),
                Ok(false) => return self.fail(at, Hold::Failed, Act::Failed, &error.to_string()),
                Err(other) => return self.refused(at, &other).await,
            },
            Err(error) => return self.refused(at, &error).await,
        };
        self.zones.responded(zone_id);
        self.zones.has_place_again(zone_id);
        tracing::info!(
            device = %at.snapshot.name, generation = at.generation.number, certificate = %id, reason = reason.as_str(),
            "revoked"
        );
        Tally::add(&self.tally.revoked);
        self.record(at, Change::to(State::Revoked), Act::Revoked, Some(&detail))?;
        Ok(Progress::Done)
    }
}

/// Whether a certificate that could not be revoked because it was not found is not there. A response alone may be wrong,
/// and what is recorded as revoked is not looked at again.
pub(super) async fn is_gone(zone: &Zone, id: &CertificateId) -> shieldcert::Result<bool> {
    match zone.get(id).await {
        Ok(certificate) => Ok(!may_be_active(certificate.status())),
        Err(error) if error.is_not_found() => Ok(true),
        Err(error) => Err(error),
    }
}

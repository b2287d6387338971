//! Revokes the certificates of generations.

use shieldcert::{CertificateId, Zone};

use super::issue::may_be_active;
use super::{Engine, Progress, Purpose, Tally, Work};
use crate::error::Result;
use crate::journal::{Act, Change, State};
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
            Err(error) => return self.unavailable(at, error),
        };
        let detail = match revoke(&zone, id).await {
            Ok(true) => reason.as_str().to_owned(),
            Ok(false) => format!("{}; the zone does not have it", reason.as_str()),
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

/// Revokes a certificate. Returns whether the zone has it: that it was not found may be wrong in one response, and what is
/// recorded as revoked is not looked at again.
pub(super) async fn revoke(zone: &Zone, id: &CertificateId) -> shieldcert::Result<bool> {
    match zone.revoke(id).await {
        Ok(_) => Ok(true),
        Err(refusal) if refusal.is_not_found() => match zone.get(id).await {
            Ok(certificate) if may_be_active(certificate.status()) => Err(refusal),
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}

//! Compares the journal with what the zones hold, and with the files.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use shieldcert::{CertificateId, ClientCertificate, Status, ZoneId};

use crate::budgets::Budgets;
use crate::config::Config;
use crate::error::Result;
use crate::folder::Folder;
use crate::identify::identify;
use crate::journal::{Change, Hold, Journal, Match, Owner, Reason, State};
use crate::keystore::Stored;
use crate::name::DeviceName;
use crate::outputs;
use crate::restore::identified;

/// What the inventory or the files show otherwise than the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Difference {
    /// It was issued for a CSR of this journal, and nothing uses it. Apply revokes it.
    Surplus,
    /// The journal has revoked it, and it is active again. Apply revokes it.
    ReactivatedElsewhere,
    /// It is in use by the journal, and somebody else has revoked it.
    RevokedElsewhere,
    /// It is in use by the journal, and the zone does not have it.
    Missing,
    /// The key is not where it was, or does not belong to the certificate.
    KeyLost,
    /// A file beside the key is missing or was changed. Apply restores it.
    FileChanged,
    /// It has expired, and still takes a place in the quota.
    ExpiredButActive,
    /// Another CA has signed it than the newest certificate of the zone.
    OtherIssuer,
    /// It has nothing to do with this journal. It is never touched.
    Foreign,
    /// Its record can't be read.
    Unreadable,
}

/// A difference.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What it is.
    pub difference: Difference,
    /// The zone.
    pub zone: ZoneId,
    /// The certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateId>,
    /// The device, where it is one of the journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceName>,
    /// The number of its generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a comparison has found, counted.
pub type Differences = BTreeMap<Difference, u64>;

/// Compares the journal with the zones.
pub(crate) struct Inventory<'a> {
    pub(crate) journal: &'a Journal,
    pub(crate) folder: &'a Folder,
    pub(crate) config: &'a Config,
    pub(crate) budgets: &'a Budgets,
    /// Whether what is found is recorded. A plan only looks.
    pub(crate) records: bool,
}

impl Inventory<'_> {
    /// Lists every zone once. `each` gets what differs.
    ///
    /// # Errors
    /// Returns an error if a zone can't be read to its end: then nothing is concluded about it. What was found in zones
    /// before it is recorded.
    pub(crate) async fn compare(
        &self,
        now: Timestamp,
        mut each: impl FnMut(Finding),
    ) -> Result<Differences> {
        let mut differences = Differences::new();
        let mut report = |finding: Finding| {
            *differences.entry(finding.difference).or_default() += 1;
            each(finding);
        };
        for zone in self.config.zones.values() {
            self.compare_zone(&zone.id, now, &mut report).await?;
        }
        Ok(differences)
    }

    async fn compare_zone(
        &self,
        id: &ZoneId,
        now: Timestamp,
        report: &mut impl FnMut(Finding),
    ) -> Result<()> {
        let zone = self.budgets.zone(id).await?;
        self.journal.begin_listing()?;
        let mut pages = zone.list().pages();
        let mut unreadable = 0;
        let mut newest: Option<(Timestamp, String)> = None;
        let mut issuers: Vec<(String, Owner, CertificateId)> = Vec::new();
        let mut imported = Vec::new();
        while let Some(page) = pages.try_next().await? {
            for certificate in &page.certificates {
                let identifiers = identify(certificate);
                let found = self.journal.matches(&identifiers)?;
                if let (Match::Own(owner), Some(issuer)) = (&found, issuer(certificate))
                    && is_live(owner)
                {
                    let begin = certificate.not_before().unwrap_or(Timestamp::MIN);
                    if newest.as_ref().is_none_or(|(at, _)| *at < begin) {
                        newest = Some((begin, issuer.to_owned()));
                    }
                    if newest.as_ref().is_some_and(|(_, other)| other != issuer) {
                        issuers.push((issuer.to_owned(), owner.clone(), certificate.id().clone()));
                    }
                }
                if let Match::Other(owner) = &found
                    && is_imported(owner)
                {
                    imported.push((self.rank(certificate, owner), certificate.clone()));
                    continue;
                }
                self.compare_certificate(id, certificate, found, now, report)?;
            }
            for record in &page.unreadable {
                unreadable += 1;
                report(Finding {
                    detail: Some(record.to_string()),
                    ..Finding::new(Difference::Unreadable, id)
                });
            }
        }
        self.identify_imported(id, imported, now, report)?;
        for (issuer, owner, certificate) in issuers {
            if newest.as_ref().is_some_and(|(_, other)| *other != issuer) {
                report(
                    Finding::of(Difference::OtherIssuer, id, Some(&certificate), &owner)
                        .with(issuer),
                );
            }
        }
        // A record that can't be read may be any of them.
        if unreadable == 0 {
            let mut unseen = Vec::new();
            self.journal.unseen(id, |owner| unseen.push(owner))?;
            for owner in unseen {
                if self.is_new(&owner, now)? {
                    continue;
                }
                report(Finding::of(
                    Difference::Missing,
                    id,
                    owner.generation.certificate.as_ref(),
                    &owner,
                ));
                self.ask(&owner, Some(Hold::Missing), now)?;
            }
        }
        Ok(())
    }

    fn compare_certificate(
        &self,
        zone: &ZoneId,
        certificate: &ClientCertificate,
        found: Match,
        now: Timestamp,
        report: &mut impl FnMut(Finding),
    ) -> Result<()> {
        let id = certificate.id();
        let status = certificate.status();
        let is_active = !matches!(status, Status::Revoked | Status::PendingRevocation);
        if is_active && certificate.is_expired_at(now) == Some(true) {
            let finding = Finding::new(Difference::ExpiredButActive, zone);
            report(Finding {
                certificate: Some(id.clone()),
                ..finding
            });
        }
        match found {
            Match::Foreign => {
                let finding = Finding::new(Difference::Foreign, zone);
                let detail = certificate.common_name().map(str::to_owned);
                report(Finding {
                    certificate: Some(id.clone()),
                    detail,
                    ..finding
                });
            }
            Match::Own(owner) if is_live(&owner) && !is_active => {
                report(Finding::of(
                    Difference::RevokedElsewhere,
                    zone,
                    Some(id),
                    &owner,
                ));
                self.ask(&owner, Some(Hold::RevokedElsewhere), now)?;
            }
            Match::Own(owner) if is_live(&owner) => {
                self.compare_files(zone, certificate, &owner, now, report)?
            }
            Match::Own(owner) | Match::Surplus(owner) if is_active => {
                report(Finding::of(
                    Difference::ReactivatedElsewhere,
                    zone,
                    Some(id),
                    &owner,
                ));
                self.record_surplus(&owner, id, now)?;
            }
            // Of a request that is open, resuming finds out.
            Match::Other(owner) if is_active && owner.generation.state != State::Sending => {
                report(Finding::of(Difference::Surplus, zone, Some(id), &owner));
                self.record_surplus(&owner, id, now)?;
            }
            Match::Unclear(owner) if is_active => {
                let finding = Finding::of(Difference::Unreadable, zone, Some(id), &owner);
                report(finding.with("its record shows no certificate".to_owned()));
            }
            Match::Own(_) | Match::Surplus(_) | Match::Other(_) | Match::Unclear(_) => {}
        }
        Ok(())
    }

    /// Whether a certificate was issued so short a time ago that lists need not show it yet.
    fn is_new(&self, owner: &Owner, now: Timestamp) -> Result<bool> {
        let window = SignedDuration::try_from(self.config.limits.settle_window)
            .unwrap_or(SignedDuration::MAX);
        let issued = self.journal.issued_at(owner)?;
        Ok(issued.is_some_and(|issued| now.duration_since(issued) < window))
    }

    /// Which of several certificates is that of a generation whose folder alone is known: the smallest.
    fn rank(&self, certificate: &ClientCertificate, owner: &Owner) -> u8 {
        let path = self.folder.generation(&owner.name, owner.generation.number);
        let is_in_file = certificate
            .x509()
            .is_ok_and(|x509| outputs::has_certificate(&path.join(outputs::CERTIFICATE), &x509));
        match certificate.status() {
            _ if is_in_file => 0,
            Status::Revoked | Status::PendingRevocation => 2,
            _ => 1,
        }
    }

    /// Records what the zone holds of generations whose folder alone is known.
    fn identify_imported(
        &self,
        zone: &ZoneId,
        mut certificates: Vec<(u8, ClientCertificate)>,
        now: Timestamp,
        report: &mut impl FnMut(Finding),
    ) -> Result<()> {
        certificates.sort_by_key(|(rank, _)| *rank);
        for (_, certificate) in &certificates {
            let identifiers = identify(certificate);
            let mut found = self.journal.matches(&identifiers)?;
            if let Match::Other(owner) = &found
                && is_imported(owner)
            {
                if !self.records {
                    continue;
                }
                identified(self.journal, self.folder, owner, zone, certificate, now)?;
                found = self.journal.matches(&identifiers)?;
            }
            self.compare_certificate(zone, certificate, found, now, report)?;
        }
        Ok(())
    }

    /// Compares the files of a generation with its certificate, and restores what can be.
    fn compare_files(
        &self,
        zone: &ZoneId,
        certificate: &ClientCertificate,
        owner: &Owner,
        now: Timestamp,
        report: &mut impl FnMut(Finding),
    ) -> Result<()> {
        let generation = &owner.generation;
        let is_written = matches!(
            generation.state,
            State::Written | State::Deployed | State::Verified
        );
        if generation.hold == Some(Hold::Watched) {
            return Ok(());
        }
        if !is_written {
            return self.ask(owner, None, now);
        }
        let path = self.folder.generation(&owner.name, generation.number);
        let keyed = match self.folder.stored(&path)? {
            Stored::Complete(keyed) => keyed,
            Stored::Missing => {
                return self.lost_key(zone, owner, "its folder is missing", now, report);
            }
            Stored::Unusable(problem) => return self.lost_key(zone, owner, &problem, now, report),
        };
        let Ok(x509) = certificate.x509() else {
            return self.ask(owner, None, now);
        };
        if keyed.csr.public_key() != x509.public_key() {
            return self.lost_key(
                zone,
                owner,
                "it does not belong to the certificate",
                now,
                report,
            );
        }
        if keyed.key.is_none() && generation.spec.key != crate::policy::CSR {
            return self.lost_key(zone, owner, "the file is missing", now, report);
        }
        self.ask(owner, None, now)?;
        if outputs::are_complete(&path, &x509, &self.config.outputs) {
            return Ok(());
        }
        report(Finding::of(
            Difference::FileChanged,
            zone,
            Some(certificate.id()),
            owner,
        ));
        if self.records {
            outputs::write(self.folder, &path, keyed, &x509, &self.config.outputs)?;
            let repaired = crate::journal::Act::Repaired;
            self.journal.change(
                owner.device,
                generation,
                Change::default().set("failures", 0),
                now,
                repaired,
                None,
            )?;
        }
        Ok(())
    }

    fn lost_key(
        &self,
        zone: &ZoneId,
        owner: &Owner,
        problem: &str,
        now: Timestamp,
        report: &mut impl FnMut(Finding),
    ) -> Result<()> {
        let certificate = owner.generation.certificate.as_ref();
        report(Finding::of(Difference::KeyLost, zone, certificate, owner).with(problem.to_owned()));
        self.ask(owner, Some(Hold::KeyLost), now)
    }

    fn ask(&self, owner: &Owner, hold: Option<Hold>, now: Timestamp) -> Result<()> {
        match self.records {
            true => self.journal.set_question(owner, hold, now),
            false => Ok(()),
        }
    }

    fn record_surplus(&self, owner: &Owner, id: &CertificateId, now: Timestamp) -> Result<()> {
        match self.records {
            true => self.journal.add_surplus(owner, id, now),
            false => Ok(()),
        }
    }
}

/// Whether a generation's certificate is to be active.
fn is_live(owner: &Owner) -> bool {
    owner.generation.state.may_have_certificate()
}

/// Whether it was added to a restored journal because its folder was there.
fn is_imported(owner: &Owner) -> bool {
    let generation = &owner.generation;
    generation.state == State::Keyed
        && generation.reason == Reason::Adopted
        && generation.certificate.is_none()
}

fn issuer(certificate: &ClientCertificate) -> Option<&str> {
    certificate
        .certificate_authority_id()
        .or(certificate.certificate_authority_name())
}

impl Finding {
    fn new(difference: Difference, zone: &ZoneId) -> Self {
        Self {
            difference,
            zone: zone.clone(),
            certificate: None,
            device: None,
            generation: None,
            detail: None,
        }
    }

    fn of(
        difference: Difference,
        zone: &ZoneId,
        certificate: Option<&CertificateId>,
        owner: &Owner,
    ) -> Self {
        Self {
            certificate: certificate.cloned(),
            device: Some(owner.name.clone()),
            generation: Some(owner.generation.number),
            ..Self::new(difference, zone)
        }
    }

    fn with(self, detail: String) -> Self {
        Self {
            detail: Some(detail),
            ..self
        }
    }
}

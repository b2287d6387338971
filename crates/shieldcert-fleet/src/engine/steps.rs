//! The steps of a generation for an engine that keeps its own record: the policy, and what it decides, without a journal.
//!
//! Every step can be repeated, and may go on after its caller has given it up. What keeps that safe:
//!
//! - [`Steps::prepare`] never returns a key that an earlier generation may have used.
//! - [`Steps::issue`] sends once, before its deadline. What may have been sent is only looked for, by [`Steps::resume`] and
//!   [`Steps::find`], which send nothing.
//! - [`Steps::deploy`] does not go back behind a later generation.
//!
//! Keys stay in the fleet's folder. Nothing that a step takes or returns holds one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shieldcert::{
    CertificateId, ClientCertificate, Csr, Error as ClientError, IssueIntent, StatusFilter,
    X509Certificate, Zone, ZoneId,
};
use tokio::time::Instant;

use super::Gate;
use super::issue::may_be_active;
use crate::budgets::Budgets;
use crate::config::{Config, DevicesConfig, RenewConfig, ZoneConfig};
use crate::deploy::{Deploy, Deployment};
use crate::digest::sha256;
use crate::error::{AtPath, Error, Result};
use crate::folder::Folder;
use crate::journal::{Generation, Reason, Snapshot};
use crate::keystore::{Keyed, Stored};
use crate::lock::Lock;
use crate::manifest::{Device, DeviceKey};
use crate::name::DeviceName;
use crate::outputs;
use crate::plan::{Plan, PlanEntry};
use crate::policy::{Decision, Delivered, Now, choose_zone, decide, due};
use crate::step::{Outcome, Request, send_deadline};

/// The part of `fleet.toml` that decides what comes next for a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Policy {
    /// The zones, by name.
    pub zones: BTreeMap<String, ZoneConfig>,
    /// The name of the zone of devices whose row names none. `None`: they are spread over all.
    pub zone: Option<String>,
    /// When certificates are renewed.
    pub renew: RenewConfig,
    /// How long after the end of an unclear request the service may still act on it.
    pub settle_window: Duration,
    /// How long a deploy or verify command may take.
    pub deploy_timeout: Duration,
}

impl Policy {
    /// Returns the policy of a configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            zones: config.zones.clone(),
            zone: config.devices.zone.clone(),
            renew: config.renew.clone(),
            settle_window: config.limits.settle_window,
            deploy_timeout: config.deploy.timeout,
        }
    }

    fn config(&self) -> Option<Config> {
        // The rest says nothing about what comes next.
        static REST: OnceLock<Option<Config>> = OnceLock::new();
        let rest = REST.get_or_init(|| Config::from_toml(Config::EXAMPLE).ok());
        let config = rest.clone()?;
        Some(Config {
            zones: self.zones.clone(),
            renew: self.renew.clone(),
            devices: DevicesConfig {
                zone: self.zone.clone(),
                ..config.devices
            },
            ..config
        })
    }

    /// Decides what comes next for a device. It is a function of its arguments alone.
    pub fn decide(&self, snapshot: &Snapshot, delivered: &Delivered, now: Now) -> Decision {
        match self.config() {
            Some(config) => decide(snapshot, delivered, &config, now),
            None => Decision::Unmanaged,
        }
    }

    /// Returns the zone of a new generation of a device.
    pub fn choose_zone(&self, device: &Device) -> Option<ZoneId> {
        let config = self.config()?;
        let name = choose_zone(device, &config)?;
        Some(config.zones.get(name)?.id.clone())
    }

    /// Returns when a certificate is to be renewed.
    pub fn due(&self, name: &DeviceName, generation: &Generation) -> Option<Timestamp> {
        due(name, generation, &self.renew)
    }

    /// Returns the name of the budget of a zone.
    pub fn budget(&self, zone: &ZoneId) -> Option<&str> {
        let mut zones = self.zones.values();
        Some(&zones.find(|config| config.id == *zone)?.budget)
    }
}

/// Returns how long a step waits for its next try that failed so often in a row.
pub fn backoff(failures: u32) -> Duration {
    crate::backoff::backoff(failures)
}

impl Snapshot {
    /// Creates a device without generations.
    pub fn of(device: Device) -> Self {
        Self {
            id: None,
            name: device.name.clone(),
            device: Some(device),
            ask: None,
            generations: Vec::new(),
        }
    }
}

/// Adds up what is to be done for devices.
#[derive(Debug)]
pub struct Survey {
    plan: Plan,
    config: Arc<Config>,
    now: Now,
}

impl Survey {
    /// Decides what comes next for a device, and counts it. With `is_paused`, what comes next waits for an operator.
    pub fn add(
        &mut self,
        snapshot: &Snapshot,
        delivered: &Delivered,
        is_paused: bool,
    ) -> PlanEntry {
        let mut decision = decide(snapshot, delivered, &self.config, self.now);
        if is_paused {
            decision = decision.paused();
        }
        // An engine without a journal doesn't count what the zones hold: the service refuses what is beyond the quota.
        self.plan
            .add(snapshot, &decision, &self.config, self.now, None)
    }

    /// Returns the sums.
    pub fn finish(mut self) -> Plan {
        self.plan.finish(&self.config);
        self.plan
    }
}

/// The key and the CSR of a generation, without the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PreparedCsr {
    /// The number of the generation, which is later than the one that was asked for if that was used already.
    pub number: u32,
    /// The CSR, in PEM.
    pub csr: String,
    /// SHA-256 of the CSR, in hex.
    pub csr_sha256: String,
}

/// A request to issue the certificate of a generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IssueRequest {
    /// The zone.
    pub zone: ZoneId,
    /// The CSR, in PEM.
    pub csr: String,
    /// How many days the certificate is to be valid.
    pub validity_days: u32,
    /// The certificates of the CSR that exist already.
    pub known: Vec<CertificateId>,
    /// Whether the key was made for this generation.
    pub key_is_new: bool,
    /// How long after the end of an unclear request the service may still act on it.
    pub settle_window: Duration,
}

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IssuedCertificate {
    /// Its id.
    pub id: CertificateId,
    /// The certificate in PEM.
    pub pem: Option<String>,
    /// SHA-256 of the certificate, in hex.
    pub fingerprint: Option<String>,
    /// Who signed it.
    pub issuer: Option<String>,
    /// When it begins to be valid.
    pub not_before: Option<Timestamp>,
    /// When it expires.
    pub not_after: Option<Timestamp>,
}

impl IssuedCertificate {
    fn of(certificate: &ClientCertificate) -> Self {
        let x509 = certificate.x509().ok();
        let x509 = x509.as_ref();
        Self {
            id: certificate.id().clone(),
            pem: x509.map(X509Certificate::to_pem),
            fingerprint: x509.map(X509Certificate::fingerprint_sha256),
            issuer: certificate
                .certificate_authority_id()
                .or(certificate.certificate_authority_name())
                .map(str::to_owned),
            not_before: x509
                .and_then(X509Certificate::not_before)
                .or(certificate.not_before()),
            not_after: x509
                .and_then(X509Certificate::not_after)
                .or(certificate.not_after()),
        }
    }
}

/// Why the service did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Refusal {
    /// The kind.
    pub kind: RefusalKind,
    /// What went wrong, and what to do.
    pub problem: String,
    /// How long the service wants to be left alone.
    pub retry_after: Option<Duration>,
}

/// The kind of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RefusalKind {
    /// The rate limit is used up.
    RateLimited,
    /// The zone's quota is reached.
    Quota,
    /// The service refuses the token, or there is none.
    Permission,
    /// The API did not respond.
    Silent,
    /// Anything else.
    Other,
}

impl Refusal {
    fn of(error: &ClientError) -> Self {
        let kind = if error.is_rate_limited() {
            RefusalKind::RateLimited
        } else if error.is_quota_reached() {
            RefusalKind::Quota
        } else if error.is_not_allowed() {
            RefusalKind::Permission
        } else if super::is_silent(error) {
            RefusalKind::Silent
        } else {
            RefusalKind::Other
        };
        Self {
            kind,
            problem: error.to_string(),
            retry_after: error.retry_after(),
        }
    }
}

/// What came of a request to issue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum IssueOutcome {
    /// The certificate, which was checked.
    Issued {
        /// The certificate.
        certificate: Box<IssuedCertificate>,
        /// Other certificates that the request may have led to.
        surplus: Vec<CertificateId>,
        /// What the look that is owed needs. `None`: no send was unclear.
        unclear: Option<Box<IssueIntent>>,
        /// Whether it was found after a response was lost.
        recovered: bool,
    },
    /// Nothing was issued.
    NotIssued {
        /// Why.
        refusal: Refusal,
    },
    /// A request that may have been sent was lost. It may be sent again, as a new one.
    Lost {
        /// What the look that is owed needs.
        intent: Box<IssueIntent>,
    },
    /// A certificate exists that is not what was asked for.
    Wrong {
        /// What is wrong with it.
        problem: String,
        /// The certificate.
        certificate: Option<CertificateId>,
        /// What the look that is owed needs.
        intent: Option<Box<IssueIntent>>,
    },
    /// Nothing shows whether one was issued.
    Unclear {
        /// Why.
        refusal: Refusal,
        /// What resumes the request.
        intent: Box<IssueIntent>,
    },
}

/// What came of a look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FindOutcome {
    /// The certificates that the request has led to and that may be active, oldest first, without those that are known.
    Found(Vec<IssuedCertificate>),
    /// Nothing shows what was issued.
    Unclear(Refusal),
}

/// What came of a revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RevokeOutcome {
    /// It is revoked.
    Revoked,
    /// The zone does not have it.
    Missing,
    /// It may be active.
    Refused(Refusal),
}

/// What came of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DeployOutcome {
    /// The end of what was printed.
    Done(String),
    /// It fails everywhere, and is tried with one device at a time. Nothing was done.
    Paused,
    /// Key or CSR are not where they were. Nothing was done.
    KeyLost(String),
    /// What went wrong.
    Failed(String),
}

/// What came of writing files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WriteOutcome {
    /// They are complete.
    Done,
    /// Key or CSR are not where they were. Nothing was written.
    KeyLost(String),
    /// What went wrong.
    Failed(String),
}

/// A certificate that a zone holds and that may be active.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Listed {
    /// Its id.
    pub id: CertificateId,
    /// SHA-256 of its CSR, in hex.
    pub csr_sha256: Option<String>,
    /// SHA-256 of the certificate, in hex.
    pub fingerprint: Option<String>,
}

/// How long a zone that refused something is not asked the same by others.
const QUOTA_PAUSE: Duration = Duration::from_secs(60);
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// A `Date` has seconds, and was said some time ago.
const CLOCK_STEP: Duration = Duration::from_secs(3);

/// What was learnt of a zone.
struct Pause {
    refusal: Refusal,
    until: Instant,
    /// How often in a row.
    count: u32,
}

/// The steps of the generations of a fleet, whose keys are in this folder. The folder belongs to one process.
pub struct Steps {
    folder: Folder,
    config: Arc<Config>,
    budgets: Budgets,
    deploy: Arc<dyn Deploy>,
    gate: Arc<Gate>,
    pauses: Mutex<HashMap<ZoneId, Pause>>,
    /// What this process was issued, by the digest of the CSR. A client does not take it for the result of a later request.
    issued: Mutex<HashMap<[u8; 32], CertificateId>>,
    _lock: Lock,
}

impl crate::fleet::Fleet {
    /// Takes the fleet's folder for an engine that keeps its own record, and uses this share of each budget, from 0 to 1.
    ///
    /// # Errors
    /// Returns an error if another process works on the folder.
    pub fn steps(&self, share: f64) -> Result<Steps> {
        crate::folder::create_private(self.folder.path())?;
        let lock = Lock::take(&self.folder.lock())?;
        let budgets = Budgets::new(
            self.connector.clone(),
            self.folder.clone(),
            self.config.clone(),
        );
        Ok(Steps {
            budgets: budgets.with_share(share),
            folder: self.folder.clone(),
            config: self.config.clone(),
            deploy: self.deploy().clone(),
            gate: Arc::new(Gate::new(self.config.deploy.max_failures)),
            pauses: Mutex::default(),
            issued: Mutex::default(),
            _lock: lock,
        })
    }

    /// Reads the manifest. `each` gets every device, with the CSR that it has delivered, where it makes its own key.
    ///
    /// # Errors
    /// Returns an error with every problem of the manifest, if there is one. `each` may have been called before.
    pub fn read_manifest(&self, mut each: impl FnMut(Device, Option<String>)) -> Result<()> {
        let journal = crate::journal::Journal::open_empty()?;
        crate::load::load(&journal, &self.folder, &self.config)?;
        journal.each_device(|snapshot| {
            if let Some(device) = snapshot.device {
                let csr = match &device.key {
                    DeviceKey::Csr(path) => self.folder.read_csr(path).ok(),
                    DeviceKey::Generated(_) => None,
                };
                each(device, csr.map(|csr| csr.to_pem()));
            }
        })
    }

    /// Begins a survey of devices at this time.
    pub fn survey_at(&self, now: Now) -> Survey {
        let mut plan = Plan::default();
        (plan.at, plan.is_service_time) = (now.time, now.is_service_time);
        for zone in self.config.zones.values() {
            plan.zones.entry(zone.id.clone()).or_default().quota = zone.quota;
        }
        Survey {
            plan,
            config: self.config.clone(),
            now,
        }
    }

    /// Asks each budget for the service's time, in one request. Returns also which zones can't be used, and why.
    ///
    /// # Errors
    /// Returns an error if a client can't be made.
    pub async fn service_time(&self) -> Result<(Now, Vec<(ZoneId, String)>)> {
        let budgets = Budgets::new(
            self.connector.clone(),
            self.folder.clone(),
            self.config.clone(),
        );
        crate::fleet::ask_time(&budgets, &self.config).await
    }
}

impl std::fmt::Debug for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Steps")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// Whether a request needs a place in the quota.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Place,
    Nothing,
}

impl Steps {
    /// Returns the service's time, where a response has said it.
    pub fn service_time(&self) -> Option<Timestamp> {
        self.budgets.service_time()
    }

    /// Returns how many requests were sent.
    pub fn requests(&self) -> u64 {
        self.budgets.meter().requests()
    }

    /// Awaits steps, and returns also how many requests they have sent. A look-up that several steps share is counted once.
    pub async fn count_requests<T>(steps: impl Future<Output = T>) -> (T, u64) {
        crate::budgets::count_requests(steps).await
    }

    /// Asks a zone for the service's time, unless it is known.
    ///
    /// # Errors
    /// Returns what the service refused.
    pub async fn ask_time(&self, zone: &ZoneId) -> std::result::Result<Option<Timestamp>, Refusal> {
        if let Some(time) = self.service_time() {
            return Ok(Some(time));
        }
        let handle = self.zone(zone, Need::Nothing).await?;
        let mut pages = handle.list().status(StatusFilter::Active).pages();
        match pages.try_next().await {
            Ok(_) => Ok(self.service_time()),
            Err(error) => Err(self.refused(zone, &error)),
        }
    }

    /// Makes key and CSR of a generation and stores them in its new folder, or only a CSR that the device has delivered. With
    /// `is_retry`, what an earlier try has stored is returned.
    ///
    /// # Errors
    /// Returns an error if the folder can't be written, or the CSR can't be read.
    pub fn prepare(
        &self,
        device: &Device,
        mut number: u32,
        csr: Option<&str>,
        is_retry: bool,
    ) -> Result<PreparedCsr> {
        crate::journal::block(|| {
            let first = number;
            loop {
                let path = self.folder.generation(&device.name, number);
                match self.folder.stored(&path)? {
                    Stored::Missing => break,
                    Stored::Complete(keyed)
                        if is_retry
                            && number == first
                            && !path.join(outputs::CERTIFICATE).exists() =>
                    {
                        let is_same = csr.is_none_or(|csr| csr.trim() == keyed.csr.to_pem().trim());
                        if is_same && keyed.key.is_some() == csr.is_none() {
                            return Ok(PreparedCsr::of(number, &keyed.csr));
                        }
                    }
                    _ => {}
                }
                number = number.checked_add(1).ok_or_else(|| Error::Invalid {
                    path,
                    problem: "there is no later number; move the device's folder away".to_owned(),
                })?;
            }
            let keyed = match csr {
                Some(pem) => {
                    let keyed = Keyed {
                        csr: Csr::from_pem(pem)?,
                        key: None,
                    };
                    self.folder.store(&device.name, number, keyed)?
                }
                None => self.folder.make_key(device, number)?,
            };
            Ok(PreparedCsr::of(number, &keyed.csr))
        })
    }

    /// Waits for a permit of the rate limit, and sends the request. `on_intent` gets what resumes it before it is sent.
    ///
    /// `began` is when its deadline began, after which nothing is sent any more. It must be before the moment at which it was
    /// last known that nobody has begun to [resume](Self::resume) the request.
    ///
    /// # Cancel safety
    /// After the future is dropped, a certificate may have been issued. [`resume`](Self::resume) finds it.
    pub async fn issue(
        &self,
        request: &IssueRequest,
        began: Instant,
        on_intent: impl FnOnce(&IssueIntent),
    ) -> IssueOutcome {
        let replacements = self.budgets.replacements();
        let sendable = match self.request(request, Need::Place).await {
            Ok(sendable) => sendable,
            Err(refusal) => return IssueOutcome::NotIssued { refusal },
        };
        let mut intent = None;
        let deadline = send_deadline(request.settle_window).saturating_sub(began.elapsed());
        let outcome = sendable
            .send_within(deadline, |prepared| {
                intent = Some(prepared.clone());
                on_intent(prepared);
                Ok(())
            })
            .await;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                let refusal = other(error.to_string());
                return IssueOutcome::NotIssued { refusal };
            }
        };
        self.note_token(&request.zone, &outcome, replacements).await;
        self.take(request, outcome, intent)
    }

    /// Finds out about a request that may have been sent, and sends nothing. Without an intent, it may have been sent until
    /// the deadline of one that begins now.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing at the service.
    pub async fn resume(
        &self,
        request: &IssueRequest,
        intent: Option<IssueIntent>,
    ) -> IssueOutcome {
        let replacements = self.budgets.replacements();
        if intent.is_none() {
            // A failure is met again below.
            let _ = self.ask_time(&request.zone).await;
            if self.service_time().is_none() {
                // By the service's time nobody knows when it is not sent any more.
                tokio::time::sleep(send_deadline(request.settle_window)).await;
            }
        }
        let intent = match intent.map_or_else(|| self.intent(request), Ok) {
            Ok(intent) => intent,
            Err(problem) => {
                let refusal = other(problem);
                return IssueOutcome::NotIssued { refusal };
            }
        };
        let unclear = |refusal| IssueOutcome::Unclear {
            refusal,
            intent: Box::new(intent.clone()),
        };
        let findable = match self.request(request, Need::Nothing).await {
            Ok(findable) => findable,
            Err(refusal) => return unclear(refusal),
        };
        // This process was issued it, and could not say so.
        let own = self.issued().get(&digest(&request.csr)).cloned();
        if let Some(id) = own {
            return match findable.zone.get(&id).await {
                Ok(certificate) => IssueOutcome::Issued {
                    certificate: Box::new(IssuedCertificate::of(&certificate)),
                    surplus: Vec::new(),
                    unclear: Some(Box::new(intent)),
                    recovered: true,
                },
                Err(error) => unclear(self.refused(&request.zone, &error)),
            };
        }
        let outcome = match findable.resume(intent.clone()).await {
            None => {
                return IssueOutcome::Lost {
                    intent: Box::new(intent),
                };
            }
            Some(outcome) => outcome,
        };
        self.note_token(&request.zone, &outcome, replacements).await;
        match outcome {
            // Nothing was learnt.
            Outcome::NotIssued(error) => unclear(self.refused(&request.zone, &error)),
            outcome => self.take(request, outcome, Some(intent)),
        }
    }

    /// Finds what a request has led to beside the known certificates, and sends nothing.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing at the service.
    pub async fn find(&self, request: &IssueRequest, intent: IssueIntent) -> FindOutcome {
        let findable = match self.request(request, Need::Nothing).await {
            Ok(findable) => findable,
            Err(refusal) => return FindOutcome::Unclear(refusal),
        };
        match findable.find(intent).await {
            Ok(found) => {
                self.responded(&request.zone);
                let found = found.iter().filter(|found| may_be_active(found.status()));
                FindOutcome::Found(found.map(IssuedCertificate::of).collect())
            }
            Err(error) => FindOutcome::Unclear(self.refused(&request.zone, &error)),
        }
    }

    /// Revokes a certificate.
    ///
    /// # Cancel safety
    /// After the future is dropped, the certificate may be revoked.
    pub async fn revoke(&self, zone: &ZoneId, id: &CertificateId) -> RevokeOutcome {
        let mut tries = 0;
        loop {
            tries += 1;
            let replacements = self.budgets.replacements();
            let handle = match self.zone(zone, Need::Nothing).await {
                Ok(handle) => handle,
                Err(refusal) => return RevokeOutcome::Refused(refusal),
            };
            let error = match super::revoke::revoke(&handle, id).await {
                Ok(exists) => {
                    self.has_place(zone);
                    return match exists {
                        true => RevokeOutcome::Revoked,
                        false => RevokeOutcome::Missing,
                    };
                }
                Err(error) => error,
            };
            let read_again = error.is_not_allowed() && tries == 1;
            if read_again && self.read_token_again(zone, replacements).await {
                continue;
            }
            return RevokeOutcome::Refused(self.refused(zone, &error));
        }
    }

    /// Lists the certificates of a zone that may be active. A list that can't be shown to be complete is an error.
    ///
    /// # Errors
    /// Returns what the service refused.
    pub async fn list(&self, zone: &ZoneId) -> std::result::Result<Vec<Listed>, Refusal> {
        let handle = self.zone(zone, Need::Nothing).await?;
        let mut pages = handle.list().pages();
        let mut listed = Vec::new();
        loop {
            let page = match pages.try_next().await {
                Ok(Some(page)) => page,
                Ok(None) => break,
                Err(error) => return Err(self.refused(zone, &error)),
            };
            let active = page.certificates.iter();
            for certificate in active.filter(|listed| may_be_active(listed.status())) {
                let csr = certificate
                    .csr_pem()
                    .and_then(|pem| Csr::from_pem(pem).ok());
                let x509 = certificate.x509().ok();
                listed.push(Listed {
                    id: certificate.id().clone(),
                    fingerprint: x509.as_ref().map(X509Certificate::fingerprint_sha256),
                    csr_sha256: csr.map(|csr| csr.sha256()),
                });
            }
        }
        self.responded(zone);
        Ok(listed)
    }

    /// Writes the files of a generation, after its certificate was compared with the key.
    pub fn write(
        &self,
        device: &DeviceName,
        generation: &StoredGeneration,
        pem: &str,
    ) -> WriteOutcome {
        let written = crate::journal::block(|| {
            let keyed = match self.keyed(device, generation)? {
                Ok(keyed) => keyed,
                Err(problem) => return Ok(WriteOutcome::KeyLost(problem)),
            };
            let path = self.folder.generation(device, generation.number);
            let certificate = X509Certificate::from_pem(pem)?;
            outputs::write(
                &self.folder,
                &path,
                keyed,
                &certificate,
                &self.config.outputs,
            )?;
            Ok::<_, Error>(WriteOutcome::Done)
        });
        written.unwrap_or_else(|error| WriteOutcome::Failed(error.to_string()))
    }

    fn keyed(
        &self,
        device: &DeviceName,
        generation: &StoredGeneration,
    ) -> Result<std::result::Result<Keyed, String>> {
        let path = self.folder.generation(device, generation.number);
        let csr = Some(&*generation.csr_sha256);
        self.folder.keyed(&path, csr, generation.is_own)
    }

    /// Makes a generation the one that the device uses, and runs the deploy command.
    pub async fn deploy(&self, device: &Device, deployment: &DeploymentOf) -> DeployOutcome {
        match crate::journal::block(|| self.keyed(&device.name, &deployment.stored)) {
            Ok(Ok(_)) => {}
            Ok(Err(problem)) => return DeployOutcome::KeyLost(problem),
            Err(error) => return DeployOutcome::Failed(error.to_string()),
        }
        let Some(pass) = self.gate.enter() else {
            return DeployOutcome::Paused;
        };
        let number = deployment.stored.number;
        let published = crate::journal::block(|| {
            self.check_later(&device.name, number)?;
            outputs::publish(&self.folder, device, number)
        });
        if let Err(error) = published {
            // It says nothing about the command.
            return DeployOutcome::Failed(error.to_string());
        }
        let job = self.deployment(device, deployment);
        let mut result = self.deploy.deploy(job.clone()).await;
        if result.is_ok() && self.deploy.deploys_together() {
            result = self.deploy.deploy_together(vec![job]).await;
        }
        match result {
            Ok(output) => {
                pass.succeeded();
                DeployOutcome::Done(output)
            }
            Err(problem) => {
                pass.failed();
                DeployOutcome::Failed(problem)
            }
        }
    }

    /// Runs the verify command.
    pub async fn verify(&self, device: &Device, deployment: &DeploymentOf) -> DeployOutcome {
        match self
            .deploy
            .verify(self.deployment(device, deployment))
            .await
        {
            Ok(output) => DeployOutcome::Done(output),
            Err(problem) => DeployOutcome::Failed(problem),
        }
    }

    /// A deployment that was given up may still go on. It must not put an old generation in place of a later one.
    fn check_later(&self, device: &DeviceName, number: u32) -> Result<()> {
        let link = self.folder.current(device);
        let current = match std::fs::read_link(&link) {
            Ok(target) => target,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).at(link),
        };
        let current = current.to_str().and_then(|text| text.parse::<u32>().ok());
        match current.is_some_and(|current| current > number) {
            true => Err(Error::Invalid {
                path: link,
                problem: "a later generation is in use".to_owned(),
            }),
            false => Ok(()),
        }
    }

    fn deployment(&self, device: &Device, deployment: &DeploymentOf) -> Deployment {
        Deployment {
            device: device.name.clone(),
            generation: deployment.stored.number,
            reason: deployment.reason,
            zone: deployment.zone.clone(),
            labels: device.labels.clone(),
            certificate: deployment.certificate.clone(),
            old_certificate: deployment.old_certificate.clone(),
            folder: self
                .folder
                .generation(&device.name, deployment.stored.number),
            output: device
                .output
                .as_ref()
                .map(|output| self.folder.resolve(output)),
        }
    }

    async fn request(
        &self,
        request: &IssueRequest,
        need: Need,
    ) -> std::result::Result<Request, Refusal> {
        let csr = Csr::from_pem(&request.csr).map_err(|error| other(error.to_string()))?;
        Ok(Request {
            zone: self.zone(&request.zone, need).await?,
            csr,
            validity_days: request.validity_days,
            known: request.known.clone(),
            key_is_new: request.key_is_new,
            settle_window: request.settle_window,
            // No lock says so.
            sender_ended: None,
        })
    }

    /// What resumes a request of which nothing is known but that it may have been sent before this process began to resume
    /// it, and may still be until its deadline.
    fn intent(&self, request: &IssueRequest) -> std::result::Result<IssueIntent, String> {
        let csr = Csr::from_pem(&request.csr).map_err(|error| error.to_string())?;
        let deadline = send_deadline(request.settle_window);
        let sent_before = self
            .service_time()
            .and_then(|now| now.checked_add(deadline + CLOCK_STEP).ok());
        serde_json::from_value(serde_json::json!({
            "csr_sha256": csr.sha256(),
            "validity_days": request.validity_days,
            "sent_after": null,
            "sent_before": sent_before,
            "known": request.known,
            "key_is_new": request.key_is_new,
        }))
        .map_err(|error| error.to_string())
    }

    fn take(
        &self,
        request: &IssueRequest,
        outcome: Outcome,
        intent: Option<IssueIntent>,
    ) -> IssueOutcome {
        match outcome {
            Outcome::Issued(issued) => {
                self.responded(&request.zone);
                let id = issued.certificate.id().clone();
                self.issued().insert(digest(&request.csr), id);
                let is_unclear = issued.recovered || issued.attempts != 1;
                IssueOutcome::Issued {
                    certificate: Box::new(IssuedCertificate::of(&issued.certificate)),
                    surplus: (issued.surplus.iter())
                        .map(|surplus| surplus.id().clone())
                        .collect(),
                    unclear: intent.filter(|_| is_unclear).map(Box::new),
                    recovered: issued.recovered,
                }
            }
            Outcome::NotIssued(error) => IssueOutcome::NotIssued {
                refusal: self.refused(&request.zone, &error),
            },
            Outcome::Wrong(error, certificate) => IssueOutcome::Wrong {
                problem: error.to_string(),
                certificate,
                intent: intent.map(Box::new),
            },
            Outcome::Unclear(error, intent) => IssueOutcome::Unclear {
                refusal: self.refused(&request.zone, &error),
                intent,
            },
        }
    }

    fn issued(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], CertificateId>> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pauses(&self) -> std::sync::MutexGuard<'_, HashMap<ZoneId, Pause>> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handle of a zone, unless it has just refused another device the same.
    async fn zone(&self, id: &ZoneId, need: Need) -> std::result::Result<Zone, Refusal> {
        if let Some(pause) = self.pauses().get(id) {
            let concerns = match pause.refusal.kind {
                RefusalKind::Quota => need == Need::Place,
                _ => true,
            };
            if concerns && Instant::now() < pause.until {
                let Refusal { kind, problem, .. } = &pause.refusal;
                return Err(Refusal {
                    kind: *kind,
                    problem: match kind {
                        RefusalKind::Quota => problem.clone(),
                        _ => format!("zone {id} waits, since another request failed: {problem}"),
                    },
                    retry_after: Some(pause.until - Instant::now()),
                });
            }
        }
        self.budgets.zone(id).await.map_err(|error| Refusal {
            kind: RefusalKind::Permission,
            problem: error.to_string(),
            retry_after: None,
        })
    }

    fn responded(&self, zone: &ZoneId) {
        let mut pauses = self.pauses();
        let is_silence = |pause: &Pause| {
            matches!(
                pause.refusal.kind,
                RefusalKind::Silent | RefusalKind::Permission
            )
        };
        if pauses.get(zone).is_some_and(is_silence) {
            pauses.remove(zone);
        }
    }

    fn has_place(&self, zone: &ZoneId) {
        self.pauses().remove(zone);
    }

    /// Remembers a refusal that others would get, too.
    fn refused(&self, zone: &ZoneId, error: &ClientError) -> Refusal {
        let refusal = Refusal::of(error);
        if matches!(refusal.kind, RefusalKind::RateLimited | RefusalKind::Other)
            // A look-up that waits for the rate limit past its deadline says nothing about the service.
            || (refusal.kind == RefusalKind::Silent && self.budgets.is_used_up(zone))
        {
            return refusal;
        }
        let mut pauses = self.pauses();
        let count = match pauses.get(zone) {
            Some(pause) if pause.refusal.kind == refusal.kind => pause.count.saturating_add(1),
            _ => 0,
        };
        let pause = match refusal.kind {
            RefusalKind::Silent => Duration::from_secs(1)
                .saturating_mul(1 << count.min(10))
                .min(MAX_SILENCE),
            _ => QUOTA_PAUSE,
        };
        let until = Instant::now() + pause;
        let known = Pause {
            refusal: refusal.clone(),
            until,
            count,
        };
        pauses.insert(zone.clone(), known);
        refusal
    }

    /// Reads the token again where the service refused it.
    async fn note_token(&self, zone: &ZoneId, outcome: &Outcome, replacements: u64) {
        let (Outcome::NotIssued(error) | Outcome::Unclear(error, _)) = outcome else {
            return;
        };
        if error.is_not_allowed() {
            self.read_token_again(zone, replacements).await;
        }
    }

    async fn read_token_again(&self, zone: &ZoneId, replacements: u64) -> bool {
        let read = self.budgets.read_token_again(zone, replacements).await;
        read.unwrap_or(false)
    }
}

/// A generation whose key and CSR are in the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredGeneration {
    /// Its number.
    pub number: u32,
    /// SHA-256 of its CSR, in hex.
    pub csr_sha256: String,
    /// Whether the device has the key, and the folder only the CSR.
    pub is_own: bool,
}

impl StoredGeneration {
    /// Returns what is stored of a generation. `None`: nothing is yet.
    pub fn of(generation: &Generation) -> Option<Self> {
        Some(Self {
            number: generation.number,
            csr_sha256: generation.csr_sha256.clone()?,
            is_own: generation.spec.key == crate::policy::CSR,
        })
    }
}

/// What a deployment is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploymentOf {
    /// The generation.
    pub stored: StoredGeneration,
    /// Why it was made.
    pub reason: Reason,
    /// The zone.
    pub zone: ZoneId,
    /// The certificate.
    pub certificate: Option<CertificateId>,
    /// The certificate that is in use until then.
    pub old_certificate: Option<CertificateId>,
}

impl PreparedCsr {
    fn of(number: u32, csr: &Csr) -> Self {
        Self {
            number,
            csr: csr.to_pem(),
            csr_sha256: csr.sha256(),
        }
    }
}

fn other(problem: String) -> Refusal {
    Refusal {
        kind: RefusalKind::Other,
        problem,
        retry_after: None,
    }
}

fn digest(csr: &str) -> [u8; 32] {
    Sha256::digest(csr.trim()).into()
}

/// Returns the SHA-256 of a CSR, in hex.
///
/// # Errors
/// Returns an error if it is not a CSR.
pub fn csr_sha256(pem: &str) -> Result<String> {
    Ok(Csr::from_pem(pem)?.sha256())
}

/// Returns the SHA-256 of a text, in hex.
pub fn text_sha256(text: &str) -> String {
    sha256(text.as_bytes())
}

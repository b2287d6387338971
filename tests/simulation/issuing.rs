//! How a user issues: once, twice at once, or with a crash in between; alone or beside other tools.

use std::time::Duration;

use shieldcert::{CertificateId, Csr, Error, Issue, IssueIntent, Issued};
use tokio::time::{Instant, sleep, timeout};

use super::record::{Issuing, IssuingEnd};
use super::settings::pick;
use super::task::Task;
use super::world::{csr, has_own_key, have_one_key};

/// What other tools do for the CSR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    Nothing,
    /// One has issued, and the user knows the certificate.
    Known,
    /// One has issued with another validity, and the user does not know it.
    OtherValidity,
    /// One has issued for another CSR with the same key, which this one renews.
    SameKey,
    /// One issues meanwhile, and the user knows that it may.
    Meanwhile,
}

/// How a call of an issue ended.
#[expect(
    clippy::large_enum_variant,
    reason = "there are two of them at a time, at most"
)]
enum Call {
    /// `None`: it was dropped.
    Ended(Option<Result<Issued, Error>>),
    /// With the process that made it, or without.
    Crashed {
        is_restarted: bool,
        intent: IssueIntent,
    },
}

const DAYS: [u32; 4] = [1, 30, 90, 365];

/// An issue that is resumed ends within five minutes.
const RESUMED_WITHIN: Duration = Duration::from_secs(301);

impl Task {
    /// Chooses a CSR: a new one, or now and then one that this user has used.
    fn choose_csr(&mut self) -> Option<usize> {
        if self.random.u8(0..6) == 0
            && let Some(again) = self.random.choice(&self.used)
        {
            return Some(*again);
        }
        if self.unused.is_empty() {
            return None;
        }
        // Often the renewal of one that was used.
        let shares_key = |number: &usize| self.used.iter().any(|used| have_one_key(*used, *number));
        let renewal = self.unused.iter().position(shares_key);
        let place = match renewal.filter(|_| self.random.bool()) {
            Some(place) => place,
            None => self.random.usize(0..self.unused.len()),
        };
        Some(self.unused.swap_remove(place))
    }

    pub(super) async fn issue(&mut self) {
        let Some(number) = self.choose_csr() else {
            return;
        };
        let is_used = self.used.contains(&number);
        let csr = csr(number);
        let days = pick(&mut self.random, &DAYS);
        let others = match self.random.u8(0..14) {
            // By another id the certificate can't be recognized.
            0 if !self.world.settings.has_odd_ids => Others::Known,
            1 => Others::OtherValidity,
            2..6 => Others::Meanwhile,
            6..9 if self.unused.iter().any(|other| have_one_key(*other, number)) => Others::SameKey,
            _ => Others::Nothing,
        };
        let mut issue = self.zone.issue(&csr).validity_days(days);
        match others {
            Others::Nothing if !is_used && has_own_key(number) && self.random.bool() => {
                issue = issue.key_is_new();
            }
            Others::Nothing => {}
            Others::SameKey => {
                let renewed = self
                    .unused
                    .extract_if(.., |other| have_one_key(*other, number));
                for other in renewed.collect::<Vec<_>>() {
                    self.world.issue_beside(&self::csr(other), days).await;
                }
            }
            Others::Known => {
                let id = self.world.issue_beside(&csr, days).await;
                issue = issue.known([id]);
            }
            Others::OtherValidity => {
                let other = DAYS.map(|other| if other == days { 7 } else { other });
                let other = pick(&mut self.random, &other);
                self.world.issue_beside(&csr, other).await;
            }
            Others::Meanwhile => {
                issue = issue.csr_is_shared();
                self.issue_meanwhile(&csr, days);
            }
        }
        // Nobody remembers for the user what other tools have issued.
        self.used.retain(|used| *used != number);
        if matches!(others, Others::Nothing | Others::SameKey) {
            self.used.push(number);
        }
        let deadline = (self.random.u8(0..4) == 0).then(|| self.random.u64(1..=400));
        let deadline = deadline.map(Duration::from_secs);
        if let Some(deadline) = deadline {
            issue = issue.deadline(deadline);
        }
        let name = format!(
            "client {} issues sensor-{number} for {days} days",
            self.client
        );
        let history = self.world.history.clone();
        history.add(format_args!(
            "{name}, others: {others:?}, deadline: {deadline:?}"
        ));
        let started = Instant::now();
        let calls = match self.random.u8(0..12) {
            0..2 => self.issue_twice(issue).await,
            _ => vec![self.issue_once(issue).await],
        };
        if deadline.is_some_and(|deadline| started.elapsed() > deadline + Duration::from_secs(1)) {
            let elapsed = started.elapsed();
            history.broken(format_args!("promise 1: {name} ended after {elapsed:?}"));
        }
        for call in calls {
            let end = match call {
                Call::Crashed {
                    is_restarted,
                    intent,
                } => self.resume(&csr, others, is_restarted, intent).await,
                Call::Ended(Some(Err(Error::OutcomeUnknown { intent, .. })))
                    if self.random.bool() =>
                {
                    self.resume(&csr, others, false, *intent).await
                }
                Call::Ended(outcome) => IssuingEnd::of(outcome),
            };
            history.add(format_args!("{name} → {end:?}"));
            if let IssuingEnd::Issued { id, .. } = &end {
                self.world.fix(id.clone(), "active");
            }
            let mut record = self.world.record();
            record.count("issue", end.kind());
            record.issuings.push(Issuing {
                common_name: csr.common_name().unwrap_or_default().to_string(),
                is_shared: others == Others::Meanwhile,
                end,
            });
        }
        let can_clean_up = self.used.contains(&number) && !self.world.settings.has_odd_ids;
        let is_drawn = self.random.u8(0..4) == 0;
        if can_clean_up && (is_drawn || others == Others::SameKey) {
            self.clean_up(number, &csr).await;
        }
    }

    /// Another tool issues for the CSR, a few times in the next minutes: at any time, or when the client sends its
    /// request again.
    fn issue_meanwhile(&mut self, csr: &Csr, days: u32) {
        let (world, csr, mut random) = (self.world.clone(), csr.clone(), self.random.fork());
        let network = self.network.clone();
        tokio::spawn(async move {
            if random.u8(0..3) == 0 {
                sleep(Duration::from_millis(random.u64(0..60_000))).await;
            } else {
                let again = network.count_creates() + 2;
                for _ in 0..1_500 {
                    sleep(Duration::from_millis(100)).await;
                    if network.count_creates() >= again {
                        break;
                    }
                }
            }
            for _ in 0..random.usize(1..=4) {
                world.issue_beside(&csr, days).await;
                sleep(Duration::from_millis(random.u64(0..20_000))).await;
            }
        });
    }

    /// Two calls for one CSR at once take turns.
    async fn issue_twice(&mut self, issue: Issue) -> Vec<Call> {
        let both = async { tokio::join!(issue.clone().send(), issue.send()) };
        match self.run_or_drop(both).await {
            None => vec![Call::Ended(None), Call::Ended(None)],
            Some((one, other)) => [one, other]
                .map(|outcome| Call::Ended(Some(outcome)))
                .into(),
        }
    }

    async fn issue_once(&mut self, issue: Issue) -> Call {
        if self.random.u8(0..5) > 1 {
            return Call::Ended(self.run_or_drop(issue.send()).await);
        }
        let prepared = match self.run_or_drop(issue.intent()).await {
            // Nothing was sent.
            None => return Call::Ended(None),
            Some(Err(error)) => return Call::Ended(Some(Err(error))),
            Some(Ok(prepared)) => prepared,
        };
        let stored = serde_json::to_string(prepared.intent()).expect("is written");
        let longest = pick(&mut self.random, &[2_000, 60_000]);
        let crashes_after = self.random.u64(0..longest);
        let is_sent = self.random.u8(0..6) > 0;
        let outcome = match is_sent {
            true => timeout(Duration::from_millis(crashes_after), prepared.send())
                .await
                .ok(),
            false => None,
        };
        match outcome {
            Some(outcome) if self.random.u8(0..3) > 0 => Call::Ended(Some(outcome)),
            // It crashes, perhaps right before it could note what it got.
            outcome => Call::Crashed {
                is_restarted: outcome.is_some() || self.random.bool(),
                intent: serde_json::from_str(&stored).expect("is read"),
            },
        }
    }

    /// Resumes an issue some time later.
    async fn resume(
        &mut self,
        csr: &Csr,
        others: Others,
        is_restarted: bool,
        intent: IssueIntent,
    ) -> IssuingEnd {
        // At once, or when everything is settled.
        let longest = pick(&mut self.random, &[3_000, 200_000]);
        sleep(Duration::from_millis(self.random.u64(0..longest))).await;
        if is_restarted {
            (self.zone, self.network) = self.world.connect(self.client, &mut self.random);
            // The new process does not know what the old one was given for them.
            self.used.clear();
        }
        let history = self.world.history.clone();
        history.add(format_args!(
            "client {} resumes {}, restarted: {is_restarted}",
            self.client,
            csr.common_name().unwrap_or_default()
        ));
        let mut issue = self.zone.issue(csr).resume(intent);
        if others == Others::Meanwhile {
            issue = issue.csr_is_shared();
        }
        let started = Instant::now();
        let outcome = self.run_or_drop(issue.send()).await;
        let elapsed = started.elapsed();
        if elapsed > RESUMED_WITHIN {
            history.broken(format_args!(
                "promise 1: a resumed issue of client {} ended after {elapsed:?}",
                self.client
            ));
        }
        IssuingEnd::of(outcome)
    }

    /// Revokes what an issue may have left beside the certificates that are in use.
    async fn clean_up(&mut self, number: usize, csr: &Csr) {
        // What is issued for it later can't be told from what is revoked here.
        self.used.retain(|used| *used != number);
        let common_name = csr.common_name().unwrap_or_default();
        let returned: Vec<CertificateId> = {
            let record = self.world.record();
            let issuings = record.issuings.iter();
            let of_csr = issuings.filter(|issuing| issuing.common_name == common_name);
            let ids = of_csr.filter_map(|issuing| match &issuing.end {
                IssuingEnd::Issued { id, .. } => id.parse().ok(),
                _ => None,
            });
            ids.collect()
        };
        if returned.is_empty() {
            return;
        }
        let clean_up = self.zone.revoke_surplus(csr).keep(returned);
        let end = match self.run_or_drop(clean_up.send()).await {
            None => "dropped",
            Some(Err(_)) => "failed",
            Some(Ok(_)) => "complete",
        };
        let history = &self.world.history;
        history.add(format_args!(
            "client {} cleans up {common_name} → {end}",
            self.client
        ));
        self.world.record().count("clean-up", end);
    }
}

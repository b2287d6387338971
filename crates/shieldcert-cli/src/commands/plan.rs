//! What a command that acts on certificates is going to do: which ones, in how many requests, and whether somebody has
//! agreed to that.

use std::collections::HashMap;
use std::time::Duration;

use shieldcert::{CertificateId, ClientCertificate, RequestsLeft, Status, X509Certificate, Zone};
use shieldcert_fleet::commands::counted;

use super::confirm;
use crate::args::selector::{Selection, Selectors};
use crate::args::targets::Targets;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::output::certificate::CertificateRow;
use crate::output::progress::Progress;
use crate::output::time;

/// The certificates that a command acts on.
pub(crate) struct Plan {
    pub(crate) zones: Vec<Zone>,
    /// The ids, by the place of their zone.
    pub(crate) ids: Vec<(usize, CertificateId)>,
    /// Those that need nothing, since they have the status already.
    pub(crate) done: usize,
    /// Those that need nothing, since the service is about to give them the status.
    pub(crate) pending: usize,
    /// Why some that were asked for are not in it.
    pub(crate) failures: Vec<ExitCode>,
    /// Whether the plan is what was typed, and no more than one.
    is_obvious: bool,
    can_ask: bool,
    is_rehearsal: bool,
    rows: Vec<CertificateRow>,
}

impl Plan {
    /// Finds out which certificates are meant. Nothing is changed.
    ///
    /// `needs_nothing` says which have the status already. For a rehearsal each is looked at.
    pub(crate) async fn make(
        context: &Context,
        targets: Targets,
        is_rehearsal: bool,
        needs_nothing: fn(&Status) -> bool,
    ) -> Result<Self> {
        let zones = context.zones().await?;
        let mut plan = Self {
            zones: zones.clone(),
            ids: Vec::new(),
            done: 0,
            pending: 0,
            failures: Vec::new(),
            is_obvious: false,
            can_ask: confirm::can_ask(),
            is_rehearsal,
            rows: Vec::new(),
        };
        match targets {
            Targets::Selected(selectors) => plan.select(context, &selectors, needs_nothing).await?,
            Targets::Named {
                ids,
                certificates,
                is_typed,
                has_read_stdin,
            } => {
                plan.can_ask &= !has_read_stdin;
                plan.is_obvious = is_typed && ids.len() == 1;
                if zones.len() > 1 || is_rehearsal {
                    plan.look_up(context, ids, needs_nothing).await;
                } else {
                    plan.ids.extend(ids.into_iter().map(|id| (0, id)));
                }
                plan.find(context, certificates, needs_nothing).await?;
            }
        }
        Ok(plan)
    }

    fn add(
        &mut self,
        context: &Context,
        place: usize,
        certificate: &ClientCertificate,
        needs_nothing: fn(&Status) -> bool,
    ) {
        if needs_nothing(certificate.status()) {
            match certificate.status().is_pending() {
                true => self.pending += 1,
                false => self.done += 1,
            }
            return;
        }
        if self.is_rehearsal {
            let zone = self.zones[place].id();
            self.rows
                .push(CertificateRow::new(zone, certificate, context.now()));
        }
        self.ids.push((place, certificate.id().clone()));
    }

    async fn select(
        &mut self,
        context: &Context,
        selectors: &Selectors,
        needs_nothing: fn(&Status) -> bool,
    ) -> Result<()> {
        let messages = context.messages();
        let mut progress = Progress::start(messages, "read", None);
        let mut unknown = 0;
        for place in 0..self.zones.len() {
            let mut pages = self.zones[place]
                .list()
                .status(selectors.status_filter())
                .pages();
            while let Some(page) = pages.try_next().await? {
                let now = context.now();
                for certificate in &page.certificates {
                    match selectors.select(certificate, now) {
                        Selection::Yes => self.add(context, place, certificate, needs_nothing),
                        Selection::No | Selection::Expired => {}
                        Selection::Unknown => unknown += 1,
                    }
                }
                for record in &page.unreadable {
                    let zone = self.zones[place].id();
                    messages.warning(&format!("zone {zone}: a record can't be read: {record}"));
                    self.failures.push(ExitCode::Failed);
                }
                progress.add(page.certificates.len());
            }
        }
        if unknown > 0 {
            messages.warning(&format!(
                "{unknown} certificates are left out, because their records lack what the selectors ask for"
            ));
            self.failures.push(ExitCode::Failed);
        }
        Ok(())
    }

    async fn look_up(
        &mut self,
        context: &Context,
        ids: Vec<CertificateId>,
        needs_nothing: fn(&Status) -> bool,
    ) {
        let zones = self.zones.clone();
        for id in ids {
            match super::get::get(&zones, &id).await {
                Ok((zone, certificate)) => {
                    let place = zones
                        .iter()
                        .position(|other| other.id() == zone.id())
                        .unwrap_or(0);
                    self.add(context, place, &certificate, needs_nothing);
                }
                Err(failure) => {
                    context.messages().error(&failure);
                    self.failures.push(failure.code);
                }
            }
        }
    }

    /// Finds certificates whose ids are not known, by one reading of the lists.
    async fn find(
        &mut self,
        context: &Context,
        certificates: Vec<(String, X509Certificate)>,
        needs_nothing: fn(&Status) -> bool,
    ) -> Result<()> {
        let zones = self.zones.clone();
        let mut sought = HashMap::<String, String>::new();
        for (given, x509) in certificates {
            match super::find::by_known_id(&zones, &x509).await {
                Some((zone, certificate)) => {
                    let place = zones.iter().position(|other| other.id() == zone.id());
                    self.add(context, place.unwrap_or(0), &certificate, needs_nothing);
                }
                None => {
                    sought.insert(x509.fingerprint_sha256(), given);
                }
            }
        }
        for place in 0..self.zones.len() {
            if sought.is_empty() {
                return Ok(());
            }
            let mut pages = self.zones[place].list().pages();
            while let Some(page) = pages.try_next().await? {
                for certificate in &page.certificates {
                    let x509 = certificate.x509();
                    let fingerprint = x509.map(|x509| x509.fingerprint_sha256());
                    if fingerprint.is_ok_and(|fingerprint| sought.remove(&fingerprint).is_some()) {
                        self.add(context, place, certificate, needs_nothing);
                    }
                }
                if sought.is_empty() {
                    return Ok(());
                }
            }
        }
        let mut missing: Vec<_> = sought.into_values().collect();
        missing.sort_unstable();
        for given in missing {
            let message = format!("{given}: no zone that was given has this certificate");
            context
                .messages()
                .error(&Failure::new(ExitCode::NotFound, message));
            self.failures.push(ExitCode::NotFound);
        }
        Ok(())
    }

    /// Prints the plan in place of doing it.
    pub(crate) fn print(&self, context: &Context) -> Result<()> {
        let mut printer = context.printer()?;
        for row in &self.rows {
            printer.print(row, context.now())?;
        }
        printer.finish()
    }

    /// How many that were asked for need nothing.
    pub(crate) fn unneeded(&self) -> usize {
        self.done + self.pending
    }

    /// Says what is going to be done, such as `revoke 500 certificates`.
    pub(crate) fn describe(&self, verb: &str) -> String {
        let count = self.ids.len();
        let left = self
            .zones
            .first()
            .and_then(|zone| zone.client().requests_left());
        let mut text = format!("{verb} {}", counted(count as u64, "certificate"));
        if count > 0 {
            text.push_str(&format!(": {}", requests(count, left)));
        }
        match self.unneeded() {
            0 => {}
            1 => text.push_str("; 1 needs nothing"),
            others => text.push_str(&format!("; {others} need nothing")),
        }
        text
    }

    /// Makes sure that somebody wants it: by `--yes`, or by typing the number at the terminal.
    pub(crate) fn confirm(&self, context: &Context, verb: &str, is_agreed: bool) -> Result<()> {
        let count = self.ids.len();
        if is_agreed || self.is_obvious || count == 0 {
            return Ok(());
        }
        context.messages().note(&self.describe(verb));
        if !self.can_ask {
            return Err(Failure::usage(format!(
                "{} to {verb}: that must be confirmed, and there is no terminal to ask at; give --yes, or \
                 see them with --dry-run",
                counted(count as u64, "certificate")
            )));
        }
        confirm::ask(count as u64, &format!("{verb} them"))
    }
}

/// So many requests, and how long they take.
pub(crate) fn requests(count: usize, left: Option<RequestsLeft>) -> String {
    let time = duration_of(count as u64, left.map(Budget::from));
    format!("{}, {time}", counted(count as u64, "request"))
}

/// What is left of a rate limit.
struct Budget {
    requests: u64,
    quota: u64,
    window: Duration,
    resets_in: Duration,
}

impl From<RequestsLeft> for Budget {
    fn from(left: RequestsLeft) -> Self {
        Self {
            requests: left.requests,
            quota: left.quota,
            window: left.window,
            resets_in: left.resets_in,
        }
    }
}

/// How long so many requests take, at best, under the rate limit: what is left of it, or the service's if that is not known.
fn duration_of(requests: u64, left: Option<Budget>) -> String {
    const QUOTA: u64 = 1_200;
    const WINDOW: Duration = Duration::from_secs(300);
    let known = left.filter(|left| left.quota > 0);
    let (at_once, quota, window, resets_in) = match &known {
        Some(left) => (left.requests, left.quota, left.window, left.resets_in),
        None => (QUOTA, QUOTA, WINDOW, WINDOW),
    };
    let left = match &known {
        Some(left) => format!(
            ", which has {} of {} requests left",
            left.requests, left.quota
        ),
        None => String::new(),
    };
    match requests.saturating_sub(at_once) {
        0 => format!("within the rate limit{left}"),
        later => {
            let windows = u32::try_from((later - 1) / quota).unwrap_or(u32::MAX);
            let time = window.saturating_mul(windows).saturating_add(resets_in);
            format!("at least {} under the rate limit{left}", time::short(time))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_limit_makes_plans_long() {
        for (requests, expected) in [
            (1, "within the rate limit"),
            (1_200, "within the rate limit"),
            (1_201, "at least 5m under the rate limit"),
            (300_000, "at least 20h under the rate limit"),
        ] {
            assert_eq!(duration_of(requests, None), expected, "{requests}");
        }
        for (requests, expected) in [
            (
                30,
                "within the rate limit, which has 30 of 100 requests left",
            ),
            (
                31,
                "at least 20s under the rate limit, which has 30 of 100 requests left",
            ),
            (
                131,
                "at least 1m under the rate limit, which has 30 of 100 requests left",
            ),
        ] {
            let left = Budget {
                requests: 30,
                quota: 100,
                window: Duration::from_secs(60),
                resets_in: Duration::from_secs(20),
            };
            assert_eq!(duration_of(requests, Some(left)), expected, "{requests}");
        }
    }
}

//! `shieldcert doctor`.

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use shieldcert::{Error, Zone};

use super::Run;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::Result;
use crate::output::check::{CheckResult, CheckRow};
use crate::output::format::Format;
use crate::output::printer::Printer;
use crate::output::time;

const TOKEN_FIX: &str = "give a token with the permission \"SSL and Certificates: Edit\" (\"Read\" to list) for this zone";

/// An id that no certificate has.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// How far this machine's clock may be off before it is worth a warning. The service's own has seconds.
const MAX_CLOCK_DIFFERENCE: SignedDuration = SignedDuration::from_secs(60);

/// Check that the set-up works: credentials, permissions, zone, clock and limits
///
/// Each check says what to do if it fails. Nothing is changed: the permission to write is checked with --probe-write
/// alone, which asks the service to revoke a certificate that does not exist.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert doctor
  shieldcert doctor --probe-write --output json")]
pub(crate) struct Doctor {
    /// Check the permission to write too, with a request that can't succeed
    #[arg(long)]
    probe_write: bool,
}

/// The checks so far.
struct Checks {
    printer: Printer<CheckRow>,
    /// Of the first that failed.
    code: ExitCode,
}

impl Run for Doctor {
    async fn run(self, context: &Context) -> Result {
        let mut checks = Checks {
            printer: context.printer_or(Format::Table)?.unbounded(),
            code: ExitCode::Done,
        };
        let done = self.check(context, &mut checks).await;
        checks.printer.finish()?;
        done?;
        Ok(checks.code)
    }
}

impl Doctor {
    async fn check(&self, context: &Context, checks: &mut Checks) -> Result<()> {
        let source = match context.credential_source() {
            Some(source) => source.to_string(),
            None => "none are needed with --local".to_owned(),
        };
        let client = match context.client().await {
            Ok(client) => client.clone(),
            Err(failure) => {
                let message = failure.message;
                let detail = message.strip_prefix("credentials: ").unwrap_or(&message);
                let fix = failure.hints.into_iter().next();
                return checks.fail("credentials", failure.code, detail.to_owned(), fix);
            }
        };
        checks.add("credentials", CheckResult::Ok, source, None)?;
        let service = match context.is_local() {
            true => "the emulator in this process".to_owned(),
            false => client.base_url().to_owned(),
        };
        let zones = match context.zones().await {
            Ok(zones) => zones,
            Err(failure) => {
                let fix = failure.hints.into_iter().next();
                return checks.fail("zone", failure.code, failure.message, fix);
            }
        };
        for (place, zone) in zones.iter().enumerate() {
            self.check_zone(zone, place == 0, &service, checks).await?;
        }
        match client.service_time() {
            Some(service) => checks.clock(service, Timestamp::now())?,
            None => checks.add(
                "clock",
                CheckResult::Unknown,
                "the service did not say its time",
                None,
            )?,
        }
        match client.requests_left() {
            Some(left) => {
                let detail = format!(
                    "{} of {} requests in {} are left; full again in {}",
                    left.requests,
                    left.quota,
                    time::short(left.window),
                    time::short(left.resets_in)
                );
                let is_short = left.requests < left.quota / 10;
                let fix =
                    is_short.then(|| "wait, or find out who else uses this budget".to_owned());
                let result = if is_short {
                    CheckResult::Warning
                } else {
                    CheckResult::Ok
                };
                checks.add("rate limit", result, detail, fix)
            }
            None => checks.add(
                "rate limit",
                CheckResult::Unknown,
                "the service did not say what is left",
                None,
            ),
        }
    }

    async fn check_zone(
        &self,
        zone: &Zone,
        is_first: bool,
        service: &str,
        checks: &mut Checks,
    ) -> Result<()> {
        let id = zone.id();
        let listed = zone
            .list()
            .page_size(5)
            .prefetch(1)
            .pages()
            .try_next()
            .await;
        let page = match listed {
            Ok(page) => page,
            Err(error) => {
                let check = match &error {
                    error if error.is_not_allowed() => "read permission",
                    Error::Transport { .. } | Error::InvalidResponse { .. } => "service",
                    error if error.is_rate_limited() => "rate limit",
                    _ => "zone",
                };
                let fix = match check {
                    "read permission" => Some(TOKEN_FIX.to_owned()),
                    "service" => Some(format!("check the base URL, {service}, and the network")),
                    _ => None,
                };
                return checks.fail(check, ExitCode::from(&error), error.to_string(), fix);
            }
        };
        if is_first {
            checks.add("service", CheckResult::Ok, service, None)?;
        }
        checks.add("zone", CheckResult::Ok, id.to_string(), None)?;
        checks.add(
            "read permission",
            CheckResult::Ok,
            format!("zone {id} was listed"),
            None,
        )?;
        self.check_writing(zone, checks).await?;
        let detail = match page.and_then(|page| page.total_count) {
            Some(count) => {
                format!("{count}, as the service counts them; it does not say the quota")
            }
            None => "the service did not count them".to_owned(),
        };
        checks.add("certificates", CheckResult::Ok, detail, None)
    }

    async fn check_writing(&self, zone: &Zone, checks: &mut Checks) -> Result<()> {
        const CHECK: &str = "write permission";
        if !self.probe_write {
            let fix = Some("--probe-write checks it".to_owned());
            return checks.add(CHECK, CheckResult::Unknown, "not checked", fix);
        }
        let nobody = NOBODY.parse()?;
        match zone.revoke(&nobody).await {
            Err(error) if error.is_not_found() => {
                let detail = "the service would have revoked a certificate, if it existed";
                checks.add(CHECK, CheckResult::Ok, detail, None)
            }
            Err(error) if error.is_not_allowed() => {
                let fix = Some(TOKEN_FIX.to_owned());
                checks.fail(CHECK, ExitCode::NotAllowed, error.to_string(), fix)
            }
            Err(error) => checks.add(CHECK, CheckResult::Unknown, error.to_string(), None),
            Ok(_) => {
                let detail =
                    format!("the service says that it revoked {NOBODY}, which does not exist");
                checks.add(CHECK, CheckResult::Unknown, detail, None)
            }
        }
    }
}

impl Checks {
    fn add(
        &mut self,
        check: &'static str,
        result: CheckResult,
        detail: impl Into<String>,
        fix: Option<String>,
    ) -> Result<()> {
        let detail = detail.into();
        let row = CheckRow {
            check,
            result,
            detail,
            fix,
        };
        self.printer.print(&row, Timestamp::now())
    }

    fn fail(
        &mut self,
        check: &'static str,
        code: ExitCode,
        detail: String,
        fix: Option<String>,
    ) -> Result<()> {
        if self.code == ExitCode::Done {
            self.code = code;
        }
        self.add(check, CheckResult::Failed, detail, fix)
    }

    fn clock(&mut self, service: Timestamp, own: Timestamp) -> Result<()> {
        let difference = own.duration_since(service);
        let by = time::short(difference.unsigned_abs());
        let detail = match difference {
            difference if difference.abs() <= SignedDuration::from_secs(2) => {
                "this machine's agrees with the service's".to_owned()
            }
            difference if difference > SignedDuration::ZERO => {
                format!("this machine's is {by} ahead of the service's")
            }
            _ => format!("this machine's is {by} behind the service's"),
        };
        match difference.abs() > MAX_CLOCK_DIFFERENCE {
            true => {
                let fix =
                    "set it, by NTP for example; what is due is decided by the service's time"
                        .to_owned();
                self.add("clock", CheckResult::Warning, detail, Some(fix))
            }
            false => self.add("clock", CheckResult::Ok, detail, None),
        }
    }
}

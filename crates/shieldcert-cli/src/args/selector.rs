//! Selectors: which certificates a command is about, the same everywhere.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use globset::{Glob, GlobMatcher};
use jiff::Timestamp;
use shieldcert::{ClientCertificate, Status, StatusFilter};
use shieldcert_fleet::parse_duration;

use super::moment::{self, Moment};
use super::subject::SubjectKey;

// Not a doc comment: it would become that of the command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Selectors (all must match; of one that is repeated, any)")]
pub(crate) struct Selectors {
    /// Certificates with this status; expired ones can be active
    #[arg(long, value_name = "STATUS", value_enum)]
    status: Vec<StatusArg>,

    /// Certificates whose common name matches, such as 'sensor-*'
    #[arg(long, value_name = "GLOB")]
    name: Vec<Pattern>,

    /// Certificates whose subject matches, such as 'O=Acme*'; the keys are CN, O, OU, L, ST and C, and each key given must match
    #[arg(long, value_name = "KEY=GLOB")]
    subject: Vec<SubjectPattern>,

    /// Certificates that expire within this time, such as 30d, and are not expired yet
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_within: Option<Duration>,

    /// Certificates that are expired; with --expires-within, these too
    #[arg(long)]
    expired: bool,

    /// Certificates that were issued before a day, a time, or so long ago: 2026-01-31, 90d
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    issued_before: Option<Moment>,

    /// The certificate with this serial number, in hex or decimal
    #[arg(long, value_name = "SERIAL", value_parser = NonEmptyStringValueParser::new())]
    serial: Vec<String>,

    /// The certificate with this SHA-256 fingerprint, in hex
    #[arg(long, value_name = "SHA256", value_parser = NonEmptyStringValueParser::new())]
    fingerprint: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum StatusArg {
    Active,
    #[value(name = "pending_revocation")]
    PendingRevocation,
    Revoked,
    #[value(name = "pending_reactivation")]
    PendingReactivation,
}

impl StatusArg {
    fn filter(self) -> StatusFilter {
        match self {
            Self::Active => StatusFilter::Active,
            Self::PendingRevocation => StatusFilter::PendingRevocation,
            Self::Revoked => StatusFilter::Revoked,
            Self::PendingReactivation => StatusFilter::PendingReactivation,
        }
    }
}

/// Whether a certificate is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selection {
    Yes,
    No,
    /// It would be, but that it is expired, and those that are not were asked for.
    Expired,
    /// The record does not say enough: its time or number is missing.
    Unknown,
}

impl Selectors {
    /// Whether everything is selected.
    pub(crate) fn is_empty(&self) -> bool {
        self.status.is_empty()
            && self.name.is_empty()
            && self.subject.is_empty()
            && self.expires_within.is_none()
            && !self.expired
            && self.issued_before.is_none()
            && self.serial.is_empty()
            && self.fingerprint.is_empty()
    }

    /// What the service can select, which saves requests.
    pub(crate) fn status_filter(&self) -> StatusFilter {
        match &self.status[..] {
            [status] => status.filter(),
            _ => StatusFilter::All,
        }
    }

    /// Says whether a certificate is selected. `now` is the service's time.
    pub(crate) fn select(&self, certificate: &ClientCertificate, now: Timestamp) -> Selection {
        let is_excluded = !self.has_status(certificate.status())
            || !any(&self.name, |glob| glob.matches(certificate.common_name()))
            || !self
                .subject
                .iter()
                .all(|pattern| pattern.matches(certificate));
        if is_excluded {
            return Selection::No;
        }
        let issued = self.issued_before.map(|moment| {
            let start = certificate.not_before();
            start.map(|start| start < moment.at(now))
        });
        let conditions = [
            issued,
            any_known(&self.serial, |text| certificate.has_serial_number(text)),
            any_known(&self.fingerprint, |text| {
                certificate.has_fingerprint_sha256(text)
            }),
            self.is_due(certificate, now),
        ];
        if conditions.contains(&Some(Some(false))) {
            let [others @ .., due] = conditions;
            let is_expired = due == Some(Some(false))
                && others
                    .iter()
                    .all(|other| matches!(other, None | Some(Some(true))))
                && self.expires_within.is_some()
                && certificate.is_expired_at(now) == Some(true);
            return match is_expired {
                true => Selection::Expired,
                false => Selection::No,
            };
        }
        match conditions.contains(&Some(None)) {
            true => Selection::Unknown,
            false => Selection::Yes,
        }
    }

    fn has_status(&self, status: &Status) -> bool {
        any(&self.status, |wanted| wanted.filter().matches(status))
    }

    /// Whether its end is as asked for. `None` if none was.
    fn is_due(&self, certificate: &ClientCertificate, now: Timestamp) -> Option<Option<bool>> {
        if self.expires_within.is_none() && !self.expired {
            return None;
        }
        let Some(is_expired) = certificate.is_expired_at(now) else {
            return Some(None);
        };
        if is_expired {
            return Some(Some(self.expired));
        }
        Some(match self.expires_within {
            Some(within) => certificate.expires_within(within, now),
            None => Some(false),
        })
    }
}

/// Whether one of them matches, or there are none.
fn any<T>(items: &[T], matches: impl Fn(&T) -> bool) -> bool {
    items.is_empty() || items.iter().any(matches)
}

/// Like [`any`], where each may be unknown. `None` if there are none.
fn any_known(items: &[String], matches: impl Fn(&str) -> Option<bool>) -> Option<Option<bool>> {
    if items.is_empty() {
        return None;
    }
    let found: Vec<_> = items.iter().map(|item| matches(item)).collect();
    Some(if found.contains(&Some(true)) {
        Some(true)
    } else if found.contains(&None) {
        None
    } else {
        Some(false)
    })
}

/// A glob: `*`, `?`, `[a-z]` and `{a,b}`. What is missing matches as an empty text.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(GlobMatcher);

impl Pattern {
    pub(crate) fn matches(&self, text: Option<&str>) -> bool {
        self.0.is_match(text.unwrap_or_default())
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let glob = Glob::new(text).map_err(|error| {
            format!(
                "{}; write *, ?, [a-z] or {{a,b}}, and \\ before what is none of these",
                error.kind()
            )
        })?;
        Ok(Self(glob.compile_matcher()))
    }
}

#[derive(Debug, Clone)]
struct SubjectPattern {
    key: SubjectKey,
    pattern: Pattern,
}

impl SubjectPattern {
    fn matches(&self, certificate: &ClientCertificate) -> bool {
        self.pattern.matches(self.key.of(certificate))
    }
}

impl FromStr for SubjectPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, pattern) = SubjectKey::split(text)
            .ok_or("write KEY=GLOB, such as 'O=Acme*', with one of the keys CN, O, OU, L, ST, C")?;
        let pattern = pattern.parse()?;
        Ok(Self { key, pattern })
    }
}

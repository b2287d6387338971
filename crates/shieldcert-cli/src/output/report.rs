//! The inventory in numbers, as it is printed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::AddAssign;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use shieldcert::{ClientCertificate, Status, ZoneId};

use super::row::{Cell, Column, Row};

/// How many certificates there are of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Tally {
    /// All of them.
    pub(crate) certificates: u64,
    /// Those with the status `active`, expired or not.
    pub(crate) active: u64,
    /// Those of the active ones that are expired.
    pub(crate) active_expired: u64,
    /// Those with the status `pending_revocation` or `pending_reactivation`.
    pub(crate) pending: u64,
    /// Those with the status `revoked`.
    pub(crate) revoked: u64,
    /// Those with any other status.
    pub(crate) other: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, status: &Status, is_expired: bool) {
        self.certificates += 1;
        match status {
            Status::Active => {
                self.active += 1;
                self.active_expired += u64::from(is_expired);
            }
            Status::Revoked => self.revoked += 1,
            pending if pending.is_pending() => self.pending += 1,
            _ => self.other += 1,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.certificates += other.certificates;
        self.active += other.active;
        self.active_expired += other.active_expired;
        self.pending += other.pending;
        self.revoked += other.revoked;
        self.other += other.other;
    }
}

/// The inventory of some zones in numbers.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) total: Tally,
    pub(crate) zones: Vec<(ZoneId, Tally)>,
    pub(crate) statuses: BTreeMap<String, Tally>,
    /// By the first day of the month of their expiry, in UTC. `None` is unknown.
    pub(crate) months: BTreeMap<Option<Date>, Tally>,
    pub(crate) organizations: BTreeMap<Option<String>, Tally>,
}

impl Summary {
    pub(crate) fn new(zones: impl IntoIterator<Item = ZoneId>) -> Self {
        Self {
            zones: zones
                .into_iter()
                .map(|zone| (zone, Tally::default()))
                .collect(),
            ..Self::default()
        }
    }

    /// Counts a certificate of the zone at this place.
    pub(crate) fn add(&mut self, zone: usize, certificate: &ClientCertificate, now: Timestamp) {
        let status = certificate.status();
        let end = certificate.not_after();
        let is_expired = end.is_some_and(|end| now > end);
        let month = end.map(|end| TimeZone::UTC.to_datetime(end).date().first_of_month());
        let organization = certificate.organization().map(str::to_owned);
        for tally in [
            &mut self.total,
            &mut self.zones[zone].1,
            self.statuses.entry(status.to_string()).or_default(),
            self.months.entry(month).or_default(),
            self.organizations.entry(organization).or_default(),
        ] {
            tally.add(status, is_expired);
        }
    }

    /// The organizations, the one with most certificates first.
    pub(crate) fn largest_organizations(&self) -> Vec<(&Option<String>, &Tally)> {
        let mut organizations: Vec<_> = self.organizations.iter().collect();
        // Stable: equals stay sorted by their name.
        organizations.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.certificates));
        organizations
    }

    /// Everything, in rows.
    pub(crate) fn rows(&self, taken_at: Timestamp) -> Vec<ReportRow> {
        let mut rows: Vec<ReportRow> = Vec::new();
        let mut add = |by: &'static str, value: Option<String>, tally: &Tally| {
            rows.push(ReportRow {
                by,
                value,
                tally: *tally,
                taken_at,
                is_first: rows.last().is_none_or(|last| last.by != by),
            });
        };
        add("total", None, &self.total);
        for (zone, tally) in &self.zones {
            add("zone", Some(zone.to_string()), tally);
        }
        for (status, tally) in &self.statuses {
            add("status", Some(status.clone()), tally);
        }
        // What is unknown comes last.
        let (unknown, known) = self
            .months
            .iter()
            .partition::<Vec<_>, _>(|(month, _)| month.is_none());
        for (month, tally) in known.into_iter().chain(unknown) {
            add("month", month.map(month_name), tally);
        }
        for (organization, tally) in self.largest_organizations() {
            add("organization", organization.clone(), tally);
        }
        rows
    }
}

/// A month as in `2026-01`.
pub(crate) fn month_name(first_day: Date) -> String {
    format!("{:04}-{:02}", first_day.year(), first_day.month())
}

/// The certificates that have something in common.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(deny_unknown_fields))]
pub(crate) struct ReportRow {
    /// What they have in common: `total`, `zone`, `status`, `month` (of the expiry, in UTC) or `organization`.
    pub(crate) by: &'static str,
    /// The zone's id, the status, the month as in `2026-01`, or the organization. `null` if the records have none.
    pub(crate) value: Option<String>,
    #[serde(flatten)]
    pub(crate) tally: Tally,
    /// When the inventory was taken, in RFC 3339, by the service's clock.
    #[cfg_attr(test, schemars(with = "String", extend("format" = "date-time")))]
    pub(crate) taken_at: Timestamp,
    /// Whether it is the first of its kind.
    #[serde(skip)]
    pub(crate) is_first: bool,
}

impl Row for ReportRow {
    const FIELDS: &'static [&'static str] = &[
        "by",
        "value",
        "certificates",
        "active",
        "active_expired",
        "pending",
        "revoked",
        "other",
        "taken_at",
    ];
    const COLUMNS: &'static [Column] = &[
        Column::new("BY"),
        Column::new("VALUE").shrink(1, 12),
        Column::new("CERTIFICATES"),
        Column::new("ACTIVE"),
        Column::new("OF WHICH EXPIRED"),
        Column::new("PENDING"),
        Column::new("REVOKED"),
        Column::new("OTHER").wide(),
    ];

    fn id(&self) -> &str {
        self.value.as_deref().unwrap_or(self.by)
    }

    fn cells(&self, _: Timestamp) -> Vec<Cell<'_>> {
        let value: Cow<'_, str> = match &self.value {
            Some(value) => value.into(),
            None if self.by == "total" => "".into(),
            None => "(none)".into(),
        };
        let tally = &self.tally;
        let mut cells = vec![
            Cell::new(if self.is_first { self.by } else { "" }),
            Cell::new(value),
        ];
        let numbers = [
            tally.certificates,
            tally.active,
            tally.active_expired,
            tally.pending,
            tally.revoked,
            tally.other,
        ];
        cells.extend(numbers.map(|number| Cell::new(number.to_string())));
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_output() {
        crate::output::schemas::check::<ReportRow>("report");
    }
}

//! The report as one page of HTML that needs nothing else.
//!
//! maud escapes every value, the data is JSON in which no tag can begin, and the script sets text alone. The page's own
//! policy forbids every other script, and every request.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Serialize;
use shieldcert::ClientCertificate;
use shieldcert_fleet::commands::escape;

use super::report::{Summary, Tally, month_name};
use crate::failure::{Failure, Result};

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// What the browser holds the script to. Changes with it; its test says to what.
const SCRIPT_HASH: &str = "sha256-VBw9sm2KnDGpD9DbM3bayLbnrb1ikskgS7IUVC+nWSs=";

/// How many organizations have a line of their own.
const MAX_ORGANIZATIONS: usize = 25;
/// How many months without a certificate are drawn, before they become a gap.
const MAX_EMPTY_MONTHS: usize = 3;

/// A certificate in the table.
pub(crate) struct Entry {
    zone: usize,
    id: String,
    name: String,
    status: String,
    organization: Option<String>,
    serial: String,
    issued: Option<i64>,
    expires: Option<i64>,
}

impl Entry {
    pub(crate) fn new(zone: usize, certificate: &ClientCertificate) -> Self {
        let serial = match certificate.x509() {
            Ok(x509) => x509.serial_number(),
            Err(_) => certificate.serial_number().unwrap_or_default().to_owned(),
        };
        let seconds = |time: Option<Timestamp>| time.map(Timestamp::as_second);
        Self {
            zone,
            id: certificate.id().to_string(),
            name: certificate.common_name().unwrap_or_default().to_owned(),
            status: certificate.status().to_string(),
            organization: certificate.organization().map(str::to_owned),
            serial,
            issued: seconds(certificate.not_before()),
            expires: seconds(certificate.not_after()),
        }
    }
}

/// What the page shows.
pub(crate) struct Page<'a> {
    pub(crate) summary: &'a Summary,
    pub(crate) entries: &'a [Entry],
    pub(crate) taken_at: Timestamp,
    pub(crate) unreadable: usize,
}

/// The certificates as the script reads them: columns, and each text that repeats once.
#[derive(Serialize)]
struct Data<'a> {
    /// In seconds since 1970, as all times.
    taken: i64,
    statuses: Vec<String>,
    organizations: Vec<Option<String>>,
    zones: Vec<&'a str>,
    name: Vec<String>,
    id: Vec<String>,
    serial: Vec<String>,
    status: Vec<usize>,
    organization: Vec<usize>,
    zone: Vec<usize>,
    issued: Vec<Option<i64>>,
    expires: Vec<Option<i64>>,
}

impl Page<'_> {
    /// Makes the page.
    pub(crate) fn render(&self) -> Result<String> {
        let organizations = self.summary.largest_organizations();
        let data = self.data(&organizations).map_err(|error| {
            Failure::failed(format!("the report's data can't be written: {error}"))
        })?;
        let title = format!("Client certificates, {}", day(self.taken_at));
        let policy = format!(
            "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{SCRIPT_HASH}'; base-uri 'none'; form-action 'none'"
        );
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(policy);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="referrer" content="no-referrer";
                    title { (title) }
                    // An empty icon, or the browser asks for one.
                    link rel="icon" href="data:,";
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    (self.header())
                    main {
                        (self.tiles())
                        (self.timeline())
                        div.columns {
                            (self.statuses())
                            (self.organizations(&organizations))
                            @if self.summary.zones.len() > 1 { (self.zones()) }
                        }
                        (self.table())
                    }
                    footer { "Made by shieldcert " (env!("CARGO_PKG_VERSION")) ". Days and months are UTC." }
                    script type="application/json" id="data" { (PreEscaped(data)) }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        Ok(page.into_string())
    }

    fn data(&self, organizations: &[(&Option<String>, &Tally)]) -> serde_json::Result<String> {
        let statuses: Vec<&String> = self.summary.statuses.keys().collect();
        let places = |names: Vec<Option<&str>>| -> BTreeMap<Option<String>, usize> {
            let names = names.into_iter().map(|name| name.map(str::to_owned));
            names.zip(0..).collect()
        };
        let status_places = places(
            statuses
                .iter()
                .map(|status| Some(status.as_str()))
                .collect(),
        );
        let names = organizations.iter().map(|(name, _)| name.as_deref());
        let organization_places = places(names.collect());
        let show = |text: &String| escape(text).into_owned();
        let entries = self.entries;
        let data = Data {
            taken: self.taken_at.as_second(),
            statuses: statuses.into_iter().map(show).collect(),
            organizations: organizations
                .iter()
                .map(|(name, _)| name.as_ref().map(show))
                .collect(),
            zones: self
                .summary
                .zones
                .iter()
                .map(|(zone, _)| zone.as_str())
                .collect(),
            name: entries.iter().map(|entry| show(&entry.name)).collect(),
            id: entries.iter().map(|entry| show(&entry.id)).collect(),
            serial: entries.iter().map(|entry| show(&entry.serial)).collect(),
            status: entries
                .iter()
                .map(|entry| status_places[&Some(entry.status.clone())])
                .collect(),
            organization: entries
                .iter()
                .map(|entry| organization_places[&entry.organization])
                .collect(),
            zone: entries.iter().map(|entry| entry.zone).collect(),
            issued: entries.iter().map(|entry| entry.issued).collect(),
            expires: entries.iter().map(|entry| entry.expires).collect(),
        };
        // In JSON, it stands in strings alone.
        Ok(serde_json::to_string(&data)?.replace('<', "\\u003c"))
    }

    fn header(&self) -> Markup {
        let zones = &self.summary.zones;
        html! {
            header {
                h1 { "Client certificates" }
                p {
                    "Taken on " strong { (TimeZone::UTC.to_datetime(self.taken_at).strftime("%-d %B %Y, %H:%M:%S UTC")) }
                    " from " @match zones.as_slice() {
                        [(zone, _)] => { "zone " strong { code { (zone) } } },
                        zones => { strong { (zones.len()) " zones" } },
                    }
                    ". Cloudflare API Shield, mTLS."
                }
                @if self.unreadable > 0 {
                    p.card.warning role="alert" {
                        @if self.unreadable == 1 { "1 record could not be read and is missing here." }
                        @else { (thousands(self.unreadable as u64)) " records could not be read and are missing here." }
                    }
                }
                noscript { p.card.warning { "The table and the filters need JavaScript, which is off." } }
            }
        }
    }

    fn tiles(&self) -> Markup {
        let total = &self.summary.total;
        let soon = self.expiring_soon();
        let tiles = [
            ("all", total.certificates, "All certificates"),
            ("active", total.active - total.active_expired, "Active"),
            ("soon", soon, "Expire in 30 days"),
            ("expired", total.active_expired, "Active, but expired"),
            ("pending", total.pending, "Pending"),
            ("revoked", total.revoked, "Revoked"),
        ];
        html! {
            section.tiles aria-label="Numbers" {
                @for (name, count, label) in tiles {
                    button.tile.(name) type="button" data-tile=(name) {
                        b { (thousands(count)) }
                        span { (label) }
                    }
                }
            }
        }
    }

    /// The active ones that expire within 30 days, and have not yet.
    fn expiring_soon(&self) -> u64 {
        let taken = self.taken_at.as_second();
        let soon = taken..=taken + 30 * 86_400;
        let matches = |entry: &&Entry| {
            entry.status == "active" && entry.expires.is_some_and(|end| soon.contains(&end))
        };
        self.entries.iter().filter(matches).count() as u64
    }

    fn timeline(&self) -> Markup {
        let months = &self.summary.months;
        let highest = months
            .values()
            .map(|tally| tally.certificates)
            .max()
            .unwrap_or(0);
        html! {
            section.card aria-labelledby="timeline" {
                h2 id="timeline" { "Expiry by month" }
                p.hint { "Select a month to see its certificates. Arrow keys move between months." }
                @if months.is_empty() { p.none { "There are no certificates." } }
                div.months role="group" aria-labelledby="timeline" {
                    @let columns = columns(months);
                    @for (place, column) in columns.iter().enumerate() {
                        @match column {
                            Month::Gap => { span.gap title="months without a certificate" aria-hidden="true" { "⋯" } },
                            Month::Of(first_day, tally) => {
                                @let begins = place == 0 || matches!(columns[place - 1], Month::Gap);
                                (bar(*first_day, *tally, highest, begins))
                            },
                        }
                    }
                }
                ul.legend {
                    li.active { "active" }
                    li.expired { "active, but expired" }
                    li.pending { "pending" }
                    li.revoked { "revoked" }
                }
            }
        }
    }

    fn statuses(&self) -> Markup {
        summary_table(
            "Status",
            "statuses",
            &mut self.summary.statuses.iter().map(|(status, tally)| {
                let name = match status.as_str() {
                    "" => html! { span.none { "unknown" } },
                    status => html! { (escape(status)) },
                };
                (name, *tally)
            }),
        )
    }

    fn zones(&self) -> Markup {
        summary_table(
            "Zone",
            "zones",
            &mut self
                .summary
                .zones
                .iter()
                .map(|(zone, tally)| (html! { code { (zone) } }, *tally)),
        )
    }

    fn organizations(&self, organizations: &[(&Option<String>, &Tally)]) -> Markup {
        let (shown, others) = organizations.split_at(organizations.len().min(MAX_ORGANIZATIONS));
        let mut rows: Vec<_> = (0..)
            .zip(shown)
            .map(|(place, (name, tally)): (usize, _)| {
                let button = html! {
                    button.link type="button" data-organization=(place) {
                        @match name {
                            Some(name) => (escape(name)),
                            None => span.none { "no organization" },
                        }
                    }
                };
                (button, **tally)
            })
            .collect();
        if !others.is_empty() {
            let mut sum = Tally::default();
            for (_, tally) in others {
                sum += **tally;
            }
            rows.push((html! { (thousands(others.len() as u64)) " others" }, sum));
        }
        summary_table("Organization", "organizations", &mut rows.into_iter())
    }

    fn table(&self) -> Markup {
        let columns = [
            ("name", "Name", "13rem"),
            ("status", "Status", "9.5rem"),
            ("expires", "Expires", "7.2rem"),
            ("left", "Left", "8rem"),
            ("organization", "Organization", "12rem"),
            ("issued", "Issued", "7.2rem"),
            ("id", "Id", "auto"),
            ("serial", "Serial number", "auto"),
            ("zone", "Zone", "auto"),
        ];
        let has_zones = self.summary.zones.len() > 1;
        let columns = columns
            .into_iter()
            .filter(|(name, ..)| has_zones || *name != "zone");
        html! {
            section.card aria-labelledby="table" {
                div.tools {
                    h2 id="table" { "Certificates" }
                    span id="shown" aria-live="polite" { (thousands(self.entries.len() as u64)) }
                    input id="search" type="search" placeholder="Search names, organizations, ids, serial numbers"
                        aria-label="Search certificates" autocomplete="off" spellcheck="false";
                    button.plain id="clear" type="button" hidden { "Clear filters" }
                }
                p id="cut" {}
                div id="window" tabindex="0" role="region" aria-label="Certificates, scrolls" {
                    table id="certificates" {
                        thead {
                            tr {
                                @for (name, title, width) in columns {
                                    th scope="col" data-column=(name) style={ "width:" (width) } {
                                        button type="button" { (title) }
                                    }
                                }
                            }
                        }
                        tbody {}
                    }
                }
            }
        }
    }
}

/// A column of the timeline.
enum Month {
    Of(Option<Date>, Tally),
    /// Months without a certificate.
    Gap,
}

/// The months in order, with those between them. What is unknown comes last.
fn columns(months: &BTreeMap<Option<Date>, Tally>) -> Vec<Month> {
    let mut columns = Vec::new();
    let mut last: Option<Date> = None;
    for (month, tally) in months {
        let Some(month) = *month else { continue };
        if let Some(last) = last {
            let next = |date: Date| date.saturating_add(1.month());
            let missing = std::iter::successors(Some(next(last)), |date| Some(next(*date)));
            let missing: Vec<_> = missing
                .take_while(|date| *date < month)
                .take(MAX_EMPTY_MONTHS + 1)
                .collect();
            match missing.len() > MAX_EMPTY_MONTHS {
                true => columns.push(Month::Gap),
                false => columns.extend(
                    missing
                        .into_iter()
                        .map(|date| Month::Of(Some(date), Tally::default())),
                ),
            }
        }
        columns.push(Month::Of(Some(month), *tally));
        last = Some(month);
    }
    if let Some(unknown) = months.get(&None) {
        columns.push(Month::Of(None, *unknown));
    }
    columns
}

fn bar(first_day: Option<Date>, tally: Tally, highest: u64, begins: bool) -> Markup {
    let name = first_day.map_or("unknown".to_owned(), month_name);
    let parts = [
        ("revoked", tally.revoked + tally.other),
        ("pending", tally.pending),
        ("expired", tally.active_expired),
        ("active", tally.active - tally.active_expired),
    ];
    let second = |date: Date| {
        TimeZone::UTC
            .to_timestamp(date.at(0, 0, 0, 0))
            .map_or(i64::MAX, Timestamp::as_second)
    };
    let start = first_day.map(second);
    let end = first_day.map(|date| date.checked_add(1.month()).map_or(i64::MAX, second));
    let label = format!(
        "{name}: {} certificates, {} of them active",
        tally.certificates, tally.active
    );
    html! {
        button.month type="button" data-month=(name) data-start=[start] data-end=[end] aria-label=(label) title=(label) {
            span.bar {
                span.count { @if tally.certificates > 0 { (short(tally.certificates)) } }
                @for (kind, count) in parts {
                    // The number above takes the rest.
                    @if count > 0 { i.(kind) style=(format!("height:{:.2}%", count as f64 * 84.0 / highest.max(1) as f64)) {} }
                }
            }
            span.label {
                @match first_day {
                    Some(date) => {
                        (date.strftime("%b"))
                        @if begins || date.month() == 1 { b { (date.year()) } }
                    },
                    None => b { "?" },
                }
            }
        }
    }
}

fn summary_table(title: &str, id: &str, rows: &mut dyn Iterator<Item = (Markup, Tally)>) -> Markup {
    html! {
        section.card aria-labelledby=(id) {
            h2 id=(id) { "By " (title.to_lowercase()) }
            div.scroll-x {
                table.summary {
                    thead {
                        tr {
                            th scope="col" { (title) }
                            th scope="col" { "All" }
                            th scope="col" { "Active" }
                            th scope="col" { "Expired" }
                            th scope="col" { "Pending" }
                            th scope="col" { "Revoked" }
                        }
                    }
                    tbody {
                        @for (name, tally) in rows {
                            tr {
                                td { (name) }
                                td { (thousands(tally.certificates)) }
                                td { (thousands(tally.active - tally.active_expired)) }
                                td { (thousands(tally.active_expired)) }
                                td { (thousands(tally.pending)) }
                                td { (thousands(tally.revoked)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn day(time: Timestamp) -> String {
    super::time::day(time)
}

/// A number as in `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number that fits above a bar: `999`, `1.2k`, `12k`, `1.2M`.
fn short(number: u64) -> String {
    let (unit, name) = match number {
        0..1_000 => return number.to_string(),
        1_000..1_000_000 => (1_000, "k"),
        _ => (1_000_000, "M"),
    };
    match number < 10 * unit {
        true => format!("{}.{}{name}", number / unit, number % unit * 10 / unit),
        false => format!("{}{name}", number / unit),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_policy_allows_the_script() {
        let hash = format!("sha256-{}", STANDARD.encode(Sha256::digest(SCRIPT)));
        assert_eq!(SCRIPT_HASH, hash, "set SCRIPT_HASH to this");
    }

    #[test]
    fn numbers_are_shown_in_groups_and_shortened() {
        for (number, grouped, shortened) in [
            (0, "0", "0"),
            (999, "999", "999"),
            (1_000, "1,000", "1.0k"),
            (12_345, "12,345", "12k"),
            (1_999_999, "1,999,999", "1.9M"),
        ] {
            assert_eq!(
                (thousands(number), short(number)),
                (grouped.to_owned(), shortened.to_owned())
            );
        }
    }

    #[test]
    fn the_timeline_draws_short_gaps_and_skips_long_ones() {
        let month = |year, month| Some(Date::constant(year, month, 1));
        let months = [month(2026, 1), month(2026, 3), month(2036, 1), None];
        let months = months
            .into_iter()
            .map(|month| (month, Tally::default()))
            .collect();
        let names: Vec<_> = columns(&months)
            .into_iter()
            .map(|column| match column {
                Month::Of(Some(date), _) => month_name(date),
                Month::Of(None, _) => "unknown".to_owned(),
                Month::Gap => "gap".to_owned(),
            })
            .collect();
        assert_eq!(
            names,
            ["2026-01", "2026-02", "2026-03", "gap", "2036-01", "unknown"]
        );
    }
}

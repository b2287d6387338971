//! A difference between the journal and what the zones and the files show, as it is printed.

use jiff::Timestamp;
use serde::Serialize;
use shieldcert_fleet::{Difference, Finding};

use super::word;
use crate::output::row::{Cell, Column, Row};

/// A difference between the journal and what the zones and the files show.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "finding"))]
pub(crate) struct FindingRow {
    /// What it is: `surplus`, `reactivated-elsewhere`, `revoked-elsewhere`, `missing`, `key-lost`, `file-changed`,
    /// `expired-but-active`, `other-issuer`, `foreign` or `unreadable`.
    difference: String,
    /// The device, where it is one of the journal.
    device: Option<String>,
    /// The number of its generation.
    generation: Option<u32>,
    /// The certificate's id.
    certificate: Option<String>,
    /// The zone.
    zone_id: String,
    /// More about it: a common name, an issuer, or what is wrong.
    detail: Option<String>,
    /// What to do.
    fix: String,
}

impl FindingRow {
    /// A row of a finding. `complete` makes the commands in a text those for this fleet.
    pub(crate) fn new(finding: Finding, complete: impl Fn(&str) -> String) -> Self {
        let mut fix = complete(fix(finding.difference));
        for (word, value) in [
            ("DEVICE", finding.device.as_ref().map(ToString::to_string)),
            ("ID", finding.certificate.as_ref().map(ToString::to_string)),
        ] {
            if let Some(value) = value {
                fix = fix.replace(&format!("{word}`"), &format!("{value}`"));
            }
        }
        Self {
            difference: word(&finding.difference),
            device: finding.device.map(Into::into),
            generation: finding.generation,
            certificate: finding.certificate.map(|id| id.to_string()),
            zone_id: finding.zone.to_string(),
            detail: finding.detail,
            fix,
        }
    }
}

/// What to do about a difference.
pub(crate) fn fix(difference: Difference) -> &'static str {
    match difference {
        Difference::Surplus => {
            "issued for this fleet and not used; `shieldcert fleet apply --refresh` revokes it"
        }
        Difference::ReactivatedElsewhere => {
            "this fleet has revoked it; `shieldcert fleet apply --refresh` revokes it again"
        }
        Difference::RevokedElsewhere => {
            "in use by this fleet; `shieldcert reactivate ID` takes it back, `shieldcert fleet rotate --name DEVICE` \
             replaces it"
        }
        Difference::Missing => {
            "in use by this fleet; `shieldcert fleet rotate --name DEVICE` replaces it"
        }
        Difference::KeyLost => {
            "restore the key from a backup, or replace it with `shieldcert fleet rotate --name DEVICE`"
        }
        Difference::FileChanged => "`shieldcert fleet apply --refresh` writes the files again",
        Difference::ExpiredButActive => {
            "it takes a place in the quota; `shieldcert revoke --expired --dry-run` shows what would be revoked"
        }
        Difference::OtherIssuer => {
            "the CA has changed since; `shieldcert fleet rotate --name DEVICE` replaces it"
        }
        Difference::Foreign => {
            "not of this fleet, and never touched; `shieldcert fleet adopt` takes it over"
        }
        Difference::Unreadable => {
            "nothing is concluded from its record; `shieldcert get ID` shows it"
        }
        _ => "see `shieldcert fleet plan --help`",
    }
}

impl Row for FindingRow {
    const FIELDS: &'static [&'static str] = &[
        "difference",
        "device",
        "generation",
        "certificate",
        "zone_id",
        "detail",
        "fix",
    ];
    const COLUMNS: &'static [Column] = &[
        Column::new("DIFFERENCE"),
        Column::new("DEVICE").shrink(2, 12),
        Column::new("CERTIFICATE").shrink(3, 9),
        Column::new("DETAIL").shrink(1, 12),
        Column::new("ZONE").wide(),
        Column::new("WHAT TO DO").wide(),
    ];

    fn id(&self) -> &str {
        self.certificate
            .as_deref()
            .or(self.device.as_deref())
            .unwrap_or_default()
    }

    fn cells(&self, _: Timestamp) -> Vec<Cell<'_>> {
        let text = |text: &Option<String>| Cell::new(text.clone().unwrap_or_default());
        vec![
            Cell::new(&*self.difference),
            text(&self.device),
            text(&self.certificate),
            text(&self.detail),
            Cell::new(&*self.zone_id),
            Cell::new(&*self.fix),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_output() {
        crate::output::schemas::check::<FindingRow>("finding");
    }
}

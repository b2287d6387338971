//! A plan as it is printed: device by device, and in numbers.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use shieldcert_fleet::commands::{PlanRow, PlanSummaryRow};

use crate::output::row::{Cell, Column, Row};
use crate::output::time;

impl Row for PlanRow {
    const FIELDS: &'static [&'static str] = PlanRow::FIELDS;
    const COLUMNS: &'static [Column] = &[
        Column::new("DEVICE").shrink(1, 12),
        Column::new("ACTION"),
        Column::new("WHY").shrink(2, 12),
        Column::new("DUE"),
        Column::new("EXPIRES"),
        Column::new("ZONE").wide(),
    ];

    fn id(&self) -> &str {
        &self.device
    }

    fn cells(&self, _: Timestamp) -> Vec<Cell<'_>> {
        let day = |time: Option<Timestamp>| Cell::new(time.map(time::day).unwrap_or_default());
        let color = match self.action.as_str() {
            "issue" | "renew" => Some(AnsiColor::Green),
            "revoke" => Some(AnsiColor::Red),
            "wait" => Some(AnsiColor::Yellow),
            _ => None,
        };
        let style = Style::new().fg_color(color.map(Into::into));
        vec![
            Cell::new(&*self.device),
            Cell::new(&*self.action).style(style),
            Cell::new(self.reason.or(self.hold).unwrap_or_default()),
            day(self.due),
            day(self.expires),
            Cell::new(self.zone_id.clone().unwrap_or_default()),
        ]
    }
}

impl Row for PlanSummaryRow {
    const FIELDS: &'static [&'static str] = PlanSummaryRow::FIELDS;
    const COLUMNS: &'static [Column] = &[
        Column::new("DEVICES"),
        Column::new("CHANGES"),
        Column::new("REQUESTS"),
        Column::new("SECONDS"),
    ];

    fn id(&self) -> &str {
        "plan"
    }

    fn cells(&self, _: Timestamp) -> Vec<Cell<'_>> {
        [self.devices, self.changes, self.requests, self.seconds]
            .map(|number| Cell::new(number.to_string()))
            .into()
    }
}

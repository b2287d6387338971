//! A generation of a device as it is printed.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use shieldcert_fleet::commands::GenerationRow;

use crate::output::row::{Cell, Column, Row};
use crate::output::time;

impl Row for GenerationRow {
    const FIELDS: &'static [&'static str] = GenerationRow::FIELDS;
    const COLUMNS: &'static [Column] = &[
        Column::new("DEVICE").shrink(1, 12),
        Column::new("GENERATION"),
        Column::new("STATE"),
        Column::new("EXPIRES"),
        Column::new("HOLD"),
        Column::new("PROBLEM").shrink(2, 12),
        Column::new("CERTIFICATE").wide(),
        Column::new("REASON").wide(),
        Column::new("REVOKED AT").wide(),
        Column::new("RETRY AT").wide(),
        Column::new("ASKED").wide(),
    ];

    fn id(&self) -> &str {
        &self.device
    }

    fn cells(&self, _: Timestamp) -> Vec<Cell<'_>> {
        let day = |time: Option<Timestamp>| Cell::new(time.map(time::day).unwrap_or_default());
        let moment = |time: Option<Timestamp>| {
            Cell::new(time.map(|time| time.to_string()).unwrap_or_default())
        };
        let color = match (self.state, self.hold) {
            (_, Some(_)) => Some(AnsiColor::Yellow),
            (Some("verified"), _) => Some(AnsiColor::Green),
            (Some("revoked"), _) => Some(AnsiColor::Red),
            _ => None,
        };
        let style = Style::new().fg_color(color.map(Into::into));
        let number = self.generation.map(|number| number.to_string());
        let text = |text: &Option<String>| Cell::new(text.clone().unwrap_or_default());
        vec![
            Cell::new(&*self.device),
            Cell::new(number.unwrap_or_default()),
            Cell::new(self.state.unwrap_or("none")).style(style),
            day(self.not_after),
            Cell::new(self.hold.unwrap_or_default()),
            text(&self.problem),
            text(&self.certificate),
            Cell::new(self.reason.unwrap_or_default()),
            moment(self.revoke_at),
            moment(self.retry_at),
            Cell::new(self.asked.unwrap_or_default()),
        ]
    }
}

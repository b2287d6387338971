//! A check of `shieldcert doctor` as it is printed.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde::Serialize;

use super::row::{Cell, Column, Row};

/// What a check has found.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "check"))]
pub(crate) struct CheckRow {
    /// What was checked.
    pub(crate) check: &'static str,
    pub(crate) result: CheckResult,
    /// What was found.
    pub(crate) detail: String,
    /// What to do. `null` if there is nothing to do.
    pub(crate) fix: Option<String>,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum CheckResult {
    Ok,
    Warning,
    Failed,
    /// It was not checked, or nothing shows it.
    Unknown,
}

impl CheckResult {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    fn style(self) -> Style {
        let color = match self {
            Self::Ok => AnsiColor::Green,
            Self::Warning => AnsiColor::Yellow,
            Self::Failed => AnsiColor::Red,
            Self::Unknown => return Style::new(),
        };
        Style::new().fg_color(Some(color.into()))
    }
}

impl Row for CheckRow {
    const FIELDS: &'static [&'static str] = &["check", "result", "detail", "fix"];
    const COLUMNS: &'static [Column] = &[
        Column::new("CHECK"),
        Column::new("RESULT"),
        Column::new("DETAIL"),
    ];

    fn id(&self) -> &str {
        self.check
    }

    fn cells(&self, _: Timestamp) -> Vec<Cell<'_>> {
        let text = match &self.fix {
            Some(fix) => format!("{}; {fix}", self.detail),
            None => self.detail.clone(),
        };
        vec![
            Cell::new(self.check),
            Cell::new(self.result.as_str()).style(self.result.style()),
            Cell::new(text),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_output() {
        crate::output::schemas::check::<CheckRow>("check");
    }
}

//! What a command has found out, for people: a name and a value a line.

use std::io::{self, Write};

use anstyle::Style;
use shieldcert_fleet::commands::escape;
use unicode_width::UnicodeWidthStr;

use super::printer::Output;
use crate::failure::{Failure, Result};

/// Names and values, in order.
#[derive(Debug, Default)]
pub(crate) struct Facts(Vec<(String, String)>);

impl Facts {
    /// Adds a line. One without a name continues the line before.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// Adds a line, unless the number is 0.
    pub(crate) fn count(&mut self, name: &str, count: u64) {
        if count > 0 {
            self.add(name, count.to_string());
        }
    }

    /// Prints the lines to standard output.
    pub(crate) fn print(&self, output: &Output) -> Result<()> {
        let style = match output.has_color {
            true => Style::new().bold(),
            false => Style::new(),
        };
        let width = self.0.iter().map(|(name, _)| name.width()).max();
        let width = width.unwrap_or_default();
        let mut out = io::stdout().lock();
        let mut write = || {
            for (name, value) in &self.0 {
                let padding = width - name.width();
                let (name, value) = (escape(name), escape(value));
                writeln!(out, "{style}{name}{style:#}{:padding$}  {value}", "")?;
            }
            out.flush()
        };
        write().map_err(|error| Failure::output(&error))
    }
}

impl From<Vec<(&'static str, String)>> for Facts {
    fn from(facts: Vec<(&'static str, String)>) -> Self {
        let facts = facts.into_iter();
        Self(
            facts
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    }
}

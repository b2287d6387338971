//! Prints rows to standard output, one after the other, in the format that was asked for.

use std::io::{self, BufWriter, Stdout, Write};
use std::marker::PhantomData;

use anstyle::Style;
use jiff::Timestamp;
use serde_json::{Map, Value};
use shieldcert_fleet::commands::{csv, escape};

use super::format::Format;
use super::json;
use super::messages::Messages;
use super::row::{Cell, Column, Row};
use super::table::Table;
use crate::failure::{Failure, Result};

/// What standard output is, and what it is to get.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) format: Format,
    /// The members to print, if they were named.
    pub(crate) fields: Option<Vec<String>>,
    /// The width of the terminal, if it is one.
    pub(crate) width: Option<usize>,
    pub(crate) has_color: bool,
}

/// Prints rows. [`finish`](Self::finish) writes the end.
pub(crate) struct Printer<R> {
    out: BufWriter<Stdout>,
    messages: Messages,
    format: Format,
    fields: Vec<&'static str>,
    has_chosen_fields: bool,
    has_color: bool,
    table: Table,
    is_detailed: bool,
    is_single: bool,
    rows: usize,
    row: PhantomData<fn(&R)>,
}

impl<R: Row> Printer<R> {
    pub(crate) fn new(output: &Output, messages: &Messages) -> Result<Self> {
        let is_short = matches!(output.format, Format::Table | Format::Csv);
        let mut fields: Vec<&'static str> = R::FIELDS.to_vec();
        if is_short {
            fields.retain(|name| !R::LONG_FIELDS.contains(name));
        }
        let mut columns: Vec<Column> = R::COLUMNS.to_vec();
        columns.retain(|column| output.format == Format::Wide || !column.is_wide);
        if let Some(names) = &output.fields {
            fields = names
                .iter()
                .map(|name| field::<R>(name))
                .collect::<Result<_>>()?;
            columns = fields.iter().map(|name| field_column(name)).collect();
        }
        let mut table = Table::new(columns, output.width, output.has_color);
        if output.format == Format::Wide || output.fields.is_some() {
            table.keep_columns();
        }
        Ok(Self {
            out: BufWriter::new(io::stdout()),
            messages: messages.clone(),
            format: output.format,
            fields,
            has_chosen_fields: output.fields.is_some(),
            has_color: output.has_color,
            table,
            is_detailed: false,
            is_single: false,
            rows: 0,
            row: PhantomData,
        })
    }

    /// Prints a line for each member where a table was asked for. For commands that are about few things.
    pub(crate) fn detailed(mut self) -> Self {
        self.is_detailed = true;
        self
    }

    /// Prints JSON without an array. For commands that print one thing, whatever they are about.
    pub(crate) fn single(mut self) -> Self {
        self.is_single = true;
        self
    }

    /// Shortens nothing: a line that is too long continues in the next one.
    pub(crate) fn unbounded(mut self) -> Self {
        self.table.unbounded();
        self
    }

    /// How many rows were printed.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Prints a row. It is seen at the next [`flush`](Self::flush), or earlier.
    pub(crate) fn print(&mut self, row: &R, now: Timestamp) -> Result<()> {
        let printed = self.write(row, now);
        self.rows += 1;
        printed.map_err(|error| Failure::output(&error))
    }

    fn write(&mut self, row: &R, now: Timestamp) -> io::Result<()> {
        let out = &mut self.out;
        match self.format {
            Format::Id => writeln!(out, "{}", escape(row.id())),
            Format::Json => {
                let start = if self.is_single {
                    ""
                } else if self.rows == 0 {
                    "[\n"
                } else {
                    ",\n"
                };
                out.write_all(start.as_bytes())?;
                json::write_object(out, &members(row)?, &self.fields)
            }
            Format::Jsonl => {
                json::write_object(out, &members(row)?, &self.fields)?;
                out.write_all(b"\n")
            }
            Format::Csv => {
                if self.rows == 0 {
                    csv::write_line(out, self.fields.iter().map(|name| (*name).into()))?;
                }
                csv::write_row(out, &members(row)?, &self.fields)
            }
            Format::Table | Format::Wide if self.is_detailed => self.write_details(&members(row)?),
            Format::Table | Format::Wide if self.has_chosen_fields => {
                let members = members(row)?;
                let cells = self
                    .fields
                    .iter()
                    .map(|name| Cell::new(plain(members.get(*name))));
                self.table.row(out, cells.collect())
            }
            Format::Table | Format::Wide => {
                let is_wide = self.format == Format::Wide;
                let cells = row.cells(now).into_iter().zip(R::COLUMNS);
                let cells = cells.filter(|(_, column)| is_wide || !column.is_wide);
                self.table.row(out, cells.map(|(cell, _)| cell).collect())
            }
        }
    }

    fn write_details(&mut self, members: &Map<String, Value>) -> io::Result<()> {
        if self.rows > 0 {
            self.out.write_all(b"\n")?;
        }
        let style = match self.has_color {
            true => Style::new().bold(),
            false => Style::new(),
        };
        let width = self.fields.iter().map(|name| name.len()).max().unwrap_or(0);
        for name in &self.fields {
            let value = members.get(*name);
            if value.is_none_or(Value::is_null) && !self.has_chosen_fields {
                continue;
            }
            let text = plain(value);
            writeln!(self.out, "{style}{name:width$}{style:#}  {}", escape(&text))?;
        }
        Ok(())
    }

    /// Shows what was printed so far. Called where more takes a while, and before a message that belongs after it.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let Self { out, table, .. } = self;
        // Not with the progress bar in the same line.
        let flushed = self.messages.suspend(|| {
            table.flush(out)?;
            out.flush()
        });
        flushed.map_err(|error| Failure::output(&error))?;
        let left_out = self.table.take_left_out();
        if !left_out.is_empty() {
            self.messages.note(&format!(
                "left out, because the terminal is narrow: {}; --output wide or --fields shows them",
                left_out.join(", ")
            ));
        }
        Ok(())
    }

    /// Like [`flush`](Self::flush), but a table waits until enough rows are there to know how wide its columns are.
    pub(crate) fn flush_some(&mut self) -> Result<()> {
        const ENOUGH: usize = 20;
        let is_table = matches!(self.format, Format::Table | Format::Wide);
        match is_table && self.rows < ENOUGH {
            true => Ok(()),
            false => self.flush(),
        }
    }

    /// Writes the end, which makes JSON complete.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let end = match (self.format, self.rows) {
            (Format::Json, 0) => self.out.write_all(b"[]\n"),
            (Format::Json, _) if self.is_single => self.out.write_all(b"\n"),
            (Format::Json, _) => self.out.write_all(b"\n]\n"),
            (Format::Csv, 0) => {
                csv::write_line(&mut self.out, self.fields.iter().map(|name| (*name).into()))
            }
            _ => Ok(()),
        };
        end.map_err(|error| Failure::output(&error))?;
        self.flush()
    }
}

fn members(row: &impl Row) -> io::Result<Map<String, Value>> {
    match serde_json::to_value(row)? {
        Value::Object(members) => Ok(members),
        other => Err(io::Error::other(format!("{other} is no object"))),
    }
}

/// A value as text, which is not escaped yet.
fn plain(value: Option<&Value>) -> std::borrow::Cow<'_, str> {
    match value {
        None | Some(Value::Null) => "".into(),
        Some(Value::String(text)) => text.into(),
        Some(other) => other.to_string().into(),
    }
}

fn field_column(name: &'static str) -> Column {
    Column {
        title: name.to_uppercase().into(),
        is_wide: false,
        shrink: Some(super::row::Shrink { order: 1, min: 8 }),
    }
}

fn field<R: Row>(name: &str) -> Result<&'static str> {
    let found = R::FIELDS.iter().find(|known| **known == name);
    found.copied().ok_or_else(|| {
        Failure::usage(format!(
            "--fields: there is no {name:?}; give some of {}",
            R::FIELDS.join(",")
        ))
    })
}

//! Rows on standard output. Their fields are those of `shieldcert fleet`.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Map, Value};
use shieldcert_fleet::commands::{csv, escape};

use crate::failure::{Failure, Result};

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[value(alias = "table")]
    Text,
    /// One array, or one object from a command that prints one thing.
    Json,
    /// An object a line.
    Jsonl,
    /// With a header.
    Csv,
}

/// Turns a value into a row.
pub(crate) fn row(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(row)) => row,
        _ => Map::new(),
    }
}

/// Prints rows. `columns` are those that people see.
pub(crate) fn print(
    format: Option<Format>,
    fields: &[&str],
    columns: &[&str],
    rows: &[Map<String, Value>],
) -> Result<()> {
    let text = match format.unwrap_or(Format::Text) {
        Format::Json => json(
            &rows
                .iter()
                .map(|row| whole(row, fields))
                .collect::<Vec<_>>(),
        ),
        Format::Jsonl => rows
            .iter()
            .map(|row| format!("{}\n", whole(row, fields)))
            .collect(),
        Format::Csv => document(fields, rows)?,
        Format::Text => table(columns, rows),
    };
    write(&text)
}

/// Prints one thing: JSON is an object, and no array.
pub(crate) fn print_one(
    format: Option<Format>,
    fields: &[&str],
    columns: &[&str],
    row: Map<String, Value>,
) -> Result<()> {
    match format {
        Some(Format::Json) => write(&json(&whole(&row, fields))),
        _ => print(format, fields, columns, &[row]),
    }
}

/// A row with every field.
fn whole(row: &Map<String, Value>, fields: &[&str]) -> Value {
    let field = |field: &&str| {
        let value = row.get(*field).cloned().unwrap_or(Value::Null);
        ((*field).to_owned(), value)
    };
    Value::Object(fields.iter().map(field).collect())
}

fn json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// Prints facts for people, one a line.
pub(crate) fn facts(facts: &[(&str, String)]) -> Result<()> {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: String = facts
        .iter()
        .map(|(name, value)| format!("{name:width$}  {}\n", escape(value)))
        .collect();
    write(&lines)
}

fn write(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        // Who reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Failure::failed(format!("standard output: {error}"))),
    }
}

/// What a value is in a cell.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => escape(text).into_owned(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

fn document(fields: &[&str], rows: &[Map<String, Value>]) -> Result<String> {
    let mut out = Vec::new();
    let header = fields.iter().map(|field| (*field).into());
    csv::write_line(&mut out, header)
        .and_then(|()| {
            let mut rows = rows.iter();
            rows.try_for_each(|row| csv::write_row(&mut out, row, fields))
        })
        .map_err(|error| Failure::failed(format!("CSV: {error}")))?;
    String::from_utf8(out).map_err(|error| Failure::failed(format!("CSV: {error}")))
}

fn table(columns: &[&str], rows: &[Map<String, Value>]) -> String {
    let header: Vec<String> = columns
        .iter()
        .map(|column| column.to_uppercase().replace('_', " "))
        .collect();
    let cells = rows.iter().map(|row| -> Vec<String> {
        let cell = |column: &&str| row.get(*column).map(cell).unwrap_or_default();
        columns.iter().map(cell).collect()
    });
    let lines: Vec<Vec<String>> = std::iter::once(header).chain(cells).collect();
    let width = |place: usize| {
        let widths = lines.iter().map(|line| line[place].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let padded: Vec<String> = (line.iter().zip(&widths))
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_aligned_and_holds_no_control_characters() {
        let rows = [
            row(&json!({"name": "a\u{1b}[2J", "count": 3})),
            row(&json!({"name": "longer-name", "count": null})),
        ];
        let text = table(&["name", "count"], &rows);
        assert_eq!(text, "NAME         COUNT\na\\u{1b}[2J   3\nlonger-name\n");
    }

    #[test]
    fn csv_has_every_field() {
        let rows = [row(&json!({"a": "x,y", "b": 1}))];
        let text = document(&["a", "b", "c"], &rows).expect("is written");
        assert_eq!(text, "a,b,c\n\"x,y\",1,\n");
    }
}

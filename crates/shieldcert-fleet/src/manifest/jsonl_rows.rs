//! The rows of a manifest in JSONL.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;

use super::column::Column;
use super::problem::Problem;
use super::row::{Field, Refused, Row};
use crate::nearest::hint;
use crate::quote::quote_key;

/// Parses a line, which is an object. Returns also what can't be read of it.
pub(super) fn read_row(number: u64, line: &str) -> Result<(Row, Vec<Refused>), Problem> {
    // Nearly every line is read at once. One that has a problem is read again, value by value.
    if let Ok(row) = parse(line, Members) {
        return Ok((row, Vec::new()));
    }
    parse(line, Values).map_err(|error| describe(number, &error))
}

fn parse<'de, S: DeserializeSeed<'de>>(
    line: &'de str,
    seed: S,
) -> Result<S::Value, serde_json::Error> {
    let mut parser = serde_json::Deserializer::from_str(line);
    let value = seed.deserialize(&mut parser)?;
    parser.end()?;
    Ok(value)
}

fn describe(number: u64, error: &serde_json::Error) -> Problem {
    match error.classify() {
        Category::Data => Problem::at_line(
            number,
            "it is not an object; write one a line, such as {\"name\": \"sensor-001\"}",
        ),
        Category::Eof => Problem::at_line(
            number,
            "the object does not end on its line; complete it; was the file cut off?",
        ),
        Category::Syntax | Category::Io => {
            let text = error.to_string();
            let what = text.split(" at line ").next().unwrap_or_default();
            let message = format!(
                "it is not JSON: {what}, at character {}; write one object a line",
                error.column()
            );
            Problem::at_line(number, message)
        }
    }
}

/// Says of which type a member is.
fn expected(column: Column) -> &'static str {
    match column {
        Column::Days => "it is not a number of days; give a whole number, such as 365",
        Column::Labels => "it is not an array of strings; write it as [\"floor-1\", \"test\"]",
        _ => "it is not a string; put it in double quotes",
    }
}

/// Reads the members of an object into a row.
struct Members;

impl<'de> DeserializeSeed<'de> for Members {
    type Value = Row;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Row, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Row, A::Error> {
        let mut row = Row::default();
        let mut seen = Vec::with_capacity(Column::ALL.len());
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            let column = Column::find(&name).filter(|column| !seen.contains(column));
            let Some(column) = column else {
                return Err(A::Error::custom("unknown, or there twice"));
            };
            seen.push(column);
            match row.field(column) {
                Field::Text(text) => *text = members.next_value()?,
                Field::Days(days) => *days = members.next_value()?,
                Field::Labels(labels) => *labels = members.next_value()?,
            }
        }
        Ok(row)
    }
}

/// Reads the members of an object one by one, with what is wrong with each.
struct Values;

impl<'de> DeserializeSeed<'de> for Values {
    type Value = (Row, Vec<Refused>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Values {
    type Value = (Row, Vec<Refused>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut row = Row::default();
        let mut refusals = Vec::new();
        let mut seen = Vec::new();
        while let Some((name, value)) = members.next_entry::<Cow<'de, str>, Value>()? {
            let Some(column) = Column::find(&name) else {
                let message = format!("the member is unknown; {}", hint(&name, Column::names()));
                refusals.push(Refused::unknown(quote_key(&name), message));
                continue;
            };
            let problem = if seen.contains(&column) {
                Some("it is there twice; remove one")
            } else {
                let is_read = match row.field(column) {
                    Field::Text(text) => set(text, value),
                    Field::Days(days) => set(days, value),
                    Field::Labels(labels) => set(labels, value),
                };
                (!is_read).then(|| expected(column))
            };
            seen.push(column);
            refusals.extend(problem.map(|problem| Refused::from((column, problem.to_owned()))));
        }
        Ok((row, refusals))
    }
}

/// Sets a value, if it is one of the type. Returns whether it is.
fn set<T: DeserializeOwned>(field: &mut Option<T>, value: Value) -> bool {
    match serde_json::from_value(value) {
        Ok(value) => {
            *field = value;
            true
        }
        Err(_) => false,
    }
}

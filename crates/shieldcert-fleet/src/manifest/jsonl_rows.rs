//! The rows of a manifest in JSONL.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::error::Category;

use super::column::Column;
use super::problem::Problem;
use super::row::{Field, Row};
use crate::nearest::hint;
use crate::quote::quote_key;

/// Parses a line, which is an object.
pub(super) fn read_row(number: u64, line: &str) -> Result<Row, Problem> {
    let mut place = Place::Object;
    let mut parser = serde_json::Deserializer::from_str(line);
    let row = Members { place: &mut place }.deserialize(&mut parser);
    let row = row.and_then(|row| parser.end().map(|()| row));
    row.map_err(|error| describe(number, &error, place))
}

/// What the parser is at, for the message.
enum Place {
    Object,
    Unknown(String),
    Twice(Column),
    Value(Column),
}

fn describe(number: u64, error: &serde_json::Error, place: Place) -> Problem {
    let category = error.classify();
    match (category, place) {
        (Category::Data, Place::Unknown(name)) => {
            let message = format!("the member is unknown; {}", hint(&name, Column::names()));
            Problem::at_column(number, quote_key(&name), message)
        }
        (Category::Data, Place::Twice(column)) => {
            Problem::at_column(number, column, "it is there twice; remove one")
        }
        (Category::Data, Place::Value(column)) => {
            Problem::at_column(number, column, expected(column))
        }
        (Category::Data, Place::Object) => Problem::at_line(
            number,
            "it is not an object; write one a line, such as {\"name\": \"sensor-001\"}",
        ),
        (Category::Eof, _) => Problem::at_line(
            number,
            "the object does not end on its line; complete it; was the file cut off?",
        ),
        (Category::Syntax | Category::Io, _) => {
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
struct Members<'p> {
    place: &'p mut Place,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = Row;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Row, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Row, A::Error> {
        let mut row = Row::default();
        let mut seen = Vec::with_capacity(Column::ALL.len());
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            let Some(column) = Column::find(&name) else {
                *self.place = Place::Unknown(name.into_owned());
                return Err(A::Error::custom("unknown"));
            };
            if seen.contains(&column) {
                *self.place = Place::Twice(column);
                return Err(A::Error::custom("twice"));
            }
            seen.push(column);
            *self.place = Place::Value(column);
            match row.field(column) {
                Field::Text(text) => *text = members.next_value()?,
                Field::Days(days) => *days = members.next_value()?,
                Field::Labels(labels) => *labels = members.next_value()?,
            }
            *self.place = Place::Object;
        }
        Ok(row)
    }
}

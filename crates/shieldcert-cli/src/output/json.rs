//! JSON whose text shows no control or format character: they are escaped, which changes no value.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use serde_json::{Map, Value};
use shieldcert_fleet::commands::is_printable;

/// Writes the members with these names as an object, in this order.
pub(super) fn write_object(
    out: &mut impl Write,
    members: &Map<String, Value>,
    names: &[&str],
) -> io::Result<()> {
    out.write_all(b"{")?;
    for (place, name) in names.iter().enumerate() {
        if place > 0 {
            out.write_all(b",")?;
        }
        write_value(out, name)?;
        out.write_all(b":")?;
        write_value(out, members.get(*name).unwrap_or(&Value::Null))?;
    }
    out.write_all(b"}")
}

fn write_value(out: &mut impl Write, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
    let mut serializer = Serializer::with_formatter(out, Printable);
    Ok(value.serialize(&mut serializer)?)
}

struct Printable;

impl Formatter for Printable {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(place) = rest.find(|c| !is_printable(c)) {
            CompactFormatter.write_string_fragment(out, &rest[..place])?;
            let odd = rest[place..].chars().next().expect("it was found there");
            for unit in odd.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = &rest[place + odd.len_utf8()..];
        }
        CompactFormatter.write_string_fragment(out, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_reads_as_what_it_was() {
        let hostile = "\u{1b}[31m \u{202e}x\u{7f}\u{e0001} \"quoted\" \\ 计量\n";
        let mut members = Map::new();
        members.insert("common_name".to_owned(), hostile.into());
        let mut out = Vec::new();
        write_object(&mut out, &members, &["common_name", "id"]).expect("is written");
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(text.chars().all(is_printable), "{text}");
        assert!(text.starts_with(r#"{"common_name":"\u001b[31m \u202ex\u007f\udb40\udc01 "#));
        let read: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read["common_name"], hostile);
        assert_eq!(read["id"], Value::Null);
    }
}

//! Comma-separated values. They end up in spreadsheets and terminals, so text in them is made harmless: JSON is for
//! programs that need it as it is.

use std::borrow::Cow;
use std::io::{self, Write};

use serde_json::{Map, Value};

use super::escape::escape;

/// Writes a line of names, or of values that are harmless.
///
/// # Errors
/// Returns the error of `out`.
pub fn write_line<'a>(
    out: &mut impl Write,
    cells: impl IntoIterator<Item = Cow<'a, str>>,
) -> io::Result<()> {
    let mut writer = ::csv::Writer::from_writer(out);
    let cells: Vec<_> = cells.into_iter().collect();
    writer.write_record(cells.iter().map(|cell| cell.as_bytes()))?;
    writer.flush()
}

/// Writes the values of these members, and nothing where one is missing or `null`.
///
/// # Errors
/// Returns the error of `out`.
pub fn write_row(
    out: &mut impl Write,
    members: &Map<String, Value>,
    names: &[&str],
) -> io::Result<()> {
    write_line(out, names.iter().map(|name| cell(members.get(*name))))
}

fn cell(value: Option<&Value>) -> Cow<'_, str> {
    match value {
        None | Some(Value::Null) => Cow::Borrowed(""),
        Some(Value::String(text)) => defuse(text),
        Some(other) => Cow::Owned(other.to_string()),
    }
}

/// Escapes what is not printable. What a spreadsheet would take for a formula gets an apostrophe in front.
fn defuse(text: &str) -> Cow<'_, str> {
    let escaped = escape(text);
    match text.trim_start().starts_with(['=', '+', '-', '@']) {
        true => Cow::Owned(format!("'{escaped}")),
        false => escaped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_and_line_ends_are_harmless() {
        for (text, expected) in [
            ("sensor", "sensor"),
            ("=1+1", "'=1+1"),
            (" @SUM(A1)", "' @SUM(A1)"),
            ("-2", "'-2"),
            ("a\nb", "a\\nb"),
            ("\t=1", "'\\t=1"),
        ] {
            assert_eq!(defuse(text), expected, "{text:?}");
        }
        let mut out = Vec::new();
        write_line(&mut out, ["a,b", "\"c\"", ""].map(Cow::from)).expect("is written");
        assert_eq!(String::from_utf8_lossy(&out), "\"a,b\",\"\"\"c\"\"\",\n");
    }
}

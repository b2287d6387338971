//! Values of a `fleet.toml`. Each parser says what to write instead.

use std::fmt::Display;
use std::ops::{Bound, RangeBounds, RangeInclusive};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use shieldcert::InvalidInput;
use toml::de::DeValue;

use crate::duration::parse_duration;
use crate::quote::quote;

/// A hundred years. Beyond, somebody mistook the unit.
const MAX_DURATION: Duration = Duration::from_secs(36_500 * 86_400);

/// Parses a text that is not empty and has no control characters.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, String> {
    let DeValue::String(text) = value else {
        return Err(wrong_type(value, "text in double quotes"));
    };
    if text.trim().is_empty() {
        return Err("it is empty; give a text, or remove the key".to_owned());
    }
    if text.contains('\0') {
        return Err(format!("{} has a null byte; remove it", quote(text)));
    }
    Ok(text.clone().into_owned())
}

pub(super) fn path(value: &DeValue<'_>) -> Result<PathBuf, String> {
    let text = text(value)?;
    if text.chars().any(char::is_control) {
        return Err(format!(
            "{} has a control character; give a path",
            quote(&text)
        ));
    }
    Ok(PathBuf::from(text))
}

pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    match value {
        DeValue::Boolean(value) => Ok(*value),
        _ => Err(wrong_type(value, "true or false")),
    }
}

/// Parses a whole number within bounds.
pub(super) fn count<T>(range: RangeInclusive<T>) -> impl FnOnce(&DeValue<'_>) -> Result<T, String>
where
    T: TryFrom<u64> + PartialOrd + Display,
{
    move |value| {
        let (start, end) = (range.start(), range.end().to_string());
        let bounds = if end == u64::MAX.to_string() {
            format!("{start} or more")
        } else {
            format!("{start} to {end}")
        };
        let DeValue::Integer(number) = value else {
            return Err(wrong_type(value, &format!("a whole number, {bounds}")));
        };
        let parsed = u64::from_str_radix(number.as_str(), number.radix());
        let parsed = parsed.ok().and_then(|parsed| T::try_from(parsed).ok());
        match parsed {
            Some(parsed) if range.contains(&parsed) => Ok(parsed),
            _ => Err(format!("{number} is out of bounds; give {bounds}")),
        }
    }
}

/// Parses a share within bounds.
pub(super) fn share(
    range: impl RangeBounds<f64>,
) -> impl FnOnce(&DeValue<'_>) -> Result<f64, String> {
    move |value| {
        let bounds = describe_range(&range);
        let text = match value {
            DeValue::Float(number) => number.as_str(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            _ => return Err(wrong_type(value, &format!("a share {bounds}"))),
        };
        match text.parse() {
            Ok(share) if range.contains(&share) => Ok(share),
            _ => Err(format!("{text} is out of bounds; give a share {bounds}")),
        }
    }
}

fn describe_range(range: &impl RangeBounds<f64>) -> String {
    let start = match range.start_bound() {
        Bound::Included(start) | Bound::Excluded(start) => *start,
        Bound::Unbounded => 0.0,
    };
    match range.end_bound() {
        Bound::Included(end) => format!("from {start} to {end}"),
        Bound::Excluded(end) => format!("from {start} to below {end}"),
        Bound::Unbounded => format!("from {start}"),
    }
}

/// Parses a duration that has at least this length.
pub(super) fn duration(min: Duration) -> impl FnOnce(&DeValue<'_>) -> Result<Duration, String> {
    move |value| {
        let DeValue::String(text) = value else {
            let expected = "a duration in double quotes, such as \"90s\", \"24h\" or \"30d\"";
            return Err(wrong_type(value, expected));
        };
        let duration =
            parse_duration(text).map_err(|problem| format!("{}: {problem}", quote(text)))?;
        if duration < min {
            return Err(format!(
                "{} is too short; give at least {}",
                quote(text),
                describe(min)
            ));
        }
        if duration > MAX_DURATION {
            return Err(format!("{} is too long; give at most 36500d", quote(text)));
        }
        Ok(duration)
    }
}

/// Writes a duration of whole days or seconds.
fn describe(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds > 0 && seconds % 86_400 == 0 => format!("{}d", seconds / 86_400),
        seconds => format!("{seconds}s"),
    }
}

/// Parses a text with a type's own parser.
pub(super) fn parsed<T: FromStr<Err = InvalidInput>>(value: &DeValue<'_>) -> Result<T, String> {
    let text = text(value)?;
    text.parse()
        .map_err(|error: InvalidInput| error.problem().to_owned())
}

/// Says what a value is, and what it should be. The value is not shown, since it may be a secret.
pub(super) fn wrong_type(value: &DeValue<'_>, expected: &str) -> String {
    let is = match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    format!("it is {is}; give {expected}")
}

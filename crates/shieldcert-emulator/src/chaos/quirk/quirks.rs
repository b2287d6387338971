//! Quirks as a value, and as text.

use std::fmt;
use std::str::FromStr;

use super::applied::Applied;
use super::kind::Kind;
use super::table::{QUIRKS, Row};
use crate::core::random::Random;
use crate::error::ParseError;

/// How this service differs from a well-behaved one, for as long as the setting lasts.
///
/// Written as `NAME`, `NAME=PARAMETER` or `NAME=PARAMETER@PERCENT%`, separated by commas:
///
/// ```
/// use shieldcert_emulator::Quirks;
///
/// let quirks: Quirks = "cap=25, total=missing, lag=30s@10%, odd-id@1%".parse()?;
/// assert_eq!(quirks.to_string(), "cap=25, total=missing, lag=30s@10%, odd-id@1%");
/// # Ok::<_, shieldcert_emulator::ParseError>(())
/// ```
///
/// All of them hold at once. The percentage is the share of the requests that a quirk changes, drawn from the seed of
/// the faults. For quirks that change records it is a share of the records: a record that is odd stays so. Of several
/// quirks that change the same, the first one that is drawn wins; one that could never be drawn is refused.
///
/// A [`Fault`](crate::Fault) can be a quirk too, for one request: `list@2: quirk=cap=25` in a script, and
/// `quirk=5%:cap=25` by chance.
///
#[doc = include_str!("../quirks.md")]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quirks {
    quirks: Vec<Quirk>,
}

/// One quirk, with its share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quirk {
    name: &'static str,
    argument: Option<String>,
    /// Of a million requests or records. None for all.
    share: Option<u32>,
    kind: Kind,
}

impl Quirks {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.quirks.is_empty()
    }

    /// The table of quirks, for a terminal.
    pub fn help() -> String {
        let usage = |row: &Row| match row.parameter.usage() {
            parameter if parameter.is_empty() => row.name.to_owned(),
            parameter => format!("{}={parameter}", row.name),
        };
        let line = |row: &Row| format!("{}\n    {}\n", usage(row), row.effect.replace('`', ""));
        QUIRKS.iter().map(line).collect()
    }

    /// The name of a quirk that needs the store in memory, if there is one.
    #[cfg(feature = "sqlite")]
    pub(crate) fn needs_memory(&self) -> Option<&'static str> {
        use super::kind::Total;

        let needs = |kind| match kind {
            Kind::Lag(_) | Kind::Total(Total::Lag(_) | Total::Cached(_)) => true,
            Kind::Order(order) => order.needs_memory(),
            _ => false,
        };
        let mut quirks = self.quirks.iter();
        quirks
            .find(|quirk| needs(quirk.kind))
            .map(|quirk| quirk.name)
    }

    /// Draws what the quirks change in a request.
    pub(crate) fn draw(&self, random: &Random) -> Applied {
        let mut applied = Applied::default();
        for (index, quirk) in self.quirks.iter().enumerate() {
            quirk.add_to(&mut applied, index as u64, random);
        }
        applied
    }
}

impl Quirk {
    /// Whether it changes every request or record, so that another of its kind changes none.
    fn always_holds(&self) -> bool {
        self.share.is_none_or(|share| share >= 1_000_000)
    }

    fn without_share(&self) -> Self {
        Self {
            share: None,
            ..self.clone()
        }
    }

    /// Has the quirk change a request, if that is drawn. Quirks with different numbers change other records.
    pub(crate) fn add_to(&self, applied: &mut Applied, number: u64, random: &Random) {
        let share = self.share.map_or(1.0, |share| f64::from(share) / 1e6);
        match self.kind {
            Kind::Record(record) => applied.add_record(record, share, number),
            kind if share >= 1.0 || random.fraction() < share => applied.add(kind),
            _ => {}
        }
    }
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if let Some(argument) = &self.argument {
            write!(f, "={argument}")?;
        }
        match self.share {
            Some(share) => write!(f, "@{}%", f64::from(share) / 1e4),
            None => Ok(()),
        }
    }
}

impl FromStr for Quirk {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (quirk, share) = match text.rsplit_once('@') {
            None => (text, None),
            Some((quirk, share)) => (quirk, Some(parse_share(share)?)),
        };
        let (name, argument) = match quirk.split_once('=') {
            None => (quirk.trim(), None),
            Some((name, argument)) => (name.trim(), Some(argument.trim())),
        };
        let row = QUIRKS.iter().find(|row| row.name == name);
        let row = row.ok_or_else(|| {
            let names: Vec<_> = QUIRKS.iter().map(|row| row.name).collect();
            ParseError::new(format!(
                "{name:?} is not a quirk; write one of {}",
                names.join(", ")
            ))
        })?;
        Ok(Self {
            name: row.name,
            argument: argument.map(str::to_owned),
            share,
            kind: row.parameter.parse(row.name, argument)?,
        })
    }
}

fn parse_share(text: &str) -> Result<u32, ParseError> {
    let percent = text.trim().strip_suffix('%');
    percent
        .and_then(|percent| percent.trim().parse::<f64>().ok())
        .filter(|percent| (0.0..=100.0).contains(percent))
        .map(|percent| (percent * 1e4).round() as u32)
        .ok_or_else(|| {
            ParseError::new(format!(
                "{text:?} is not a percentage; write 0% to 100% after the @"
            ))
        })
}

impl fmt::Display for Quirks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, quirk) in self.quirks.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{quirk}")?;
        }
        Ok(())
    }
}

impl FromStr for Quirks {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let items = text.split([',', '\n']).map(str::trim);
        let mut quirks: Vec<Quirk> = Vec::new();
        for item in items.filter(|item| !item.is_empty()) {
            let quirk: Quirk = item.parse()?;
            let mut earlier = quirks.iter().filter(|earlier| earlier.name == quirk.name);
            if let Some(earlier) = earlier.find(|earlier| earlier.always_holds()) {
                let name = quirk.name;
                return Err(ParseError::new(format!(
                    "{name} is given twice, and the first always holds; leave one out, or give the first a share, such \
                     as {}@10%",
                    earlier.without_share()
                )));
            }
            quirks.push(quirk);
        }
        Ok(Self { quirks })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::super::table::Parameter;
    use super::*;

    fn markdown() -> String {
        let mut table =
            "| quirk | parameter | what is different |\n| --- | --- | --- |\n".to_owned();
        for row in &QUIRKS {
            let parameter = match &row.parameter {
                Parameter::None(_) => String::new(),
                Parameter::Choice(choices) => {
                    let names: Vec<_> = choices
                        .iter()
                        .map(|(name, _)| format!("`{name}`"))
                        .collect();
                    format!(" {}", names.join(", "))
                }
                Parameter::Number(range, _) => {
                    format!(" N, from {} to {}", range.start(), range.end())
                }
                Parameter::Time(_) => " a time".to_owned(),
                Parameter::Offset(_) => " a time, which may be negative".to_owned(),
            };
            writeln!(table, "| `{}` |{parameter} | {} |", row.name, row.effect).expect("text");
        }
        table
    }

    /// Rewrites the file with `UPDATE_FAULTS=1 cargo test -p shieldcert-emulator`.
    #[test]
    fn the_documented_table_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/chaos/quirks.md");
        if std::env::var_os("UPDATE_FAULTS").is_some() {
            std::fs::write(path, markdown()).expect("is written");
        }
        let documented = std::fs::read_to_string(path).expect("is read");
        assert!(
            documented == markdown(),
            "quirks.md is out of date; run the test with UPDATE_FAULTS=1"
        );
    }

    #[test]
    fn every_quirk_round_trips_through_text() {
        for row in &QUIRKS {
            let arguments = match &row.parameter {
                Parameter::None(_) => vec![row.name.to_owned()],
                Parameter::Choice(choices) => {
                    let texts = choices
                        .iter()
                        .map(|(choice, _)| format!("{}={choice}", row.name));
                    texts.collect()
                }
                Parameter::Number(range, _) => vec![format!("{}={}", row.name, range.end())],
                Parameter::Time(_) => vec![format!("{}=1m 30s", row.name)],
                Parameter::Offset(_) => {
                    vec![format!("{}=-3h", row.name), format!("{}=+3h", row.name)]
                }
            };
            for text in arguments {
                for text in [text.clone(), format!("{text}@2.5%")] {
                    let quirk: Quirk = text.parse().expect(&text);
                    assert_eq!(quirk.to_string(), text);
                }
            }
        }
        let quirks: Quirks = " cap = 25 @ 10% ,,\n no-date ".parse().expect("is parsed");
        assert_eq!(quirks.to_string(), "cap=25@10%, no-date");
        assert!("".parse::<Quirks>().expect("is parsed").is_empty());
        let several = "cap=25@10%, cap=30";
        let quirks: Quirks = several.parse().expect("each may be drawn");
        assert_eq!(quirks.to_string(), several);
    }

    #[test]
    fn names_are_unique() {
        for (index, row) in QUIRKS.iter().enumerate() {
            assert!(QUIRKS[..index].iter().all(|other| other.name != row.name));
        }
    }

    #[test]
    fn help_lists_every_quirk() {
        insta::assert_snapshot!(Quirks::help());
    }

    #[test]
    fn errors_name_the_part_that_is_wrong() {
        let errors: Vec<_> = [
            "odd",
            "cap",
            "cap=0",
            "cap=x",
            "no-date=1",
            "total=never",
            "lag=-1s",
            "lag=900000h",
            "lag=99999999999999999999s",
            "date-offset=soon",
            "cap=25@10",
            "cap=25@101%",
            "cap=25@NaN%",
            "cap=25, cap=30",
            "cap=25@100%, no-date, cap=30@5%",
        ]
        .map(|text| {
            let error = text.parse::<Quirks>().expect_err(text);
            format!("{text}: {error}")
        })
        .into();
        insta::assert_snapshot!(errors.join("\n"));
    }

    #[test]
    fn requests_are_drawn_by_their_share() {
        let quirks: Quirks = "cap=5@25%, no-date".parse().expect("is parsed");
        let random = Random::from_seed(1);
        let drawn: Vec<_> = (0..4_000).map(|_| quirks.draw(&random)).collect();
        let capped = drawn
            .iter()
            .filter(|applied| applied.cap().is_some())
            .count();
        assert!((900..1100).contains(&capped), "{capped}");
        assert!(drawn.iter().all(|applied| applied.has(Kind::NoDate)));
    }
}

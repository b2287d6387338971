//! Faults by chance.

use std::fmt;
use std::str::FromStr;

use super::fault::{Fault, Parameter};
use super::operation::Operation;
use super::parse;
use crate::core::random::Random;
use crate::error::ParseError;

/// Faults that are injected by chance, each with the share of the requests that it is injected into.
///
/// Written as `NAME=PERCENT%`, with a parameter after a colon and an operation before the name, separated by commas:
///
/// ```
/// use shieldcert_emulator::Chaos;
///
/// let chaos: Chaos = "lose-response=5%, late=2%:1s..60s, create: respond=1%:503 retry-after=30".parse()?;
/// assert_eq!(chaos.to_string(), "lose-response=5%, late=2%:1s..1m, create: respond=1%:503 retry-after=30");
/// # Ok::<_, shieldcert_emulator::ParseError>(())
/// ```
///
/// A percentage is that of the requests for its [`Operation`], or of all. A request meets one fault at most. It is drawn from a seed, so the same requests in the same order meet the same
/// faults. [`Fault`] lists them; the default has none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chaos {
    faults: Vec<Chance>,
}

/// A fault, and how often it is injected.
#[derive(Debug, Clone, PartialEq)]
struct Chance {
    operation: Operation,
    fault: Fault,
    /// Of the requests for this operation.
    percent: f64,
}

impl Chaos {
    /// Draws the fault of the next request, which is for this operation, if it meets one.
    pub(crate) fn draw(&self, requested: Option<Operation>, random: &Random) -> Option<Fault> {
        if self.faults.is_empty() {
            return None;
        }
        let mut drawn = random.fraction();
        for chance in self.of(requested) {
            let share = chance.percent / 100.0;
            if drawn < share {
                return Some(chance.fault.clone());
            }
            drawn -= share;
        }
        None
    }

    /// The faults that a request for this operation can meet.
    fn of(&self, requested: Option<Operation>) -> impl Iterator<Item = &Chance> {
        let faults = self.faults.iter();
        faults.filter(move |chance| chance.operation.includes(requested))
    }
}

impl fmt::Display for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, chance) in self.faults.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            if chance.operation != Operation::Any {
                write!(f, "{}: ", chance.operation)?;
            }
            write!(f, "{}={}%", chance.fault.name(), chance.percent)?;
            if let Some(argument) = chance.fault.argument() {
                write!(f, ":{argument}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Chaos {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut chaos = Self::default();
        if text.trim().is_empty() {
            return Ok(chaos);
        }
        for item in text.split(',').map(str::trim) {
            if item.is_empty() {
                return Err(ParseError::new(
                    "there is nothing before or after a comma; leave the comma out",
                ));
            }
            let (name, share) = match item.split_once('=') {
                Some(parts) => parts,
                None => return Err(no_percentage(item)),
            };
            let (operation, name) = match name.split_once(':') {
                None => (Operation::Any, name),
                Some((operation, name)) => (operation.trim().parse()?, name),
            };
            let row = parse::find(name.trim())?;
            let (share, argument) = match share.split_once(':') {
                None => (share, None),
                Some((share, argument)) => (share, Some(argument)),
            };
            let percent = share
                .trim()
                .strip_suffix('%')
                .and_then(|percent| percent.trim().parse::<f64>().ok())
                .filter(|percent| (0.0..=100.0).contains(percent))
                .ok_or_else(|| {
                    ParseError::new(format!(
                        "{share:?} is not a percentage of {}; write 0% to 100%",
                        row.name
                    ))
                })?;
            let fault = parse::build(row, argument)?;
            let mut others = chaos.faults.iter();
            if others.any(|other| (other.operation, &other.fault) == (operation, &fault)) {
                return Err(ParseError::new(format!("{} is given twice", row.name)));
            }
            chaos.faults.push(Chance {
                operation,
                fault,
                percent,
            });
        }
        let sum = |requested| -> f64 { chaos.of(requested).map(|chance| chance.percent).sum() };
        let requested = Operation::REQUESTED.map(Some);
        if requested
            .into_iter()
            .any(|requested| sum(requested) > 100.0 + 1e-7)
        {
            return Err(ParseError::new(
                "the percentages add up to more than 100%; lower some",
            ));
        }
        Ok(chaos)
    }
}

fn no_percentage(item: &str) -> ParseError {
    let (_, name) = item.rsplit_once(':').unwrap_or(("", item));
    let row = match parse::find(name.trim()) {
        Ok(row) => row,
        Err(error) => return error,
    };
    let argument = match row.parameter {
        Parameter::Response => ":503",
        Parameter::Quirk => ":cap=25",
        Parameter::Time(_) | Parameter::None => "",
    };
    ParseError::new(format!(
        "{item:?} has no percentage; write {item}=5%{argument}"
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn chaos_round_trips_through_text() {
        let text = " lose-response=5% , late=2.5%:1s..1m,POST :respond=7%:503 a%2Cb,get:html=1% ";
        let chaos: Chaos = text.parse().expect("is parsed");
        assert_eq!(
            chaos.to_string(),
            "lose-response=5%, late=2.5%:1s..1m, create: respond=7%:503 a%2Cb, get: html=1%"
        );
        assert_eq!(chaos.to_string().parse(), Ok(chaos));
        assert_eq!("".parse(), Ok(Chaos::default()));
        let default: Chaos = "stall=1%".parse().expect("is parsed");
        assert_eq!(default.to_string(), "stall=1%:1s..10s");
    }

    #[test]
    fn errors_name_the_part_that_is_wrong() {
        let errors: Vec<_> = [
            "html",
            "odd=1%",
            "html=1",
            "html=101%",
            "html=-1%",
            "html=NaN%",
            "html=1%:1s",
            "respond=1%",
            "late=1%:soon",
            "late=1%:9s..1s",
            "late=1%:1s..99999999999999999999s",
            "html=1%, html=2%",
            "html=60%,stall=60%",
            "html=60%,get:stall=60%",
            "fetch: html=1%",
            "get: html=1%, get: html=2%",
        ]
        .map(|text| {
            let error = text.parse::<Chaos>().expect_err(text);
            format!("{text}: {error}")
        })
        .into();
        insta::assert_snapshot!(errors.join("\n"));
    }

    #[test]
    fn a_fault_is_for_its_operation() {
        let chaos: Chaos = "get: html=100%, create: reset=100%, read: slow=0%"
            .parse()
            .expect("is parsed");
        let random = Random::from_seed(1);
        let draw = |requested| chaos.draw(requested, &random).map(|fault| fault.name());
        assert_eq!(draw(Some(Operation::Get)), Some("html"));
        assert_eq!(draw(Some(Operation::Create)), Some("reset"));
        assert_eq!(draw(Some(Operation::List)), None);
        assert_eq!(draw(None), None);
    }

    #[test]
    fn draws_keep_to_the_percentages_and_are_the_same_for_the_same_seed() {
        let chaos: Chaos = "html=10%, stall=20%:1s..2s".parse().expect("is parsed");
        let draw = |seed| -> Vec<_> {
            let random = Random::from_seed(seed);
            let draw = || {
                let fault = chaos.draw(None, &random)?;
                Some((fault.name(), fault.time(|| random.fraction())))
            };
            (0..10_000).map(|_| draw()).collect()
        };
        let drawn = draw(1);
        assert_eq!(drawn, draw(1));
        assert_ne!(drawn, draw(2));
        let count = |name| {
            let named = drawn.iter().flatten().filter(|(drawn, _)| *drawn == name);
            named.count()
        };
        assert!((850..1150).contains(&count("html")), "{}", count("html"));
        assert!((1800..2200).contains(&count("stall")), "{}", count("stall"));
        let range = Duration::from_secs(1)..=Duration::from_secs(2);
        for (name, time) in drawn.iter().flatten() {
            assert!(*name == "html" || range.contains(time), "{time:?}");
        }
    }
}

//! Faults in order, for tests.

use std::fmt;
use std::str::FromStr;

use super::fault::Fault;
use super::operation::Operation;
use crate::error::ParseError;

/// A rule of a script: which fault is injected into which requests.
///
/// A rule counts the requests for its operation from the moment it is added, and applies from the first one, or the
/// n-th, for as many requests as it says. Of several rules that apply to a request the oldest wins; for the others,
/// the request was counted, but they still have all of their faults to inject. So two rules
/// `create: lose-response` and `create: 502-before` are for the next create and the one after it.
///
/// | text | constructor | applies to |
/// | --- | --- | --- |
/// | `create: html` | [`next(Operation::Create, …)`](Self::next) | the next create |
/// | `get@3: html` | [`nth(Operation::Get, 3, …)`](Self::nth) | the third get |
/// | `list@2..4: html` | [`nth(Operation::List, 2, …).times(3)`](Self::times) | the second list to the fourth |
/// | `edit@2..: html` | [`nth(Operation::Edit, 2, …).always()`](Self::always) | every edit but the first |
/// | `any@*: html` | [`next(Operation::Any, …).always()`](Self::always) | every request |
///
/// ```
/// use shieldcert_emulator::{Fault, Operation, ScriptedFault};
///
/// let rule = ScriptedFault::nth(Operation::Get, 3, Fault::status(503));
/// assert_eq!(rule.to_string(), "get@3: respond=503");
/// assert_eq!("get@3: status=503".parse(), Ok(rule));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptedFault {
    operation: Operation,
    /// The first request that the rule applies to, counted from 1.
    from: u64,
    /// How many faults it injects. None for no end.
    times: Option<u64>,
    fault: Fault,
}

impl ScriptedFault {
    /// Injects the fault into the next request for this operation.
    pub fn next(operation: Operation, fault: Fault) -> Self {
        Self::nth(operation, 1, fault)
    }

    /// Injects the fault into the n-th request for this operation, counted from 1.
    pub fn nth(operation: Operation, n: u64, fault: Fault) -> Self {
        Self {
            operation,
            from: n.max(1),
            times: Some(1),
            fault,
        }
    }

    /// Injects the fault into this many requests, at least 1.
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times.max(1));
        self
    }

    /// Injects the fault into every request from the first one on that the rule applies to.
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }
}

impl fmt::Display for ScriptedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operation,
            from,
            times,
            fault,
        } = self;
        write!(f, "{operation}")?;
        match (*from, *times) {
            (1, Some(1)) => {}
            (1, None) => f.write_str("@*")?,
            (from, None) => write!(f, "@{from}..")?,
            (from, Some(1)) => write!(f, "@{from}")?,
            (from, Some(times)) => write!(f, "@{from}..{}", from.saturating_add(times - 1))?,
        }
        write!(f, ": {fault}")
    }
}

impl FromStr for ScriptedFault {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (head, fault) = text.split_once(':').ok_or_else(|| {
            ParseError::new(format!(
                "{text:?} has no colon; write an operation, a colon and a fault: create: lose-response"
            ))
        })?;
        let (operation, when) = match head.split_once('@') {
            None => (head, "1"),
            Some((operation, when)) => (operation, when.trim()),
        };
        let (from, times) = parse_when(when).ok_or_else(|| {
            ParseError::new(format!(
                "{when:?} does not say which requests; write 3, 2..4, 2.. or *"
            ))
        })?;
        Ok(Self {
            operation: operation.trim().parse()?,
            from,
            times,
            fault: fault.trim_ascii_start().parse()?,
        })
    }
}

fn parse_when(text: &str) -> Option<(u64, Option<u64>)> {
    if text == "*" {
        return Some((1, None));
    }
    let number = |text: &str| text.parse().ok().filter(|number: &u64| *number > 0);
    match text.split_once("..") {
        None => Some((number(text)?, Some(1))),
        Some((from, "")) => Some((number(from)?, None)),
        Some((from, to)) => {
            let (from, to) = (number(from)?, number(to)?);
            (from <= to).then(|| (from, Some((to - from).saturating_add(1))))
        }
    }
}

/// The rules of a script, as text: one a line, or separated by semicolons.
///
/// ```
/// use shieldcert_emulator::Script;
///
/// let script: Script = "create: lose-response; get@3: status=503".parse()?;
/// assert_eq!(script.to_string(), "create: lose-response\nget@3: respond=503\n");
/// # Ok::<_, shieldcert_emulator::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    rules: Vec<ScriptedFault>,
}

impl IntoIterator for Script {
    type Item = ScriptedFault;
    type IntoIter = std::vec::IntoIter<ScriptedFault>;

    fn into_iter(self) -> Self::IntoIter {
        self.rules.into_iter()
    }
}

impl FromIterator<ScriptedFault> for Script {
    fn from_iter<I: IntoIterator<Item = ScriptedFault>>(rules: I) -> Self {
        Self {
            rules: rules.into_iter().collect(),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.iter().try_for_each(|rule| writeln!(f, "{rule}"))
    }
}

impl FromStr for Script {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.split(['\n', ';'])
            .map(str::trim_ascii)
            .filter(|rule| !rule.is_empty())
            .map(str::parse)
            .collect()
    }
}

/// The rules that still have faults to inject, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    rules: Vec<Active>,
}

#[derive(Debug)]
struct Active {
    rule: ScriptedFault,
    /// How many requests the rule has counted.
    seen: u64,
}

impl Queue {
    pub(crate) fn append(&mut self, rules: impl IntoIterator<Item = ScriptedFault>) {
        let active = |rule| Active { rule, seen: 0 };
        self.rules.extend(rules.into_iter().map(active));
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// Counts a request for this operation, and takes its fault if a rule applies.
    pub(crate) fn take(&mut self, requested: Option<Operation>) -> Option<Fault> {
        let mut winner = None;
        for (index, active) in self.rules.iter_mut().enumerate() {
            if active.rule.operation.includes(requested) {
                active.seen += 1;
                if winner.is_none() && active.seen >= active.rule.from {
                    winner = Some(index);
                }
            }
        }
        let index = winner?;
        let rule = &mut self.rules[index].rule;
        match &mut rule.times {
            Some(1) => Some(self.rules.remove(index).rule.fault),
            times => {
                *times = times.map(|times| times - 1);
                Some(rule.fault.clone())
            }
        }
    }

    /// The rules with what is left of them: as if they were added now.
    pub(crate) fn pending(&self) -> Script {
        let rest = |active: &Active| ScriptedFault {
            from: active.rule.from.saturating_sub(active.seen).max(1),
            ..active.rule.clone()
        };
        self.rules.iter().map(rest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the faults that these requests meet.
    fn play(script: &str, requests: &str) -> String {
        let mut queue = Queue::default();
        queue.append(script.parse::<Script>().expect(script));
        let meet = |request: &str| {
            let operation = request.parse().ok();
            queue.take(operation).map_or("-", |fault| fault.name())
        };
        requests.split(' ').map(meet).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_rule_applies_to_the_requests_that_it_names() {
        for (script, requests, expected) in [
            ("create: html", "get create create", "- html -"),
            ("get@3: html", "get list get get get", "- - - html -"),
            ("list@2..3: html", "list list list list", "- html html -"),
            ("edit@2..: html", "edit edit edit", "- html html"),
            ("any@*: html", "list other delete", "html html html"),
            ("read@2: html", "list delete get", "- - html"),
            // Rules for the same request wait for each other.
            ("get: html; get: reset", "get get get", "html reset -"),
            ("get@2: html; get@2: reset", "get get get", "- html reset"),
            // What an older rule took was counted.
            ("get: html; get@3: reset", "get get get", "html - reset"),
            ("any@*: html; get: reset", "get get", "html html"),
        ] {
            assert_eq!(play(script, requests), expected, "{script}");
        }
    }

    #[test]
    fn what_is_left_of_a_script_can_be_read() {
        let mut queue = Queue::default();
        let script: Script = "get@5: html; list@2..4: reset; get: truncate; any@*: html"
            .parse()
            .expect("is parsed");
        queue.append(script);
        for operation in [
            Operation::Get,
            Operation::Get,
            Operation::List,
            Operation::List,
        ] {
            queue.take(Some(operation));
        }
        insta::assert_snapshot!(queue.pending(), @r"
        get@3: html
        list@1..2: reset
        any@*: html
        ");
        queue.clear();
        assert_eq!(queue.take(Some(Operation::Get)), None);
    }

    #[test]
    fn scripts_round_trip_through_text() {
        let text = "create: lose-response\nget@3: respond=503 retry-after=1\nlist@2..4: stall=5s\n\
                    any@*: html\nedit@2..: late=1s..1m\nread@1..2: respond=200 {\"a\":1%3B}\n";
        let script: Script = text.parse().expect("is parsed");
        assert_eq!(script.to_string(), text);
        let spaced = " POST :lose-response;;\n GET @ 1..2 : html \n";
        let script: Script = spaced.parse().expect("is parsed");
        assert_eq!(
            script.to_string(),
            "create: lose-response\nread@1..2: html\n"
        );
        let built = [
            ScriptedFault::next(Operation::Create, Fault::lose_response()),
            ScriptedFault::next(Operation::Read, Fault::html()).times(2),
        ];
        assert_eq!(script, built.into_iter().collect());
    }

    #[test]
    fn errors_name_the_part_that_is_wrong() {
        let errors: Vec<_> = [
            "create",
            "fetch: html",
            "get@0: html",
            "get@: html",
            "get@4..2: html",
            "get@x: html",
            "get: quake",
            "get: html; get: stall=soon",
        ]
        .map(|text| {
            let error = text.parse::<Script>().expect_err(text);
            format!("{text}: {error}")
        })
        .into();
        insta::assert_snapshot!(errors.join("\n"));
    }
}

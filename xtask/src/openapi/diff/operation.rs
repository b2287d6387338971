//! Operations with their parameters, bodies, responses and security.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::wire::{Api, Header, Media, Operation, Parameter, Response, Security};
use super::change::Class::{Additive, Breaking, Risky};
use super::differ::{Differ, Direction, format_value, widened};

impl Differ {
    pub(super) fn apis(&mut self, old: &Api, new: &Api) {
        let mut bases = BTreeMap::new();
        for (key, operation) in &old.operations {
            let name = name(key, operation);
            match new.operations.get(key) {
                Some(other) => {
                    self.operation(&name, operation, other);
                    if operation.servers != other.servers {
                        let change = (urls(&operation.servers), urls(&other.servers));
                        bases.entry(change).or_insert_with(Vec::new).push(name);
                    }
                }
                None => self.add(Breaking, &name, "the operation is gone"),
            }
        }
        for (key, operation) in &new.operations {
            if !old.operations.contains_key(key) {
                self.add(Additive, &name(key, operation), "a new operation");
            }
        }
        let compared = old.operations.keys();
        let compared = compared
            .filter(|key| new.operations.contains_key(*key))
            .count();
        for ((before, after), names) in bases {
            let places = match names.len() == compared {
                true => vec!["servers".to_owned()],
                false => names
                    .iter()
                    .map(|name| format!("{name} › servers"))
                    .collect(),
            };
            for at in places {
                let what = format!("the base URL changes from {before} to {after}");
                self.add(Risky, &at, what);
            }
        }
    }

    fn operation(&mut self, name: &str, old: &Operation, new: &Operation) {
        if old.id != new.id {
            let id = |operation: &Operation| format_value(operation.id.clone().map(Value::from));
            let (before, after) = (id(old), id(new));
            self.add(
                Breaking,
                name,
                format!("the operation id changes from {before} to {after}, and the method's name with it"),
            );
        }
        match (old.deprecated, new.deprecated) {
            (false, true) => self.add(Risky, name, "the operation is now deprecated"),
            (true, false) => self.add(Additive, name, "the operation is no longer deprecated"),
            _ => {}
        }
        self.parameters(name, &old.parameters, &new.parameters);
        self.body(name, old, new);
        self.responses(name, &old.responses, &new.responses);
        self.security(name, &old.security, &new.security);
    }

    fn parameters(
        &mut self,
        name: &str,
        old: &BTreeMap<String, Parameter>,
        new: &BTreeMap<String, Parameter>,
    ) {
        for (key, before) in old {
            let at = format!("{name} › {} {}", before.location, before.name);
            let Some(after) = new.get(key) else {
                self.add(Breaking, &at, "the parameter is gone");
                continue;
            };
            if before.name != after.name {
                let what = format!(
                    "the parameter is now called {}: the same on the wire, another name in the generated code",
                    after.name
                );
                self.add(Breaking, &at, what);
            }
            self.required(&at, before.required, after.required, "the parameter");
            for (setting, value) in &before.settings {
                let now = &after.settings[setting];
                if value == now {
                    continue;
                }
                match (*setting, now) {
                    ("deprecated", Value::Bool(true)) => {
                        self.add(Risky, &at, "the parameter is now deprecated");
                    }
                    ("deprecated", _) => {
                        self.add(Additive, &at, "the parameter is no longer deprecated");
                    }
                    ("allowEmptyValue" | "allowReserved", Value::Bool(true)) => {
                        self.add(Additive, &at, format!("`{setting}` is now true"));
                    }
                    // Another spelling of the same value.
                    _ => self.add(
                        Breaking,
                        &at,
                        format!("`{setting}` changes from {value} to {now}"),
                    ),
                }
            }
            self.optional_schema(
                &at,
                before.schema.as_ref(),
                after.schema.as_ref(),
                Direction::Request,
            );
            self.content(&at, &before.content, &after.content, Direction::Request);
        }
        for (key, parameter) in new {
            if old.contains_key(key) {
                continue;
            }
            let at = format!("{name} › {} {}", parameter.location, parameter.name);
            match parameter.required {
                true => self.add(Breaking, &at, "a new parameter that is required"),
                false => self.add(Additive, &at, "a new parameter"),
            }
        }
    }

    fn required(&mut self, at: &str, old: bool, new: bool, what: &str) {
        match (old, new) {
            (false, true) => self.add(Breaking, at, format!("{what} is now required")),
            (true, false) => self.add(Additive, at, format!("{what} is no longer required")),
            _ => {}
        }
    }

    fn body(&mut self, name: &str, old: &Operation, new: &Operation) {
        let at = format!("{name} › body");
        match (&old.body, &new.body) {
            (None, None) => {}
            (Some(_), None) => self.add(Breaking, &at, "the body is gone"),
            (None, Some(body)) if body.required => {
                self.add(Breaking, &at, "a new body that is required");
            }
            (None, Some(_)) => self.add(Additive, &at, "a new body"),
            (Some(old), Some(new)) => {
                self.required(&at, old.required, new.required, "the body");
                self.content(&at, &old.content, &new.content, Direction::Request);
            }
        }
    }

    fn content(
        &mut self,
        at: &str,
        old: &BTreeMap<String, Media>,
        new: &BTreeMap<String, Media>,
        direction: Direction,
    ) {
        for (media_type, before) in old {
            match new.get(media_type) {
                Some(after) => {
                    self.optional_schema(
                        at,
                        before.schema.as_ref(),
                        after.schema.as_ref(),
                        direction,
                    );
                    if before.encoding != after.encoding {
                        self.add(Risky, at, format!("the encoding of {media_type} changes"));
                    }
                }
                None => self.add(Breaking, at, format!("{media_type} is gone")),
            }
        }
        for media_type in new
            .keys()
            .filter(|media_type| !old.contains_key(*media_type))
        {
            self.add(widened(direction), at, format!("{media_type} is new"));
        }
    }

    fn responses(
        &mut self,
        name: &str,
        old: &BTreeMap<String, Response>,
        new: &BTreeMap<String, Response>,
    ) {
        for (code, before) in old {
            let at = format!("{name} › {code}");
            match new.get(code) {
                Some(after) => {
                    self.content(&at, &before.content, &after.content, Direction::Response);
                    self.headers(&at, &before.headers, &after.headers);
                }
                None if code.starts_with('2') => self.add(Breaking, &at, "the response is gone"),
                None => self.add(Risky, &at, "the response is gone"),
            }
        }
        for code in new.keys().filter(|code| !old.contains_key(*code)) {
            let class = if code.starts_with('2') {
                Risky
            } else {
                Additive
            };
            self.add(class, &format!("{name} › {code}"), "a new response");
        }
    }

    fn headers(
        &mut self,
        at: &str,
        old: &BTreeMap<String, Header>,
        new: &BTreeMap<String, Header>,
    ) {
        for (name, before) in old {
            let at = format!("{at} header {name}");
            let Some(after) = new.get(name) else {
                self.add(Breaking, &at, "the header is gone");
                continue;
            };
            match (before.required, after.required) {
                (true, false) => self.add(Risky, &at, "the header is no longer required"),
                (false, true) => self.add(Additive, &at, "the header is now required"),
                _ => {}
            }
            match (before.deprecated, after.deprecated) {
                (false, true) => self.add(Risky, &at, "the header is now deprecated"),
                (true, false) => self.add(Additive, &at, "the header is no longer deprecated"),
                _ => {}
            }
            self.optional_schema(
                &at,
                before.schema.as_ref(),
                after.schema.as_ref(),
                Direction::Response,
            );
        }
        for name in new.keys().filter(|name| !old.contains_key(*name)) {
            self.add(Additive, &format!("{at} header {name}"), "a new header");
        }
    }

    fn security(&mut self, name: &str, old: &[Security], new: &[Security]) {
        let at = format!("{name} › security");
        let gone: Vec<_> = old.iter().filter(|way| !new.contains(way)).collect();
        let added: Vec<_> = new.iter().filter(|way| !old.contains(way)).collect();
        for before in &gone {
            let title = title(before);
            match added.iter().find(|after| after.names == before.names) {
                Some(after) => {
                    let what = format!(
                        "{title} travels otherwise: {} before, {} now",
                        show(before),
                        show(after)
                    );
                    self.add(Breaking, &at, what);
                }
                None => self.add(Breaking, &at, format!("{title} is no longer enough")),
            }
        }
        for after in added {
            if !gone.iter().any(|before| before.names == after.names) {
                self.add(Additive, &at, format!("{} is now enough", title(after)));
            }
        }
    }
}

fn name(key: &(String, &str), operation: &Operation) -> String {
    format!("{} {}", key.1.to_uppercase(), operation.path)
}

fn urls(servers: &[String]) -> String {
    match servers {
        [] => "nothing".into(),
        servers => servers.join(" or "),
    }
}

fn title(way: &Security) -> String {
    match way.names.as_slice() {
        [] => "a request without credentials".into(),
        names => names.join(" with "),
    }
}

fn show(way: &Security) -> String {
    let schemes = way.schemes.iter().map(Value::to_string);
    schemes.collect::<Vec<_>>().join(" with ")
}

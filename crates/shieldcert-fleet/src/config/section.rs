//! Tables of a `fleet.toml`, whose keys are known.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use crate::nearest::hint;
use crate::quote::quote_key;

/// A table of the file, or its absence.
pub(super) struct Section<'t> {
    text: &'t str,
    /// The keys that lead to it, joined by dots. Empty at the top.
    name: String,
    /// `None` if the file does not have it.
    table: Option<(&'t DeTable<'t>, Range<usize>)>,
}

/// The keys of a section, and where else a key may belong.
pub(super) struct Known<'k> {
    pub(super) keys: &'k [&'k str],
    /// Finds the section of a key that is known elsewhere.
    pub(super) elsewhere: fn(&str) -> Option<&'static str>,
}

/// Under these names, people write the token itself.
const TOKEN_KEYS: &[&str] = &[
    "token",
    "api_token",
    "api_key",
    "auth_token",
    "bearer_token",
    "cloudflare_api_token",
    "secret",
];

impl<'t> Section<'t> {
    /// Takes the whole file.
    pub(super) fn top(text: &'t str, table: &'t Spanned<DeTable<'t>>) -> Self {
        Self {
            text,
            name: String::new(),
            table: Some((table.get_ref(), table.span())),
        }
    }

    /// Returns the table at a key. It may be absent.
    pub(super) fn section(&self, key: &str) -> Result<Self, ConfigError> {
        let name = self.path(key);
        let table = match self.find(key) {
            None => None,
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => Some((table, value.span())),
                _ => {
                    let message = format!("it is not a table; write [{name}] and its keys below");
                    return Err(self.refuse(key, message));
                }
            },
        };
        Ok(Self {
            text: self.text,
            name,
            table,
        })
    }

    /// Returns the keys, in alphabetical order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'t str> {
        let keys = self.table.iter().flat_map(|(table, _)| table.keys());
        keys.map(|key| key.get_ref().as_ref())
    }

    /// Refuses keys that are not known, and tokens.
    pub(super) fn check_keys(&self, known: &Known<'_>) -> Result<(), ConfigError> {
        let Some((table, _)) = &self.table else {
            return Ok(());
        };
        let unknown = table
            .keys()
            .filter(|key| !known.keys.contains(&key.get_ref().as_ref()));
        // The first one in the file.
        let Some(key) = unknown.min_by_key(|key| key.span().start) else {
            return Ok(());
        };
        let name = key.get_ref().as_ref();
        let is_table = self
            .find(name)
            .is_some_and(|value| value.get_ref().is_table());
        let message = if TOKEN_KEYS.contains(&&*name.to_lowercase()) {
            "a token does not belong in this file; put it in an environment variable or a file, and name that in \
             [budgets.NAME]: token_env, token_file, or token_command"
                .to_owned()
        } else if let Some(section) = (known.elsewhere)(name).filter(|_| !is_table) {
            format!("the key is unknown here; it belongs in [{section}]")
        } else {
            let hint = hint(name, known.keys.iter().copied());
            format!("the key is unknown; {hint}")
        };
        let error = ConfigError::new(message).with_key(self.path(name));
        Err(error.with_span(self.text, &key.span()))
    }

    /// Returns the value at a key. `None` if it is absent.
    pub(super) fn get<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.find(key) else {
            return Ok(None);
        };
        let parsed = parse(value.get_ref());
        parsed
            .map(Some)
            .map_err(|message| self.refuse(key, message))
    }

    /// Returns an error at a key, or at the section if the key is absent.
    pub(super) fn refuse(&self, key: &str, message: impl Into<String>) -> ConfigError {
        let error = ConfigError::new(message).with_key(self.path(key));
        let span = match (self.find(key), &self.table) {
            (Some(value), _) => value.span(),
            (None, Some((_, span))) if !self.name.is_empty() => span.clone(),
            _ => return error,
        };
        error.with_span(self.text, &span)
    }

    fn find(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        let (table, _) = self.table.as_ref()?;
        table.get(key)
    }

    fn path(&self, key: &str) -> String {
        let key = quote_key(key);
        if self.name.is_empty() {
            key
        } else {
            format!("{}.{key}", self.name)
        }
    }
}

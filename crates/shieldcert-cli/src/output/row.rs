//! What is printed of a thing in every format.

use std::borrow::Cow;

use anstyle::Style;
use jiff::Timestamp;
use serde::Serialize;

/// One thing that a command prints: an object in JSON, a line in the others.
///
/// The members of its serialized form are a contract: [`FIELDS`](Self::FIELDS) lists them in the order of CSV, a JSON
/// Schema in `schemas/` describes them, and tests hold both to the output.
pub(crate) trait Row: Serialize {
    /// The members, in order.
    const FIELDS: &'static [&'static str];
    /// Members that a table and CSV leave out unless `--fields` names them.
    const LONG_FIELDS: &'static [&'static str] = &[];
    /// The columns of a table.
    const COLUMNS: &'static [Column];

    /// What a pipe gets.
    fn id(&self) -> &str;

    /// The cells of a table, one for each of the columns.
    fn cells(&self, now: Timestamp) -> Vec<Cell<'_>>;
}

/// A column of a table.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) title: Cow<'static, str>,
    /// Whether only the wide table has it.
    pub(crate) is_wide: bool,
    /// In which order columns are shortened to fit the terminal, and to which width. `None` is never.
    pub(crate) shrink: Option<Shrink>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Shrink {
    /// The lowest is shortened first.
    pub(crate) order: u8,
    pub(crate) min: usize,
}

impl Column {
    pub(crate) const fn new(title: &'static str) -> Self {
        Self {
            title: Cow::Borrowed(title),
            is_wide: false,
            shrink: None,
        }
    }

    pub(crate) const fn wide(mut self) -> Self {
        self.is_wide = true;
        self
    }

    pub(crate) const fn shrink(mut self, order: u8, min: usize) -> Self {
        self.shrink = Some(Shrink { order, min });
        self
    }
}

/// A cell of a table. Its text may come from outside: it is escaped where it is printed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell<'a> {
    pub(crate) text: Cow<'a, str>,
    pub(crate) style: Style,
}

impl<'a> Cell<'a> {
    pub(crate) fn new(text: impl Into<Cow<'a, str>>) -> Self {
        Self {
            text: text.into(),
            style: Style::new(),
        }
    }

    pub(crate) fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }
}

//! A table that fits the terminal, and whose first rows appear before the last are known.
//!
//! The widths of the columns are those of the first rows; a later cell that is wider is shortened at a terminal, and
//! pushes the rest of its line aside elsewhere. Columns that do not fit the terminal at all are left out, and named.

use std::borrow::Cow;
use std::io::{self, Write};

use anstyle::Style;
use shieldcert_fleet::commands::escape;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::row::{Cell, Column};

const GAP: usize = 2;

pub(super) struct Table {
    columns: Vec<Column>,
    /// The rows before the widths are known.
    first: Vec<Vec<Line>>,
    /// The width of each column. `None` if it is left out.
    widths: Option<Vec<Option<usize>>>,
    /// The width of the terminal.
    max: Option<usize>,
    /// Whether columns that do not fit are left out. Otherwise a line continues in the next one.
    leaves_out: bool,
    /// The titles of the columns that were left out.
    left_out: Vec<String>,
    has_color: bool,
}

/// A cell whose text is safe to print.
struct Line {
    text: String,
    width: usize,
    style: Style,
}

impl Line {
    fn new(cell: Cell<'_>) -> Self {
        let text = escape(&cell.text).into_owned();
        Self {
            width: text.width(),
            text,
            style: cell.style,
        }
    }
}

impl Table {
    pub(super) fn new(columns: Vec<Column>, max: Option<usize>, has_color: bool) -> Self {
        Self {
            columns,
            first: Vec::new(),
            widths: None,
            max,
            leaves_out: true,
            left_out: Vec::new(),
            has_color,
        }
    }

    /// Shortens nothing, whatever the terminal's width.
    pub(super) fn unbounded(&mut self) {
        self.max = None;
    }

    /// Shows every column, although it may be shortened.
    pub(super) fn keep_columns(&mut self) {
        self.leaves_out = false;
    }

    /// Returns the titles of the columns that were left out, once.
    pub(super) fn take_left_out(&mut self) -> Vec<String> {
        std::mem::take(&mut self.left_out)
    }

    pub(super) fn row(&mut self, out: &mut impl Write, cells: Vec<Cell<'_>>) -> io::Result<()> {
        let line: Vec<Line> = cells.into_iter().map(Line::new).collect();
        match &self.widths {
            Some(widths) => self.write_line(out, &line, widths),
            None => {
                self.first.push(line);
                Ok(())
            }
        }
    }

    /// Writes the rows so far.
    pub(super) fn flush(&mut self, out: &mut impl Write) -> io::Result<()> {
        let rows = std::mem::take(&mut self.first);
        if rows.is_empty() || self.widths.is_some() {
            return Ok(());
        }
        let widths = self.fit(&rows);
        self.left_out = (self.columns.iter().zip(&widths))
            .filter(|(_, width)| width.is_none())
            .map(|(column, _)| column.title.clone().into_owned())
            .collect();
        let titles = self.columns.iter().map(|column| {
            let title = Cell::new(column.title.clone());
            Line::new(title.style(Style::new().bold()))
        });
        self.write_line(out, &titles.collect::<Vec<_>>(), &widths)?;
        for row in &rows {
            self.write_line(out, row, &widths)?;
        }
        self.widths = Some(widths);
        Ok(())
    }

    /// The widths of the columns, shortened to fit the terminal where that is possible. `None` for those that do not fit.
    fn fit(&self, rows: &[Vec<Line>]) -> Vec<Option<usize>> {
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .map(|column| column.title.width())
            .collect();
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.width.max(*width);
            }
        }
        let Some(max) = self.max else {
            return widths.into_iter().map(Some).collect();
        };
        let shown = self.choose(&widths, max);
        let mut shrinkable: Vec<_> = (self.columns.iter().enumerate())
            .filter_map(|(place, column)| Some((column.shrink?, place)))
            .filter(|(_, place)| shown[*place])
            .collect();
        shrinkable.sort_by_key(|(shrink, _)| shrink.order);
        let mut widths: Vec<_> = (widths.into_iter().zip(shown))
            .map(|(width, is_shown)| is_shown.then_some(width))
            .collect();
        for (shrink, place) in shrinkable {
            let shown = widths.iter().flatten();
            let total = shown.clone().sum::<usize>() + GAP * shown.count().saturating_sub(1);
            let excess = total.saturating_sub(max);
            if let Some(width) = &mut widths[place] {
                *width = width.saturating_sub(excess).max(shrink.min.min(*width));
            }
        }
        widths
    }

    /// Which columns are shown: the first, and each of the others that has room once all are shortened.
    fn choose(&self, widths: &[usize], max: usize) -> Vec<bool> {
        let mut used = 0;
        let columns = self.columns.iter().zip(widths).enumerate();
        columns
            .map(|(place, (column, width))| {
                let least = column
                    .shrink
                    .map_or(*width, |shrink| shrink.min.min(*width));
                let end = used + least + if place == 0 { 0 } else { GAP };
                let is_shown = place == 0 || end <= max || !self.leaves_out;
                if is_shown {
                    used = end;
                }
                is_shown
            })
            .collect()
    }

    fn write_line(
        &self,
        out: &mut impl Write,
        line: &[Line],
        widths: &[Option<usize>],
    ) -> io::Result<()> {
        // How much of the line is used, and how much of that is not written yet, because it is blank.
        let (mut used, mut blank) = (0, 0);
        for (cell, width) in line.iter().zip(widths) {
            let Some(width) = *width else {
                continue;
            };
            let room = match self.max {
                Some(max) if self.leaves_out => width.min(max.saturating_sub(used)),
                Some(_) => width,
                None => usize::MAX,
            };
            let (text, shown) = shorten(&cell.text, cell.width, room);
            let style = match self.has_color {
                true => cell.style,
                false => Style::new(),
            };
            if shown > 0 {
                write!(out, "{:blank$}{style}{text}{style:#}", "")?;
                blank = 0;
            }
            let padding = GAP + width.saturating_sub(shown);
            blank += padding;
            used += shown + padding;
        }
        writeln!(out)
    }
}

/// Shortens a text to fit, and returns its width too.
fn shorten(text: &str, width: usize, room: usize) -> (Cow<'_, str>, usize) {
    if width <= room {
        return (Cow::Borrowed(text), width);
    }
    let (mut end, mut used) = (0, 0);
    for (place, c) in text.char_indices() {
        let width = c.width().unwrap_or(0);
        if used + width + 1 > room {
            break;
        }
        used += width;
        end = place + c.len_utf8();
    }
    match room {
        0 => (Cow::Borrowed(""), 0),
        _ => (Cow::Owned(format!("{}…", &text[..end])), used + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(max: Option<usize>, rows: &[[&str; 3]]) -> String {
        let (text, _) = print_with(max, true, rows);
        text
    }

    /// Returns the titles of the columns that were left out, too.
    fn print_with(
        max: Option<usize>,
        leaves_out: bool,
        rows: &[[&str; 3]],
    ) -> (String, Vec<String>) {
        let columns = vec![
            Column::new("NAME").shrink(1, 6),
            Column::new("ID").shrink(2, 5),
            Column::new("STATUS"),
        ];
        let mut table = Table::new(columns, max, false);
        if !leaves_out {
            table.keep_columns();
        }
        let mut out = Vec::new();
        for (place, row) in rows.iter().enumerate() {
            let cells = row.iter().map(|text| Cell::new(*text)).collect();
            table.row(&mut out, cells).expect("is written");
            if place == 1 {
                table.flush(&mut out).expect("is written");
            }
        }
        table.flush(&mut out).expect("is written");
        (
            String::from_utf8(out).expect("UTF-8"),
            table.take_left_out(),
        )
    }

    const ROWS: &[[&str; 3]] = &[
        ["sensor-001", "7bf7f70c-7600", "active"],
        ["计量\u{1b}[2J", "7bf7f70c-7601", "revoked"],
        ["sensor-with-a-long-name", "7bf7f70c-7602", "active"],
    ];

    #[test]
    fn a_table_fits_the_terminal() {
        insta::assert_snapshot!(print(None, ROWS), @"
        NAME           ID             STATUS
        sensor-001     7bf7f70c-7600  active
        计量\\u{1b}[2J  7bf7f70c-7601  revoked
        sensor-with-a-long-name  7bf7f70c-7602  active
        ");
        insta::assert_snapshot!(print(Some(32), ROWS), @"
        NAME      ID             STATUS
        sensor-…  7bf7f70c-7600  active
        计量\\u{…  7bf7f70c-7601  revoked
        sensor-…  7bf7f70c-7602  active
        ");
        insta::assert_snapshot!(print(Some(22), ROWS), @"
        NAME    ID     STATUS
        senso…  7bf7…  active
        计量\\…  7bf7…  revoked
        senso…  7bf7…  active
        ");
        for max in 1..60 {
            for line in print(Some(max), ROWS).lines() {
                assert!(line.width() <= max, "{max}: {line:?}");
            }
        }
        assert_eq!(print(None, &[]), "");
    }

    #[test]
    fn what_does_not_fit_is_left_out_whole_and_named() {
        let (text, left_out) = print_with(Some(14), true, ROWS);
        insta::assert_snapshot!(text, @"
        NAME    ID
        senso…  7bf7f…
        计量\\…  7bf7f…
        senso…  7bf7f…
        ");
        assert_eq!(left_out, ["STATUS"]);
        let (text, left_out) = print_with(Some(14), false, ROWS);
        insta::assert_snapshot!(text, @"
        NAME    ID     STATUS
        senso…  7bf7…  active
        计量\\…  7bf7…  revoked
        senso…  7bf7…  active
        ");
        assert_eq!(left_out, [""; 0]);
        assert_eq!(print_with(Some(22), true, ROWS).1, [""; 0]);
        // The second has no room, and the third has.
        let (_, left_out) = print_with(Some(8), true, &[["a", "bbbbbbbbbbbb", "c"]]);
        assert_eq!(left_out, ["ID", "STATUS"]);
    }
}

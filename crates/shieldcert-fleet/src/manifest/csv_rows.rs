//! The rows of a manifest in CSV.
//!
//! A row is a line. No value of a device has a line break, so a quote that is still open at the end of its line is a
//! problem of that line, and never swallows the lines that follow.

use std::collections::VecDeque;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};

use super::column::Column;
use super::problem::Problem;
use super::row::{Field, Refused, Row};
use crate::nearest::hint;
use crate::quote::{quote, quote_key};

/// Parses the header and the rows below it.
#[derive(Default)]
pub(super) struct CsvRows {
    cells: Cells,
    /// The columns in their order. Those that are unknown are `None`.
    header: Option<Vec<Option<Column>>>,
}

/// Whether the rows below a header can be read.
pub(super) enum Header {
    Usable,
    Unusable,
}

impl CsvRows {
    pub(super) fn has_header(&self) -> bool {
        self.header.is_some()
    }

    /// Parses the header. Rows are read, and checked, also below one that has unknown columns.
    pub(super) fn read_header(
        &mut self,
        number: u64,
        line: &str,
        problems: &mut VecDeque<Problem>,
    ) -> Header {
        let mut header = Vec::new();
        let mut refuse = |column: Option<&str>, message: String| {
            problems.push_back(match column {
                Some(column) => Problem::at_column(number, quote_key(column), message),
                None => Problem::at_line(number, message),
            });
        };
        let Some(cells) = self.cells.split(line) else {
            refuse(None, OPEN_QUOTE.to_owned());
            return Header::Unusable;
        };
        for (place, cell) in cells.enumerate() {
            let cell = match trim(cell) {
                Ok(cell) => cell,
                Err(message) => {
                    refuse(Some(cell), message.to_owned());
                    header.push(None);
                    continue;
                }
            };
            let column = Column::find(cell);
            match column {
                Some(column) if header.contains(&Some(column)) => {
                    refuse(Some(cell), "it is there twice; remove one".to_owned());
                }
                Some(_) => {}
                None if cell.is_empty() => {
                    let message = format!("column {} has no name; remove it", place + 1);
                    refuse(None, message);
                }
                None if cell.contains([';', '\t']) => {
                    let message = "columns are separated by commas; save the file so";
                    refuse(Some(cell), message.to_owned());
                }
                None => {
                    let hint = hint(cell, Column::names());
                    refuse(Some(cell), format!("the column is unknown; {hint}"));
                }
            }
            header.push(column);
        }
        if !header.contains(&Some(Column::Name)) {
            let message =
                "the header has no column name; begin the file with the names of the columns";
            refuse(None, message.to_owned());
            return Header::Unusable;
        }
        self.header = Some(header);
        Header::Usable
    }

    /// Parses a row. Returns also what can't be read of it.
    pub(super) fn read_row(
        &mut self,
        number: u64,
        line: &str,
    ) -> Result<(Row, Vec<Refused>), Problem> {
        let header = self.header.as_deref().unwrap_or_default();
        let Some(cells) = self.cells.split(line) else {
            let column = header.get(self.cells.complete).copied().flatten();
            return Err(match column {
                Some(column) => Problem::at_column(number, column, OPEN_QUOTE),
                None => Problem::at_line(number, OPEN_QUOTE),
            });
        };
        let (expected, count) = (header.len(), cells.len());
        if count != expected {
            let message = if count < expected {
                format!(
                    "the row has too few cells, {count} of {expected}; complete it; was the file cut off?"
                )
            } else {
                format!(
                    "the row has too many cells, {count} instead of {expected}; put a value that has a comma in double \
                     quotes"
                )
            };
            return Err(Problem::at_line(number, message));
        }
        let mut row = Row::default();
        let mut refusals = Vec::new();
        let mut refuse = |column: Column, message: String| {
            refusals.push(Refused::from((column, message)));
        };
        for (column, cell) in header.iter().zip(cells) {
            let Some(column) = *column else { continue };
            let cell = match trim(cell) {
                Ok("") => continue,
                Ok(cell) => cell,
                Err(message) => {
                    refuse(column, message.to_owned());
                    continue;
                }
            };
            match row.field(column) {
                Field::Text(text) => *text = Some(cell.to_owned()),
                Field::Days(days) => match cell.parse() {
                    Ok(parsed) => *days = Some(parsed),
                    Err(_) => {
                        let problem = "is not a number of days; give a whole number, such as 365";
                        refuse(column, format!("{} {problem}", quote(cell)));
                    }
                },
                Field::Labels(labels) => {
                    let words = cell.split([' ', '\t', ';']);
                    let words = words.filter(|word| !word.is_empty());
                    *labels = Some(words.map(str::to_owned).collect());
                }
            }
        }
        Ok((row, refusals))
    }
}

const OPEN_QUOTE: &str = "a double quote is not closed on its line; close it, or write \"\" for one that belongs to the value";

/// Removes the blanks around a cell. CSV takes quotes behind a blank for a part of the value, which nobody means.
fn trim(cell: &str) -> Result<&str, &'static str> {
    let trimmed = cell.trim_matches(BLANKS);
    if trimmed.starts_with('"') && cell.starts_with(BLANKS) {
        return Err("a blank is before the double quote; remove the blank");
    }
    Ok(trimmed)
}

const BLANKS: [char; 2] = [' ', '\t'];

/// Splits lines into cells, in buffers that are used again.
struct Cells {
    parser: Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
    /// How many cells the last line had, up to one that is not closed.
    complete: usize,
}

impl Default for Cells {
    fn default() -> Self {
        let mut builder = ReaderBuilder::new();
        // A carriage return within a line is an odd character of a value.
        builder.terminator(Terminator::Any(b'\n'));
        Self {
            parser: builder.build(),
            text: Vec::new(),
            ends: Vec::new(),
            complete: 0,
        }
    }
}

impl Cells {
    /// Returns the cells of a line. `None` if a quote is not closed.
    fn split(&mut self, line: &str) -> Option<impl ExactSizeIterator<Item = &str>> {
        self.parser.reset();
        self.text.resize(self.text.len().max(line.len() + 1), 0);
        let most = memchr::memchr_iter(b',', line.as_bytes()).count() + 2;
        self.ends.resize(self.ends.len().max(most), 0);
        let (mut written, mut ended) = (0, 0);
        for part in [line.as_bytes(), b"\n"] {
            let (text, ends) = (&mut self.text[written..], &mut self.ends[ended..]);
            let (result, _, more_text, more_ends) = self.parser.read_record(part, text, ends);
            written += more_text;
            ended += more_ends;
            if let ReadRecordResult::Record = result {
                let text = std::str::from_utf8(&self.text[..written]).ok()?;
                let mut start = 0;
                let cells = self.ends[..ended].iter().map(move |end| {
                    let cell = text.get(start..*end).unwrap_or_default();
                    start = *end;
                    cell
                });
                return Some(cells);
            }
        }
        self.complete = ended;
        None
    }
}

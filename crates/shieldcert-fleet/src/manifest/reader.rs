//! Reads a manifest row by row.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::Device;
use super::csv_rows::{CsvRows, Header};
use super::defaults::Defaults;
use super::format::ManifestFormat;
use super::jsonl_rows;
use super::lines::Lines;
use super::problem::Problem;
use super::row::{Refused, Row};
use crate::config::Config;

/// A manifest, read row by row in bounded memory.
///
/// It yields a device, or every problem, of each row; after the problems it goes on with the next row. A manifest that had any
/// problem should not be acted upon. That names are unique is for the caller to check.
///
/// Blank lines are skipped. The rules of a row:
///
/// - CSV: the first line is the header, and a row has as many cells as it. Columns may come in any order. Lines that
///   begin with `#` are skipped. Blanks around a cell are dropped, and an empty cell is left out. A row is a line: no
///   value has a line break. Labels are separated by blanks or `;`.
/// - JSONL: a line is an object. A member that is `null` is left out. Labels are an array.
///
/// A byte order mark and CRLF are accepted, and a line has at most 1 MiB.
pub struct Manifest {
    lines: Lines,
    defaults: Defaults,
    rows: Rows,
    /// Problems of the header that were not yielded yet.
    problems: VecDeque<Problem>,
    is_done: bool,
}

enum Rows {
    Csv(Box<CsvRows>),
    Jsonl,
}

/// The error of opening a manifest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The file can't be opened.
    #[error("{}: can't be opened: {error}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The extension of the file is not that of a manifest.
    #[error("{}: its format is unknown; name it .csv or .jsonl", .path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
}

impl Manifest {
    /// Opens a manifest. Its extension says whether it is CSV or JSONL. The configuration has what rows leave out.
    ///
    /// # Errors
    /// Returns an error if the file can't be opened or if its extension is not `.csv` or `.jsonl`.
    pub fn open(path: &Path, config: &Config) -> Result<Self, ManifestError> {
        let Some(format) = ManifestFormat::from_path(path) else {
            let path = path.to_owned();
            return Err(ManifestError::UnknownFormat { path });
        };
        let open = |error| ManifestError::Open {
            path: path.to_owned(),
            error,
        };
        let file = File::open(path).map_err(open)?;
        if file.metadata().map_err(open)?.is_dir() {
            return Err(open(io::ErrorKind::IsADirectory.into()));
        }
        Ok(Self::from_reader(
            BufReader::with_capacity(1 << 16, file),
            format,
            config,
        ))
    }

    /// Reads a manifest from what is not a file.
    pub fn from_reader(
        reader: impl BufRead + Send + 'static,
        format: ManifestFormat,
        config: &Config,
    ) -> Self {
        Self {
            lines: Lines::new(Box::new(reader)),
            defaults: Defaults::new(config),
            rows: match format {
                ManifestFormat::Csv => Rows::Csv(Box::default()),
                ManifestFormat::Jsonl => Rows::Jsonl,
            },
            problems: VecDeque::new(),
            is_done: false,
        }
    }

    /// The number of the line that was read last, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.lines.number()
    }

    /// Reads the next row. `Ok(None)` where the line is none, because it is a comment or the header.
    fn next_row(&mut self) -> Option<Result<Option<Device>, Problem>> {
        let (number, line) = match self.lines.next_line()? {
            Ok(line) => line,
            Err(problem) => {
                // Without a header, no row can be read.
                self.is_done = matches!(&self.rows, Rows::Csv(rows) if !rows.has_header());
                return Some(Err(problem));
            }
        };
        let row = match &mut self.rows {
            Rows::Csv(_) if line.starts_with('#') => return Some(Ok(None)),
            Rows::Csv(rows) if !rows.has_header() => {
                let header = rows.read_header(number, line, &mut self.problems);
                self.is_done = matches!(header, Header::Unusable);
                return Some(Ok(None));
            }
            Rows::Csv(rows) => rows.read_row(number, line),
            Rows::Jsonl => jsonl_rows::read_row(number, line),
        };
        let (row, refusals) = match row {
            Ok(read) => read,
            Err(problem) => return Some(Err(problem)),
        };
        Some(self.check_row(number, row, refusals))
    }

    /// Checks a row of which some values could not be read. All problems but the first are yielded next.
    fn check_row(
        &mut self,
        number: u64,
        row: Row,
        mut refusals: Vec<Refused>,
    ) -> Result<Option<Device>, Problem> {
        let device = row.into_device(&self.defaults);
        let device = device.map_err(|others| {
            // What could not be read is not missing.
            let unread: Vec<_> = refusals
                .iter()
                .filter_map(|refused| refused.column)
                .collect();
            let others = others.into_iter();
            let others = others.filter(|(column, _)| !unread.contains(column));
            refusals.extend(others.map(Refused::from));
        });
        let mut problems = refusals.into_iter().map(|refused| refused.at(number));
        match (problems.next(), device) {
            (None, Ok(device)) => Ok(Some(device)),
            (None, Err(())) => Ok(None),
            (Some(first), _) => {
                self.problems.extend(problems);
                Err(first)
            }
        }
    }
}

impl Iterator for Manifest {
    type Item = Result<Device, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(problem) = self.problems.pop_front() {
                return Some(Err(problem));
            }
            if self.is_done {
                return None;
            }
            match self.next_row()? {
                Ok(Some(device)) => return Some(Ok(device)),
                Ok(None) => {}
                Err(problem) => return Some(Err(problem)),
            }
        }
    }
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifest").finish_non_exhaustive()
    }
}

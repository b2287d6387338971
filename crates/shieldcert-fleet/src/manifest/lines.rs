//! The lines of a manifest, read in bounded memory.

use std::io::{self, BufRead};

use super::problem::Problem;

/// The most bytes of a line: 1 MiB.
const MAX_LEN: usize = 1 << 20;

/// Reads lines of UTF-8, one after the other.
pub(super) struct Lines {
    source: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    /// How many lines were begun.
    number: u64,
    is_done: bool,
}

/// How a line ended.
enum End {
    Line,
    TooLong,
    Source,
}

impl Lines {
    pub(super) fn new(source: Box<dyn BufRead + Send>) -> Self {
        Self {
            source,
            line: Vec::new(),
            number: 0,
            is_done: false,
        }
    }

    /// The number of the line that was read last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the next line that is not blank, with its number and without its end. After a line that can't be read, it
    /// goes on with the next; after the source failed, it ends.
    pub(super) fn next_line(&mut self) -> Option<Result<(u64, &str), Problem>> {
        loop {
            if self.is_done {
                return None;
            }
            self.line.clear();
            self.number += 1;
            match self.fill() {
                Ok(End::Line) => {}
                Ok(End::TooLong) => {
                    let message = "it is longer than 1 MiB; is the file a manifest?";
                    return Some(Err(Problem::at_line(self.number, message)));
                }
                Ok(End::Source) => {
                    self.is_done = true;
                    return None;
                }
                Err(error) => {
                    self.is_done = true;
                    let message = format!("the file can't be read on: {error}");
                    return Some(Err(Problem::at_line(self.number, message)));
                }
            }
            if self.number == 1 && self.is_utf_16() {
                self.is_done = true;
                let message = "the file is UTF-16; save it as UTF-8";
                return Some(Err(Problem::at_line(1, message)));
            }
            let line = without_ends(&self.line, self.number == 1);
            if line.iter().any(|byte| !byte.is_ascii_whitespace()) {
                break;
            }
        }
        let number = self.number;
        let line = without_ends(&self.line, number == 1);
        let line = std::str::from_utf8(line).map_err(|error| {
            let place = error.valid_up_to();
            let byte = line.get(place).copied().unwrap_or_default();
            let message = format!(
                "its byte {} is {byte:#04x}, which is not UTF-8; save the file as UTF-8",
                place + 1
            );
            Problem::at_line(number, message)
        });
        Some(line.map(|line| (number, line)))
    }

    /// Fills the buffer up to the end of the line. Of a line that is too long, the rest is skipped.
    fn fill(&mut self) -> io::Result<End> {
        let mut is_empty = true;
        let mut is_too_long = false;
        loop {
            let available = match self.source.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() && is_empty {
                return Ok(End::Source);
            }
            is_empty = false;
            let newline = memchr::memchr(b'\n', available);
            let part = &available[..newline.unwrap_or(available.len())];
            if self.line.len() + part.len() > MAX_LEN {
                is_too_long = true;
                self.line.clear();
            }
            if !is_too_long {
                self.line.extend_from_slice(part);
            }
            let is_end = newline.is_some() || available.is_empty();
            let used = part.len() + usize::from(newline.is_some());
            self.source.consume(used);
            if is_end {
                return Ok(if is_too_long { End::TooLong } else { End::Line });
            }
        }
    }

    fn is_utf_16(&self) -> bool {
        matches!(*self.line, [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
    }
}

/// Removes the carriage return of CRLF, and the byte order mark of the first line.
fn without_ends(line: &[u8], is_first: bool) -> &[u8] {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match line.strip_prefix(b"\xef\xbb\xbf") {
        Some(line) if is_first => line,
        _ => line,
    }
}

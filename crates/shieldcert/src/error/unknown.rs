//! The text of an unknown outcome.

use std::fmt::{Display, Write};

use crate::issue::intent::IssueIntent;
use crate::lookup::unclear::UnclearRecord;

/// How many records are named.
const MAX_RECORDS: usize = 3;

pub(super) fn describe(
    intent: &IssueIntent,
    cause: impl Display,
    records: &[UnclearRecord],
    problem: Option<&str>,
) -> String {
    let mut text = format!(
        "it is unknown whether a certificate was issued for the CSR with SHA-256 {} ({cause})",
        intent.csr_sha256
    );
    if let Some(problem) = problem {
        let _ = write!(text, "; {problem}");
    }
    for record in records.iter().take(MAX_RECORDS) {
        let _ = write!(text, "; {record}");
    }
    if records.len() > MAX_RECORDS {
        let _ = write!(text, "; and {} more records", records.len() - MAX_RECORDS);
    }
    text.push_str("; resume with the intent of this error, or look for it with `find_by_csr`, before you issue again");
    text
}

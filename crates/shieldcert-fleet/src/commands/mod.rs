//! What the commands of a fleet print and end with, whichever engine runs: `shieldcert fleet`, and `shieldcert-temporal`.

pub mod csv;
mod escape;
mod exit_code;
mod facts;
mod rows;
pub mod time;

use std::io;

use serde_json::Value;

pub use escape::{escape, is_printable};
pub use exit_code::ExitCode;
pub use facts::{apply_facts, counted, counts, plan_facts, under_limit};
pub use rows::{ApplyRow, FailedRow, GenerationRow, PlanRow, PlanSummaryRow, ZoneRow};

/// The name of the file in the fleet's folder that has the devices that failed or wait, one a row.
pub const FAILED_FILE: &str = "failed.csv";

/// Returns the text of [`failed.csv`](FAILED_FILE).
///
/// # Errors
/// Returns an error if a row can't be written.
pub fn failed_csv(rows: impl IntoIterator<Item = FailedRow>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    csv::write_line(
        &mut text,
        FailedRow::FIELDS.iter().map(|name| (*name).into()),
    )?;
    for row in rows {
        if let Value::Object(members) = serde_json::to_value(&row)? {
            csv::write_row(&mut text, &members, FailedRow::FIELDS)?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_harmless_in_the_file() {
        let row = FailedRow {
            name: "sensor".to_owned(),
            generation: Some(1),
            state: Some("keyed"),
            hold: "failed",
            problem: Some("=1+1\n\u{1b}[2J".to_owned()),
            retry_at: None,
        };
        let text = failed_csv([row]).expect("is written");
        assert_eq!(
            String::from_utf8_lossy(&text),
            "name,generation,state,hold,problem,retry_at\nsensor,1,keyed,failed,'=1+1\\n\\u{1b}[2J,\n"
        );
    }
}

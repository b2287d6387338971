//! Reads the manifest into a table beside the journal.

use crate::config::Config;
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::journal::{Duplicate, Journal};
use crate::manifest::problem::Problem;
use crate::manifest::reader::Manifest;

/// How many problems are kept. A file of another kind has one in each row.
const MAX_PROBLEMS: usize = 1_000;

/// Reads the manifest. Every row is looked at before anything is done.
///
/// # Errors
/// Returns an error with every problem, if there is one.
pub(crate) fn load(journal: &Journal, folder: &Folder, config: &Config) -> Result<()> {
    let path = folder.resolve(&config.devices.manifest);
    let mut manifest = Manifest::open(&path, config)?;
    let mut problems = Vec::new();
    let mut more = 0;
    let mut report = |problem: Problem| match problems.len() < MAX_PROBLEMS {
        true => problems.push(problem),
        false => more += 1,
    };
    journal.load_manifest(|table| {
        while let Some(row) = manifest.next() {
            let line = manifest.line();
            let device = match row {
                Ok(device) => device,
                Err(problem) => {
                    report(problem);
                    continue;
                }
            };
            if let Err(Duplicate { row }) = table.add(line, &device)? {
                let message = format!(
                    "{} is the name in line {row}, too, whatever the case of its letters; give each device its own",
                    device.name
                );
                report(Problem::at_column(line, "name", message));
            }
        }
        Ok(())
    })?;
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Error::Manifest {
            path,
            problems,
            more,
        }),
    }
}

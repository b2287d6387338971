//! Reads the manifest into a table beside the journal.

use std::path::PathBuf;

use shieldcert::KeyAlgorithm;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::journal::{Duplicate, Journal};
use crate::manifest::problem::Problem;
use crate::manifest::reader::Manifest;
use crate::manifest::{Device, DeviceKey, DeviceState};

/// How many problems are kept. A file of another kind has one in each row.
const MAX_PROBLEMS: usize = 1_000;

/// Reads the manifest. Every row is looked at before anything is done.
///
/// # Errors
/// Returns an error with every problem, if there is one.
pub(crate) fn load(journal: &Journal, folder: &Folder, config: &Config) -> Result<()> {
    load_with(journal, folder, config, KeyAlgorithm::can_generate)
}

/// Why the key of a device can't be made, if it is to be made.
fn key_problem(device: &Device, can_generate: fn(KeyAlgorithm) -> bool) -> Option<String> {
    match device.key {
        DeviceKey::Generated(algorithm)
            if device.state == DeviceState::Present && !can_generate(algorithm) =>
        {
            Some(format!(
                "{algorithm} keys are not made by this program, which was built without the feature `rsa`; build it with \
                 the feature, choose another key, or give the device's csr"
            ))
        }
        _ => None,
    }
}

/// The file that a device alone may write, in one form of its path.
fn output(folder: &Folder, device: &Device) -> Option<String> {
    // An absent device writes nothing, so another one may have taken its place.
    let is_present = device.state == DeviceState::Present;
    let output = device.output.as_ref().filter(|_| is_present)?;
    let path: PathBuf = folder.resolve(output).components().collect();
    Some(path.to_string_lossy().into_owned())
}

fn load_with(
    journal: &Journal,
    folder: &Folder,
    config: &Config,
    can_generate: fn(KeyAlgorithm) -> bool,
) -> Result<()> {
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
            if let Some(problem) = key_problem(&device, can_generate) {
                report(Problem::at_column(line, "key", problem));
            }
            let output = output(folder, &device);
            if let Err(Duplicate { name, output }) = table.add(line, &device, output.as_deref())? {
                if let Some(row) = name {
                    let message = format!(
                        "{} is the name in line {row}, too, whatever the case of its letters; give each device its own",
                        device.name
                    );
                    report(Problem::at_column(line, "name", message));
                }
                if let Some(row) = output {
                    let message = format!(
                        "the device in line {row} writes this file, too; give each device its own"
                    );
                    report(Problem::at_column(line, "output", message));
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The problems of a manifest, as a program without the feature `rsa` finds them.
    fn problems(policy: &str, manifest: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("devices.csv");
        std::fs::write(path, manifest).expect("is written");
        let zone = "[zones.main]\nid = \"023e105f4ecef8ad9ca31a8372d0c353\"\n";
        let config = Config::from_toml(&format!("{zone}{policy}")).expect("a policy");
        let journal = Journal::open_empty().expect("a journal");
        let makes = |algorithm: KeyAlgorithm| !algorithm.as_str().starts_with("rsa");
        match load_with(&journal, &Folder::new(folder.path()), &config, makes) {
            Ok(()) => Vec::new(),
            Err(Error::Manifest { problems, .. }) => {
                problems.iter().map(ToString::to_string).collect()
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn two_devices_do_not_write_one_file() {
        let rows = "name,output,state\na,ids/a.pem,\nb,./ids//a.pem,\nc,ids/a.pem,absent\nd,,\ne,,\nA,ids/a.pem,\n";
        let output =
            "column output: the device in line 2 writes this file, too; give each device its own";
        assert_eq!(
            problems("", rows),
            [
                format!("line 3, {output}"),
                "line 7, column name: A is the name in line 2, too, whatever the case of its letters; give each device \
                 its own"
                    .to_owned(),
                format!("line 7, {output}"),
            ]
        );
    }

    #[test]
    fn every_problem_of_a_row_is_said() {
        let rows = "name,state,days,zone,country\nsensor 1,gone,soon,nowhere,Germany\n";
        let columns: Vec<_> = problems("", rows)
            .iter()
            .filter_map(|problem| problem.split([',', ':']).nth(1).map(str::to_owned))
            .collect();
        let expected = ["days", "name", "state", "country", "zone"];
        assert_eq!(columns, expected.map(|column| format!(" column {column}")));
    }

    #[test]
    fn keys_that_this_program_does_not_make_are_refused() {
        let rows =
            "name,key,csr,state\na,rsa-2048,,\nb,,,\nc,,c.csr,\nd,rsa-4096,,absent\ne,ed25519,,\n";
        let problem = |line: u64, key: &str| {
            format!(
                "line {line}, column key: {key} keys are not made by this program, which was built without the feature \
                 `rsa`; build it with the feature, choose another key, or give the device's csr"
            )
        };
        assert_eq!(problems("", rows), [problem(2, "rsa-2048")]);
        let policy = "[devices]\nkey = \"rsa-3072\"\n";
        assert_eq!(
            problems(policy, rows),
            [problem(2, "rsa-2048"), problem(3, "rsa-3072")]
        );
    }
}

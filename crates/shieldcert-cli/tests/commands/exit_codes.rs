//! What each command ends with, in every case that has a code of its own.

use std::time::Duration;

use shieldcert_emulator::{Fault, Fixture, Operation, ScriptedFault};

use crate::service::{Service, run};

const UNKNOWN: &str = "7bf7f70c-7600-42e1-81c4-e4c0da9aa515";

#[test]
fn every_outcome_has_its_code() {
    let limited = || Fault::rate_limit(Duration::from_secs(3_600));
    let none = || Vec::<ScriptedFault>::new();
    let next = |operation, fault| vec![ScriptedFault::next(operation, fault).times(1_000)];
    let cases = [
        (0, none(), vec!["list"], "an empty list"),
        (0, none(), vec!["revoke", "--name", "none"], "nothing to do"),
        (0, none(), vec!["issue", "sensor-1"], "issued"),
        (
            1,
            next(Operation::List, Fault::status(400)),
            vec!["list"],
            "a refusal of another kind",
        ),
        (
            2,
            none(),
            vec!["issue", "sensor-1", "--csr", "."],
            "a folder in place of a file",
        ),
        (
            2,
            none(),
            vec!["list", "--no-such-option"],
            "an option that is not there",
        ),
        (
            2,
            none(),
            vec!["list", "--fields", "none"],
            "a field that is not there",
        ),
        (2, none(), vec!["revoke", "ID", UNKNOWN], "not confirmed"),
        (3, none(), vec!["get", UNKNOWN], "not there"),
        (3, none(), vec!["find", "7bf7f70c"], "not found"),
        (
            3,
            none(),
            vec!["revoke", UNKNOWN],
            "not there to be revoked",
        ),
        (
            3,
            none(),
            vec!["reactivate", UNKNOWN],
            "not there to be reactivated",
        ),
        (
            5,
            next(Operation::List, limited()),
            vec!["list"],
            "rate limited",
        ),
        (
            5,
            next(Operation::Create, Fault::named("quota")),
            vec!["issue", "sensor-2"],
            "quota reached",
        ),
        (
            6,
            none(),
            vec!["wait", "ID", "--for", "revoked", "--timeout", "300ms"],
            "not in time",
        ),
        (
            7,
            none(),
            vec!["revoke", "ID", UNKNOWN, "--yes"],
            "done in part",
        ),
        (7, none(), vec!["get", "ID", UNKNOWN], "shown in part"),
        (
            8,
            next(Operation::Create, Fault::reset_after()),
            vec!["issue", "sensor-3", "--timeout", "1s"],
            "outcome unknown",
        ),
    ];
    for (code, script, arguments, case) in cases {
        let service = Service::start();
        let id = service.add(Fixture::new("sensor-001"));
        if code == 8 {
            // The certificate can't be looked for either.
            service
                .emulator
                .script([ScriptedFault::next(Operation::List, Fault::html()).times(1_000)]);
        }
        service.emulator.script(script);
        let arguments: Vec<_> = arguments
            .iter()
            .map(|word| if *word == "ID" { &id } else { *word })
            .collect();
        let ran = service.run(&arguments);
        assert_eq!(ran.code, Some(code), "{case}: {arguments:?}: {ran:?}");
        let is_silent = ran.err.is_empty();
        assert!(code == 0 || !is_silent, "{case}: {ran:?}");
    }
    let service = Service::start();
    for arguments in [
        &["list"][..],
        &["get", UNKNOWN],
        &["issue", "sensor-1"],
        &["revoke", UNKNOWN],
        &["doctor"],
    ] {
        let ran = run(service
            .command(arguments)
            .env("CLOUDFLARE_API_TOKEN", "another-token-than-the-right-one"));
        assert_eq!(ran.code, Some(4), "{ran:?}");
        let text = ran.out.clone() + &ran.err;
        assert!(
            text.contains("give a token with the permission \"SSL and Certificates: Edit\""),
            "{ran:?}"
        );
    }
}

#[test]
fn a_file_that_is_not_there_is_a_usage_error_everywhere() {
    let service = Service::start();
    let ran = service.run(&["issue", "sensor-001"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let pem = "sensor-001.pem";
    std::fs::write(service.folder.path().join("ids"), UNKNOWN).expect("is written");
    let before = service.emulator.history().len();
    for arguments in [
        &["issue", "sensor-002", "--csr", "no/file"][..],
        &["issue", "sensor-002", "--key", "no/file"],
        &["get", "no/file"],
        &["find", "no/file"],
        &["revoke", "no/file", "--yes"],
        &["reactivate", "no/file", "--yes"],
        &["wait", "no/file"],
        &["verify", "no/file"],
        &["verify", pem, "--key", "no/file"],
        &["export", "no/file", "--pem", "-"],
        &["export", pem, "--key", "no/file", "--pem", "-"],
        &["export", pem, "--add-chain", "no/file", "--pem", "-"],
        &["export", pem, "--p12", "-", "--password-file", "no/file"],
        &["list", "--token-file", "no/file"],
        &["list", "--ca-file", "no/file"],
        &["man", "--dir", "no/file"],
    ] {
        let ran = service.run(arguments);
        assert_eq!(
            (ran.code, &*ran.out),
            (Some(2), ""),
            "{arguments:?}: {ran:?}"
        );
        assert!(ran.err.contains("no/file"), "{arguments:?}: {ran:?}");
    }
    assert_eq!(service.emulator.history().len(), before);
}

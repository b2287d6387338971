//! The tests of `fleet.toml`.

mod messages;

use std::path::PathBuf;
use std::time::Duration;

use shieldcert::{KeyAlgorithm, Pkcs12Profile};

use super::*;

const ZONE: &str = "[zones.main]\nid = \"00000000000000000000000000000000\"\n";

/// The defaults, as the documentation of the fields says.
fn defaults() -> Config {
    let zone = ZoneConfig {
        id: "0".repeat(32).parse().expect("an id"),
        budget: "default".to_owned(),
        quota: None,
    };
    let budget = BudgetConfig {
        token: TokenSource::Variable("CLOUDFLARE_API_TOKEN".to_owned()),
        reserve_share: 0.1,
    };
    Config {
        zones: BTreeMap::from([("main".to_owned(), zone)]),
        budgets: BTreeMap::from([("default".to_owned(), budget)]),
        devices: DevicesConfig {
            output_folder: None,
            manifest: PathBuf::from("devices.csv"),
            key: KeyAlgorithm::EcdsaP256,
            validity_days: 365,
            zone: None,
        },
        renew: RenewConfig {
            at: 0.67,
            jitter: 0.1,
            grace: Duration::from_secs(24 * 3600),
            reuse_csr: false,
        },
        deploy: DeployConfig {
            command: None,
            command_once: None,
            verify: None,
            timeout: Duration::from_secs(60),
            max_failures: 10,
        },
        outputs: OutputsConfig {
            formats: vec![OutputFormat::Pem],
            mode: 0o600,
            owner: None,
            pkcs12_password_file: None,
            pkcs12_profile: Pkcs12Profile::Modern,
        },
        limits: LimitsConfig {
            concurrency: 32,
            max_revoke: MaxRevoke::Share(0.01),
            settle_window: Duration::from_secs(75),
            history: Duration::from_secs(730 * 86_400),
        },
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    assert_eq!(Config::from_toml(ZONE), Ok(defaults()));
    let windows = format!("\u{feff}{}", ZONE.replace('\n', "\r\n"));
    assert_eq!(Config::from_toml(&windows), Ok(defaults()));
}

/// Removes the `#` of lines that have a key or a section.
fn uncomment(text: &str, prefix: &str) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix(prefix) {
        Some(rest)
            if rest.starts_with('[')
                || rest
                    .split_once(" = ")
                    .is_some_and(|(key, _)| !key.contains(' ')) =>
        {
            rest
        }
        _ => line,
    });
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_example_says_the_defaults() {
    assert_eq!(Config::from_toml(Config::EXAMPLE), Ok(defaults()));
    let explicit = uncomment(Config::EXAMPLE, "#");
    assert_eq!(Config::from_toml(&explicit), Ok(defaults()));
    // Every key is there, and the other ones can be uncommented, too.
    let full = uncomment(&explicit, "# ");
    let sources = ["token_file", "token_command"];
    let full: String = full
        .lines()
        .filter(|line| !sources.iter().any(|source| line.starts_with(source)))
        .map(|line| format!("{line}\n"))
        .collect();
    let config = Config::from_toml(&full).expect("is valid");
    assert_eq!(config.zones["main"].quota, Some(1000));
    assert_eq!(config.deploy.verify.as_deref(), Some("./verify.sh"));
    for key in super::read::KEYS.iter().flat_map(|(_, keys)| *keys) {
        let is_there = |line: &str| {
            let line = line.trim_start_matches(['#', ' ']);
            line.split_once(" = ").is_some_and(|(name, _)| name == *key)
        };
        assert!(Config::EXAMPLE.lines().any(is_there), "{key}");
    }
}

#[test]
fn every_key_is_read() {
    let text = r#"
        [zones.north]
        id = "023E105F4ECEF8AD9CA31A8372D0C353"
        budget = "a"
        quota = 100_000
        [zones.south]
        id = "123e105f4ecef8ad9ca31a8372d0c353"
        budget = "b"
        [zones."west.1"]
        id = "223e105f4ecef8ad9ca31a8372d0c353"
        budget = "c"

        [budgets]
        a = { token_env = "TOKEN_A", reserve_share = 0 }
        b = { token_file = "/run/token" }
        c.token_command = "pass show token"

        [devices]
        manifest = "fleet/devices.jsonl"
        key = "rsa-2048"
        days = 30
        zone = "west.1"

        [renew]
        at = 0.5
        jitter = 0.45
        grace = "0s"
        reuse_csr = true

        [deploy]
        command = "./deploy.sh\n"
        verify = "./verify.sh"
        timeout = "1h 30m"
        max_failures = 3

        [outputs]
        formats = ["pkcs12", "pem", "combined"]
        mode = "640"
        owner = "sensors:iot"
        pkcs12_password_file = "password"
        pkcs12_profile = "legacy"

        [limits]
        concurrency = 256
        max_revoke = 0
        settle_window = "2s"
        history = "1d"
    "#;
    let config = Config::from_toml(text).expect("is valid");
    assert_eq!(config.zones["north"].id, "023e105f4ecef8ad9ca31a8372d0c353");
    assert_eq!(config.zones["north"].quota, Some(100_000));
    assert_eq!(config.zones["west.1"].budget, "c");
    let a = &config.budgets["a"];
    assert_eq!(a.token, TokenSource::Variable("TOKEN_A".to_owned()));
    assert_eq!(a.reserve_share, 0.0);
    let file = TokenSource::File("/run/token".into());
    assert_eq!(config.budgets["b"].token, file);
    let command = TokenSource::Command("pass show token".to_owned());
    assert_eq!(config.budgets["c"].token, command);
    let devices = DevicesConfig {
        output_folder: None,
        manifest: "fleet/devices.jsonl".into(),
        key: KeyAlgorithm::Rsa2048,
        validity_days: 30,
        zone: Some("west.1".to_owned()),
    };
    assert_eq!(config.devices, devices);
    let renew = RenewConfig {
        at: 0.5,
        jitter: 0.45,
        grace: Duration::ZERO,
        reuse_csr: true,
    };
    assert_eq!(config.renew, renew);
    let deploy = DeployConfig {
        command_once: None,
        command: Some("./deploy.sh\n".to_owned()),
        verify: Some("./verify.sh".to_owned()),
        timeout: Duration::from_secs(5400),
        max_failures: 3,
    };
    assert_eq!(config.deploy, deploy);
    let outputs = OutputsConfig {
        formats: vec![
            OutputFormat::Pkcs12,
            OutputFormat::Pem,
            OutputFormat::Combined,
        ],
        mode: 0o640,
        owner: Some("sensors:iot".to_owned()),
        pkcs12_password_file: Some("password".into()),
        pkcs12_profile: Pkcs12Profile::Legacy,
    };
    assert_eq!(config.outputs, outputs);
    let limits = LimitsConfig {
        concurrency: 256,
        max_revoke: MaxRevoke::Count(0),
        settle_window: Duration::from_secs(2),
        history: Duration::from_secs(86_400),
    };
    assert_eq!(config.limits, limits);
}

#[test]
fn bounds_belong_to_what_is_allowed() {
    let renew = |at: &str, jitter: &str| {
        let text = format!("{ZONE}[renew]\nat = {at}\njitter = {jitter}\n");
        Config::from_toml(&text)
    };
    for (at, jitter) in [
        ("0.05", "0"),
        ("0.95", "0.5"),
        ("0.15", "0.1"),
        ("0.55", "0.5"),
    ] {
        assert!(renew(at, jitter).is_ok(), "{at} {jitter}");
    }
    for (key, expected) in [
        ("\"2.5%\"", MaxRevoke::Share(0.025)),
        ("\" 100 % \"", MaxRevoke::Share(1.0)),
        ("12", MaxRevoke::Count(12)),
    ] {
        let text = format!("{ZONE}[limits]\nmax_revoke = {key}\n");
        let config = Config::from_toml(&text).expect("is valid");
        assert_eq!(config.limits.max_revoke, expected);
    }
}

#[test]
fn the_file_is_named_if_it_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fleet.toml");
    let shown = path.display();
    let refuse = || {
        let error = Config::read(&path).expect_err("is refused").to_string();
        error.replace(&shown.to_string(), "fleet.toml")
    };
    assert_eq!(
        refuse(),
        "fleet.toml: there is no such file; is this the folder of a fleet?"
    );
    std::fs::write(&path, format!("{ZONE}quota = 0")).expect("is written");
    assert_eq!(
        refuse(),
        "fleet.toml: line 3, column 9: zones.main.quota: 0 is out of bounds; give 1 or more"
    );
    std::fs::write(&path, b"\xff").expect("is written");
    assert_eq!(refuse(), "fleet.toml: it is not UTF-8; save it as UTF-8");
    std::fs::write(&path, " ".repeat((1 << 20) + 1)).expect("is written");
    assert_eq!(
        refuse(),
        "fleet.toml: it is larger than 1 MiB; devices belong in the manifest"
    );
    std::fs::write(&path, ZONE).expect("is written");
    assert_eq!(Config::read(&path), Ok(defaults()));
}

/// Whatever is wrong about a line with a token, the message does not show it.
#[test]
fn a_token_is_never_shown() {
    const TOKEN: &str = "s3cret-Yf0aXcRlJVqTgGlkDHxcGvbAOhNPQbKd";
    for line in [
        format!("[budgets.default]\ntoken = \"{TOKEN}\""),
        format!("[budgets.default]\nToken = \"{TOKEN}\""),
        format!("[budgets]\ndefault = \"{TOKEN}\""),
        format!("[budgets]\ndefault = {{ token = \"{TOKEN}\" }}"),
        format!("budgets = \"{TOKEN}\""),
        format!("[budgets.default]\ntoken_env = \"{TOKEN}\""),
        format!("[budgets.default]\ntoken_env = \"${TOKEN}\""),
        format!("[budgets.default]\ntoken_env = [\"{TOKEN}\"]"),
        format!("[budgets.default]\ntoken_file = \"{TOKEN}\""),
        format!("[budgets.default]\ntoken_command = \"{TOKEN}\""),
        format!("[budgets.default]\ntoken_env = \"A\"\ntoken_file = \"/{TOKEN}\""),
        format!("[budgets.default]\ntoken_env = \"{TOKEN}"),
        format!("[budgets.default]\ntoken_env = {TOKEN}"),
        format!("[budgets.default]\ntoken_env = \"{TOKEN}\\q\""),
        format!("[budgets.default]\ntoken_value = \"{TOKEN}\""),
        format!("token = \"{TOKEN}\""),
        format!("[zones.other]\napi_token = \"{TOKEN}\""),
    ] {
        let text = format!("{line}\n{ZONE}");
        let error = Config::from_toml(&text).expect_err(&line);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

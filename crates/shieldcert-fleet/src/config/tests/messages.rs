//! The messages about `fleet.toml`, each shown to be understood.

use std::fmt::Write;

use super::*;

/// A zone as `fleet.toml` has it, with more keys.
fn zone(keys: &str) -> String {
    format!("{ZONE}{keys}\n")
}

#[test]
fn every_error_says_where_it_is_and_what_to_do() {
    let section = |name: &str, keys: &str| format!("{ZONE}[{name}]\n{keys}\n");
    let budget = |keys: &str| section("budgets.default", keys);
    let token = |keys: &str| budget(&format!("token_env = \"TOKEN\"\n{keys}"));
    let cases = [
        // The file.
        "zones".to_owned(),
        "a = 1\na = 2".to_owned(),
        "[zones.main".to_owned(),
        "id = \"open".to_owned(),
        "[outputs]\nmode = 0640".to_owned(),
        // Keys and sections.
        String::new(),
        "[zones]".to_owned(),
        "[zone.main]".to_owned(),
        zone("[\"\u{202e}\u{1b}[0m\"]"),
        zone("[renew]\natt = 0.5"),
        zone("[renew]\ndays = 30"),
        zone("[renew]\nwhenever = true"),
        format!("at = 0.5\n{ZONE}"),
        zone("[[renew]]"),
        format!("renew = 0.5\n{ZONE}"),
        format!("token = \"x\"\n{ZONE}"),
        // Zones.
        zone("name = \"example.com\""),
        "[zones.main]".to_owned(),
        "[zones]\nmain = \"00000000000000000000000000000000\"".to_owned(),
        "[zones.main]\nid = \"example.com\"".to_owned(),
        "[zones.main]\nid = 7".to_owned(),
        format!("[zones.\"a b\"]\nid = \"{}\"", "0".repeat(32)),
        format!("{ZONE}{}", ZONE.replace("main", "other")),
        zone("quota = 0"),
        zone("quota = -1"),
        zone("quota = \"many\""),
        zone("quota = 99999999999999999999"),
        zone("budget = \"defualt\""),
        zone("[budgets.a]\ntoken_env = \"A\"\n[budgets.b]\ntoken_env = \"B\""),
        // Budgets.
        section("budgets", "default = 1"),
        budget(""),
        budget("token = \"x\""),
        budget("token_env = \"\""),
        budget("token_env = \"$TOKEN\""),
        budget("token_env = \"Yf0aXcRlJVqTgGlkDHxcGvbAOhNPQbKdX1aB2cD3\""),
        token("token_file = \"token\""),
        budget("token_file = \"a\\u0007b\""),
        budget("token_command = 7"),
        budget("token_command = \"a\\u0000b\""),
        token("reserve_share = 1"),
        token("reserve_share = 1.1"),
        token("reserve_share = -0.1"),
        token("reserve_share = nan"),
        token("reserve_share = \"10%\""),
        // Devices.
        section("devices", "manifest = \"devices.xlsx\""),
        section("devices", "manifest = \"  \""),
        section("devices", "key = \"rsa\""),
        section("devices", "days = 0"),
        section("devices", "days = 36501"),
        section("devices", "days = \"1y\""),
        section("devices", "days = 1.5"),
        section("devices", "zone = \"mian\""),
        // Renewals.
        section("renew", "at = 0.04"),
        section("renew", "at = 67"),
        section("renew", "at = inf"),
        section("renew", "jitter = 0.51"),
        section("renew", "at = 0.14"),
        section("renew", "at = 0.5\njitter = 0.46"),
        section("renew", "grace = 24"),
        section("renew", "grace = \"24\""),
        section("renew", "grace = \"-1h\""),
        section("renew", "grace = \"1y\""),
        section("renew", "grace = \"9999999999s\""),
        section("renew", "reuse_csr = \"yes\""),
        // Deployment.
        section("deploy", "command = \"\""),
        section("deploy", "command = [\"./deploy.sh\"]"),
        section("deploy", "verify = 2026-01-01"),
        section("deploy", "timeout = \"0s\""),
        section("deploy", "max_failures = 0"),
        section("deploy", "max_failures = 4294967296"),
        // Outputs.
        section("outputs", "formats = \"pem\""),
        section("outputs", "formats = []"),
        section("outputs", "formats = [\"pen\"]"),
        section("outputs", "formats = [\"pem\", \"pem\"]"),
        section("outputs", "formats = [7]"),
        section("outputs", "formats = [\"pkcs12\"]"),
        section("outputs", "mode = 640"),
        section("outputs", "mode = \"0o640\""),
        section("outputs", "mode = \"rw-r-----\""),
        section("outputs", "mode = \"0644\""),
        section("outputs", "mode = \"0750\""),
        section("outputs", "mode = \"4640\""),
        section("outputs", "mode = \"0440\""),
        section("outputs", "owner = \"a:b:c\""),
        section("outputs", "owner = \":b\""),
        section("outputs", "pkcs12_password_file = \"\""),
        section("outputs", "pkcs12_profile = \"old\""),
        // Limits.
        section("limits", "concurrency = 0"),
        section("limits", "concurrency = 257"),
        section("limits", "max_revoke = 0.01"),
        section("limits", "max_revoke = \"12\""),
        section("limits", "max_revoke = \"101%\""),
        section("limits", "max_revoke = -1"),
        section("limits", "settle_window = \"500ms\""),
        section("limits", "history = \"1h\""),
    ];
    let mut table = String::new();
    for text in cases {
        let error = match Config::from_toml(&text) {
            Ok(_) => panic!("is valid: {text}"),
            Err(error) => error.to_string(),
        };
        assert!(!error.contains(char::is_control), "{error:?}");
        let shown = text.replace(ZONE, "…").replace('\n', " ⏎ ");
        let _ = writeln!(table, "{}\n    {error}", shown.escape_debug());
    }
    insta::assert_snapshot!(table);
}

//! The messages of the manifest reader, each shown to be understood.

use std::fmt::Write;

use super::*;

#[test]
fn every_problem_says_where_it_is_and_what_to_do() {
    let long = "x".repeat(65);
    let many_labels: String = (0..65).map(|number| format!("l{number} ")).collect();
    let csv = |header: &str, row: &str| (Csv, format!("{header}\n{row}\n").into_bytes());
    let bytes = |bytes: &[u8]| (Csv, bytes.to_vec());
    let jsonl = |text: &str| (Jsonl, text.as_bytes().to_vec());
    let cases: Vec<(ManifestFormat, Vec<u8>)> = vec![
        // The header.
        csv("name,dyas", "a,1"),
        csv("name,organisation,CN", "a,,"),
        csv("name,Name", "a,b"),
        csv("name,name", "a,b"),
        csv("name,,days", "a,,1"),
        csv("state,days", "present,1"),
        csv("name;days", "a;1"),
        csv("name\tdays", "a\t1"),
        csv("name,\u{202e}syad\u{1b}[0m", "a,1"),
        csv("name,\"days", "a,1"),
        csv("sensor-1,present", "sensor-2,present"),
        // Rows.
        csv("name,days", "a"),
        csv("name,days", "a,1,Testers, Inc."),
        csv("name,organization", "a,\"Testers"),
        csv("name,organization", "\"a,Testers"),
        csv("name, \"days\"", "a,1"),
        csv("name,organization", "a, \"Testers\""),
        bytes(b"name\na\xff\n"),
        bytes(b"\xff\xfen\0a\0m\0e\0"),
        // Values.
        csv("name,days", ",1"),
        csv("name", "sensor 1"),
        csv("name", "../sensor"),
        csv("name", "-sensor"),
        csv("name", "CON.x"),
        csv("name", &long),
        csv("name", "sensor\u{200f}\u{7}1"),
        csv("name", "a\rb"),
        csv("name,state", "a,abset"),
        csv("name,common_name", &format!("a,{long}")),
        csv("name,organization", "a,Testers\u{1}"),
        csv("name,organizational_unit", &format!("a,{long}")),
        csv("name,locality", "a,\u{7f}"),
        csv("name,province", &format!("a,{}", "x".repeat(129))),
        csv("name,country", "a,Germany"),
        csv("name,country", "a,de"),
        csv("name,key", "a,rsa"),
        csv("name,key,csr", "a,ed25519,a.csr"),
        csv("name,csr", "a,a\u{0}.csr"),
        csv("name,days", "a,0"),
        csv("name,days", "a,36501"),
        csv("name,days", "a,1.5"),
        csv("name,days", "a,-1"),
        csv("name,days", "a,99999999999999999999"),
        csv("name,zone", "a,nroth"),
        csv("name,zone", "a,\u{202e}west"),
        csv("name,labels", "a,\"one,two\""),
        csv("name,labels", "a,one\u{2028}two"),
        csv("name,labels", &format!("a,{long}")),
        csv("name,labels", &format!("a,{many_labels}")),
        // Several in a row.
        csv(
            "name,state,days,zone,labels",
            "sensor 1,gone,soon,nroth,\"one,two\"",
        ),
        csv(
            "name,organization,country",
            &format!(", \"Testers\",{long}"),
        ),
        jsonl(
            "{\"name\": 1, \"dyas\": 1, \"days\": \"30\", \"zone\": \"nroth\", \"zone\": \"west\", \"labels\": [1]}",
        ),
        // JSONL.
        jsonl("{\"name\": \"a\", \"dyas\": 1}"),
        jsonl("{\"name\": \"a\", \"\\u202e\": 1}"),
        jsonl("{\"name\": \"a\", \"name\": \"b\"}"),
        jsonl("{\"name\": 1}"),
        jsonl("{\"name\": \"a\", \"days\": \"30\"}"),
        jsonl("{\"name\": \"a\", \"days\": 1.5}"),
        jsonl("{\"name\": \"a\", \"days\": -1}"),
        jsonl("{\"name\": \"a\", \"labels\": \"one two\"}"),
        jsonl("{\"name\": \"a\", \"labels\": [\"one two\"]}"),
        jsonl("{\"name\": \"a\", \"labels\": [\"\"]}"),
        jsonl("{\"name\": \"\"}"),
        jsonl("{\"name\": null}"),
        jsonl("{\"name\": \"a\", \"organization\": \"\"}"),
        jsonl("{\"name\": \"a\", \"csr\": \"\"}"),
        jsonl("{\"name\": \"a\", \"csr\": \"a\\nb\"}"),
        jsonl("{\"name\": \"a\""),
        jsonl("{\"name\": \"a\", \"days\": "),
        jsonl("{\"name\": \"a\"} {\"name\": \"b\"}"),
        jsonl("{\"name\": \"a\",}"),
        jsonl("{name: \"a\"}"),
        jsonl("[\"a\"]"),
        jsonl("# comment"),
        jsonl("null"),
    ];
    let mut table = String::new();
    for (format, bytes) in cases {
        let shown = String::from_utf8_lossy(&bytes);
        let shown: String = shown.chars().take(60).collect();
        let _ = writeln!(table, "{shown:?}");
        let problems: Vec<_> = read(format, bytes)
            .into_iter()
            .filter_map(Result::err)
            .collect();
        assert!(!problems.is_empty(), "{shown:?}");
        for problem in problems {
            let message = problem.to_string();
            let is_odd = |c: char| c.is_control() || "\u{202e}\u{200f}\u{2028}".contains(c);
            assert!(!message.contains(is_odd), "{message:?}");
            let _ = writeln!(table, "    {message}");
        }
    }
    insta::assert_snapshot!(table);
}

//! `shieldcert emulator`, as a process.
#![cfg(all(feature = "emulator", unix))]
#![allow(missing_docs)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};

fn shieldcert(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shieldcert"));
    command.arg("emulator").args(arguments);
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = shieldcert(arguments).output().expect("it ran");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

/// A running emulator, which is killed when it is dropped.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    address: String,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        Self::spawn(shieldcert(
            &[&["--listen", "127.0.0.1:0"], arguments].concat(),
        ))
    }

    fn spawn(mut command: Command) -> Self {
        command.stderr(Stdio::null());
        Self::spawn_as_is(command)
    }

    fn spawn_as_is(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it started");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        let address = line
            .strip_prefix("listening on http://")
            .and_then(|rest| rest.strip_suffix("/client/v4\n"))
            .unwrap_or_else(|| panic!("{line:?}"))
            .to_owned();
        Self {
            child,
            out,
            address,
        }
    }

    fn status_with_token(&self, token: &str) -> u16 {
        let (status, _) = call(&self.address, token, "GET", "", "").expect("a response");
        status
    }

    /// A field of every listed certificate.
    fn list(&self, field: &str) -> Vec<String> {
        let mut found = Vec::new();
        for page in 1.. {
            let query = format!("?per_page=50&page={page}");
            let (status, body) = call(&self.address, "t", "GET", &query, "").expect("a response");
            assert_eq!(status, 200, "{body}");
            let certificates = body["result"].as_array().expect("a list");
            if certificates.is_empty() {
                break;
            }
            let fields = certificates.iter().map(|certificate| &certificate[field]);
            found.extend(fields.map(|text| text.as_str().unwrap_or_default().to_owned()));
        }
        found
    }
}

/// Makes a request on a new connection. None if no complete response comes.
fn call(
    address: &str,
    token: &str,
    method: &str,
    path: &str,
    body: &str,
) -> Option<(u16, serde_json::Value)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!(
        "{method} /client/v4/zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates{path} HTTP/1.1\r\n\
         Host: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}

fn create_body(name: &str) -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let csr = params.serialize_request(&key).expect("a CSR");
    let csr = csr.pem().expect("PEM");
    serde_json::json!({ "csr": csr, "validity_days": 30 }).to_string()
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_prints_one_line_and_stops_cleanly_on_either_signal() {
    for signal in ["-INT", "-TERM"] {
        let mut running = Running::start(&["--token", "one", "--token", "two"]);
        assert_eq!(running.status_with_token("one"), 200);
        assert_eq!(running.status_with_token("two"), 200);
        assert_eq!(running.status_with_token("three"), 403);
        let pid = running.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .expect("kill")
                .success()
        );
        assert_eq!(
            running.child.wait().expect("it ended").code(),
            Some(0),
            "{signal}"
        );
        let mut rest = String::new();
        running.out.read_to_string(&mut rest).expect("text");
        assert_eq!(rest, "", "one line alone");
    }
}

/// Waits for the end of a process that was told to stop.
fn wait_for_end(child: &mut Child) -> Option<i32> {
    for _ in 0..600 {
        if let Some(status) = child.try_wait().expect("is a child") {
            return status.code();
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("it does not stop");
}

fn signal(child: &Child, signal: &str) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args([signal, &id]).status();
    assert!(sent.expect("kill").success());
}

/// An emulator that logs to a pipe.
fn start_logging(arguments: &[&str], rust_log: &str) -> (Running, ChildStderr) {
    let mut command = shieldcert(&[&["--listen", "localhost:0"], arguments].concat());
    command.env("RUST_LOG", rust_log).stderr(Stdio::piped());
    let mut running = Running::spawn_as_is(command);
    let err = running.child.stderr.take().expect("piped");
    (running, err)
}

/// Returns the log of an emulator that has ended.
fn log(mut running: Running, mut err: ChildStderr) -> Vec<String> {
    signal(&running.child, "-TERM");
    assert_eq!(wait_for_end(&mut running.child), Some(0));
    let mut log = String::new();
    err.read_to_string(&mut log).expect("text");
    log.lines().map(str::to_owned).collect()
}

/// A test fixture with pipes, which reads them at its end or not at all.
#[test]
fn a_log_that_is_not_read_blocks_nothing_and_counts_what_is_lost() {
    let (mut running, err) = start_logging(&["--rate-limit", "off"], "debug");
    // A pipe has room for a few hundred lines, and the emulator for some thousand.
    for number in 0..6_000 {
        assert_eq!(running.status_with_token("t"), 200, "request {number}");
    }
    let (sender, lines) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(err).lines() {
            sender.send(line.expect("text")).expect("is awaited");
        }
    });
    // Once there is room, the next line says what is missing.
    let is_told = |line: String| line.contains("lines of the log were dropped");
    while !lines.try_iter().any(is_told) {
        assert_eq!(running.status_with_token("t"), 200);
    }
    signal(&running.child, "-TERM");
    assert_eq!(wait_for_end(&mut running.child), Some(0));
    assert!(lines.iter().any(|line| line.contains("stopped")));
    reader.join().expect("it read everything");
}

#[test]
fn a_line_says_what_was_asked_for_what_came_of_it_and_why() {
    let options = ["--token", "t", "--rate-limit", "3/300s"];
    let (running, err) = start_logging(&options, "");
    for token in ["t", "wrong", "t", "t", "t"] {
        running.status_with_token(token);
    }
    let log = log(running, err);
    for line in &log {
        let (time, _) = line.split_once(' ').expect("words");
        assert!(time.starts_with("20") && time.ends_with('Z'), "{line}");
    }
    let line = |part: &str| {
        let mut found = log.iter().filter(|line| line.contains(part));
        let line = found.next().unwrap_or_else(|| panic!("{part}: {log:?}"));
        assert_eq!(found.next(), None, "{part}");
        line
    };
    let refused = line("status=403");
    for part in [
        "operation=list",
        "code=10000",
        "reason=\"Authentication error\"",
        "duration=",
    ] {
        assert!(refused.contains(part), "{refused}");
    }
    assert!(line("rate limit is used up").contains("limit=3/300s"));
    assert!(
        log.last()
            .expect("a line")
            .contains("stopped reason=\"SIGTERM\"")
    );
}

#[test]
fn the_log_is_as_loud_as_it_is_told_to_be() {
    let lines = |arguments: &[&str], rust_log: &str| {
        let (running, err) = start_logging(arguments, rust_log);
        running.status_with_token("t");
        log(running, err).len()
    };
    assert_eq!(lines(&["--quiet"], "info"), 0);
    assert_eq!(lines(&["--log", "off"], "info"), 0);
    assert_eq!(lines(&[], "off"), 0);
    assert_eq!(
        lines(&[], "shieldcert_emulator=off,info"),
        1,
        "the last line"
    );
    assert_eq!(lines(&["--log", "info"], "off"), 2);
    let mut invalid = shieldcert(&["--listen", "127.0.0.1:0"]);
    let output = invalid
        .env("RUST_LOG", "loud=very")
        .output()
        .expect("it ran");
    let err = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2));
    let first = err.lines().next().unwrap_or_default();
    insta::assert_snapshot!(first, @r#"error: invalid value "loud=very" in RUST_LOG; write a level (off, error, warn, info, debug or trace), or MODULE=LEVEL, separated by commas"#);
}

/// The options that the READMEs name are those of the command.
#[test]
fn the_documented_options_exist() {
    let (_, help, _) = run(&["--help"]);
    let (_, own) = include_str!("../README.md")
        .split_once("\n## The emulator\n")
        .expect("its part");
    let others = include_str!("../../shieldcert-emulator/README.md");
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let known: Vec<&str> = help.split(|c| !is_part(c)).collect();
    let words = own.lines().chain(others.lines()).flat_map(|line| {
        let is_foreign = ["cargo ", "curl ", "docker ", "issue ", "jq ", "`--local`"]
            .iter()
            .any(|other| line.contains(other));
        let words = line.split(move |c| !is_part(c));
        words.filter(move |word| !is_foreign && word.starts_with("--"))
    });
    let words: Vec<&str> = words
        .filter(|word| word.bytes().any(|byte| byte != b'-'))
        .collect();
    let unknown: Vec<_> = words.iter().filter(|word| !known.contains(word)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(words.len() > 20, "{words:?}");
}

#[test]
fn it_stops_with_the_process_that_started_it() {
    let mut parent = Command::new("sh");
    parent
        .args([
            "-c",
            "\"$0\" emulator --listen 127.0.0.1:0 --exit-with-parent & read line",
        ])
        .arg(env!("CARGO_BIN_EXE_shieldcert"))
        .stdin(Stdio::piped());
    let mut running = Running::spawn(parent);
    assert_eq!(running.status_with_token("t"), 200);
    running.child.kill().expect("is killed");
    running.child.wait().expect("ended");
    // The emulator holds the other end of the pipe until it ends.
    let mut rest = String::new();
    running.out.read_to_string(&mut rest).expect("text");
    assert_eq!(rest, "");
}

/// The parent ends before the emulator is executed, so that it can never be asked for.
#[cfg(target_os = "linux")]
#[test]
fn it_stops_where_the_process_that_started_it_has_ended_before_it_began() {
    // In a session of its own, whatever the session of the process that adopts the emulator.
    let mut parent = Command::new("setsid");
    parent
        .args([
            "--fork",
            "--wait",
            "sh",
            "-c",
            "( while test -d /proc/$$; do sleep 0.01; done
               exec \"$0\" emulator --listen 127.0.0.1:0 --exit-with-parent 2>&1 ) &",
        ])
        .arg(env!("CARGO_BIN_EXE_shieldcert"))
        .stdout(Stdio::piped());
    // It returns once the emulator, which holds the pipe too, has ended.
    let output = parent.output().expect("util-linux is there");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(
        text.contains("the process that started this one has ended"),
        "{text}"
    );
}

/// Requests a path outside the API, with a bearer token.
fn control(address: &str, method: &str, path: &str, token: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let request = format!(
        "{method} /__shieldcert/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("is sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    let (head, body) = response.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status");
    (status.parse().expect("a number"), body.to_owned())
}

#[test]
fn the_control_endpoints_say_what_they_need() {
    let without = Running::start(&[]);
    let (status, hint) = control(&without.address, "POST", "reset", "t", "");
    assert_eq!(status, 404);
    assert!(hint.contains("--control"), "{hint}");
    assert_eq!(control(&without.address, "GET", "ca.pem", "t", "").0, 200);

    let (code, _, err) = run(&["--listen", "0.0.0.0:0", "--control"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("--control-secret"), "{err}");

    let arguments = ["--listen", "0.0.0.0:0", "--control-secret", "s3cret"];
    let public = Running::spawn(shieldcert(&arguments));
    let address = public.address.replace("0.0.0.0", "127.0.0.1");
    let (status, hint) = control(&address, "POST", "reset", "t", "");
    assert_eq!(status, 401);
    assert!(hint.contains("Authorization: Bearer SECRET"), "{hint}");
    assert_eq!(control(&address, "POST", "reset", "s3cret", "").0, 204);
}

#[test]
fn the_control_endpoints_list_themselves() {
    let running = Running::start(&["--control"]);
    let (status, index) = control(&running.address, "GET", "", "t", "");
    assert_eq!(status, 200);
    insta::assert_snapshot!("control_endpoints", index);
    let (status, message) = control(&running.address, "POST", "certificates", "t", "");
    assert_eq!(status, 404);
    assert!(message.ends_with(&index), "{message}");
    let moved = control(&running.address, "POST", "clock", "t", "advance=30d");
    assert_eq!(moved.0, 200, "{}", moved.1);
    let back = control(&running.address, "POST", "clock", "t", "advance=-1h");
    assert_eq!(back.0, 400);
    insta::assert_snapshot!(back.1, @r#"
    "advance=-1h" does not say how far to move the clock forward, which is its only direction; write advance=1h or advance=30d
    The body is plain text.
    "#);
}

#[test]
fn certificates_are_for_names_that_clients_can_ask_for() {
    let errors = ["http://emulator.test", "emulator.test:8787", "[::1]"].map(|name| {
        let (code, _, err) = run(&["--listen", "127.0.0.1:0", "--tls", "--tls-name", name]);
        assert_eq!(code, Some(1), "{name}");
        err
    });
    insta::assert_snapshot!(errors.concat(), @r#"
    error: TLS can't be set up: "http://emulator.test": it is neither a host name nor an IP address; give it without scheme, port and brackets
    error: TLS can't be set up: "emulator.test:8787": it is neither a host name nor an IP address; give it without scheme, port and brackets
    error: TLS can't be set up: "[::1]": it is neither a host name nor an IP address; give it without scheme, port and brackets
    "#);
}

#[test]
fn certificates_are_added_over_the_control_endpoint() {
    let running = Running::start(&["--control"]);
    let path = "zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates";
    let body = r#"[{ "common_name": "old", "status": "revoked", "issued_on": "2026-01-31T00:00:00Z" },
        { "common_name": "new" }]"#;
    let (status, added) = control(&running.address, "POST", path, "t", body);
    assert_eq!(status, 200, "{added}");
    let added: serde_json::Value = serde_json::from_str(&added).expect("JSON");
    assert_eq!(added[0]["status"], "revoked");
    assert_eq!(added[0]["expires_on"], "2027-01-31T00:00:00Z");
    assert_eq!(running.list("common_name"), ["new", "old"]);
    assert_eq!(running.list("status"), ["active", "revoked"]);
    let (status, error) = control(&running.address, "POST", path, "t", r#"{ "name": "x" }"#);
    assert_eq!(status, 400);
    assert!(error.contains("common_name"), "{error}");
}

#[test]
fn a_port_in_use_is_an_error_with_a_hint() {
    let running = Running::start(&[]);
    let (code, out, err) = run(&["--listen", &running.address]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(
        err.contains(&running.address) && err.contains("another port"),
        "{err}"
    );
}

#[test]
fn invalid_arguments_are_usage_errors() {
    let mut errors = Vec::new();
    for arguments in [
        ["--transition-delay", "-2s"],
        ["--transition-delay", "soon"],
        ["--latency", "30"],
        ["--latency", "2d"],
        ["--db", ":memory:"],
        ["--db", "file:emulator.db"],
        ["--token", ""],
        ["--token", "hunter\n2"],
        ["--token", "hunter 2"],
        ["--token", "hünter"],
        ["--listen", "localhost"],
        ["--listen", "no.such.host.invalid:8787"],
        ["--listen", "127.0.0.1:70000"],
        ["--listen", "127.0.0.1:http"],
        ["--listen", "70000"],
        ["--listen", "::1:8787"],
        ["--edge", "8443"],
        ["--edge-rule", "verified"],
        ["--tls-name", ""],
        ["--tls-name", "emulator.test"],
        ["--log", "loud"],
        ["--control-secret", "hunter\n"],
        ["--speed", "9"],
        ["--populate", "many"],
        ["--populate", "-1"],
        ["--populate", "99999999999"],
        ["--zone", "here"],
        ["--zone", "023e105f4ecef8ad9ca31a8372d0c353"],
        ["--chaos", "html=1%, html=2%"],
        ["--chaos", "html=1%,"],
        ["--chaos", "get: respond"],
        ["--chaos", "quake=5%"],
        ["--chaos-seed", "x"],
        ["--quirks", "cap=0"],
        ["--quirks", "odd"],
        ["--quirks", "cap=25,cap=30"],
        ["--rate-limit", "fast"],
        ["--rate-limit", "1200/2d"],
        ["--rate-limit", "0/300s"],
        ["--quota", "few"],
    ] {
        let (code, out, err) = run(&arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}: {err}");
        assert!(
            !err.contains("hunter") && !err.contains("hünter"),
            "a token is not shown: {err}"
        );
        errors.push(err.lines().next().unwrap_or_default().to_owned());
    }
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn help_texts_are_reviewed() {
    let (code, help, _) = run(&["--help"]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!("help", help);
    let (code, faults, err) = run(&["--chaos", "help"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    insta::assert_snapshot!("chaos_help", faults);
    let (code, quirks, err) = run(&["--quirks", "help"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    insta::assert_snapshot!("quirks_help", quirks);
}

#[test]
fn quirks_change_the_service() {
    let running = Running::start(&["--populate", "30", "--quirks", "cap=7, total=text"]);
    let listed = call(&running.address, "t", "GET", "?per_page=50", "");
    let (status, body) = listed.expect("a response");
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["result"].as_array().map(Vec::len), Some(7));
    assert_eq!(body["result_info"]["total_count"], "30");
    assert_eq!(running.list("id").len(), 30);
}

#[test]
fn conflicting_options_and_an_invalid_environment_are_named() {
    let same = ["--listen", "127.0.0.1:18080", "--edge", "127.0.0.1:18080"];
    let (code, _, err) = run(&same);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("--listen and --edge"), "{err}");
    let populate = || shieldcert(&["--listen", "127.0.0.1:0", "--populate", "1"]);
    let output = populate().env("CLOUDFLARE_ZONE_ID", "nonsense").output();
    let output = output.expect("it ran");
    let err = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("CLOUDFLARE_ZONE_ID"), "{err}");
    // The variable does not matter if no zone is needed, or if it is empty.
    let mut unneeded = shieldcert(&["--listen", "127.0.0.1:0"]);
    unneeded.env("CLOUDFLARE_ZONE_ID", "nonsense");
    Running::spawn(unneeded);
    let mut empty = populate();
    empty.env("CLOUDFLARE_ZONE_ID", "");
    assert_eq!(Running::spawn(empty).list("id").len(), 1);
}

#[test]
fn several_processes_populate_a_file_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("emulator.db");
    let file = file.to_str().expect("text");
    let options = ["--db", file, "--populate", "4500", "--rate-limit", "off"];
    let running: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| Running::start(&options)))
            .collect();
        starts
            .into_iter()
            .map(|start| start.join().expect("it started"))
            .collect()
    });
    for emulator in &running {
        assert_eq!(emulator.list("id").len(), 4_500);
    }
}

#[test]
fn what_was_issued_survives_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("emulator.db");
    let file = file.to_str().expect("text");
    let bodies: Vec<Vec<_>> = (0..4)
        .map(|thread| {
            (0..200)
                .map(|number| create_body(&format!("device-{thread}-{number}")))
                .collect()
        })
        .collect();
    let mut running = Running::start(&["--db", file, "--rate-limit", "off"]);
    let address = running.address.clone();
    let issued: Vec<String> = std::thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel();
        for bodies in &bodies {
            let (sender, address) = (sender.clone(), &address);
            scope.spawn(move || {
                for body in bodies {
                    let Some((200, created)) = call(address, "t", "POST", "", body) else {
                        return;
                    };
                    let id = created["result"]["id"].as_str().expect("an id").to_owned();
                    if sender.send(id).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        // Kills it in the middle of writing, by count rather than by time.
        let mut before: Vec<_> = receiver.iter().take(60).collect();
        running.child.kill().expect("is killed");
        running.child.wait().expect("ended");
        before.extend(receiver);
        before
    });
    assert!((60..800).contains(&issued.len()), "{}", issued.len());
    let again = Running::start(&["--db", file, "--rate-limit", "off"]);
    let listed = again.list("id");
    let lost: Vec<_> = issued.iter().filter(|id| !listed.contains(id)).collect();
    assert!(lost.is_empty(), "{lost:?} of {}", issued.len());
    let (status, _) =
        call(&again.address, "t", "POST", "", &create_body("after")).expect("a response");
    assert_eq!(status, 200);
}

/// A file that may not grow stands for a full disk.
#[test]
fn on_a_full_disk_a_create_is_refused_and_nothing_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("emulator.db");
    let file = file.to_str().expect("text");
    let emulator = ["emulator", "--listen", "127.0.0.1:0", "--db", file];
    let mut limited = Command::new("sh");
    limited
        // The unit of the limit is 512 or 1,024 bytes, by shell. The signal would end the process.
        .args(["-c", "trap '' XFSZ; ulimit -S -f 400; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_shieldcert"))
        .args(emulator);
    let running = Running::spawn(limited);
    let mut issued = Vec::new();
    let refused = loop {
        assert!(issued.len() < 2_000, "the disk never filled up");
        let name = format!("device-{}", issued.len());
        match call(&running.address, "t", "POST", "", &create_body(&name)).expect("a response") {
            (200, created) => {
                issued.push(created["result"]["id"].as_str().expect("an id").to_owned())
            }
            refused => break refused,
        }
    };
    let (status, body) = refused;
    assert_eq!((status, &body["success"]), (500, &false.into()), "{body}");
    let message = body["errors"][0]["message"].as_str().expect("a message");
    assert!(message.contains("nothing was changed"), "{message}");
    let issued_ids = |running: &Running| {
        let mut listed = running.list("id");
        listed.reverse();
        listed
    };
    assert!(!issued.is_empty());
    assert_eq!(issued_ids(&running), issued, "it still lists what it has");
    // Once there is room, it goes on without a restart.
    #[cfg(target_os = "linux")]
    {
        let limit = [
            "--fsize=unlimited:",
            "--pid",
            &running.child.id().to_string(),
        ]
        .map(str::to_owned);
        let raised = Command::new("prlimit").args(limit).status();
        assert!(raised.expect("util-linux is there").success());
        let body = create_body("room again");
        let (status, created) = call(&running.address, "t", "POST", "", &body).expect("a response");
        assert_eq!(status, 200, "{created}");
        issued.push(created["result"]["id"].as_str().expect("an id").to_owned());
    }
    drop(running);
    let again = Running::start(&["--db", file]);
    assert_eq!(issued_ids(&again), issued);
    let (status, _) =
        call(&again.address, "t", "POST", "", &create_body("after")).expect("a response");
    assert_eq!(status, 200);
}

/// To root no file is read-only, so root runs this as another user.
#[test]
fn a_read_only_database_is_an_error() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let mode = |name: &str, mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path(name), permissions).expect("is set");
    };
    let binary = path("shieldcert");
    std::fs::copy(env!("CARGO_BIN_EXE_shieldcert"), &binary).expect("is copied");
    let file = path("emulator.db");
    let text = file.to_str().expect("text");
    drop(Running::start(&["--db", text]));
    mode("emulator.db", 0o444);
    mode("", 0o555);
    let mut command = Command::new(binary);
    command.args(["emulator", "--listen", "127.0.0.1:0", "--db", text]);
    let id = Command::new("id").arg("-u").output().expect("it ran");
    if id.stdout == b"0\n" {
        const NOBODY: u32 = 65_534;
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().expect("it ran");
    mode("", 0o755);
    let error = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains(text) && error.contains("check its permissions and its folder's"),
        "{error}"
    );
}

#[test]
fn a_zone_is_populated_before_the_line() {
    let running = Running::start(&["--populate", "70", "--rate-limit", "off"]);
    let names = running.list("common_name");
    assert_eq!(names.len(), 70);
    assert_eq!(names.first().map(String::as_str), Some("sensor-0000069"));
}

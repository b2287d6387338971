//! `shieldcert emulator`, as a process.
#![cfg(all(feature = "emulator", unix))]
#![allow(missing_docs)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

fn shieldcert(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shieldcert"));
    command.arg("emulator").args(arguments);
    command
}

fn ended(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = shieldcert(arguments).output().expect("it ran");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

/// A running emulator, which ends with the test whatever comes.
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
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it started");
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
        let (status, _) = call(&self.address, token, "GET", "", "").expect("an answer");
        status
    }

    /// The fields of the certificates that are listed.
    fn list(&self, field: &str) -> Vec<String> {
        let mut found = Vec::new();
        for page in 1.. {
            let query = format!("?per_page=50&page={page}");
            let (status, body) = call(&self.address, "t", "GET", &query, "").expect("an answer");
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

/// One call on a connection of its own. None where no whole answer comes.
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
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
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
fn one_line_when_ready_and_a_clean_end_at_either_signal() {
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
        assert_eq!(rest, "", "nothing but the one line");
    }
}

#[test]
fn a_port_in_use_is_an_error_with_the_way_out() {
    let running = Running::start(&[]);
    let (code, out, err) = ended(&["--listen", &running.address]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(
        err.contains(&running.address) && err.contains("another port"),
        "{err}"
    );
}

#[test]
fn options_that_are_not_understood_are_usage_errors() {
    for (arguments, why) in [
        (["--transition-delay", "-2s"], "negative"),
        (["--transition-delay", "soon"], "500ms"),
        (["--token", ""], "empty"),
        (["--token", "secret\nx"], "line ends"),
        (["--token", "secret x"], "spaces"),
        (["--token", "sécret"], "ASCII"),
        (["--listen", "localhost"], "--listen"),
        (["--speed", "9"], "--speed"),
        (["--seed-certificates", "many"], "--seed-certificates"),
        (["--seed-certificates", "-1"], "a whole number"),
        (["--zone", "here"], "32 hex digits"),
        (["--edge", "localhost:8443"], "127.0.0.1:8787"),
        (["--chaos", "html=1%, html=2%"], "there twice"),
        (["--chaos-seed", "x"], "a whole number"),
        (["--rate-limit", "fast"], "or off"),
        (["--quota", "few"], "--quota"),
        (["--chaos", "quake=5%"], "lose-answer"),
        (["--latency", "30"], "500ms"),
    ] {
        let (code, out, err) = ended(&arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}: {err}");
        assert!(err.contains(why), "{arguments:?}: {err}");
        assert!(!err.contains("cret"), "a token is not shown: {err}");
    }
}

#[test]
fn two_options_that_exclude_each_other_and_a_bad_environment_are_named() {
    let same = ["--listen", "127.0.0.1:18080", "--edge", "127.0.0.1:18080"];
    let (code, _, err) = ended(&same);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("--listen and --edge"), "{err}");
    let seeded = || shieldcert(&["--listen", "127.0.0.1:0", "--seed-certificates", "1"]);
    let output = seeded().env("CLOUDFLARE_ZONE_ID", "nonsense").output();
    let output = output.expect("it ran");
    let err = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("CLOUDFLARE_ZONE_ID"), "{err}");
    // Where no zone is needed, or none is named, it does not matter.
    let mut unneeded = shieldcert(&["--listen", "127.0.0.1:0"]);
    unneeded.env("CLOUDFLARE_ZONE_ID", "nonsense");
    Running::spawn(unneeded);
    let mut empty = seeded();
    empty.env("CLOUDFLARE_ZONE_ID", "");
    assert_eq!(Running::spawn(empty).list("id").len(), 1);
}

#[test]
fn several_that_fill_the_same_file_at_once_fill_it_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("emulator.db");
    let file = file.to_str().expect("text");
    let options = [
        "--db",
        file,
        "--seed-certificates",
        "4500",
        "--rate-limit",
        "off",
    ];
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
fn what_was_answered_survives_kill_9() {
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
    let answered: Vec<String> = std::thread::scope(|scope| {
        let (answer, answers) = std::sync::mpsc::channel();
        for bodies in &bodies {
            let (answer, address) = (answer.clone(), &address);
            scope.spawn(move || {
                for body in bodies {
                    let Some((200, created)) = call(address, "t", "POST", "", body) else {
                        return;
                    };
                    let id = created["result"]["id"].as_str().expect("an id").to_owned();
                    if answer.send(id).is_err() {
                        return;
                    }
                }
            });
        }
        drop(answer);
        // In the middle of writing, by count rather than by time.
        let mut before: Vec<_> = answers.iter().take(60).collect();
        running.child.kill().expect("is killed");
        running.child.wait().expect("ended");
        before.extend(answers);
        before
    });
    assert!((60..800).contains(&answered.len()), "{}", answered.len());
    let again = Running::start(&["--db", file, "--rate-limit", "off"]);
    let listed = again.list("id");
    let lost: Vec<_> = answered.iter().filter(|id| !listed.contains(id)).collect();
    assert!(lost.is_empty(), "{lost:?} of {}", answered.len());
    let (status, _) =
        call(&again.address, "t", "POST", "", &create_body("after")).expect("answers");
    assert_eq!(status, 200);
}

/// A file that may not grow stands for a disk that has no room.
#[test]
fn a_full_disk_refuses_a_certificate_and_loses_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("emulator.db");
    let file = file.to_str().expect("text");
    let emulator = ["emulator", "--listen", "127.0.0.1:0", "--db", file];
    let mut limited = Command::new("sh");
    limited
        // Blocks of 512 or 1,024 bytes, as the shell has it. The signal would end the process.
        .args(["-c", "trap '' XFSZ; ulimit -S -f 400; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_shieldcert"))
        .args(emulator);
    let running = Running::spawn(limited);
    let mut issued = Vec::new();
    let refused = loop {
        assert!(issued.len() < 2_000, "the disk never filled up");
        let name = format!("device-{}", issued.len());
        match call(&running.address, "t", "POST", "", &create_body(&name)).expect("answers") {
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
    let kept = |running: &Running| {
        let mut listed = running.list("id");
        listed.reverse();
        listed
    };
    assert!(!issued.is_empty());
    assert_eq!(kept(&running), issued, "it still answers what it has");
    // Once there is room, it goes on without being started again.
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
        let (status, created) = call(&running.address, "t", "POST", "", &body).expect("answers");
        assert_eq!(status, 200, "{created}");
        issued.push(created["result"]["id"].as_str().expect("an id").to_owned());
    }
    drop(running);
    let again = Running::start(&["--db", file]);
    assert_eq!(kept(&again), issued);
    let (status, _) =
        call(&again.address, "t", "POST", "", &create_body("after")).expect("answers");
    assert_eq!(status, 200);
}

/// To the superuser no file is read-only, so it runs this as somebody else.
#[test]
fn a_database_that_cant_be_written_is_refused() {
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
        error.contains(text) && error.contains("see to its permissions and its folder's"),
        "{error}"
    );
}

#[test]
fn a_store_is_filled_before_the_line() {
    let running = Running::start(&["--seed-certificates", "70", "--rate-limit", "off"]);
    let names = running.list("common_name");
    assert_eq!(names.len(), 70);
    assert_eq!(names.first().map(String::as_str), Some("sensor-0000069"));
}

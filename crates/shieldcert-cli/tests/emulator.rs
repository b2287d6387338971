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
        ["--token", ""],
        ["--token", "secret\nx"],
        ["--token", "secret x"],
        ["--token", "sécret"],
        ["--listen", "localhost"],
        ["--edge", "localhost:8443"],
        ["--speed", "9"],
        ["--populate", "many"],
        ["--populate", "-1"],
        ["--zone", "here"],
        ["--chaos", "html=1%, html=2%"],
        ["--chaos", "quake=5%"],
        ["--chaos-seed", "x"],
        ["--quirks", "cap=0"],
        ["--quirks", "odd"],
        ["--rate-limit", "fast"],
        ["--quota", "few"],
    ] {
        let (code, out, err) = run(&arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}: {err}");
        assert!(!err.contains("cret"), "a token is not shown: {err}");
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

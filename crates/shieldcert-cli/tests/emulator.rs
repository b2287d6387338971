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
        let mut child = shieldcert(&[&["--listen", "127.0.0.1:0"], arguments].concat())
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
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        let request = format!(
            "GET /client/v4/zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates HTTP/1.1\r\n\
             Host: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        status.unwrap_or_else(|| panic!("{answer:?}"))
    }
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
    ] {
        let (code, out, err) = ended(&arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}: {err}");
        assert!(err.contains(why), "{arguments:?}: {err}");
        assert!(!err.contains("cret"), "a token is not shown: {err}");
    }
}

//! Promise 6, secrets stay put: not in traces, errors or `Debug`, and never at the target of a redirect.

use std::io::Write;
use std::sync::{Arc, Mutex};

use httpmock::MockServer;
use shieldcert::{Client, Identity, RetryPolicy};
use shieldcert_emulator::Emulator;
use tracing_subscriber::fmt::MakeWriter;

const TOKEN: &str = "Sn3lZJTBX6kkg7OdcBUAxOO963GEIyGQqnFTOFYY";

/// For the mock server, which traces the requests that it receives with all their headers.
const OTHER_TOKEN: &str = "q8vXh2bTz0rKcW5sYdJ1mNfLgPaE7uQoR4iVtC6y";

#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<u8>>>);

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .expect("not poisoned")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Capture {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Capture {
    /// Captures everything that this process traces, on every thread, down to the last detail.
    fn start() -> Self {
        let capture = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(capture.clone())
            .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
            .finish();
        tracing::subscriber::set_global_default(subscriber).expect("is the first");
        capture
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("is text")
    }
}

const TRACES: &str = "SHIELDCERT_TEST_TRACES";

/// A trace is of a whole process, so it is taken in one of its own.
#[test]
fn a_full_trace_of_a_lifecycle_holds_neither_token_nor_key() {
    let this = std::env::current_exe().expect("this program");
    let traced = std::process::Command::new(this)
        .args(["--exact", "promises::secrets::traces_a_lifecycle"])
        .env(TRACES, "1")
        .output()
        .expect("starts");
    let printed = String::from_utf8_lossy(&traced.stdout);
    assert!(
        traced.status.success() && printed.contains("1 passed"),
        "{printed}"
    );
}

/// Not a test: the process that [`a_full_trace_of_a_lifecycle_holds_neither_token_nor_key`] starts.
#[tokio::test]
async fn traces_a_lifecycle() {
    if std::env::var_os(TRACES).is_none() {
        return;
    }
    let capture = Capture::start();
    let emulator = Emulator::builder()
        .token(TOKEN)
        .transition_delay(std::time::Duration::ZERO)
        .start()
        .await
        .expect("starts");
    let connect = |token: &str| {
        let builder = Client::builder().token(token).base_url(emulator.base_url());
        shieldcert_tests::kit::zone(builder.retry(RetryPolicy::never()))
    };
    let zone = connect(TOKEN);
    let (key, csr) = shieldcert_tests::kit::key_and_csr("sensor-001");
    let key_text = key.to_pem();
    let issued = zone.issue(&csr).await.expect("is issued");
    let id = issued.certificate.id().clone();
    zone.list().await.expect("is read");
    zone.revoke(&id).until_settled().await.expect("settles");
    let identity = Identity::new(&issued.certificate, key).expect("they belong together");
    let wrong = connect("wrong-but-secret")
        .get(&id)
        .await
        .expect_err("is refused");
    let missing = "023e105f4ecef8ad9ca31a8372d0c353".parse().expect("an id");
    let not_found = zone.get(&missing).await.expect_err("does not exist");
    emulator.shutdown().await;
    let unreachable = zone.get(&id).await.expect_err("nobody listens");

    let trace = capture.text();
    for span in [
        "shieldcert.issue",
        "shieldcert.list",
        "shieldcert.wait",
        "shieldcert.get",
    ] {
        assert!(trace.contains(span), "{span} is traced");
    }
    let shown = format!(
        "{trace} {zone:?} {identity:?} {wrong} {wrong:?} {not_found} {not_found:?} {unreachable} {unreachable:?}"
    );
    let key_lines = key_text.lines().filter(|line| !line.starts_with('-'));
    for secret in [TOKEN, "wrong-but-secret"].into_iter().chain(key_lines) {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = MockServer::start_async().await;
    let caught = elsewhere.mock(|_, then| {
        then.status(200).body(r#"{"success":true,"result":[]}"#);
    });
    let server = MockServer::start_async().await;
    for status in [301, 302, 307, 308] {
        for target in [
            elsewhere.base_url(),
            format!("{}/elsewhere", server.base_url()),
        ] {
            let mut redirect = server.mock(|when, then| {
                when.path_includes("client_certificates");
                then.status(status).header("location", &target);
            });
            for builder in [
                Client::builder().token(OTHER_TOKEN),
                Client::builder().email_and_key("a@example.com", OTHER_TOKEN),
            ] {
                let zone = shieldcert_tests::kit::zone(builder.base_url(server.base_url()));
                let error = zone.list().await.expect_err("is not followed");
                assert_eq!(error.status().map(|s| s.as_u16()), Some(status), "{error}");
            }
            redirect.assert_calls(2);
            redirect.delete();
        }
    }
    caught.assert_calls(0);
}

/// The debug page of a gateway may repeat the request with all its headers.
#[tokio::test]
async fn a_response_that_repeats_the_token_is_redacted() {
    let server = MockServer::start_async().await;
    server.mock(|_, then| {
        then.status(500)
            .body(format!("<pre>Authorization: Bearer {OTHER_TOKEN}</pre>"));
    });
    let builder = Client::builder()
        .token(OTHER_TOKEN)
        .base_url(server.base_url());
    let zone = shieldcert_tests::kit::zone(builder.retry(RetryPolicy::never()));
    let error = zone.list().await.expect_err("is a 500");
    let shown = format!("{error} {error:?}");
    assert!(
        shown.contains("(redacted)") && !shown.contains(OTHER_TOKEN),
        "{shown}"
    );
}

/// In every place of a response that ends up in an error, and in every notation.
#[tokio::test]
async fn a_failure_that_repeats_the_token_is_redacted_wherever_it_is_kept() {
    let escaped = OTHER_TOKEN
        .replacen('q', r"\u0071", 1)
        .replacen('K', r"\u004B", 1);
    let failures = [
        (
            500,
            format!("<pre>Authorization: Bearer {OTHER_TOKEN}</pre>"),
        ),
        (200, format!(r#"{{"debug":"{escaped}"}}"#)),
        (
            403,
            format!(
                r#"{{"success":false,"errors":[{{"code":10000,"message":"bad token {escaped}",
                "documentation_url":"https://x/{OTHER_TOKEN}","source":{{"pointer":"/{OTHER_TOKEN}"}},
                "error_chain":[{{"code":1,"message":"{OTHER_TOKEN}"}}]}}]}}"#
            ),
        ),
        (
            200,
            format!(r#"{{"success":true,"result":[{{"status":"{escaped}"}}]}}"#),
        ),
    ];
    for (status, body) in failures {
        let server = MockServer::start_async().await;
        server.mock(|_, then| {
            then.status(status)
                .header("cf-ray", OTHER_TOKEN)
                .body(&body);
        });
        let builder = Client::builder().token(OTHER_TOKEN);
        let builder = builder
            .base_url(server.base_url())
            .retry(RetryPolicy::never());
        let mut pages = shieldcert_tests::kit::zone(builder).list().pages();
        let shown = match pages.try_next().await {
            Ok(page) => format!("{page:?}"),
            Err(error) => format!("{error} {error:?} {:?}", error.ray_id()),
        };
        assert!(shown.contains("(redacted)"), "{shown}");
        for secret in [OTHER_TOKEN, &escaped] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

/// The token can be a word, and what a caller compares must stay what the service sent.
#[tokio::test]
async fn what_a_caller_matches_on_is_never_redacted() {
    for token in [
        "active",
        "pending_revocation",
        "7bf7f70c-7600-42e1-81c4-e4c0da9aa515",
    ] {
        let emulator = Emulator::builder().token(token).build().expect("builds");
        let body = format!(
            r#"{{"success":true,"result":{{"id":"{token}","status":"{token}","common_name":"{token}"}}}}"#
        );
        let response = shieldcert_emulator::CannedResponse::new(200).body(body);
        let fault = shieldcert_emulator::Fault::respond(response);
        let any = shieldcert_emulator::Operation::Any;
        emulator.script([shieldcert_emulator::ScriptedFault::next(any, fault).always()]);
        let builder = Client::builder().token(token);
        let zone = shieldcert_tests::kit::zone(builder.transport(Arc::new(emulator.transport())));
        let id = token.parse().expect("an id");
        let certificate = zone.get(&id).await.expect("is read");
        assert_eq!(certificate.id(), &token);
        assert_eq!(certificate.status(), &token);
        assert_eq!(certificate.common_name(), Some(token));
    }
    // A short token occurs in a failure by chance, too.
    let emulator = Emulator::builder()
        .token("invalid")
        .build()
        .expect("builds");
    let response = shieldcert_emulator::CannedResponse::new(400)
        .body(r#"{"success":false,"errors":[{"code":1,"message":"invalid CSR"}]}"#);
    let fault = shieldcert_emulator::Fault::respond(response);
    let any = shieldcert_emulator::Operation::Any;
    emulator.script([shieldcert_emulator::ScriptedFault::next(any, fault)]);
    let builder = Client::builder().token("invalid");
    let zone = shieldcert_tests::kit::zone(builder.transport(Arc::new(emulator.transport())));
    let error = zone
        .get(&shieldcert_tests::kit::id())
        .await
        .expect_err("is refused");
    assert_eq!(error.messages()[0].message, "invalid CSR");
}

const WRITES_TO: &str = "SHIELDCERT_TEST_WRITES_TO";

/// Not a test: the process that [`a_crash_leaves_the_old_file_or_the_new_one`] kills.
#[tokio::test]
async fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(WRITES_TO) else {
        return;
    };
    let emulator = Emulator::builder().build().expect("builds");
    let zone = shieldcert_tests::kit::zone_through(emulator.transport());
    let (key, csr) = shieldcert_tests::kit::key_and_csr("sensor-001");
    let issued = zone.issue(&csr).await.expect("is issued");
    let identity = Identity::new(&issued.certificate, key).expect("they belong together");
    loop {
        identity.write_pem(&path).expect("writes");
    }
}

#[cfg(unix)]
#[test]
fn a_crash_leaves_the_old_file_or_the_new_one() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("identity.pem");
    let this = std::env::current_exe().expect("this program");
    for round in 0..20 {
        let mut writer = std::process::Command::new(&this)
            .args(["--exact", "promises::secrets::writes_until_it_is_killed"])
            .env(WRITES_TO, &path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("starts");
        // It writes thousands of times a second, so any moment is as good as another.
        while !path.exists() {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_micros(731 * round));
        writer.kill().expect("is killed");
        writer.wait().expect("ends");
        let text = std::fs::read_to_string(&path).expect("is whole");
        shieldcert::PrivateKey::from_pem(&text).expect("holds the key");
        assert!(text.starts_with("-----BEGIN CERTIFICATE-----"));
        for file in std::fs::read_dir(folder.path()).expect("reads") {
            let metadata = file.expect("a file").metadata().expect("exists");
            assert_eq!(
                metadata.permissions().mode() & 0o777,
                0o600,
                "of everything that a crash leaves"
            );
        }
    }
}

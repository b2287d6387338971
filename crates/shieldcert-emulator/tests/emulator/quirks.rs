//! Quirks: how the service, its replicas or gateways differ from a well-behaved one.

use std::time::Duration;

use http::Request;
use serde_json::{Value, json};
use shieldcert_api::transport::Transport;
use shieldcert_emulator::{
    Chaos, Emulator, EmulatorTransport, Fault, Operation, Order, RateLimit, ScriptedFault,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::common::{Response, ZONE, call, control, create_body, csr, emulator, issue};

/// An emulator whose clock stands still, with certificates that were issued in this order, and then these quirks.
async fn with_quirks(certificates: usize, quirks: &str) -> Emulator {
    let emulator = Emulator::builder().seed(1).build().expect("builds");
    for number in 0..certificates {
        issue(&emulator, &format!("device-{number:03}")).await;
    }
    emulator.set_quirks(quirks.parse().expect(quirks));
    emulator
}

async fn list(emulator: &Emulator, query: &str) -> Response {
    call(emulator, "GET", &format!("?{query}"), "").await
}

/// The names of a page, without `device-`.
async fn names(emulator: &Emulator, query: &str) -> Vec<String> {
    let response = list(emulator, query).await;
    response.assert_succeeded();
    let records = response.body["result"].as_array().expect("a list");
    let name = |record: &Value| {
        let name = record["common_name"].as_str().unwrap_or("?");
        name.trim_start_matches("device-").to_owned()
    };
    records.iter().map(name).collect()
}

fn numbers(range: impl Iterator<Item = usize>) -> Vec<String> {
    range.map(|number| format!("{number:03}")).collect()
}

async fn info(emulator: &Emulator, query: &str) -> Value {
    list(emulator, query).await.body["result_info"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_capped_page_is_followed_by_the_next() {
    let emulator = with_quirks(12, "cap=4, order=oldest").await;
    assert_eq!(names(&emulator, "per_page=50").await, numbers(0..4));
    assert_eq!(names(&emulator, "per_page=50&page=2").await, numbers(4..8));
    assert_eq!(names(&emulator, "offset=5&limit=50").await, numbers(5..9));
    let info = info(&emulator, "per_page=50").await;
    assert_eq!(
        (&info["per_page"], &info["total_pages"]),
        (&json!(4), &json!(3))
    );
}

#[tokio::test(start_paused = true)]
async fn a_cut_page_loses_its_end() {
    let emulator = with_quirks(12, "cut=4, order=oldest").await;
    assert_eq!(names(&emulator, "per_page=5").await, numbers(0..4));
    assert_eq!(names(&emulator, "per_page=5&page=2").await, numbers(5..9));
    emulator.set_quirks("cut=0@50%".parse().expect("is parsed"));
    let mut lengths = Vec::new();
    for _ in 0..32 {
        lengths.push(names(&emulator, "per_page=5").await.len());
    }
    assert!(lengths.contains(&0) && lengths.contains(&5), "{lengths:?}");
}

#[tokio::test(start_paused = true)]
async fn parameters_are_ignored() {
    let emulator = with_quirks(30, "order=oldest, ignore-page").await;
    assert_eq!(names(&emulator, "per_page=5&page=3").await, numbers(0..5));
    emulator.set_quirks("order=oldest, ignore-per-page".parse().expect("is parsed"));
    assert_eq!(names(&emulator, "per_page=5&page=2").await, numbers(20..30));
    emulator.set_quirks("order=oldest, ignore-offset".parse().expect("is parsed"));
    assert_eq!(
        names(&emulator, "offset=7&limit=3&per_page=5").await,
        numbers(0..5)
    );
    emulator.set_quirks("ignore-status".parse().expect("is parsed"));
    assert_eq!(names(&emulator, "status=revoked").await.len(), 20);
    emulator.set_quirks("order=oldest, repeat-page".parse().expect("is parsed"));
    assert_eq!(names(&emulator, "per_page=5&page=1").await, numbers(0..5));
    assert_eq!(names(&emulator, "per_page=5&page=2").await, numbers(0..5));
    assert_eq!(names(&emulator, "per_page=5&page=3").await, numbers(5..10));
}

#[tokio::test(start_paused = true)]
async fn a_page_beyond_the_end_is_an_error_or_the_last_one() {
    let emulator = with_quirks(7, "order=oldest").await;
    assert_eq!(names(&emulator, "per_page=5&page=3").await, numbers(0..0));
    for (quirk, status) in [("beyond-end=400", 400), ("beyond-end=404", 404)] {
        emulator.set_quirks(quirk.parse().expect("is parsed"));
        assert_eq!(list(&emulator, "per_page=5&page=2").await.status, 200);
        let beyond = list(&emulator, "per_page=5&page=3").await;
        assert_eq!((beyond.status, beyond.code()), (status, 6009));
    }
    emulator.set_quirks("order=oldest, beyond-end=last".parse().expect("is parsed"));
    assert_eq!(names(&emulator, "per_page=5&page=9").await, numbers(5..7));
    let empty = with_quirks(0, "beyond-end=404").await;
    assert_eq!(list(&empty, "").await.status, 200, "the first page");
    empty.set_quirks("beyond-end=last".parse().expect("is parsed"));
    assert_eq!(names(&empty, "page=2").await, numbers(0..0));
}

#[tokio::test(start_paused = true)]
async fn total_counts_say_something_else() {
    let emulator = with_quirks(7, "").await;
    let id = issue(&emulator, "revoked").await;
    call(&emulator, "DELETE", &format!("/{id}"), "").await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    issue(&emulator, "new").await;
    for (quirk, total, pages) in [
        ("", json!(9), json!(2)),
        ("total=missing", Value::Null, Value::Null),
        ("total=text", json!("9"), Value::Null),
        ("total=zero", json!(0), json!(0)),
        ("total=page", json!(5), json!(1)),
        ("total=active", json!(8), json!(2)),
        ("total=float", json!(9.0), Value::Null),
        ("total-fixed=230", json!(230), json!(46)),
        ("total-lag=50s", json!(8), json!(2)),
    ] {
        emulator.set_quirks(quirk.parse().expect("is parsed"));
        let info = info(&emulator, "per_page=5").await;
        assert_eq!(
            (&info["total_count"], &info["total_pages"]),
            (&total, &pages),
            "{quirk}"
        );
        let has_total = info
            .as_object()
            .expect("an object")
            .contains_key("total_count");
        assert_eq!(has_total, quirk != "total=missing");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cached_total_is_updated_when_its_time_is_over() {
    let emulator = with_quirks(1, "total-cache=1h").await;
    let mut totals = Vec::new();
    for _ in 0..6 {
        issue(&emulator, "device").await;
        totals.push(
            info(&emulator, "").await["total_count"]
                .as_u64()
                .expect("a number"),
        );
        tokio::time::sleep(Duration::from_secs(1500)).await;
    }
    // Five times 25 minutes have at least two full hours in them.
    totals.dedup();
    assert!((2..=4).contains(&totals.len()), "{totals:?}");
}

#[tokio::test(start_paused = true)]
async fn lists_are_in_other_orders() {
    let emulator = emulator();
    for (name, days) in [("b", 30), ("c", 10), ("a", 20)] {
        let body = create_body(&csr(name), days);
        call(&emulator, "POST", "", body).await.assert_succeeded();
    }
    for (quirk, expected) in [
        ("order=newest", "acb"),
        ("order=oldest", "bca"),
        ("order=name", "abc"),
        ("order=expiry", "cab"),
    ] {
        emulator.set_quirks(quirk.parse().expect("is parsed"));
        assert_eq!(names(&emulator, "").await.concat(), expected, "{quirk}");
    }
    emulator.set_quirks("order=id".parse().expect("is parsed"));
    let listed = list(&emulator, "").await;
    let ids = listed.body["result"].as_array().expect("a list").iter();
    let ids: Vec<_> = ids
        .map(|record| record["id"].as_str().expect("an id"))
        .collect();
    assert!(ids.is_sorted(), "{ids:?}");
    let by_name = Emulator::builder()
        .order(Order::ByName)
        .build()
        .expect("builds");
    for name in ["b", "a"] {
        issue(&by_name, name).await;
    }
    assert_eq!(names(&by_name, "").await.concat(), "ab");
}

#[tokio::test(start_paused = true)]
async fn a_lagging_replica_shows_an_earlier_state() {
    for order in ["newest", "oldest", "id", "name", "expiry"] {
        let emulator = with_quirks(1, &format!("lag=10s, order={order}")).await;
        let id = issue(&emulator, "device").await;
        let path = format!("/{id}");
        assert_eq!(call(&emulator, "GET", &path, "").await.status, 404);
        assert_eq!(names(&emulator, "").await.len(), 0, "all are too young");
        assert_eq!(info(&emulator, "").await["total_count"], 0);
        tokio::time::sleep(Duration::from_secs(11)).await;
        // By name and by expiry it is the first.
        let younger = create_body(&csr("a-younger"), 1);
        call(&emulator, "POST", "", younger)
            .await
            .assert_succeeded();
        let mut shown = names(&emulator, "").await;
        shown.sort();
        assert_eq!(shown, ["000", "device"], "{order}");
        let status = async || {
            let one = call(&emulator, "GET", &path, "").await;
            one.result("status").to_owned()
        };
        assert_eq!(status().await, "active");
        call(&emulator, "DELETE", &path, "")
            .await
            .assert_succeeded();
        assert_eq!(status().await, "active", "before the revocation");
        assert_eq!(names(&emulator, "status=active").await.len(), 2);
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(status().await, "pending_revocation");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(status().await, "revoked");
        // Writes are not the replica's.
        let written = call(&emulator, "PATCH", &path, r#"{"reactivate":true}"#).await;
        assert_eq!(written.result("status"), "pending_reactivation");
        assert_eq!(status().await, "revoked");
    }
}

fn der(pem: &str) -> Vec<u8> {
    pem::parse(pem).expect("PEM").into_contents()
}

#[tokio::test(start_paused = true)]
async fn csrs_are_written_otherwise_in_lists_and_gets() {
    let emulator = emulator();
    let csr = csr("device");
    let body = create_body(&csr, 30);
    let created = call(&emulator, "POST", "", body).await;
    let path = format!("/{}", created.result("id"));
    for (quirk, in_gets) in [("csr", true), ("list-csr", false)] {
        for form in ["null", "missing", "bare", "escaped", "reencoded"] {
            emulator.set_quirks(format!("{quirk}={form}").parse().expect("is parsed"));
            let got = call(&emulator, "GET", &path, "").await.body["result"].clone();
            let listed = list(&emulator, "").await.body["result"][0].clone();
            if !in_gets {
                assert_eq!(got["csr"], created.body["result"]["csr"]);
            } else {
                assert_eq!(got, listed);
            }
            let text = listed["csr"].as_str();
            match form {
                "null" => assert_eq!(listed.get("csr"), Some(&Value::Null)),
                "missing" => assert_eq!(listed.get("csr"), None),
                "bare" => {
                    let text = text.expect("a CSR");
                    let pem = format!("-----BEGIN A-----\n{text}\n-----END A-----");
                    assert_eq!(der(&pem), der(&csr));
                }
                "escaped" => assert_eq!(text.expect("a CSR").replace("\\n", "\n"), csr),
                _ => {
                    let text = text.expect("a CSR");
                    assert!(text.starts_with("-----BEGIN NEW CERTIFICATE REQUEST-----\n"));
                    assert_eq!(text.lines().nth(1).map(str::len), Some(76));
                    assert_eq!(der(text), der(&csr));
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn certificates_are_missing_or_chains() {
    let emulator = emulator();
    let path = format!("/{}", issue(&emulator, "device").await);
    let plain = call(&emulator, "GET", &path, "").await;
    let own = plain.result("certificate");
    for (form, expected) in [
        ("null", Some(Value::Null)),
        ("missing", None),
        ("chain", Some(json!(format!("{own}{}", emulator.ca_pem())))),
        (
            "chain-reversed",
            Some(json!(format!("{}{own}", emulator.ca_pem()))),
        ),
    ] {
        emulator.set_quirks(format!("certificate={form}").parse().expect("is parsed"));
        let got = call(&emulator, "GET", &path, "").await;
        assert_eq!(
            got.body["result"].get("certificate"),
            expected.as_ref(),
            "{form}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn numbers_have_other_notations_in_every_response() {
    let emulator = emulator();
    for (quirk, field, begins, holds) in [
        ("serial=0x", "serial_number", "0x", ""),
        ("serial=blanks", "serial_number", "", " "),
        ("serial=colons", "serial_number", "", ":"),
        ("serial=decimal", "serial_number", "", ""),
        ("fingerprint=sha256", "fingerprint_sha256", "sha256:", ""),
        ("fingerprint=colons", "fingerprint_sha256", "", ":"),
        ("fingerprint=0x", "fingerprint_sha256", "0x", ""),
        ("fingerprint=blanks", "fingerprint_sha256", "", " "),
    ] {
        emulator.set_quirks(quirk.parse().expect("is parsed"));
        let body = create_body(&csr("device"), 30);
        let created = call(&emulator, "POST", "", body).await;
        let value = created.result(field);
        assert!(
            value.starts_with(begins) && value.contains(holds),
            "{quirk}: {value}"
        );
        let path = format!("/{}", created.result("id"));
        assert_eq!(call(&emulator, "GET", &path, "").await.result(field), value);
        emulator.set_quirks("".parse().expect("is parsed"));
        let plain = call(&emulator, "GET", &path, "").await;
        assert_ne!(plain.result(field), value, "{quirk}");
        if quirk == "serial=decimal" {
            assert!(value.len() > 40 && value.bytes().all(|byte| byte.is_ascii_digit()));
        } else {
            let digits = value.trim_start_matches(begins).replace([':', ' '], "");
            assert_eq!(plain.result(field), digits, "{quirk}");
        }
    }
    for field in ["serial_number", "fingerprint_sha256"] {
        emulator.set_quirks(
            "serial=upper, fingerprint=upper"
                .parse()
                .expect("is parsed"),
        );
        let upper = list(&emulator, "").await.body["result"][0][field].clone();
        emulator.set_quirks("".parse().expect("is parsed"));
        let plain = list(&emulator, "").await.body["result"][0][field].clone();
        let plain = plain.as_str().expect("text");
        assert_eq!(upper, plain.to_uppercase());
        assert_ne!(upper, plain);
    }
}

#[tokio::test(start_paused = true)]
async fn times_are_missing_or_written_as_go_does() {
    let emulator = emulator();
    let path = format!("/{}", issue(&emulator, "device").await);
    for (quirk, field) in [("issued-on", "issued_on"), ("expires-on", "expires_on")] {
        let get = async |form: &str| {
            emulator.set_quirks(format!("{quirk}={form}").parse().expect("is parsed"));
            let got = call(&emulator, "GET", &path, "").await.body["result"].clone();
            got.get(field).cloned()
        };
        emulator.set_quirks("".parse().expect("is parsed"));
        let plain = call(&emulator, "GET", &path, "").await;
        let go = plain
            .result(field)
            .replace('T', " ")
            .replace('Z', " +0000 UTC");
        assert_eq!(get("missing").await, None);
        assert_eq!(get("null").await, Some(Value::Null));
        assert_eq!(get("go").await, Some(json!(go)));
    }
}

#[tokio::test(start_paused = true)]
async fn records_are_odd_in_lists_and_gets() {
    let emulator = with_quirks(1, "no-id").await;
    let plain = issue(&emulator, "device").await;
    let path = format!("/{plain}");
    let both = async |quirk: &str| {
        emulator.set_quirks(quirk.parse().expect("is parsed"));
        let got = call(&emulator, "GET", &path, "").await.body["result"].clone();
        assert_eq!(got, list(&emulator, "").await.body["result"][0]);
        got
    };
    let without = both("no-id").await;
    assert!(without.get("id").is_none() && without["common_name"] == "device");
    assert_eq!(both("null-record").await, Value::Null);
    let nested = both("nested-record").await;
    assert_eq!(nested["id"], plain);
    assert_eq!(nested["common_name"], json!({ "value": "device" }));
    assert_eq!(nested["status"], json!({ "value": "active" }));
    // Quirks that come after a null record change nothing.
    assert_eq!(both("null-record, odd-id, csr=null").await, Value::Null);
    // Writes respond as always.
    let body = create_body(&csr("device"), 30);
    let created = call(&emulator, "POST", "", body).await;
    assert_eq!(created.result("status"), "active");
}

/// Percent-encodes everything but letters and digits.
fn encode(id: &str) -> String {
    let encode = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    id.bytes().map(encode).collect()
}

#[tokio::test(start_paused = true)]
async fn an_odd_id_works_percent_encoded() {
    let emulator = with_quirks(20, "odd-id").await;
    let listed = list(&emulator, "").await;
    let mut lengths = Vec::new();
    for record in listed.body["result"].as_array().expect("a list") {
        let id = record["id"].as_str().expect("an id");
        lengths.push(id.chars().count());
        let path = format!("/{}", encode(id));
        let got = call(&emulator, "GET", &path, "").await;
        assert_eq!((got.status, got.result("id")), (200, id));
        let revoked = call(&emulator, "DELETE", &path, "").await;
        assert_eq!(revoked.result("status"), "pending_revocation");
        assert_eq!(revoked.result("id"), id);
    }
    lengths.sort_unstable();
    assert!(lengths[0] >= 40 && lengths[0] < lengths[19] && lengths[19] <= 255);
}

#[tokio::test(start_paused = true)]
async fn a_share_of_records_is_odd_and_stays_so() {
    let emulator = with_quirks(100, "no-id@20%, csr=null@20%").await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let listed = list(&emulator, "per_page=50").await;
        let records = listed.body["result"].as_array().expect("a list").clone();
        seen.push(records);
    }
    assert_eq!(seen[0], seen[1]);
    let count = |odd: fn(&&Value) -> bool| seen[0].iter().filter(odd).count();
    let without_id = count(|record| record.get("id").is_none());
    let without_csr = count(|record| record["csr"].is_null());
    let without_both = count(|record| record["csr"].is_null() && record.get("id").is_none());
    for odd in [without_id, without_csr] {
        assert!((3..=20).contains(&odd), "{odd}");
    }
    assert!(
        without_both < without_id.min(without_csr),
        "they are drawn apart"
    );
}

/// The validity of a new certificate, in seconds since 1970.
async fn validity(emulator: &Emulator, days: i64) -> (i64, i64, Value) {
    let body = create_body(&csr("device"), days);
    let created = call(emulator, "POST", "", body).await;
    created.assert_succeeded();
    let der = der(created.result("certificate"));
    let (_, certificate) = X509Certificate::from_der(&der).expect("a certificate");
    let validity = certificate.validity();
    (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
        created.body["result"].clone(),
    )
}

#[tokio::test(start_paused = true)]
async fn the_ca_backdates_and_changes_validities() {
    const DAY: i64 = 86_400;
    let start = std::time::UNIX_EPOCH + Duration::from_secs(1_800_000_030);
    let emulator = Emulator::builder()
        .clock_start(start)
        .quirks("backdate=11m".parse().expect("is parsed"))
        .build()
        .expect("builds");
    let (from, to, record) = validity(&emulator, 30).await;
    assert_eq!(from, 1_800_000_000 - 11 * 60, "rounded to the minute");
    assert_eq!(to - from, 30 * DAY);
    assert_eq!(record["issued_on"], "2027-01-15T07:49:00Z");
    for (quirk, asked, days) in [
        ("max-validity=90", 30, 30),
        ("max-validity=90", 365, 90),
        ("extra-validity=10", 30, 40),
    ] {
        emulator.set_quirks(quirk.parse().expect("is parsed"));
        let (from, to, record) = validity(&emulator, asked).await;
        assert_eq!(to - from, days * DAY, "{quirk}");
        assert_eq!(record["validity_days"], days);
        assert_eq!(from, 1_800_000_030);
    }
}

#[tokio::test(start_paused = true)]
async fn repeated_changes_are_refused() {
    let emulator = with_quirks(0, "refuse-repeats").await;
    let path = format!("/{}", issue(&emulator, "device").await);
    let reactivate = async || call(&emulator, "PATCH", &path, r#"{"reactivate":true}"#).await;
    let revoke = async || call(&emulator, "DELETE", &path, "").await;
    reactivate().await.assert_failed(409, 1406);
    revoke().await.assert_succeeded();
    revoke().await.assert_failed(409, 1406);
    tokio::time::sleep(Duration::from_secs(3)).await;
    revoke().await.assert_failed(409, 1406);
    reactivate().await.assert_succeeded();
    reactivate().await.assert_failed(409, 1406);
}

#[tokio::test(start_paused = true)]
async fn refusals_have_the_status_200() {
    let emulator = Emulator::builder()
        .quota(0)
        .rate_limit(RateLimit::new(2, Duration::from_secs(60)))
        .quirks("refuse-with-200".parse().expect("is parsed"))
        .build()
        .expect("builds");
    let body = create_body(&csr("device"), 30);
    call(&emulator, "POST", "", body)
        .await
        .assert_failed(200, 1445);
    list(&emulator, "").await.assert_succeeded();
    assert_eq!(list(&emulator, "").await.status, 429);
}

#[tokio::test(start_paused = true)]
async fn dates_are_missing_or_off() {
    let start = std::time::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let emulator = Emulator::builder()
        .clock_start(start)
        .build()
        .expect("builds");
    let date = async |quirks: &str| {
        emulator.set_quirks(quirks.parse().expect("is parsed"));
        let response = list(&emulator, "").await;
        let date = response.headers.get("date")?;
        Some(date.to_str().expect("text").to_owned())
    };
    assert_eq!(date("no-date").await, None);
    for (quirk, expected) in [
        ("", "Fri, 15 Jan 2027 08:00:00 GMT"),
        ("date-offset=+3h", "Fri, 15 Jan 2027 11:00:00 GMT"),
        ("date-offset=-700s", "Fri, 15 Jan 2027 07:48:20 GMT"),
    ] {
        assert_eq!(date(quirk).await.as_deref(), Some(expected), "{quirk}");
    }
    // It jumps.
    let mut dates = Vec::new();
    emulator.set_quirks("date-offset=1h@50%".parse().expect("is parsed"));
    for _ in 0..32 {
        dates.push(list(&emulator, "").await.headers["date"].clone());
    }
    dates.sort();
    dates.dedup();
    assert_eq!(dates.len(), 2);
}

#[tokio::test]
async fn over_http_a_missing_date_is_empty() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let emulator = Emulator::builder().quirks("no-date".parse().expect("is parsed"));
    let emulator = emulator.start().await.expect("starts");
    let mut stream = tokio::net::TcpStream::connect(emulator.address())
        .await
        .expect("connects");
    let request = format!(
        "GET /client/v4/zones/{ZONE}/client_certificates HTTP/1.0\r\nauthorization: Bearer t\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("is sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("is read");
    let dates: Vec<_> = response
        .lines()
        .filter(|line| line.starts_with("date:"))
        .collect();
    assert_eq!(dates.len(), 1, "{response}");
    assert_eq!(dates[0].trim(), "date:");
    emulator.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn retry_after_has_odd_values_in_a_block() {
    let start = std::time::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    for (quirk, expected) in [
        ("", Some("60")),
        ("retry-after=missing", None),
        ("retry-after=0", Some("0")),
        ("retry-after=1", Some("1")),
        ("retry-after=fraction", Some("2.5")),
        ("retry-after=date", Some("Fri, 15 Jan 2027 08:01:00 GMT")),
        ("retry-after=huge", Some("31536000")),
        ("retry-after=overflow", Some("99999999999999999999999")),
        ("retry-after=text", Some("soon")),
    ] {
        let emulator = Emulator::builder()
            .clock_start(start)
            .rate_limit(RateLimit::new(1, Duration::from_secs(60)))
            .quirks(quirk.parse().expect("is parsed"))
            .build()
            .expect("builds");
        let first = list(&emulator, "").await;
        assert!(!first.headers.contains_key("retry-after"));
        for _ in 0..2 {
            let blocked = list(&emulator, "").await;
            let value = blocked.headers.get("retry-after");
            assert_eq!(
                (
                    blocked.status,
                    value.map(|value| value.to_str().expect("text"))
                ),
                (429, expected),
                "{quirk}"
            );
        }
        emulator.set_quirks("no-ratelimit".parse().expect("is parsed"));
        let blocked = list(&emulator, "").await;
        assert!(first.headers.contains_key("ratelimit"));
        assert!(!blocked.headers.contains_key("ratelimit"));
        assert!(!blocked.headers.contains_key("ratelimit-policy"));
        // A gateway's 503 too.
        emulator.set_quirks(quirk.parse().expect("is parsed"));
        let busy = "respond=503 retry-after=60"
            .parse::<Fault>()
            .expect("is parsed");
        emulator.script([ScriptedFault::next(Operation::List, busy)]);
        let busy = list(&emulator, "").await;
        assert_eq!(
            busy.headers
                .get("retry-after")
                .map(|value| value.to_str().expect("text")),
            expected
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_quirk_is_a_fault_too() {
    let emulator = with_quirks(12, "order=oldest").await;
    let script = "list@2: quirk=cap=5; list@4: quirk=order=newest";
    emulator.script(
        script
            .parse::<shieldcert_emulator::Script>()
            .expect("is parsed"),
    );
    let lengths = [
        names(&emulator, "").await.len(),
        names(&emulator, "").await.len(),
        names(&emulator, "").await.len(),
    ];
    assert_eq!(lengths, [12, 5, 12]);
    // A quirk that lasts goes before one of a moment.
    assert_eq!(names(&emulator, "").await, numbers(0..12));
    assert!(emulator.pending_script().to_string().is_empty());
    let chaos: Chaos = "quirk=50%:cap=5, quirk=50%:total=missing"
        .parse()
        .expect("is parsed");
    emulator.set_chaos(chaos);
    let mut seen = Vec::new();
    for _ in 0..32 {
        let response = list(&emulator, "").await;
        let total = response.body["result_info"]["total_count"].is_null();
        seen.push((response.body["result"].as_array().map(Vec::len), total));
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [(Some(5), false), (Some(12), true)]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_quirks_of_its_own() {
    let emulator = with_quirks(12, "cap=6").await;
    let connections = [
        emulator.connect(),
        emulator
            .connect()
            .quirks("cap=3".parse().expect("is parsed")),
        emulator.connect().quirks("".parse().expect("is parsed")),
    ];
    let mut lengths = Vec::new();
    for connection in &connections {
        let request = Request::builder()
            .uri(format!(
                "{}/zones/{ZONE}/client_certificates",
                EmulatorTransport::BASE_URL
            ))
            .header("authorization", "Bearer t")
            .body(bytes::Bytes::new())
            .expect("a request");
        let response = connection.send(request).await.expect("a response");
        let body: Value = serde_json::from_slice(response.body()).expect("JSON");
        lengths.push(body["result"].as_array().map(Vec::len));
    }
    assert_eq!(lengths, [Some(6), Some(3), Some(12)]);
}

#[tokio::test(start_paused = true)]
async fn quirks_are_controlled_over_http_and_reset() {
    let emulator = Emulator::builder()
        .quirks("cap=7".parse().expect("is parsed"))
        .control(true)
        .build()
        .expect("builds");
    assert_eq!(control(&emulator, "GET", "quirks", "").await.text, "cap=7");
    let put = control(&emulator, "PUT", "quirks", "cap=25,\ntotal=missing@5%\n").await;
    assert_eq!(
        (put.status, put.text.as_str()),
        (200, "cap=25, total=missing@5%")
    );
    let wrong = control(&emulator, "PUT", "quirks", "odd").await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong.text.contains("\"odd\" is not a quirk"),
        "{}",
        wrong.text
    );
    emulator.reset().await.expect("is reset");
    assert_eq!(control(&emulator, "GET", "quirks", "").await.text, "cap=7");
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_database_refuses_what_only_memory_can_show() {
    let folder = tempfile::tempdir().expect("a folder");
    let builder = || Emulator::builder().db(folder.path().join("emulator.db"));
    for quirk in [
        "lag=1s",
        "total-lag=1s",
        "total-cache=1s",
        "order=name",
        "order=expiry",
    ] {
        let error = builder()
            .quirks(quirk.parse().expect("is parsed"))
            .open()
            .await;
        let message = error.expect_err(quirk).to_string();
        let name = quirk.split('=').next().unwrap_or_default();
        assert!(
            message.starts_with(&format!("{name}: it needs the store in memory")),
            "{message}"
        );
    }
    let error = builder()
        .order(Order::ByName)
        .open()
        .await
        .expect_err("refused");
    insta::assert_snapshot!(error, @"this order of lists: it needs the store in memory; leave it out, or the database");
    let emulator = builder().open().await.expect("opens");
    let path = format!("/{}", issue(&emulator, "device").await);
    for quirk in ["lag=1s", "total-lag=1s", "order=name"] {
        emulator.set_quirks(quirk.parse().expect("is parsed"));
        let listed = list(&emulator, "").await;
        listed.assert_failed(500, 1000);
        assert!(
            listed.text.contains("needs the store in memory"),
            "{}",
            listed.text
        );
    }
    emulator.set_quirks("lag=1s".parse().expect("is parsed"));
    call(&emulator, "GET", &path, "")
        .await
        .assert_failed(500, 1000);
    emulator.set_quirks(
        "cap=5, refuse-repeats, order=oldest"
            .parse()
            .expect("is parsed"),
    );
    list(&emulator, "").await.assert_succeeded();
    call(&emulator, "PATCH", &path, r#"{"reactivate":true}"#)
        .await
        .assert_failed(409, 1406);
}

#[tokio::test(start_paused = true)]
async fn presets_respond_as_their_names_say() {
    for (name, status, acts, content) in [
        ("empty-object", 200, 1, "{}"),
        ("null-result", 200, 1, r#""result":null"#),
        ("maintenance", 200, 0, r#"{"message":"maintenance"}"#),
        ("challenge", 403, 0, "Just a moment..."),
        ("1015", 429, 0, "Error 1015"),
        ("not-found", 404, 0, r#""code":1401"#),
        ("quota", 400, 0, r#""code":1445"#),
        ("quota-with-200", 200, 0, r#""code":1445"#),
        ("bad-byte", 200, 1, "\u{fffd}"),
        ("bad-json", 200, 1, "#"),
    ] {
        let emulator = emulator();
        emulator.script([ScriptedFault::next(Operation::Create, Fault::named(name))]);
        let body = create_body(&csr("device"), 30);
        let response = call(&emulator, "POST", "", body).await;
        assert_eq!(response.status, status, "{name}");
        assert!(response.text.contains(content), "{name}: {}", response.text);
        let is_json = serde_json::from_str::<Value>(&response.text).is_ok();
        let is_page = ["challenge", "1015"].contains(&name);
        // Of the byte that is no text, `text` has a replacement.
        if name != "bad-byte" {
            assert_eq!(is_json, !is_page && name != "bad-json", "{name}");
        }
        let kind = if is_page {
            "text/html; charset=utf-8"
        } else {
            "application/json"
        };
        assert_eq!(response.headers["content-type"], kind, "{name}");
        assert!(!response.headers.contains_key("retry-after"));
        assert_eq!(crate::common::count(&emulator).await, acts, "{name}");
        assert_eq!(emulator.history()[0].fault, Some(name));
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateways_page_is_one_of_its_seven() {
    for (name, acts) in [("52x", 0), ("52x-after", 1)] {
        let emulator = Emulator::builder().chaos_seed(1).build().expect("builds");
        let fault = Fault::named(name);
        emulator.script([ScriptedFault::next(Operation::Create, fault.clone())]);
        let body = create_body(&csr("device"), 30);
        let created = call(&emulator, "POST", "", body).await;
        assert!((520..=526).contains(&created.status), "{}", created.status);
        assert_eq!(crate::common::count(&emulator).await, acts);
        emulator.script([ScriptedFault::next(Operation::List, fault).times(64)]);
        let mut statuses = Vec::new();
        for _ in 0..64 {
            let page = list(&emulator, "").await;
            assert!(page.text.starts_with("<html>"), "{}", page.text);
            statuses.push(page.status);
        }
        statuses.sort_unstable();
        statuses.dedup();
        assert_eq!(statuses, (520..=526).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_almost_odd_is_malformed() {
    let emulator = emulator();
    let id = issue(&emulator, "device").await;
    let path = format!("/{}", encode(&format!("cert:{}", id.replace('-', ""))));
    call(&emulator, "GET", &path, "")
        .await
        .assert_failed(404, 7003);
}

//! Promise 1 against services that hide, repeat, backdate and mislead: what `issue` concludes rests on what it was shown.

use std::time::Duration;

use http::Method;
use shieldcert::{Csr, Error, IssueIntent, KeyAlgorithm, PrivateKey, RetryPolicy, Subject, Zone};
use shieldcert_emulator::{
    CannedResponse, Emulator, EmulatorBuilder, Fault, Operation, ScriptedFault,
};
use shieldcert_tests::kit::tap::Tap;
use shieldcert_tests::kit::{TOKEN, issue, key_and_csr, zone_through};

const HOUR: Duration = Duration::from_secs(3600);

fn builder() -> EmulatorBuilder {
    let builder = Emulator::builder().token(TOKEN).seed(1);
    builder.latency(Duration::from_millis(30))
}

fn service(quirks: &str) -> Emulator {
    let quirks = quirks.parse().expect("quirks");
    builder().quirks(quirks).build().expect("builds")
}

fn zone(emulator: &Emulator) -> Zone {
    zone_through(emulator.transport())
}

/// The next creates have these faults, in order.
fn script(emulator: &Emulator, faults: impl IntoIterator<Item = Fault>) {
    let rules = faults.into_iter();
    emulator.script(rules.map(|fault| ScriptedFault::next(Operation::Create, fault)));
}

/// Returns the ids of the CSR's active certificates, as they are.
async fn active(emulator: &Emulator, csr: &Csr) -> Vec<String> {
    tokio::time::sleep(Duration::from_secs(10)).await;
    let quirks = "csr=null@0%".parse().expect("quirks");
    let undisturbed = emulator.connect().quirks(quirks);
    let found = zone_through(undisturbed).find_by_csr(csr).await;
    let found = found.expect("is read");
    let active = found
        .certificates
        .iter()
        .filter(|found| found.status() == "active");
    active.map(|found| found.id().to_string()).collect()
}

async fn lists(emulator: &Emulator, operation: impl Future<Output = ()>) -> usize {
    let before = emulator.history().count(Operation::List);
    operation.await;
    emulator.history().count(Operation::List) - before
}

/// Whether the error says that nothing is known, and which records it names.
fn unknown(error: Error) -> (IssueIntent, Vec<String>) {
    match error {
        Error::OutcomeUnknown {
            intent, records, ..
        } => {
            let ids = records.iter().map(|record| {
                record
                    .id
                    .as_ref()
                    .map_or_else(String::new, ToString::to_string)
            });
            (*intent, ids.collect())
        }
        other => panic!("{other}"),
    }
}

/// A list that shows no CSR hides the certificate from a look-up by CSR.
#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_listed_without_its_csr_is_not_made_again() {
    for csr_form in ["csr=null", "csr=missing", "csr=null, backdate=5m"] {
        let emulator = service(csr_form);
        script(&emulator, [Fault::lose_response()]);
        let (_, csr) = key_and_csr("sensor-001");
        let issued = zone(&emulator).issue(&csr).key_is_new().await;
        let issued = issued.unwrap_or_else(|error| panic!("{csr_form}: {error}"));
        assert!(issued.recovered, "{csr_form}");
        assert_eq!(active(&emulator, &csr).await.len(), 1, "{csr_form}");

        // Where the key may be an older one, the same record proves nothing.
        let emulator = service("csr=null, backdate=5m");
        script(&emulator, [Fault::lose_response()]);
        let error = zone(&emulator).issue(&csr).await.expect_err("is unclear");
        let (intent, records) = unknown(error);
        assert_eq!(records, active(&emulator, &csr).await);
        assert_eq!(emulator.history().count(Operation::Create), 1);
        let resumed = zone(&emulator)
            .issue(&csr)
            .resume(intent)
            .key_is_new()
            .await;
        assert_eq!(
            resumed.expect("is found").certificate.id().as_str(),
            records[0]
        );
        assert_eq!(emulator.history().count(Operation::Create), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_csr_is_recognized_in_every_form() {
    for form in ["bare", "escaped", "reencoded"] {
        let emulator = service(&format!("csr={form}"));
        script(&emulator, [Fault::lose_response()]);
        let (_, csr) = key_and_csr("sensor-001");
        let issued = zone(&emulator).issue(&csr).await;
        assert!(issued.expect(form).recovered, "{form}");
        assert_eq!(active(&emulator, &csr).await.len(), 1, "{form}");
    }
}

/// Clocks apart by hours, dates that are missing, and CAs that backdate.
#[tokio::test(start_paused = true)]
async fn neither_clocks_nor_backdating_make_two_certificates() {
    for quirks in [
        "date-offset=-700s",
        "date-offset=40m",
        "date-offset=-3h",
        "no-date",
        "backdate=5m",
        "backdate=11m",
        "backdate=11m, date-offset=700s",
        "issued-on=null",
        "issued-on=go",
    ] {
        for (fault, recovered) in [
            (Fault::lose_response(), true),
            (Fault::lose_request(), false),
            (Fault::late(Duration::from_secs(60)), true),
        ] {
            let emulator = service(quirks);
            let zone = zone(&emulator);
            let _ = zone.list().await.expect("is read");
            script(&emulator, [fault.clone()]);
            let (_, csr) = key_and_csr("sensor-001");
            let issued = zone.issue(&csr).await;
            let issued = issued.unwrap_or_else(|error| panic!("{quirks} {fault:?}: {error}"));
            assert_eq!(issued.recovered, recovered, "{quirks} {fault:?}");
            let active = active(&emulator, &csr).await;
            assert_eq!(
                active,
                [issued.certificate.id().as_str()],
                "{quirks} {fault:?}"
            );
        }
    }
}

/// A client that is three hours behind took the old certificate for the new one, and revoked the new one.
#[tokio::test(start_paused = true)]
async fn an_older_certificate_of_the_csr_is_not_the_result() {
    for quirks in ["", "backdate=11m", "csr=null", "date-offset=3s"] {
        let emulator = service(quirks);
        let (_, csr) = key_and_csr("sensor-001");
        let old = issue(&zone(&emulator), &csr).await;
        emulator.advance(2 * HOUR);
        script(&emulator, [Fault::lose_response()]);
        // Another client, which knows nothing of the old one. Listed without a CSR, only a new key tells them apart.
        let issue = zone(&emulator).issue(&csr).key_is_new();
        let issued = issue
            .await
            .unwrap_or_else(|error| panic!("{quirks}: {error}"));
        assert!(issued.recovered, "{quirks}");
        assert_ne!(issued.certificate.id(), &old, "{quirks}");
        let active = active(&emulator, &csr).await;
        assert_eq!(active.len(), 2, "{quirks}: nothing is revoked");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_client_has_returned_is_neither_returned_again_nor_revoked() {
    let emulator = service("");
    let zone = zone(&emulator);
    let (_, csr) = key_and_csr("sensor-001");
    let first = issue(&zone, &csr).await;
    script(
        &emulator,
        [Fault::bad_gateway_before(), Fault::lose_response()],
    );
    let second = zone.issue(&csr).await.expect("is issued");
    assert!(second.recovered && second.surplus.is_empty());
    assert_ne!(second.certificate.id(), &first);
    assert_eq!(active(&emulator, &csr).await.len(), 2);
}

/// One CSR issued for 30, then 90, then 365 days: a match of another validity decides nothing.
#[tokio::test(start_paused = true)]
async fn a_match_of_another_validity_is_unclear_until_it_is_named_as_known() {
    let emulator = service("");
    let (_, csr) = key_and_csr("sensor-001");
    let mut others = Vec::new();
    for days in [30, 90] {
        let issued = zone(&emulator).issue(&csr).validity_days(days).await;
        others.push(issued.expect("is issued").certificate.id().clone());
    }
    script(&emulator, [Fault::lose_response()]);
    let error = zone(&emulator).issue(&csr).await.expect_err("is unclear");
    let text = error.to_string();
    let (intent, mut records) = unknown(error);
    records.sort();
    let mut expected: Vec<_> = others.iter().map(ToString::to_string).collect();
    expected.sort();
    assert_eq!(records, expected, "{text}");
    assert!(
        text.contains("valid for 30 days, and 365 were asked for"),
        "{text}"
    );
    assert_eq!(active(&emulator, &csr).await.len(), 3, "nothing is revoked");

    let resumed = zone(&emulator)
        .issue(&csr)
        .resume(intent)
        .known(others.clone());
    let resumed = resumed.await.expect("is found");
    assert_eq!((resumed.recovered, resumed.attempts), (true, 0));
    assert!(!others.contains(resumed.certificate.id()));
    assert_eq!(emulator.history().count(Operation::Create), 3);
}

#[tokio::test(start_paused = true)]
async fn two_issues_of_a_csr_by_one_client_take_turns() {
    // The service has stated its limit. Otherwise the second one would wait for the first one's response anyway.
    let limit = "1200/300s".parse().expect("a limit");
    let emulator = builder().rate_limit(limit).build().expect("builds");
    script(&emulator, [Fault::lose_response(), Fault::lose_response()]);
    let zone = zone(&emulator);
    let _ = zone.list().await.expect("tells the limit");
    let (_, csr) = key_and_csr("sensor-001");
    let (first, second) = tokio::join!(zone.issue(&csr).send(), zone.issue(&csr).send());
    let ids = [first, second].map(|issued| issued.expect("is issued").certificate.id().to_string());
    assert_ne!(ids[0], ids[1]);
    let mut active = active(&emulator, &csr).await;
    active.sort();
    let mut ids = ids.to_vec();
    ids.sort();
    assert_eq!(active, ids);
}

/// A look-up that fails shows nothing, and is made again.
#[tokio::test(start_paused = true)]
async fn a_failed_look_up_is_repeated() {
    let emulator = service("");
    script(&emulator, [Fault::lose_request()]);
    // The four early ones, and the first complete one, with two attempts each.
    let failing = ScriptedFault::next(Operation::List, Fault::bad_gateway_before());
    emulator.script([failing.times(10)]);
    let (_, csr) = key_and_csr("sensor-001");
    let issue = zone(&emulator).issue(&csr);
    let issue = issue.retry(
        RetryPolicy::default()
            .max_attempts(2)
            .backoff(Duration::ZERO, Duration::ZERO),
    );
    let issued = issue.await.expect("is issued");
    assert_eq!((issued.recovered, issued.attempts), (false, 2));
    assert_eq!(emulator.pending_script().to_string(), "");
}

/// Its own send came late and made a duplicate. What others may have made is left alone.
#[tokio::test(start_paused = true)]
async fn a_duplicate_of_its_own_is_revoked_unless_others_may_hold_the_csr() {
    for is_shared in [false, true] {
        let emulator = service("");
        script(
            &emulator,
            [Fault::late(Duration::from_secs(12)), Fault::lose_response()],
        );
        let (_, csr) = key_and_csr("sensor-001");
        let zone = zone(&emulator);
        let _ = zone.list().await.expect("tells the time");
        let mut issue = zone.issue(&csr).settle_window(Duration::from_secs(10));
        if is_shared {
            issue = issue.csr_is_shared();
        }
        let issued = issue.await.expect("is issued");
        assert_eq!((issued.recovered, issued.attempts), (true, 2));
        assert_eq!(issued.surplus.len(), usize::from(is_shared));
        let active = active(&emulator, &csr).await;
        assert_eq!(active.len(), 1 + usize::from(is_shared));
        assert!(active.contains(&issued.certificate.id().to_string()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_clear_refusal_ends_at_once_and_an_unclear_one_is_looked_into() {
    let (_, csr) = key_and_csr("sensor-001");
    // 1445 in a response with status 200 is a refusal.
    let emulator = service("");
    script(&emulator, [Fault::named("quota-with-200")]);
    let error = zone(&emulator).issue(&csr).await.expect_err("is refused");
    assert!(error.is_quota_reached() && !error.is_ambiguous(), "{error}");
    assert_eq!(emulator.history().count(Operation::List), 0);

    // A 5XX is unclear whatever its body, and so is a 4XX that is no envelope of the API.
    let gateway = CannedResponse::new(403).body("<html>blocked</html>");
    for fault in [
        Fault::respond_after(CannedResponse::new(500).code(1445)),
        Fault::respond_after(gateway.clone()),
        Fault::respond_after(CannedResponse::new(408).code(1)),
        Fault::named("52x-after"),
        Fault::named("empty-object"),
        Fault::named("null-result"),
        Fault::named("bad-byte"),
    ] {
        let emulator = service("");
        script(&emulator, [fault.clone()]);
        let issued = zone(&emulator).issue(&csr).await;
        let issued = issued.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert!(issued.recovered, "{fault:?}");
        assert_eq!(active(&emulator, &csr).await.len(), 1, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_checked_whatever_the_notation() {
    for quirks in [
        "serial=0x",
        "serial=blanks",
        "serial=colons",
        "serial=upper",
        "serial=decimal",
        "fingerprint=0x",
        "fingerprint=blanks",
        "fingerprint=colons",
        "fingerprint=upper",
        "fingerprint=sha256",
        "certificate=chain",
        "certificate=chain-reversed",
        "expires-on=go",
    ] {
        for faults in [vec![], vec![Fault::lose_response()]] {
            let emulator = service(quirks);
            script(&emulator, faults);
            let (_, csr) = key_and_csr("sensor-001");
            let issued = zone(&emulator).issue(&csr).await;
            issued.unwrap_or_else(|error| panic!("{quirks}: {error}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shorter_validity_is_reported_and_a_longer_one_refused() {
    let (_, csr) = key_and_csr("sensor-001");
    let emulator = service("max-validity=10");
    let issued = zone(&emulator).issue(&csr).validity_days(90).await;
    assert_eq!(issued.expect("is issued").capped_validity_days, Some(10));

    let emulator = service("extra-validity=10");
    let error = zone(&emulator).issue(&csr).validity_days(90).await;
    let error = error.expect_err("is not what was asked for");
    let listed = active(&emulator, &csr).await;
    assert!(
        matches!(&error, Error::WrongCertificate { id: Some(id), .. } if listed == [id.as_str()]),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("valid for 100 days, and 90 were asked for"),
        "{error}"
    );
}

/// Somebody has revoked the certificate whose response was lost.
#[tokio::test(start_paused = true)]
async fn a_lost_certificate_that_was_revoked_is_named_and_not_made_again() {
    let emulator = service("");
    script(&emulator, [Fault::lose_response()]);
    let (_, csr) = key_and_csr("sensor-001");
    let zone_ = zone(&emulator);
    let issuing = tokio::spawn(zone_.issue(&csr).send());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let ids = active(&emulator, &csr).await;
    let id = ids[0].parse().expect("an id");
    zone(&emulator).revoke(&id).await.expect("is revoked");
    let error = issuing.await.expect("ends").expect_err("is revoked");
    assert!(
        matches!(&error, Error::WrongCertificate { id: Some(named), .. } if *named == id),
        "{error}"
    );
    assert_eq!(emulator.history().count(Operation::Create), 1);
}

/// An odd record blocks the conclusion only if it may be the certificate.
#[tokio::test(start_paused = true)]
async fn records_that_cannot_be_compared_are_fetched_or_named() {
    let emulator = service("");
    let others = zone(&emulator);
    let (_, other) = key_and_csr("other");
    let odd = issue(&others, &other).await;
    // A record without CSR and certificate that may be the one.
    emulator.set_quirks("csr=null, certificate=null".parse().expect("quirks"));
    script(&emulator, [Fault::lose_request()]);
    let (_, csr) = key_and_csr("sensor-001");
    let error = zone(&emulator).issue(&csr).await.expect_err("is unclear");
    let (intent, records) = unknown(error);
    assert_eq!(records, [odd.as_str()]);
    assert_eq!(emulator.history().count(Operation::Create), 2);

    // A person who knows better disregards it.
    emulator.set_quirks("csr=null@0%".parse().expect("quirks"));
    let resumed = zone(&emulator)
        .issue(&csr)
        .resume(intent)
        .known([odd.clone()]);
    assert_eq!(resumed.await.expect("is issued").attempts, 1);
    assert_eq!(active(&emulator, &csr).await.len(), 1);

    // One that is older than the request is another one, whatever it holds.
    emulator.advance(2 * HOUR);
    let (_, csr) = key_and_csr("sensor-002");
    script(&emulator, [Fault::lose_request()]);
    let gone = ScriptedFault::next(Operation::Get, Fault::named("not-found"));
    emulator.script([gone.always()]);
    // Only what is issued is read as it is.
    let service = emulator.clone();
    let tap = Tap::new(emulator.transport()).before(move |request| {
        let quirks = match *request.method() {
            Method::POST => "csr=null@0%",
            _ => "csr=null, certificate=null",
        };
        service.set_quirks(quirks.parse().expect("quirks"));
        Box::pin(async { request })
    });
    let issued = zone_through(tap).issue(&csr).await.expect("is issued");
    assert_eq!((issued.recovered, issued.attempts), (false, 2));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_a_list_shortens_is_fetched_on_its_own() {
    let emulator = service("");
    let (_, other) = key_and_csr("other");
    issue(&zone(&emulator), &other).await;
    script(&emulator, [Fault::lose_request()]);
    let (_, csr) = key_and_csr("sensor-001");
    let shortened = "csr=null, certificate=null";
    let zone = zone_with_odd_page(&emulator, "csr=null@0%", shortened, "per_page=50");
    let issued = zone.issue(&csr).await.expect("is issued");
    assert_eq!(issued.attempts, 2);
    assert_eq!(emulator.history().count(Operation::Get), 1);
}

/// Makes a zone with a certificate every ten minutes whose names grow with time.
async fn fleet(quirks: &str, count: u32) -> Emulator {
    let emulator = service(quirks);
    let zone = zone(&emulator);
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
    for number in 0..count {
        let name = format!("device-{number:05}");
        let csr = key.csr(&Subject::common_name(name)).expect("a CSR");
        issue(&zone, &csr).await;
        emulator.advance(Duration::from_secs(600));
    }
    emulator
}

/// An ordinary fleet: names grow with time, so that an order by age can't be told from one by name.
#[tokio::test(start_paused = true)]
async fn a_lost_certificate_takes_a_few_requests_in_every_order_that_predicts_its_place() {
    const COUNT: u32 = 530;
    for (order, max_requests) in [
        ("newest", 13),
        ("oldest", 24),
        ("name", 24),
        ("expiry", 24),
        // The whole list, and what is behind its end.
        ("id", 24),
    ] {
        let emulator = fleet(&format!("order={order}"), COUNT).await;
        for name in ["device-00250b", "device-00530", "aaa", "zzz"] {
            for (fault, recovered) in [
                (Fault::bad_gateway_before(), false),
                (Fault::bad_gateway_after(), true),
                (Fault::late(Duration::from_secs(60)), true),
            ] {
                script(&emulator, [fault.clone()]);
                let (_, csr) = key_and_csr(name);
                let setting = format!("{order} {name} {fault:?}");
                let requests = lists(&emulator, async {
                    let issued = zone(&emulator).issue(&csr).await;
                    let issued = issued.unwrap_or_else(|error| panic!("{setting}: {error}"));
                    assert_eq!(issued.recovered, recovered, "{setting}");
                });
                let requests = requests.await;
                println!("{setting}: {requests} requests");
                assert!(requests <= max_requests, "{setting}: {requests} requests");
                // The first early look reads the first page, and the last one if it may be there.
                let early = match (order, name) {
                    ("newest", _) | ("name", "aaa") => Some(1),
                    ("oldest" | "expiry", _) | ("name", "zzz") => Some(2),
                    _ => None,
                };
                if let Some(early) = early.filter(|_| fault.name() == "502-after") {
                    assert_eq!(requests, early, "{setting}");
                }
                assert_eq!(active(&emulator, &csr).await.len(), 1, "{setting}");
                emulator.advance(2 * HOUR);
            }
        }
    }
}

/// Has these quirks for requests whose query has this parameter, and only those of the service otherwise.
fn zone_with_odd_page(emulator: &Emulator, quirks: &str, odd: &str, page: &str) -> Zone {
    let [usual, odd, page] = [quirks, odd, page].map(str::to_owned);
    let service = emulator.clone();
    let tap = Tap::new(emulator.transport()).before(move |request| {
        let query = request.uri().query().unwrap_or_default();
        let is_odd = query.split('&').any(|parameter| parameter == page);
        let quirks = if is_odd { &odd } else { &usual };
        service.set_quirks(quirks.parse().expect("quirks"));
        Box::pin(async { request })
    });
    zone_through(tap)
}

/// A page that holds fewer records than there are may have lost the certificate.
#[tokio::test(start_paused = true)]
async fn a_page_that_is_cut_where_the_certificate_belongs_shows_nothing() {
    for (order, odd, page, name) in [
        (
            "order=name",
            "order=name, cut=10",
            "page=2",
            "device-00070b",
        ),
        (
            "order=oldest",
            "order=oldest, cut=0",
            "page=7",
            "device-00300",
        ),
    ] {
        let emulator = fleet(order, 300).await;
        script(&emulator, [Fault::lose_response()]);
        let (_, csr) = key_and_csr(name);
        let zone = zone_with_odd_page(&emulator, order, odd, page);
        match zone.issue(&csr).await {
            Ok(issued) => assert!(issued.recovered, "{order}"),
            Err(error) => drop(unknown(error)),
        }
        assert_eq!(emulator.history().count(Operation::Create), 301, "{order}");
    }
}

/// A page that is the wrong way round looks like one of a list in the other order.
#[tokio::test(start_paused = true)]
async fn one_page_shows_no_order() {
    for (count, quirks) in [
        (40, "order=oldest"),
        (140, "order=oldest"),
        (140, "order=oldest, total-fixed=1000"),
    ] {
        let emulator = fleet(quirks, count).await;
        let lists = ScriptedFault::next(Operation::List, Fault::reorder()).always();
        emulator.script([lists]);
        script(&emulator, [Fault::lose_response()]);
        let (_, csr) = key_and_csr("device-00030b");
        match zone(&emulator).issue(&csr).await {
            Ok(issued) => assert!(issued.recovered, "{count} {quirks}"),
            Err(error) => drop(unknown(error)),
        }
        let creates = emulator.history().count(Operation::Create);
        assert_eq!(creates as u32, count + 1, "{quirks}");
    }
}

/// In a list by expiry, a certificate is among those that end with it, whenever they were issued.
#[tokio::test(start_paused = true)]
async fn a_lost_certificate_is_found_among_those_that_expire_with_it() {
    let emulator = service("order=expiry");
    let issuer = zone(&emulator);
    // Neither their names nor their ages are in order.
    let others = ["b", "a"].map(|name| key_and_csr(name).1);
    for (days, count) in [(365, 20), (30, 300), (90, 60), (91, 60)] {
        for other in others.iter().cycle().take(count) {
            let issued = issuer.issue(other).validity_days(days).await;
            issued.expect("is issued");
            emulator.advance(Duration::from_secs(600));
        }
    }
    script(&emulator, [Fault::lose_response()]);
    let (_, csr) = key_and_csr("sensor-001");
    let requests = lists(&emulator, async {
        let issued = zone(&emulator).issue(&csr).validity_days(90).await;
        assert!(issued.expect("is found").recovered);
    });
    let requests = requests.await;
    assert!(requests <= 17, "{requests} requests");
    assert_eq!(emulator.history().count(Operation::Create), 441);
}

/// Where ids grow with age, the list may be by id, and nobody can predict the next one.
#[tokio::test(start_paused = true)]
async fn a_list_whose_ids_grow_is_read_whole() {
    let emulator = fleet("order=oldest", 300).await;
    for (ids_grow, expected) in [(false, 11), (true, 20)] {
        let tap = Tap::new(emulator.transport()).after(move |response| {
            let body = serde_json::from_slice(response.body());
            let Ok::<serde_json::Value, _>(mut body) = body else {
                return response;
            };
            for record in body["result"].as_array_mut().into_iter().flatten() {
                if ids_grow {
                    let issued = record["issued_on"].as_str().expect("a time");
                    let digits = issued.chars().filter(char::is_ascii_digit);
                    record["id"] = digits.collect::<String>().into();
                }
            }
            response.map(|_| body.to_string().into())
        });
        let zone = zone_through(tap);
        script(&emulator, [Fault::bad_gateway_before()]);
        let (_, csr) = key_and_csr("device-00300");
        let requests = lists(&emulator, async {
            let issue = zone.issue(&csr).settle_window(Duration::ZERO);
            assert_eq!(issue.await.expect("is issued").attempts, 2);
        });
        let requests = requests.await;
        assert_eq!(requests, expected, "{ids_grow}");
    }
}

/// One 502 in a zone of a thousand certificates takes about the settle window and a few requests.
#[tokio::test(start_paused = true)]
async fn a_lost_request_takes_a_few_requests_in_a_large_zone() {
    for (order, max_requests) in [("newest", 8), ("oldest", 21)] {
        let emulator = fleet(&format!("order={order}"), 1_000).await;
        script(&emulator, [Fault::bad_gateway_before()]);
        let (_, csr) = key_and_csr("device-01000");
        let started = tokio::time::Instant::now();
        let requests = lists(&emulator, async {
            let issued = zone(&emulator).issue(&csr).await.expect("is issued");
            assert_eq!(issued.attempts, 2);
        });
        let requests = requests.await;
        println!("{order}: {requests} requests");
        assert!(requests <= max_requests, "{order}: {requests} requests");
        assert!(started.elapsed() < Duration::from_secs(80));
    }
}

/// However many look for their certificates, they share the requests.
#[tokio::test(start_paused = true)]
async fn look_ups_share_their_requests() {
    // Alone, each of them takes 2 requests or 1 for each early look, and 11 or 6 for the complete one.
    for (order, max_requests) in [("id", 45), ("newest", 25)] {
        let emulator = fleet(&format!("order={order}"), 400).await;
        let zone = zone(&emulator);
        let _ = zone.list().await.expect("is read");
        let late = Fault::late(Duration::from_secs(60));
        let every = ScriptedFault::next(Operation::Create, late).times(100);
        emulator.script([every]);
        let csrs: Vec<_> = (0..100)
            .map(|number| key_and_csr(&format!("sensor-{number}")).1)
            .collect();
        let requests = lists(&emulator, async {
            let mut results = zone.issue_all(csrs.clone()).concurrency(100).stream();
            while let Some((_, result)) = results.next().await {
                assert!(result.expect("is found").recovered);
            }
        });
        let requests = requests.await;
        println!("{order}: {requests} requests");
        assert!(requests <= max_requests, "{order}: {requests} requests");
    }
}

#[tokio::test(start_paused = true)]
async fn many_csrs_are_found_in_as_many_requests_as_one() {
    let emulator = fleet("", 120).await;
    let (_, csr) = key_and_csr("twice");
    let zone = zone(&emulator);
    let mut ids = vec![issue(&zone, &csr).await, issue(&zone, &csr).await];
    let one = lists(&emulator, async {
        zone.find_by_csr(&csr).await.expect("is read");
    });
    let one = one.await;
    let mut csrs: Vec<_> = (0..1000).map(|_| key_and_csr("absent").1).collect();
    csrs.insert(500, csr.clone());
    let mut found = Vec::new();
    let many = lists(&emulator, async {
        found = zone.find_by_csrs(csrs).await.expect("is read");
    });
    assert_eq!(many.await, one);
    assert_eq!(found.len(), 1001);
    let held: Vec<_> = found[500]
        .certificates
        .iter()
        .map(|found| found.id().clone())
        .collect();
    ids.sort();
    let mut sorted = held.clone();
    sorted.sort();
    assert_eq!(sorted, ids);
    assert_eq!(
        found
            .iter()
            .filter(|found| !found.certificates.is_empty())
            .count(),
        1
    );
    assert!(zone.find_by_csrs([]).await.expect("is nothing").is_empty());
}

/// A record that does not show its CSR may belong to another one.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_compared_is_reported_and_left_alone() {
    let emulator = service("");
    let (_, csr) = key_and_csr("sensor-001");
    let ids = [
        issue(&zone(&emulator), &csr).await,
        issue(&zone(&emulator), &csr).await,
    ];
    for (quirks, has_key) in [("csr=null", true), ("csr=null, certificate=null", false)] {
        let quirks = quirks.parse().expect("quirks");
        let zone = zone_through(emulator.connect().quirks(quirks));
        let found = zone.find_by_csr(&csr).await.expect("is read");
        let revoked = zone.revoke_surplus(&csr).keep([ids[0].clone()]).await;
        let revoked = revoked.expect("is read");
        assert!(found.certificates.is_empty() && revoked.revoked.is_empty());
        let sets = [
            (found.same_key, &ids[..], has_key),
            (found.incomparable, &ids[..], !has_key),
            (revoked.same_key, &ids[1..], has_key),
            (revoked.incomparable, &ids[1..], !has_key),
        ];
        for (certificates, expected, is_here) in sets {
            let ids = certificates.iter().map(|certificate| certificate.id());
            let mut ids: Vec<_> = ids.cloned().collect();
            let mut expected = if is_here {
                expected.to_vec()
            } else {
                Vec::new()
            };
            ids.sort();
            expected.sort();
            assert_eq!(ids, expected);
        }
    }
    assert_eq!(active(&emulator, &csr).await.len(), 2);
}

/// A zone of a million certificates in an order that predicts nothing.
#[tokio::test(start_paused = true)]
async fn a_lone_issue_starts_no_long_scan_and_ends_within_five_minutes() {
    let emulator = fleet("order=id, total-fixed=1000000", 60).await;
    script(&emulator, [Fault::lose_request()]);
    let (_, csr) = key_and_csr("sensor-001");
    let started = tokio::time::Instant::now();
    let requests = lists(&emulator, async {
        let error = zone(&emulator).issue(&csr).await.expect_err("is unclear");
        assert!(
            error
                .to_string()
                .contains("more certificates than 240 requests"),
            "{error}"
        );
        unknown(error);
    });
    assert!(requests.await < 40);
    assert!(
        started.elapsed() <= Duration::from_secs(300),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(emulator.history().count(Operation::Create), 61);

    // Nothing is known at all, and the settle window is too long to wait for.
    let emulator = service("");
    let lost = ScriptedFault::next(Operation::Create, Fault::lose_request());
    let unreachable = ScriptedFault::next(Operation::List, Fault::lose_request());
    emulator.script([lost.always(), unreachable.always()]);
    for window in [Duration::from_secs(75), Duration::MAX] {
        let started = tokio::time::Instant::now();
        let issue = zone(&emulator).issue(&csr).settle_window(window);
        unknown(issue.await.expect_err("is unclear"));
        assert!(
            started.elapsed() <= Duration::from_secs(300),
            "{:?}",
            started.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_bounds_everything_and_nothing_is_sent_after_it() {
    let (_, csr) = key_and_csr("sensor-001");
    // Before the first send: the limit is used up.
    let emulator = builder()
        .rate_limit("2/300s".parse().expect("a limit"))
        .build()
        .expect("builds");
    let waiting = zone(&emulator);
    for _ in 0..2 {
        let _ = waiting.list().await;
    }
    let started = tokio::time::Instant::now();
    let error = waiting.issue(&csr).deadline(Duration::from_secs(20)).await;
    let error = error.expect_err("is too late");
    assert!(!error.is_ambiguous(), "{error}");
    assert!(started.elapsed() <= Duration::from_secs(20));
    tokio::time::sleep(HOUR).await;
    assert_eq!(emulator.history().count(Operation::Create), 0);

    // After an unclear send.
    let emulator = service("");
    let lost = ScriptedFault::next(Operation::Create, Fault::lose_request());
    emulator.script([lost.always()]);
    for seconds in [1, 20, 100, 200] {
        let before = emulator.history().count(Operation::Create);
        let started = tokio::time::Instant::now();
        let deadline = Duration::from_secs(seconds);
        let error = zone(&emulator).issue(&csr).deadline(deadline).await;
        unknown(error.expect_err("is unclear"));
        assert!(started.elapsed() <= deadline, "{:?}", started.elapsed());
        let sends = emulator.history().count(Operation::Create) - before;
        assert_eq!(sends, if seconds > 105 { 2 } else { 1 }, "{seconds}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_intent_makes_no_request_and_is_resumed_exactly_once() {
    let (_, csr) = key_and_csr("sensor-001");
    // The process crashes at each of these times after it stored the intent.
    const CRASHES: [u64; 8] = [0, 10, 40, 2_000, 31_000, 70_000, 108_000, 200_000];
    let crashes = CRASHES.into_iter();
    for (crash_after, knows_time) in crashes.flat_map(|after| [(after, false), (after, true)]) {
        for faults in [
            vec![],
            vec![Fault::lose_response()],
            vec![Fault::lose_request()],
            vec![Fault::late(Duration::from_secs(50))],
        ] {
            let emulator = service("");
            script(&emulator, faults.clone());
            let first = zone(&emulator);
            // Where the service's time is known, the deadline decides. Elsewhere the monotonic clock does.
            let requests = usize::from(knows_time);
            if knows_time {
                let _ = first.list().await.expect("tells the time");
            }
            let issue = first.issue(&csr).deadline(Duration::from_secs(290));
            let prepared = issue.intent().await.expect("is allowed");
            assert_eq!(emulator.history().count(Operation::Any), requests);
            let stored = serde_json::to_string(prepared.intent()).expect("JSON");
            let crash = Duration::from_millis(crash_after);
            let sent = tokio::time::timeout(crash, prepared.send()).await;
            let setting = format!("{crash_after} ms, {knows_time}, {faults:?}");

            let mut intent: IssueIntent = serde_json::from_str(&stored).expect("an intent");
            let mut resumed = Err(None);
            // Until a look-up is possible: the crashed process might have sent until its deadline.
            for _ in 0..4 {
                let sends = emulator.history().count(Operation::Create);
                match zone(&emulator).issue(&csr).resume(intent.clone()).await {
                    Ok(issued) => {
                        resumed = Ok(issued);
                        break;
                    }
                    Err(error) => {
                        let (again, _) = unknown(error);
                        // Nothing new is known of a request that was not sent again.
                        if emulator.history().count(Operation::Create) == sends {
                            assert_eq!(again, intent, "{setting}");
                        }
                        intent = again;
                        resumed = Err(sent.as_ref().ok());
                        tokio::time::sleep(Duration::from_secs(100)).await;
                    }
                }
            }
            let resumed = resumed.unwrap_or_else(|_| panic!("{setting}: does not end"));
            tokio::time::sleep(HOUR).await;
            let active = active(&emulator, &csr).await;
            assert_eq!(active, [resumed.certificate.id().as_str()], "{setting}");
            if let Ok(Ok(issued)) = sent {
                assert_eq!(
                    issued.certificate.id(),
                    resumed.certificate.id(),
                    "{setting}"
                );
            }
        }
    }
}

/// A caller that drops the future does not know the certificate.
#[tokio::test(start_paused = true)]
async fn a_dropped_issue_is_resumed_by_the_same_client() {
    let emulator = service("");
    script(
        &emulator,
        [Fault::late(Duration::from_secs(12)), Fault::lose_response()],
    );
    let stuck = ScriptedFault::next(Operation::Delete, Fault::lose_request());
    emulator.script([stuck]);
    let (_, csr) = key_and_csr("sensor-001");
    let zone = zone(&emulator);
    let _ = zone.list().await.expect("tells the time");
    let issue = || zone.issue(&csr).settle_window(Duration::from_secs(10));
    let prepared = issue().intent().await.expect("is allowed");
    let intent = prepared.intent().clone();
    // It has found the certificate, and a duplicate, which it is about to revoke.
    let dropped = tokio::time::timeout(Duration::from_secs(50), prepared.send()).await;
    assert!(dropped.is_err());
    assert_eq!(emulator.pending_script().to_string(), "");
    let resumed = issue().resume(intent).await.expect("is found");
    assert_eq!((resumed.attempts, resumed.surplus.len()), (0, 1));
    assert_eq!(emulator.history().count(Operation::Create), 2);
}

#[tokio::test(start_paused = true)]
async fn an_intent_holds_a_place_in_the_rate_limit_which_its_send_uses() {
    let emulator = builder()
        .rate_limit("3/300s".parse().expect("a limit"))
        .build()
        .expect("builds");
    let zone = zone(&emulator);
    let (_, csr) = key_and_csr("sensor-001");
    let _ = zone.list().await.expect("tells the limit");
    let started = tokio::time::Instant::now();
    let prepared = zone.issue(&csr).intent().await.expect("is allowed");
    // The rest of the window goes to others.
    let _ = zone.list().await;
    prepared.send().await.expect("is sent");
    assert!(started.elapsed() < Duration::from_secs(2));
    // Dropped, it gives its place back.
    let mut errors = 0;
    for _ in 0..2 {
        let issue = zone.issue(&csr).deadline(Duration::from_secs(2));
        errors += u32::from(issue.intent().await.is_err());
    }
    assert_eq!(errors, 2, "the window is used up");
}

#[tokio::test(start_paused = true)]
async fn an_intent_is_for_its_csr() {
    let emulator = service("");
    let zone = zone(&emulator);
    let (_, csr) = key_and_csr("sensor-001");
    let prepared = zone.issue(&csr).intent().await.expect("is allowed");
    let (_, other) = key_and_csr("sensor-001");
    let error = zone.issue(&other).resume(prepared.intent().clone()).await;
    let error = error.expect_err("is another CSR");
    assert!(error.is_invalid_input(), "{error}");
    // What is resumed may have been sent, so it is not sent without a look.
    let resumed = zone_through(emulator.transport())
        .issue(&csr)
        .resume(prepared.intent().clone());
    let error = resumed.intent().await.expect_err("is to be resumed");
    assert!(error.is_invalid_input(), "{error}");
    // Stored text is input like any other.
    for days in [0, u32::MAX] {
        let mut intent = prepared.intent().clone();
        intent.validity_days = days;
        let resumed = zone_through(emulator.transport())
            .issue(&csr)
            .resume(intent);
        let error = resumed.await.expect_err("is no validity");
        assert!(error.is_invalid_input(), "{error}");
    }
    assert!(emulator.history().into_iter().next().is_none());
}

/// Without a `Date` in any response, monotonic time decides.
#[tokio::test(start_paused = true)]
async fn a_request_is_resumed_without_the_services_time() {
    for (fault, attempts) in [(Fault::lose_response(), 0), (Fault::lose_request(), 1)] {
        let emulator = service("no-date");
        script(&emulator, [fault]);
        let (_, csr) = key_and_csr("sensor-001");
        let prepared = zone(&emulator)
            .issue(&csr)
            .intent()
            .await
            .expect("is allowed");
        let intent = prepared.intent().clone();
        assert_eq!((intent.sent_after, intent.sent_before), (None, None));
        let crash = Duration::from_secs(5);
        let _ = tokio::time::timeout(crash, prepared.send()).await;
        let resumed = zone(&emulator).issue(&csr).resume(intent).await;
        assert_eq!(resumed.expect("is issued").attempts, attempts);
        assert_eq!(active(&emulator, &csr).await.len(), 1);
    }
}

/// A service that returns the certificate of an earlier request is not believed.
#[tokio::test(start_paused = true)]
async fn a_response_with_a_known_certificate_is_no_result() {
    let emulator = service("");
    let zone = zone(&emulator);
    let (_, csr) = key_and_csr("sensor-001");
    let known = issue(&zone, &csr).await;
    let record = zone.get(&known).await.expect("exists").to_json();
    let body =
        serde_json::json!({ "success": true, "errors": [], "messages": [], "result": record });
    script(
        &emulator,
        [Fault::respond(
            CannedResponse::new(200).body(body.to_string()),
        )],
    );
    let error = zone.issue(&csr).await.expect_err("is the old one");
    assert!(
        matches!(&error, Error::WrongCertificate { id: Some(id), .. } if *id == known),
        "{error}"
    );
    // A client that does not know it can be told.
    script(
        &emulator,
        [Fault::respond(
            CannedResponse::new(200).body(body.to_string()),
        )],
    );
    let told = zone_through(emulator.transport());
    let error = told.issue(&csr).known([known.clone()]).await;
    assert!(matches!(error, Err(Error::WrongCertificate { .. })));
}

/// A record without an id blocks no zone for ever: one that a list held before the request is another one.
#[tokio::test(start_paused = true)]
async fn a_record_without_an_id_is_another_one_only_if_it_was_there_before() {
    let (_, other) = key_and_csr("other");
    let (_, csr) = key_and_csr("sensor-001");
    for (is_listed_before, fault, is_issued) in [
        (false, Fault::lose_request(), false),
        (true, Fault::lose_request(), true),
        // The certificate itself is listed like that.
        (true, Fault::lose_response(), false),
    ] {
        let emulator = service("no-id");
        let zone = zone(&emulator);
        issue(&zone, &other).await;
        if is_listed_before {
            let list = zone.list().await.expect("is read");
            assert_eq!((list.len(), list.unreadable().len()), (0, 1));
        }
        script(&emulator, [fault.clone()]);
        let prepared = zone.issue(&csr).intent().await.expect("is allowed");
        let intent = prepared.intent().clone();
        let issued = prepared.send().await;
        assert_eq!(
            issued.is_ok(),
            is_issued,
            "{is_listed_before} {fault:?}: {issued:?}"
        );
        let resumed = zone_through(emulator.transport())
            .issue(&csr)
            .resume(intent)
            .await;
        if !is_listed_before {
            let (_, records) = unknown(resumed.expect_err("is unclear"));
            assert_eq!(records, [""]);
        } else if !is_issued {
            unknown(resumed.expect_err("is unclear"));
        }
        let sends = emulator.history().count(Operation::Create);
        assert_eq!(sends, if is_issued { 3 } else { 2 });
    }
}

/// A send that was refused made nothing, so a second certificate is not its own.
#[tokio::test(start_paused = true)]
async fn a_refused_send_accounts_for_no_duplicate() {
    let emulator = service("");
    script(
        &emulator,
        [
            Fault::late(Duration::from_secs(12)),
            Fault::rate_limit(Duration::from_secs(5)),
        ],
    );
    let (_, csr) = key_and_csr("sensor-001");
    let here = zone(&emulator);
    let _ = here.list().await.expect("tells the time");
    let issue_here = here.issue(&csr).settle_window(Duration::from_secs(10));
    let issuing = tokio::spawn(issue_here.send());
    tokio::time::sleep(Duration::from_secs(11)).await;
    issue(&zone(&emulator), &csr).await;
    script(&emulator, [Fault::named("quota")]);
    let issued = issuing.await.expect("ends").expect("is found");
    assert_eq!((issued.recovered, issued.surplus.len()), (true, 1));
    assert_eq!(active(&emulator, &csr).await.len(), 2, "nothing is revoked");
}

/// A zone that takes too many requests is not read again and again.
#[tokio::test(start_paused = true)]
async fn a_look_up_that_takes_too_many_requests_is_made_once() {
    for quirks in [
        // The end never comes.
        "total=missing, cap=1, order=id",
        // Nor does the end of the place.
        "total-fixed=1000000, ignore-page, order=newest",
    ] {
        let emulator = service(quirks);
        let issuer = zone(&emulator);
        let (_, other) = key_and_csr("other");
        for _ in 0..300 {
            issue(&issuer, &other).await;
        }
        script(&emulator, [Fault::lose_request()]);
        let (_, csr) = key_and_csr("sensor-001");
        let requests = lists(&emulator, async {
            let error = zone(&emulator).issue(&csr).await.expect_err("is unclear");
            unknown(error);
        });
        let requests = requests.await;
        println!("{quirks}: {requests} requests");
        assert!(requests <= 260, "{quirks}: {requests} requests");
    }
}

#[tokio::test(start_paused = true)]
async fn the_settings_of_an_issue_hold_for_many_too() {
    let emulator = service("csr=null, backdate=5m");
    script(&emulator, [Fault::lose_response()]);
    let csrs = [0, 1].map(|number| key_and_csr(&format!("sensor-{number}")).1);
    let mut results = zone(&emulator)
        .issue_all(csrs.clone())
        .key_is_new()
        .stream();
    while let Some((_, issued)) = results.next().await {
        issued.expect("is issued");
    }
    for csr in &csrs {
        assert_eq!(active(&emulator, csr).await.len(), 1);
    }

    let lost = ScriptedFault::next(Operation::Create, Fault::lose_request());
    emulator.script([lost.always()]);
    let started = tokio::time::Instant::now();
    let deadline = Duration::from_secs(20);
    let mut results = zone(&emulator).issue_all(csrs).deadline(deadline).stream();
    while let Some((_, issued)) = results.next().await {
        assert!(issued.is_err());
    }
    assert!(started.elapsed() <= deadline, "{:?}", started.elapsed());
}

/// A certificate is found once, however often its record holds it.
#[tokio::test(start_paused = true)]
async fn a_chain_that_repeats_a_certificate_is_one_record() {
    let emulator = service("");
    let (_, csr) = key_and_csr("sensor-001");
    let zone = zone(&emulator);
    let id = issue(&zone, &csr).await;
    let mut record = zone.get(&id).await.expect("exists").to_json();
    let pem = record["certificate"].as_str().expect("PEM").to_owned();
    record["certificate"] = format!("{pem}{pem}").into();
    record["csr"] = serde_json::Value::Null;
    let page = serde_json::json!({
        "success": true, "errors": [], "messages": [], "result": [record],
        "result_info": { "page": 1, "per_page": 50, "count": 1, "total_count": 1, "total_pages": 1 },
    });
    let page = CannedResponse::new(200).body(page.to_string());
    emulator.script([ScriptedFault::next(Operation::List, Fault::respond(page))]);
    let found = zone.find_by_csr(&csr).await.expect("is read");
    assert_eq!((found.certificates.len(), found.same_key.len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn an_issue_whose_turn_does_not_come_in_time_was_not_sent() {
    let emulator = service("");
    let zone = zone(&emulator);
    let (_, csr) = key_and_csr("sensor-001");
    let first = zone.issue(&csr).intent().await.expect("may be sent");
    let second = zone.issue(&csr).deadline(Duration::from_secs(1)).await;
    let error = second.expect_err("the first one is in progress");
    assert!(error.is_timeout() && !error.is_ambiguous(), "{error}");
    insta::assert_snapshot!(error, @"POST /zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates: the deadline passed before the request was sent (another issue for the same CSR is in progress)");
    first.send().await.expect("is issued");
    assert_eq!(emulator.history().count(Operation::Create), 1);
}

/// Before a gateway's `Date` that is behind, an older certificate would look like one that was made after the request.
#[tokio::test(start_paused = true)]
async fn a_clock_of_the_ca_that_is_ahead_of_the_date_makes_no_certificate_newer() {
    for quirks in ["date-offset=-11m, csr=null", "date-offset=-3h, csr=null"] {
        let emulator = service(quirks);
        let (key, csr) = key_and_csr("sensor-001");
        let renewed = key
            .csr(&Subject::common_name("sensor-001 renewed"))
            .expect("a CSR");
        let old = issue(&zone(&emulator), &csr).await;
        emulator.advance(Duration::from_secs(60));
        script(&emulator, [Fault::lose_request()]);
        let error = zone(&emulator)
            .issue(&renewed)
            .await
            .expect_err("is unclear");
        assert_eq!(unknown(error).1, [old.to_string()], "{quirks}");
        let creates = emulator.history().count(Operation::Create);
        assert_eq!(creates, 2, "{quirks}: nothing is sent again");
    }
}

//! Lists: pages, orders, filters, totals, and zones.

use std::time::Duration;

use crate::common::*;
use serde_json::Value;
use shieldcert_emulator::{Emulator, EmulatorBuilder, Order, TotalCount};

const SLOW: Duration = Duration::from_secs(1000);

/// Twelve certificates `c00` to `c11`; 3, 6 and 9 are pending revocation.
async fn fill(builder: EmulatorBuilder) -> Emulator {
    let emulator = builder.transition_delay(SLOW).build().expect("an emulator");
    for number in 0..12 {
        let id = issue(&emulator, &format!("c{number:02}")).await;
        if number % 3 == 0 && number > 0 {
            call(&emulator, "DELETE", &format!("/{id}"), "")
                .await
                .assert_succeeded();
        }
    }
    emulator
}

async fn list(emulator: &Emulator, query: &str) -> (Vec<String>, Value) {
    let response = call(emulator, "GET", query, "").await;
    response.assert_succeeded();
    let names = response.body["result"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|certificate| {
            certificate["common_name"]
                .as_str()
                .expect("a name")
                .to_owned()
        })
        .collect();
    (names, response.body["result_info"].clone())
}

#[tokio::test]
async fn each_query_gets_its_page() {
    let emulator = fill(Emulator::builder().order(Order::OldestFirst)).await;
    // Query; names; page, per_page, total_count, total_pages.
    let table: &[(&str, &[u32], [i64; 4])] = &[
        ("", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [1, 20, 12, 1]),
        ("?per_page=5", &[0, 1, 2, 3, 4], [1, 5, 12, 3]),
        ("?per_page=5&page=2", &[5, 6, 7, 8, 9], [2, 5, 12, 3]),
        ("?per_page=5.0&page=3.0", &[10, 11], [3, 5, 12, 3]),
        ("?per_page=5&page=4", &[], [4, 5, 12, 3]),
        (
            "?per_page=50&page=9007199254740991",
            &[],
            [9007199254740991, 50, 12, 1],
        ),
        ("?limit=3", &[0, 1, 2], [1, 3, 12, 4]),
        ("?limit=3&offset=4", &[4, 5, 6], [2, 3, 12, 4]),
        ("?offset=10", &[10, 11], [1, 20, 12, 1]),
        ("?offset=12", &[], [1, 20, 12, 1]),
        (
            "?limit=2&offset=1&page=3&per_page=5",
            &[1, 2],
            [1, 2, 12, 6],
        ),
        ("?status=all&limit=1", &[0], [1, 1, 12, 12]),
        ("?status=pending_revocation", &[3, 6, 9], [1, 20, 12, 1]),
        (
            "?status=pending_revocation&limit=1&offset=1",
            &[6],
            [2, 1, 12, 12],
        ),
        (
            "?status=active&per_page=5&page=2",
            &[7, 8, 10, 11],
            [2, 5, 12, 3],
        ),
        ("?status=active&per_page=5&page=3", &[], [3, 5, 12, 3]),
        ("?status=revoked", &[], [1, 20, 12, 1]),
        ("?status=pending_reactivation", &[], [1, 20, 12, 1]),
        ("?unknown=1&unknown=2&limit=1", &[0], [1, 1, 12, 12]),
    ];
    for (query, expected, [page, per_page, total, pages]) in table {
        let (names, info) = list(&emulator, query).await;
        let expected: Vec<_> = expected
            .iter()
            .map(|number| format!("c{number:02}"))
            .collect();
        assert_eq!(names, expected, "{query}");
        let numbers = ["count", "page", "per_page", "total_count", "total_pages"]
            .map(|field| info[field].as_i64());
        assert_eq!(
            numbers,
            [names.len() as i64, *page, *per_page, *total, *pages].map(Some),
            "{query}"
        );
    }
}

#[tokio::test]
async fn invalid_queries_are_refused() {
    let emulator = emulator();
    for query in [
        "page=0",
        "page=-1",
        "page=x",
        "page=1.5",
        "page=",
        "page",
        "per_page=4",
        "per_page=51",
        "per_page=0",
        "limit=0",
        "limit=1001",
        "offset=-1",
        "status=deleted",
        "status=",
        "page=1&page=2",
        "status=active&status=active",
        "page=%FF",
    ] {
        let response = call(&emulator, "GET", &format!("?{query}"), "").await;
        response.assert_failed(400, shieldcert_emulator::assumptions::INVALID_QUERY);
    }
}

#[tokio::test]
async fn the_order_holds_across_pages() {
    async fn read_pages(order: Order) -> (Vec<String>, Vec<String>) {
        let emulator = fill(Emulator::builder().order(order)).await;
        let (mut names, mut ids) = (Vec::new(), Vec::new());
        for page in 1..=3 {
            let response = call(&emulator, "GET", &format!("?per_page=5&page={page}"), "").await;
            for certificate in response.body["result"].as_array().expect("a list") {
                names.push(
                    certificate["common_name"]
                        .as_str()
                        .expect("a name")
                        .to_owned(),
                );
                ids.push(certificate["id"].as_str().expect("an id").to_owned());
            }
        }
        (names, ids)
    }
    let issued: Vec<_> = (0..12).map(|number| format!("c{number:02}")).collect();
    assert_eq!(read_pages(Order::OldestFirst).await.0, issued);
    let newest: Vec<_> = issued.iter().rev().cloned().collect();
    assert_eq!(read_pages(Order::NewestFirst).await.0, newest);
    let (mut names, ids) = read_pages(Order::ById).await;
    assert!(ids.is_sorted());
    names.sort();
    assert_eq!(names, issued);
}

#[tokio::test]
async fn the_default_order_is_newest_first() {
    let emulator = fill(Emulator::builder()).await;
    assert_eq!(list(&emulator, "?limit=2").await.0, ["c11", "c10"]);
    assert_eq!(
        list(&emulator, "?status=pending_revocation").await.0,
        ["c09", "c06", "c03"]
    );
}

#[tokio::test]
async fn the_total_counts_matches_if_set_so() {
    let emulator = fill(Emulator::builder().total_count(TotalCount::Filtered)).await;
    for (query, total, pages) in [
        ("", 12, 1),
        ("?status=pending_revocation&limit=2", 3, 2),
        ("?status=active&per_page=5&page=7", 9, 2),
        ("?status=revoked", 0, 0),
    ] {
        let (_, info) = list(&emulator, query).await;
        assert_eq!(info["total_count"], total, "{query}");
        assert_eq!(info["total_pages"], pages, "{query}");
    }
}

#[tokio::test]
async fn zones_are_separate() {
    let emulator = emulator();
    let id = issue(&emulator, "here").await;
    let there = format!("/zones/{OTHER_ZONE}/client_certificates");
    let response = call_at(&emulator, "GET", &there, "").await;
    response.assert_succeeded();
    assert_eq!(response.body["result"], serde_json::json!([]));
    assert_eq!(response.body["result_info"]["total_count"], 0);
    let not_found = shieldcert_emulator::assumptions::CERTIFICATE_NOT_FOUND;
    let there = format!("{there}/{id}");
    call_at(&emulator, "GET", &there, "")
        .await
        .assert_failed(404, not_found);
    call_at(&emulator, "DELETE", &there, "")
        .await
        .assert_failed(404, not_found);
    let body = r#"{"reactivate":true}"#;
    call_at(&emulator, "PATCH", &there, body)
        .await
        .assert_failed(404, not_found);
    // A zone id in capitals is the same zone.
    let here = format!("/zones/{}/client_certificates/{id}", ZONE.to_uppercase());
    let response = call_at(&emulator, "GET", &here, "").await;
    response.assert_succeeded();
    assert_eq!(response.result("status"), "active");
}

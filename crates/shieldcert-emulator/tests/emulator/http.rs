//! Over a real socket.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::*;
use shieldcert_emulator::{Emulator, Error, assumptions};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn to(address: SocketAddr) -> Self {
        Self(BufReader::new(
            TcpStream::connect(address).await.expect("a connection"),
        ))
    }

    async fn send(&mut self, method: &str, path: &str, body: &[u8]) {
        let head = format!(
            "{method} /client/v4/zones/{ZONE}/client_certificates{path} HTTP/1.1\r\nHost: x\r\n\
             Authorization: Bearer t\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.0.write_all(head.as_bytes()).await.expect("sent");
        self.0.write_all(body).await.expect("sent");
    }

    async fn receive(&mut self) -> (u16, String, serde_json::Value) {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).await.expect("a line");
            assert!(!line.is_empty(), "the connection ended");
            let lower = line.to_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&lower);
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.expect("the body");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (
            status.expect("a status"),
            head,
            serde_json::from_slice(&body).expect("JSON"),
        )
    }

    async fn exchange(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> (u16, serde_json::Value) {
        self.send(method, path, body).await;
        let (status, head, body) = self.receive().await;
        assert!(head.contains("\r\ncf-ray: "), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
        (status, body)
    }
}

#[tokio::test]
async fn a_lifecycle_over_one_connection() {
    let emulator = Emulator::builder()
        .token("t")
        .transition_delay(Duration::ZERO)
        .start()
        .await
        .expect("started");
    assert_eq!(
        emulator.base_url(),
        format!("http://{}/client/v4", emulator.address())
    );
    let mut connection = Connection::to(emulator.address()).await;

    let (status, issued) = connection
        .exchange("POST", "", &create_body(&csr("a"), 30))
        .await;
    assert_eq!(status, 200);
    let id = issued["result"]["id"].as_str().expect("an id").to_owned();
    let one = format!("/{id}");
    let (_, listed) = connection.exchange("GET", "", b"").await;
    assert_eq!(listed["result"][0], issued["result"]);
    let (_, revoked) = connection.exchange("DELETE", &one, b"").await;
    assert_eq!(revoked["result"]["status"], "revoked");
    let (_, active) = connection
        .exchange("PATCH", &one, br#"{"reactivate":true}"#)
        .await;
    assert_eq!(active["result"]["status"], "active");

    // Without a socket it is the same service.
    let response = call(&emulator, "GET", &one, "").await;
    assert_eq!(response.body, active);
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_the_connection_stays_open() {
    let emulator = Emulator::builder().start().await.expect("started");
    let mut connection = Connection::to(emulator.address()).await;
    let (status, body) = connection.exchange("POST", "", &vec![b' '; 1 << 20]).await;
    assert_eq!(
        (status, &body["errors"][0]["code"]),
        (413, &assumptions::BODY_TOO_LARGE.into())
    );
    let (status, _) = connection.exchange("GET", "", b"").await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_creates_each_get_their_own_certificate() {
    let emulator = Emulator::builder().start().await.expect("started");
    let address = emulator.address();
    let calls: Vec<_> = (0..16)
        .map(|number| {
            tokio::spawn(async move {
                let mut connection = Connection::to(address).await;
                let name = format!("device-{number}");
                let (_, body) = connection
                    .exchange("POST", "", &create_body(&csr(&name), 1))
                    .await;
                assert_eq!(body["result"]["common_name"], name);
            })
        })
        .collect();
    for call in calls {
        call.await.expect("no panic");
    }
    let response = call(&emulator, "GET", "", "").await;
    assert_eq!(response.body["result_info"]["total_count"], 16);
}

#[tokio::test]
async fn an_address_in_use_is_an_error_with_a_hint() {
    let first = Emulator::builder().start().await.expect("started");
    let second = Emulator::builder().listen(first.address()).start().await;
    let error = second.expect_err("the port is taken");
    assert!(matches!(error, Error::AddressInUse(address) if address == first.address()));
    let text = error.to_string();
    assert!(
        text.contains(&first.address().to_string()) && text.contains("another port"),
        "{text}"
    );
}

#[tokio::test]
async fn a_shutdown_closes_idle_connections_and_frees_the_port() {
    let emulator = Emulator::builder().start().await.expect("started");
    let address = emulator.address();
    let mut idle = Connection::to(address).await;
    idle.exchange("GET", "", b"").await;
    emulator.shutdown().await;
    assert_eq!(idle.0.read(&mut [0; 1]).await.expect("the end"), 0);
    Emulator::builder()
        .listen(address)
        .start()
        .await
        .expect("started again");
}

#[tokio::test]
async fn dropping_the_handle_stops_the_server() {
    let emulator = Emulator::builder().start().await.expect("started");
    let address = emulator.address();
    let mut idle = Connection::to(address).await;
    idle.exchange("GET", "", b"").await;
    drop(emulator);
    assert_eq!(idle.0.read(&mut [0; 1]).await.expect("the end"), 0);
}

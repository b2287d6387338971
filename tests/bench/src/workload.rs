//! Work of the client alone, without sockets: what the microbenchmarks time, and whose instructions
//! `cargo xtask bench --instructions` counts.

use std::sync::Arc;

use ::shieldcert::{BoxFuture, Transport, TransportError};
use ::shieldcert::{Client, KeyAlgorithm, PrivateKey, Subject, Zone};
use bytes::Bytes;
use shieldcert_emulator::{Emulator, EmulatorTransport};

const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";

/// A repeatable piece of work.
pub struct Workload {
    /// The name in tables.
    pub name: &'static str,
    /// How often it runs under callgrind, so that all take about as long.
    pub repetitions: u32,
    /// Runs it once.
    pub run: Box<dyn FnMut()>,
}

/// The names of the workloads, in the order of [`all`].
pub const NAMES: [&str; 5] = [
    "page of 50 read into certificates",
    "list of 10,000, of which all ids are kept",
    "get, with the limiter's turn and all",
    "CSR for a P-256 key",
    "P-256 key made",
];

/// Returns every workload.
///
/// # Panics
/// The emulator that makes the responses could not be started.
pub fn all() -> Vec<Workload> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let recorded = runtime.block_on(Recorded::new());
    let runtime = Arc::new(runtime);

    let (page, on) = (zone_through(Canned::list(recorded.page)), runtime.clone());
    let read_page = move || {
        let read = on.block_on(page.list().into_future()).expect("a list");
        assert_eq!(read.len(), 50);
    };
    let (long, on) = (zone_through(Canned::list(recorded.long)), runtime.clone());
    let read_list = move || {
        let read = on.block_on(async {
            let mut stream = long.list().stream();
            let mut read = 0;
            while stream.try_next().await.expect("a certificate").is_some() {
                read += 1;
            }
            read
        });
        assert_eq!(read, 10_000);
    };
    let one = zone_through(Canned::Always(recorded.one));
    let (on, id) = (runtime, recorded.id);
    let get = move || {
        let id = id.parse().expect("an id");
        on.block_on(one.get(&id).into_future())
            .expect("a certificate");
    };
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
    let subject = Subject::common_name("sensor-001").organization("Temperature Testers, Inc.");
    let csr = move || {
        key.csr(&subject).expect("a CSR");
    };
    let generate = || {
        PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
    };
    let runs: [(u32, Box<dyn FnMut()>); 5] = [
        (20, Box::new(read_page)),
        (2, Box::new(read_list)),
        (100, Box::new(get)),
        (20, Box::new(csr)),
        (20, Box::new(generate)),
    ];
    NAMES
        .into_iter()
        .zip(runs)
        .map(|(name, (repetitions, run))| Workload {
            name,
            repetitions,
            run,
        })
        .collect()
}

/// Responses of a service, recorded from the emulator.
struct Recorded {
    /// The records of a page, in JSON.
    page: Vec<String>,
    one: Bytes,
    id: String,
    /// 10,000 small records, in JSON.
    long: Vec<String>,
}

impl Recorded {
    async fn new() -> Self {
        let emulator = Emulator::builder().populate(ZONE, 50).open().await;
        let transport = emulator.expect("an emulator").transport();
        let get = async |path: String| {
            let request = http::Request::get(format!(
                "{}/zones/{ZONE}/client_certificates{path}",
                EmulatorTransport::BASE_URL
            ));
            let request = request.header("authorization", "Bearer t");
            let request = request.body(Bytes::new()).expect("a request");
            transport
                .send(request)
                .await
                .expect("a response")
                .into_body()
        };
        let page = get("?per_page=50".to_owned()).await;
        let json: serde_json::Value = serde_json::from_slice(&page).expect("JSON");
        let id = json["result"][0]["id"].as_str().expect("an id").to_owned();
        let records = json["result"].as_array().expect("a list");
        let long = (0..10_000_u64).map(|number| {
            let id = format!("{number:032x}");
            serde_json::json!({ "id": id, "status": "active" }).to_string()
        });
        Self {
            one: get(format!("/{id}")).await,
            page: records.iter().map(ToString::to_string).collect(),
            id,
            long: long.collect(),
        }
    }
}

/// Responds at once, and with a rate limit that is never reached.
enum Canned {
    Always(Bytes),
    List {
        /// The pages of 50, which nearly all requests are for.
        pages: Vec<Bytes>,
        records: Vec<String>,
    },
}

impl Canned {
    fn list(records: Vec<String>) -> Self {
        let pages = (0..records.len().div_ceil(50)).map(|page| page_of(&records, page, 50));
        Self::List {
            pages: pages.collect(),
            records,
        }
    }

    fn body(&self, query: &str) -> Bytes {
        let number = |name: &str| -> Option<usize> {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name)?.1.parse().ok()
        };
        match self {
            Self::Always(body) => body.clone(),
            Self::List { pages, records } => {
                let page = number("page").unwrap_or(1) - 1;
                let size = number("per_page").unwrap_or(20);
                let whole = pages.get(page).filter(|_| size == 50);
                whole
                    .cloned()
                    .unwrap_or_else(|| page_of(records, page, size))
            }
        }
    }
}

fn page_of(records: &[String], page: usize, size: usize) -> Bytes {
    let of_page = records.iter().skip(page * size).take(size);
    let of_page: Vec<&str> = of_page.map(String::as_str).collect();
    format!(
        r#"{{"success":true,"errors":[],"messages":[],"result":[{}],"result_info":{{"count":{},"page":{},"per_page":{size},"total_count":{}}}}}"#,
        of_page.join(","),
        of_page.len(),
        page + 1,
        records.len(),
    )
    .into()
}

impl Transport for Canned {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        let body = self.body(request.uri().query().unwrap_or_default());
        let response = http::Response::builder()
            .header("content-type", "application/json")
            .header("ratelimit", "\"default\";r=99999999;t=300")
            .header("ratelimit-policy", "\"default\";q=100000000;w=300")
            .body(body)
            .expect("a response");
        Box::pin(async { Ok(response) })
    }
}

fn zone_through(transport: Canned) -> Zone {
    let builder = Client::builder()
        .token("t")
        // For Cloudflare's base URL the client keeps to 200 requests a second, and that would be timed.
        .base_url("http://127.0.0.1/client/v4")
        .transport(Arc::new(transport));
    let client = builder.build().expect("a client");
    client.zone(ZONE.parse().expect("a zone id"))
}

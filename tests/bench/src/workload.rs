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
    let zone = |body: &Bytes| zone_through(Canned(vec![body.clone()]));

    let (page, on) = (zone(&recorded.page), runtime.clone());
    let read_page = move || {
        let read = on.block_on(page.list().into_future()).expect("a list");
        assert_eq!(read.len(), 50);
    };
    let (long, on) = (zone_through(Canned(recorded.long)), runtime.clone());
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
    let (one, on, id) = (zone(&recorded.one), runtime, recorded.id);
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
    page: Bytes,
    one: Bytes,
    id: String,
    /// The pages of a list of 10,000 small records.
    long: Vec<Bytes>,
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
        let long = (0..200).map(|number| {
            let records = (0..50).map(|record| {
                let id = format!("{:032x}", number * 50 + record);
                serde_json::json!({ "id": id, "status": "active" })
            });
            let page = serde_json::json!({
                "success": true, "errors": [], "messages": [],
                "result": records.collect::<Vec<_>>(),
                "result_info": { "count": 50, "page": number + 1, "per_page": 50, "total_count": 10_000 },
            });
            page.to_string().into()
        });
        Self {
            one: get(format!("/{id}")).await,
            page,
            id,
            long: long.collect(),
        }
    }
}

/// Responds at once with the requested page, and with a rate limit that is never reached.
struct Canned(Vec<Bytes>);

impl Transport for Canned {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        let query = request.uri().query().unwrap_or_default().split('&');
        let page = query.filter_map(|pair| pair.strip_prefix("page=")).next();
        let page = page.and_then(|page| page.parse().ok()).unwrap_or(1_usize);
        let body = self.0.get(page - 1).cloned().unwrap_or_default();
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

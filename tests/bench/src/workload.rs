//! Pieces of work of the client alone, with no socket and no service: what the microbenchmarks time, and what the
//! guard against regressions counts the instructions of.

use std::sync::Arc;

use ::shieldcert::transport::{BoxFuture, Transport, TransportError};
use ::shieldcert::{Client, KeyAlgorithm, PrivateKey, Subject, Zone};
use bytes::Bytes;
use shieldcert_emulator::{Emulator, EmulatorTransport};

const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";

/// A piece of work that can be done again and again.
pub struct Workload {
    /// What it is called in tables.
    pub name: &'static str,
    /// How often it is done under callgrind, so that each takes about as long.
    pub repetitions: u32,
    /// Does it once.
    pub run: Box<dyn FnMut()>,
}

/// Their names, in the order of [`all`].
pub const NAMES: [&str; 5] = [
    "page of 50 read into certificates",
    "list of 10,000, of which all ids are kept",
    "get, with the limiter's turn and all",
    "CSR for a P-256 key",
    "P-256 key made",
];

/// Every workload.
///
/// # Panics
/// The emulator that gives the answers could not be made.
pub fn all() -> Vec<Workload> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let answers = runtime.block_on(Answers::new());
    let runtime = Arc::new(runtime);
    let zone = |answer: &Bytes| through(Canned(vec![answer.clone()]));

    let (page, on) = (zone(&answers.page), runtime.clone());
    let read_page = move || {
        let read = on.block_on(page.list().into_future()).expect("a list");
        assert_eq!(read.len(), 50);
    };
    let (long, on) = (through(Canned(answers.long)), runtime.clone());
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
    let (one, on, id) = (zone(&answers.one), runtime, answers.id);
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

/// What a service answers, recorded from the emulator.
struct Answers {
    page: Bytes,
    one: Bytes,
    id: String,
    /// The pages of a list of 10,000 records that hold little.
    long: Vec<Bytes>,
}

impl Answers {
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
                .expect("an answer")
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
            let answer = serde_json::json!({
                "success": true, "errors": [], "messages": [],
                "result": records.collect::<Vec<_>>(),
                "result_info": { "count": 50, "page": number + 1, "per_page": 50, "total_count": 10_000 },
            });
            answer.to_string().into()
        });
        Self {
            one: get(format!("/{id}")).await,
            page,
            id,
            long: long.collect(),
        }
    }
}

/// Answers at once, with the page that is asked for, and a limit that is never reached.
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

fn through(transport: Canned) -> Zone {
    let builder = Client::builder()
        .token("t")
        // Not Cloudflare's, whose edge allows an address 200 requests a second: that is what would be timed.
        .base_url("http://127.0.0.1/client/v4")
        .transport(Arc::new(transport));
    let client = builder.build().expect("a client");
    client.zone(ZONE.parse().expect("a zone id"))
}

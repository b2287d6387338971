//! A service that issues one certificate to each device, by its name, also if it is killed in the middle of it.
//!
//! `PUT /devices/NAME` with a CSR returns the certificate. The same request again returns the same one. What a request may
//! have led to is on the disk before it is sent, so the next process resumes it.
//!
//! `cargo run --example issuing_service` plays a crash against an emulator in this process.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::routing::put;
use shieldcert::{Csr, Prepared, Zone};
use tokio::net::TcpListener;

type BoxError = Box<dyn Error + Send + Sync>;

/// Each device has a folder: `request.pem` is its CSR, `intent.json` what may have been sent, `certificate.pem` the result.
struct Issuer {
    zone: Zone,
    folder: PathBuf,
    /// Two requests of one device take turns.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Issuer {
    /// Opens the folder, and resumes what a process before this one may have sent.
    async fn open(zone: Zone, folder: impl Into<PathBuf>) -> Result<Arc<Self>, BoxError> {
        let issuer = Arc::new(Self {
            zone,
            folder: folder.into(),
            turns: Mutex::default(),
        });
        for device in fs::read_dir(&issuer.folder)? {
            let device = device?.path();
            if device.join("intent.json").exists() && !device.join("certificate.pem").exists() {
                issuer.issue(&device).await?;
            }
        }
        Ok(issuer)
    }

    /// Returns the certificate of a device in PEM. Issues it if there is none.
    async fn certificate(&self, name: &str, csr: &Csr) -> Result<String, BoxError> {
        let turn = self
            .turns
            .lock()
            .expect("no thread panicked")
            .entry(name.to_owned())
            .or_default()
            .clone();
        let _turn = turn.lock().await;
        let device = self.folder.join(name);
        let request = device.join("request.pem");
        if !request.exists() {
            fs::create_dir_all(&device)?;
            csr.write_pem(&request)?;
        } else if Csr::from_pem(fs::read(&request)?)? != *csr {
            return Err(format!("{name} has asked with another CSR before").into());
        }
        match fs::read_to_string(device.join("certificate.pem")) {
            Ok(certificate) => Ok(certificate),
            Err(_) => self.issue(&device).await,
        }
    }

    /// Issues for the CSR in a folder, or finds what was issued for it.
    async fn issue(&self, device: &Path) -> Result<String, BoxError> {
        let csr = Csr::from_pem(fs::read(device.join("request.pem"))?)?;
        let mut issue = self.zone.issue(&csr).validity_days(90);
        if let Ok(intent) = fs::read(device.join("intent.json")) {
            issue = issue.resume(serde_json::from_slice(&intent)?);
        }
        let issued = match issue.prepare().await? {
            Prepared::Issued(issued) => *issued,
            Prepared::Ready(ready) => {
                write(
                    &device.join("intent.json"),
                    &serde_json::to_vec(ready.intent())?,
                )?;
                ready.send().await?
            }
        };
        let certificate = issued
            .certificate
            .pem()
            .ok_or("the certificate is missing")?;
        write(&device.join("certificate.pem"), certificate.as_bytes())?;
        Ok(certificate.to_owned())
    }
}

/// Writes a file so that it is there whole, or not at all, also after a power failure.
fn write(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(contents)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    fs::File::open(folder)?.sync_all()
}

async fn put_device(
    State(issuer): State<Arc<Issuer>>,
    UrlPath(name): UrlPath<String>,
    csr: String,
) -> Result<String, (StatusCode, String)> {
    // The name becomes that of a folder.
    if name.is_empty()
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return Err((
            StatusCode::BAD_REQUEST,
            "a name has letters, digits and hyphens\n".to_owned(),
        ));
    }
    let csr =
        Csr::from_pem(csr).map_err(|error| (StatusCode::BAD_REQUEST, format!("{error}\n")))?;
    // A task of its own, which goes on if the device hangs up.
    let task = tokio::spawn(async move { issuer.certificate(&name, &csr).await });
    match task.await {
        Ok(Ok(certificate)) => Ok(certificate),
        Ok(Err(error)) => Err((StatusCode::BAD_GATEWAY, format!("{error}\n"))),
        Err(_) => Err((
            StatusCode::INTERNAL_SERVER_ERROR,
            "the request was given up\n".to_owned(),
        )),
    }
}

async fn serve(zone: Zone, folder: PathBuf, listener: TcpListener) -> Result<(), BoxError> {
    let issuer = Issuer::open(zone, folder).await?;
    let router = Router::new()
        .route("/devices/{name}", put(put_device))
        .with_state(issuer);
    Ok(axum::serve(listener, router).await?)
}

/// A runtime of the service's own, which ends like a process that is killed: at any await.
struct Process(Option<tokio::runtime::Runtime>);

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Kills the service while a response is lost, starts it again, and asks again.
#[tokio::main]
async fn main() -> Result<(), BoxError> {
    use shieldcert::{Client, KeyAlgorithm, PrivateKey, Subject};
    use shieldcert_emulator::{Emulator, Fault, Operation, ScriptedFault};

    // The device's HTTP client speaks no TLS here, and still wants to know whose.
    let _ = rustls::crypto::ring::default_provider().install_default();

    // In production: Client::from_env()?.zone(ZoneId::from_env()?)
    let emulator = Emulator::builder().token("secret").start().await?;
    let client = Client::builder()
        .token("secret")
        .base_url(emulator.base_url())
        .build()?;
    let zone = client.zone("023e105f4ecef8ad9ca31a8372d0c353".parse()?);

    let folder = tempfile::tempdir()?;
    let csr =
        PrivateKey::generate(KeyAlgorithm::EcdsaP256)?.csr(&Subject::common_name("sensor-001"))?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let start = || async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/devices/sensor-001", listener.local_addr()?);
        let process = tokio::runtime::Runtime::new()?;
        process.spawn(serve(zone.clone(), folder.path().to_owned(), listener));
        Ok::<_, BoxError>((Process(Some(process)), url))
    };

    emulator.script([ScriptedFault::next(
        Operation::Create,
        Fault::lose_response(),
    )]);
    let (process, url) = start().await?;
    let request = http.put(&url).body(csr.to_pem()).send();
    let is_issued = async {
        while emulator.history().count(Operation::Create) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        response = request => return Err(format!("there is a response: {response:?}").into()),
        () = is_issued => {}
    }
    println!("the certificate is issued, and its response is lost");
    drop(process);
    println!("the service is killed");

    let (process, url) = start().await?;
    let ask = || async {
        http.put(&url)
            .body(csr.to_pem())
            .send()
            .await?
            .error_for_status()?
            .text()
            .await
    };
    let first = ask().await?;
    let second = ask().await?;
    let count = zone.list().await?.len();
    println!(
        "the service is back: {count} certificate, {}",
        if first == second {
            "the same each time"
        } else {
            "others"
        }
    );
    drop(process);
    emulator.shutdown().await;
    if count != 1 || first != second {
        return Err("a device has more than one certificate".into());
    }
    Ok(())
}

#[test]
fn a_crash_issues_nothing_twice() {
    main().expect("runs");
}

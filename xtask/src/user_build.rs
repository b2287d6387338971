//! What `spec diff` calls additive must not break the build of the crates' users: a small crate of a user is compiled
//! before and after upstream's document has grown.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::openapi::diff::{self, Class};
use crate::openapi::document;
use crate::{regen, upstream, workspace};

/// A user of the generated types and mocks, and of the client. It names what a user would name.
const USER: &str = r#"
use std::error::Error;
use std::num::NonZeroU64;

use shieldcert::{Client, Status, Zone};
use shieldcert_api::types::{self, ClientCertificate, ListClientCertificatesStatus};
use shieldcert_httpmock::httpmock::MockServer;
use shieldcert_httpmock::{MockServerExt, operations};

/// Reads a response property.
pub fn page_size(page: &types::ClientCertificateResponseCollection) -> Option<i64> {
    page.result_info.as_ref()?.per_page
}

/// Matches a struct.
pub fn name(certificate: &ClientCertificate) -> Option<&str> {
    let ClientCertificate { id, common_name, .. } = certificate;
    common_name.as_deref().or(id.as_ref().map(|id| id.0.as_str()))
}

/// Matches an enum.
pub fn is_settled(status: ListClientCertificatesStatus) -> bool {
    match status {
        ListClientCertificatesStatus::Active | ListClientCertificatesStatus::Revoked => true,
        ListClientCertificatesStatus::PendingRevocation => false,
        _ => false,
    }
}

/// Makes types with their builders and from their defaults.
pub fn make(csr: String) -> Result<types::ClientCertificateResponseSingle, Box<dyn Error>> {
    let body: types::CreateClientCertificateBody = types::CreateClientCertificateBody::builder()
        .csr(csr)
        .validity_days(90)
        .try_into()?;
    let mut certificate: ClientCertificate = ClientCertificate::builder()
        .id(types::ClientCertificateTag("id".to_owned()))
        .csr(body.csr)
        .try_into()?;
    certificate.status = Some("active".to_owned());
    let mut response = types::ClientCertificateResponseSingle::default();
    response.success = Some(true);
    response.result = Some(certificate);
    Ok(response)
}

/// Calls an operation of the generated client.
pub async fn list(
    api: &shieldcert_api::Client,
) -> Result<Vec<ClientCertificate>, shieldcert_api::Error<types::ApiResponseCommonFailure>> {
    let page = api
        .list_client_certificates()
        .zone_id("zone".to_owned())
        .status(ListClientCertificatesStatus::Active)
        .page(NonZeroU64::MIN)
        .per_page(50)
        .send()
        .await?;
    Ok(page.into_inner().result.unwrap_or_default())
}

/// Mocks an operation.
pub fn mock(server: &MockServer, page: &types::ClientCertificateResponseCollection) {
    server.list_client_certificates(
        |when: operations::ListClientCertificatesWhen, then: operations::ListClientCertificatesThen| {
            when.status(ListClientCertificatesStatus::Active).page(None).per_page(50);
            then.ok(page);
        },
    );
}

/// Uses the ergonomic client.
pub async fn active(client: &Client, zone: &str) -> Result<usize, Box<dyn Error>> {
    let zone: Zone = client.zone(zone.parse()?);
    let certificates = zone.list().await?;
    Ok(certificates
        .iter()
        .filter(|certificate| certificate.status() == &Status::Active)
        .count())
}
"#;

const USER_MANIFEST: &str = r#"
[package]
name = "NAME"
version = "0.0.0"
edition = "2024"
publish = false

[dependencies]
shieldcert.workspace = true
shieldcert-api.workspace = true
shieldcert-httpmock.workspace = true
serde_json.workspace = true
"#;

/// A copy of the workspace's crates with the user's crate, in a folder that is kept: a second run finds it built.
pub(crate) struct Copy {
    root: PathBuf,
    _lock: File,
}

impl Copy {
    pub(crate) fn new() -> Self {
        let program = std::env::current_exe().expect("this program");
        // target/debug/deps/xtask-…
        let target = program.ancestors().nth(3).expect("is in a target folder");
        let root = target.join("user-build");
        fs::create_dir_all(&root).expect("a folder");
        let lock = File::create(root.join("lock")).expect("a lock file");
        lock.lock().expect("locks");
        let copy = Self { root, _lock: lock };
        let (root, source) = (copy.reset(), workspace::root().expect("the workspace"));
        let manifest = workspace::read(&source.join("Cargo.toml")).expect("reads");
        let mut manifest: toml_edit::DocumentMut = manifest.parse().expect("TOML");
        let members = ["crates/shieldcert", "user", "small"];
        manifest["workspace"]["members"] = toml_edit::value(toml_edit::Array::from_iter(members));
        manifest["workspace"]["default-members"] = toml_edit::Item::None;
        let manifest = manifest.to_string();
        write(&root.join("Cargo.toml"), manifest.as_bytes());
        for (name, source) in [("user", USER), ("small", upstream::SMALL_USER)] {
            let manifest = USER_MANIFEST.replace("NAME", name);
            let manifest = match name {
                "small" => manifest.replace("shieldcert.workspace = true\n", ""),
                _ => manifest,
            };
            write(&root.join(name).join("Cargo.toml"), manifest.as_bytes());
            write(&root.join(name).join("src/lib.rs"), source.as_bytes());
        }
        let lock_file = fs::read(source.join("Cargo.lock")).expect("reads");
        fs::write(root.join("Cargo.lock"), lock_file).expect("writes");
        copy
    }

    /// Makes crates and spec those of the workspace again, and returns the root.
    pub(crate) fn reset(&self) -> &Path {
        let source = workspace::root().expect("the workspace");
        mirror(&source.join("crates"), &self.root.join("crates"));
        for file in [workspace::SPEC, workspace::OVERLAY] {
            let contents = fs::read(source.join(file)).expect("reads");
            write(&self.root.join(file), &contents);
        }
        &self.root
    }

    /// The fragment as it is checked in.
    fn spec(&self) -> Value {
        let root = workspace::root().expect("the workspace");
        let text = workspace::read(&root.join(workspace::SPEC)).expect("reads");
        document::parse(&text).expect("YAML")
    }

    /// Regenerates the copy from the fragment, and returns the document that the client is then generated from.
    fn regenerate(&self, spec: &Value) -> Value {
        let path = self.root.join(workspace::SPEC);
        write(&path, format!("{spec:#}\n").as_bytes());
        regen::run(&self.root, false).expect("regenerates");
        let text = workspace::read(&self.root.join(workspace::OPENAPI)).expect("reads");
        document::parse(&text).expect("JSON")
    }

    /// Checks one of the users' packages.
    pub(crate) fn check(&self, package: &str) -> Output {
        let mut cargo = Command::new(env!("CARGO"));
        // Build scripts would run again because of the variables that the outer cargo has set.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(&name);
            }
        }
        cargo
            .args(["check", "--quiet", "--offline", "--package", package])
            .env("CARGO_TARGET_DIR", self.root.join("target"))
            .current_dir(&self.root)
            .output()
            .expect("cargo runs")
    }
}

/// Writes a file if its contents differ: cargo rebuilds what has a new modification time.
fn write(path: &Path, contents: &[u8]) {
    if fs::read(path).is_ok_and(|current| current == contents) {
        return;
    }
    fs::create_dir_all(path.parent().expect("has one")).expect("a folder");
    fs::write(path, contents).expect("writes");
}

/// Makes a folder hold the same files as another.
fn mirror(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(to).expect("lists") {
        let path = entry.expect("an entry").path();
        let original = from.join(path.file_name().expect("has a name"));
        if !original.exists() && path.is_dir() {
            fs::remove_dir_all(path).expect("removes");
        } else if !original.exists() {
            fs::remove_file(path).expect("removes");
        }
    }
    for entry in fs::read_dir(from).expect("lists") {
        let path = entry.expect("an entry").path();
        let copy = to.join(path.file_name().expect("has a name"));
        if path.is_dir() {
            mirror(&path, &copy);
        } else {
            write(&copy, &fs::read(&path).expect("reads"));
        }
    }
}

fn add_property(spec: &mut Value) {
    spec["components"]["schemas"]["client_certificate"]["properties"]["device_id"] =
        json!({ "type": "string" });
}

fn list_parameters(spec: &mut Value) -> &mut Vec<Value> {
    let parameters =
        &mut spec["paths"]["/zones/{zone_id}/client_certificates"]["get"]["parameters"];
    parameters.as_array_mut().expect("a list")
}

/// As upstream would: where certificates are read, and where a list is filtered.
fn add_status(spec: &mut Value) {
    let status = &mut spec["components"]["schemas"]["client_certificate"]["properties"]["status"];
    let values = status["enum"].as_array_mut().expect("a list");
    values.push("archived".into());
    let mut parameters = list_parameters(spec).iter_mut();
    let status = parameters.find(|parameter| parameter["name"] == "status");
    let schema = &mut status.expect("is there")["schema"];
    let values = schema["enum"].as_array_mut().expect("a list");
    values.push("archived".into());
}

fn add_parameter(spec: &mut Value) {
    list_parameters(spec).push(json!({
        "name": "common_name", "in": "query", "schema": { "type": "string" },
    }));
}

fn remove_property(spec: &mut Value) {
    let path = "/components/schemas/client_certificate_response_collection/allOf/1/properties/result_info/properties";
    let properties = spec.pointer_mut(path).and_then(Value::as_object_mut);
    properties
        .expect("is there")
        .remove("per_page")
        .expect("was there");
}

#[test]
fn additive_changes_do_not_break_a_users_build_and_a_removed_property_does() {
    let copy = Copy::new();
    let base = copy.spec();
    let before = copy.regenerate(&base);
    let class_of = |spec: &Value| {
        diff::worst(&diff::compare(&before, &copy.regenerate(spec)).expect("resolves"))
    };

    // Each alone is additive. Together they are compiled, since a build takes long.
    let mut grown = base.clone();
    for change in [add_property, add_status, add_parameter] {
        let mut alone = base.clone();
        change(&mut alone);
        change(&mut grown);
        assert_eq!(class_of(&alone), Some(Class::Additive));
    }
    let mut shrunk = base.clone();
    remove_property(&mut shrunk);

    copy.regenerate(&base);
    let output = copy.check("user");
    assert!(output.status.success(), "before: {}", stderr(&output));

    assert_eq!(class_of(&grown), Some(Class::Additive));
    let generated = workspace::read(&copy.root.join(workspace::API)).expect("reads");
    for name in ["pub device_id:", "Archived,", "pub fn common_name<V>"] {
        assert!(generated.contains(name), "{name}");
    }
    let output = copy.check("user");
    assert!(output.status.success(), "grown: {}", stderr(&output));

    assert_eq!(class_of(&shrunk), Some(Class::Breaking));
    let output = copy.check("user");
    let message = stderr(&output);
    assert!(!output.status.success(), "the removed property is missed");
    assert!(
        message.contains("user/src/lib.rs") && message.contains("no field `per_page`"),
        "{message}"
    );
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

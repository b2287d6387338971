//! How certificates get to devices.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use shieldcert::{CertificateId, ZoneId};

use crate::config::DeployConfig;
use crate::hook;
use crate::journal::Reason;
use crate::name::DeviceName;
use crate::outputs;

/// A certificate that is to be brought into use.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Deployment {
    /// The device.
    pub device: DeviceName,
    /// The number of the generation.
    pub generation: u32,
    /// Why it was made.
    pub reason: Reason,
    /// The zone.
    pub zone: ZoneId,
    /// The device's labels.
    pub labels: Vec<String>,
    /// The certificate.
    pub certificate: Option<CertificateId>,
    /// The certificate that is in use until then.
    pub old_certificate: Option<CertificateId>,
    /// The folder with its files.
    pub folder: PathBuf,
    /// The file that the device's row names, which holds key and certificate by now.
    pub output: Option<PathBuf>,
}

/// What came of it: the end of what was printed, or what went wrong.
pub type DeployResult = Result<String, String>;

/// Brings certificates into use, and checks that they work.
///
/// The default runs the commands of `fleet.toml`. A program that has a fleet in it can do it by itself
/// ([`Fleet::with_deploy`](crate::Fleet::with_deploy)). Both are called again after a crash, so they must be idempotent.
pub trait Deploy: Send + Sync {
    /// Brings a certificate into use. When it returns, the device may use it.
    fn deploy(
        &self,
        deployment: Deployment,
    ) -> Pin<Box<dyn Future<Output = DeployResult> + Send + '_>>;

    /// Whether [`deploy_together`](Self::deploy_together) does something. Default: no.
    fn deploys_together(&self) -> bool {
        false
    }

    /// Brings certificates into use together, after each was deployed on its own: a server that is reloaded once for all
    /// of them. When it returns, the devices may use them.
    fn deploy_together(
        &self,
        deployments: Vec<Deployment>,
    ) -> Pin<Box<dyn Future<Output = DeployResult> + Send + '_>> {
        drop(deployments);
        Box::pin(std::future::ready(Ok(String::new())))
    }

    /// Checks that a certificate works.
    fn verify(
        &self,
        deployment: Deployment,
    ) -> Pin<Box<dyn Future<Output = DeployResult> + Send + '_>>;
}

/// Runs the commands of `fleet.toml`.
pub(crate) struct Commands {
    config: DeployConfig,
    /// Where they run.
    folder: PathBuf,
}

impl Commands {
    pub(crate) fn new(config: &DeployConfig, folder: &Path) -> Self {
        Self {
            config: config.clone(),
            folder: folder.to_owned(),
        }
    }

    async fn run(&self, command: Option<&str>, deployment: &Deployment) -> DeployResult {
        match command {
            None => Ok(String::new()),
            Some(command) => {
                hook::run(
                    command,
                    &self.folder,
                    &variables(deployment),
                    self.timeout(),
                )
                .await
            }
        }
    }

    fn timeout(&self) -> Duration {
        self.config.timeout
    }
}

impl Deploy for Commands {
    fn deploy(
        &self,
        deployment: Deployment,
    ) -> Pin<Box<dyn Future<Output = DeployResult> + Send + '_>> {
        Box::pin(async move { self.run(self.config.command.as_deref(), &deployment).await })
    }

    fn deploys_together(&self) -> bool {
        self.config.command_once.is_some()
    }

    fn deploy_together(
        &self,
        deployments: Vec<Deployment>,
    ) -> Pin<Box<dyn Future<Output = DeployResult> + Send + '_>> {
        Box::pin(async move {
            let Some(command) = &self.config.command_once else {
                return Ok(String::new());
            };
            let names: Vec<_> = deployments
                .iter()
                .map(|deployment| deployment.device.as_str())
                .collect();
            // An environment holds only so much.
            let list = tempfile::NamedTempFile::with_prefix("shieldcert-")
                .and_then(|mut file| {
                    std::io::Write::write_all(&mut file, names.join("\n").as_bytes())?;
                    Ok(file)
                })
                .map_err(|error| format!("the list of devices can't be written: {error}"))?;
            let variables = [
                (
                    "SHIELDCERT_COUNT".to_owned(),
                    names.len().to_string().into(),
                ),
                ("SHIELDCERT_DEVICES_FILE".to_owned(), list.path().into()),
            ];
            hook::run(command, &self.folder, &variables, self.timeout()).await
        })
    }

    fn verify(
        &self,
        deployment: Deployment,
    ) -> Pin<Box<dyn Future<Output = DeployResult> + Send + '_>> {
        Box::pin(async move { self.run(self.config.verify.as_deref(), &deployment).await })
    }
}

/// What a command learns of a deployment.
fn variables(deployment: &Deployment) -> Vec<(String, std::ffi::OsString)> {
    let id = |id: &Option<CertificateId>| id.as_ref().map(ToString::to_string).unwrap_or_default();
    let folder =
        std::path::absolute(&deployment.folder).unwrap_or_else(|_| deployment.folder.clone());
    let mut variables: Vec<(String, std::ffi::OsString)> = [
        ("DEVICE", deployment.device.as_str().into()),
        ("GENERATION", deployment.generation.to_string().into()),
        ("REASON", deployment.reason.as_str().into()),
        ("ZONE", deployment.zone.as_str().into()),
        ("LABELS", deployment.labels.join(" ").into()),
        ("CERTIFICATE_ID", id(&deployment.certificate).into()),
        ("OLD_CERTIFICATE_ID", id(&deployment.old_certificate).into()),
        ("FOLDER", folder.clone().into()),
    ]
    .map(|(name, value)| (format!("SHIELDCERT_{name}"), value))
    .into();
    for (what, path) in outputs::files(&folder) {
        variables.push((format!("SHIELDCERT_{what}_FILE"), path.into()));
    }
    if let Some(output) = &deployment.output {
        let output = std::path::absolute(output).unwrap_or_else(|_| output.clone());
        variables.push(("SHIELDCERT_OUTPUT_FILE".to_owned(), output.into()));
    }
    variables
}

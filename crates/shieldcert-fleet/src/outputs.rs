//! The files that devices use: in the folder of a generation, and where `current` leads.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use shieldcert::{Identity, Pkcs12Options, PrivateKey, X509Certificate};

use crate::config::{OutputFormat, OutputsConfig};
use crate::error::{AtPath, Error, Result};
use crate::folder::{self, Folder};
use crate::keystore::{KEY, Keyed};
use crate::manifest::Device;
use crate::name::DeviceName;

pub(crate) const CERTIFICATE: &str = "cert.pem";
pub(crate) const COMBINED: &str = "combined.pem";
pub(crate) const PKCS12: &str = "identity.p12";

/// Writes the files of a generation. Each appears whole, and writing them again is safe.
///
/// The certificate is compared with the key first.
pub(crate) fn write(
    fleet: &Folder,
    generation: &Path,
    keyed: Keyed,
    certificate: &X509Certificate,
    config: &OutputsConfig,
) -> Result<()> {
    if certificate.public_key() != keyed.csr.public_key() {
        return Err(Error::Invalid {
            path: generation.join(CERTIFICATE),
            problem: "the certificate has another key than the CSR".to_owned(),
        });
    }
    let mut secret = Vec::new();
    if let Some(key) = keyed.key {
        let identity = identity(certificate, key)?;
        secret.push(generation.join(KEY));
        if config.formats.contains(&OutputFormat::Combined) {
            let path = generation.join(COMBINED);
            identity.write_pem(&path)?;
            secret.push(path);
        }
        if config.formats.contains(&OutputFormat::Pkcs12) {
            let path = generation.join(PKCS12);
            let options = Pkcs12Options::new(read_password(fleet, config)?)
                .profile(config.pkcs12_profile)
                .friendly_name(certificate.common_name().unwrap_or_default());
            identity.write_pkcs12(&path, &options)?;
            secret.push(path);
        }
    }
    // Last: where it is, the others are.
    let path = generation.join(CERTIFICATE);
    for path in &secret {
        grant(path, config)?;
    }
    certificate.write_pem(&path)?;
    grant(&path, config)?;
    let device = generation.parent();
    let folders = [Some(generation), device, device.and_then(Path::parent)];
    for folder in folders.into_iter().flatten() {
        let_through(folder, config)?;
    }
    Ok(())
}

fn identity(certificate: &X509Certificate, key: PrivateKey) -> Result<Identity> {
    let mut text = key.to_pem();
    text.push_str(&certificate.to_pem());
    Ok(Identity::from_pem(text.as_bytes())?)
}

fn read_password(fleet: &Folder, config: &OutputsConfig) -> Result<String> {
    let Some(path) = &config.pkcs12_password_file else {
        return Err(Error::Invalid {
            path: fleet.config(),
            problem: "[outputs] pkcs12_password_file is missing; PKCS#12 files need a password"
                .to_owned(),
        });
    };
    let path = fleet.resolve(path);
    let text = fs::read_to_string(&path).at(&path)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Makes a generation the one that the device uses: the `current` link, and the file that the device's row names. Each is
/// replaced in one step, and doing it again is safe.
pub(crate) fn publish(fleet: &Folder, device: &Device, number: u32) -> Result<()> {
    link(fleet, &device.name, number)?;
    publish_file(fleet, device, number)
}

/// Makes a generation the one that `current` leads to.
pub(crate) fn link(fleet: &Folder, device: &DeviceName, number: u32) -> Result<()> {
    let link = fleet.current(device);
    let target = number.to_string();
    if fs::read_link(&link).is_ok_and(|present| present == Path::new(&target)) {
        return Ok(());
    }
    let parent = fleet.device(device);
    let temporary = parent.join(".current");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).at(temporary),
        _ => {}
    }
    symlink(&target, &temporary).at(&temporary)?;
    fs::rename(&temporary, &link).at(&link)?;
    folder::sync(&parent);
    Ok(())
}

#[cfg(unix)]
fn symlink(target: &str, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &str, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_dir(target, link)
}

fn publish_file(fleet: &Folder, device: &Device, number: u32) -> Result<()> {
    let Some(output) = &device.output else {
        return Ok(());
    };
    let output = fleet.resolve(output);
    let generation = fleet.generation(&device.name, number);
    let path = generation.join(CERTIFICATE);
    let text = fs::read(&path).at(&path)?;
    let certificate = X509Certificate::from_pem(text)?;
    match fleet.stored(&generation)? {
        crate::keystore::Stored::Complete(Keyed { key: Some(key), .. }) => {
            identity(&certificate, key)?.write_pem(&output)?;
        }
        _ => certificate.write_pem(&output)?,
    }
    Ok(())
}

/// Whether a file holds this certificate.
pub(crate) fn has_certificate(path: &Path, certificate: &X509Certificate) -> bool {
    let written = fs::read(path)
        .ok()
        .and_then(|text| X509Certificate::from_pem(text).ok());
    written.is_some_and(|written| written.der() == certificate.der())
}

/// Whether the files of a generation are there and hold its certificate.
pub(crate) fn are_complete(
    generation: &Path,
    certificate: &X509Certificate,
    config: &OutputsConfig,
) -> bool {
    let has_certificate = |path: PathBuf| has_certificate(&path, certificate);
    // A file with the key is there if the key is.
    let has_key = generation.join(KEY).exists();
    let is_complete = |format: &OutputFormat| match format {
        OutputFormat::Pem => true,
        OutputFormat::Combined => !has_key || has_certificate(generation.join(COMBINED)),
        OutputFormat::Pkcs12 => !has_key || generation.join(PKCS12).exists(),
    };
    has_certificate(generation.join(CERTIFICATE)) && config.formats.iter().all(is_complete)
}

/// The files of a generation that exist, by what they are.
pub(crate) fn files(generation: &Path) -> Vec<(&'static str, PathBuf)> {
    let all = [
        ("KEY", KEY),
        ("CERTIFICATE", CERTIFICATE),
        ("COMBINED", COMBINED),
        ("PKCS12", PKCS12),
    ];
    all.into_iter()
        .map(|(what, name)| (what, generation.join(name)))
        .filter(|(_, path)| path.exists())
        .collect()
}

/// Gives a file the permissions and the owner of the configuration.
#[cfg(unix)]
fn grant(path: &Path, config: &OutputsConfig) -> Result<()> {
    use std::os::unix::fs::{PermissionsExt, chown};
    if let Some(owner) = &config.owner {
        let (user, group) = crate::owner::look_up(owner).map_err(|problem| Error::Invalid {
            path: path.to_owned(),
            problem,
        })?;
        chown(path, Some(user), group).at(path)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(config.mode)).at(path)
}

/// Lets the group of the configuration through a folder, if it may read the files in it. It can't list the folder.
#[cfg(unix)]
fn let_through(folder: &Path, config: &OutputsConfig) -> Result<()> {
    use std::os::unix::fs::{PermissionsExt, chown};
    const GROUP_READS: u32 = 0o040;
    const TRAVERSED: u32 = 0o710;
    let owner = config.owner.as_deref().unwrap_or_default();
    if !owner.contains(':') || config.mode & GROUP_READS == 0 {
        return Ok(());
    }
    let (_, group) = crate::owner::look_up(owner).map_err(|problem| Error::Invalid {
        path: folder.to_owned(),
        problem,
    })?;
    chown(folder, None, group).at(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(TRAVERSED)).at(folder)
}

#[cfg(not(unix))]
fn let_through(_: &Path, _: &OutputsConfig) -> Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn grant(_: &Path, _: &OutputsConfig) -> Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests;

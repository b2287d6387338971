//! `cargo xtask dist`: what a release offers beside the crates, in `target/dist`.
//!
//! That is the wheel with the command, the wheel of the pytest plugin, an archive with the command, its manual pages,
//! completions, unit, licences and SBOM, and the sums of them all. maturin builds the command once, for both. Its SBOM is
//! that of cargo-cyclonedx. The archive is a function of the command and the commit: order, owners and times are fixed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use flate2::{Compression, GzBuilder};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::output::{print_line, print_status};
use crate::workspace::{VERSION, cargo, read, replace};

#[derive(Args)]
pub(crate) struct Options {
    /// Build what is released: linked by ziglang, so that it runs with glibc 2.17 and later, and stripped
    #[arg(long)]
    zig: bool,
    /// Leave out the notices of other packages, which cargo-about writes
    #[arg(long)]
    without_notices: bool,
}

const CLI: &str = "crates/shieldcert-cli";
const PLUGIN: &str = "crates/shieldcert-emulator/pytest-shieldcert";
/// Where the unit expects the command, and the fleet.
const INSTALLED: &str = "/usr/local/bin/shieldcert";
const FLEET: &str = "/srv/shieldcert";

/// Builds everything.
pub(crate) fn run(root: &Path, options: &Options) -> Result<ExitCode> {
    let dist = root.join("target/dist");
    if dist.exists() {
        fs::remove_dir_all(&dist).with_context(|| format!("can't empty {}", dist.display()))?;
    }
    fs::create_dir_all(&dist)?;
    let python = root.join("target/interop/venv/bin/python");
    ensure!(
        python.exists(),
        "maturin is not installed; `tests/interop/install.sh` installs it"
    );
    let target = host()?;
    if options.zig {
        let mut import = Command::new(&python);
        import.args(["-c", "import ziglang"]).stderr(Stdio::null());
        ensure!(
            import.status().is_ok_and(|status| status.success()),
            "ziglang is not installed; `target/interop/venv/bin/pip install ziglang` installs it"
        );
    }
    build_wheels(root, &python, &dist, &target, options)?;
    let scratch = tempfile::tempdir().context("can't make a folder")?;
    let unpacked = scratch.path().join("wheel");
    let wheel = find(&dist, |name| {
        name.starts_with("shieldcert-") && name.ends_with(".whl")
    })?;
    call(
        Command::new(&python)
            .args(["-m", "zipfile", "-e"])
            .arg(&wheel)
            .arg(&unpacked),
    )?;
    let name = format!("shieldcert-{VERSION}-{target}");
    let folder = scratch.path().join(&name);
    lay_out(root, &unpacked, &folder, options)?;
    let time = source_date(root)?;
    let archive = dist.join(format!("{name}.tar.gz"));
    pack(&folder, &name, &archive, time)
        .with_context(|| format!("can't write {}", archive.display()))?;
    let sums = sums(&dist)?;
    replace(&dist.join("SHA256SUMS"), &sums)?;
    print_line(sums.trim_end());
    Ok(ExitCode::SUCCESS)
}

fn build_wheels(
    root: &Path,
    python: &Path,
    dist: &Path,
    target: &str,
    options: &Options,
) -> Result<()> {
    print_status("building the command for release; the first build takes some minutes");
    let mut maturin = Command::new(python);
    maturin
        .args([
            "-m",
            "maturin",
            "build",
            "--release",
            "--quiet",
            "--manifest-path",
        ])
        .arg(root.join(CLI).join("Cargo.toml"))
        .arg("--out")
        .arg(dist);
    if options.zig {
        // maturin asks the first `python3` of the path for ziglang, whatever runs it.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = python.parent().map(Path::to_owned).into_iter();
        let folders = folders.chain(std::env::split_paths(&path));
        maturin.env("PATH", std::env::join_paths(folders)?);
        maturin.args([
            // Not otherwise: cargo could not use what it has built already.
            "--strip",
            "--zig",
            "--target",
            target,
            "--compatibility",
            "manylinux_2_17",
        ]);
    }
    call(&mut maturin)?;
    print_status("building the pytest plugin");
    call(
        Command::new(python)
            .args([
                "-m",
                "pip",
                "wheel",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(["--no-deps", "--no-build-isolation", "--wheel-dir"])
            .arg(dist)
            .arg(root.join(PLUGIN)),
    )
}

/// Puts what the archive holds into a folder.
fn lay_out(root: &Path, wheel: &Path, folder: &Path, options: &Options) -> Result<()> {
    let command = folder.join("shieldcert");
    fs::create_dir_all(folder)?;
    let scripts = find(wheel, |name| name.ends_with(".data"))?.join("scripts");
    fs::copy(scripts.join("shieldcert"), &command).context("the wheel has no command")?;
    make_executable(&command)?;
    for (from, to) in [
        ("LICENSE-APACHE", "LICENSE-APACHE"),
        ("LICENSE-MIT", "LICENSE-MIT"),
        ("CHANGELOG.md", "CHANGELOG.md"),
        ("crates/shieldcert-cli/README.md", "README.md"),
        ("crates/shieldcert-cli/FLEETS.md", "FLEETS.md"),
    ] {
        fs::copy(root.join(from), folder.join(to)).with_context(|| format!("can't copy {from}"))?;
    }
    print_status("writing manual pages, completions and the unit");
    let pages = folder.join("man/man1");
    fs::create_dir_all(&pages)?;
    call(Command::new(&command).args(["man", "--dir"]).arg(&pages))?;
    for (shell, file) in [
        ("bash", "completions/bash/shieldcert"),
        ("zsh", "completions/zsh/_shieldcert"),
        ("fish", "completions/fish/shieldcert.fish"),
    ] {
        let script = print(Command::new(&command).args(["completions", shell]))?;
        write(&folder.join(file), &script)?;
    }
    let unit = print(Command::new(&command).args(["systemd-unit", "--fleet", FLEET, "--print"]))?;
    let path = command
        .to_str()
        .context("the path of the command is not text")?;
    let unit = unit.replace(path, INSTALLED);
    write(&folder.join("systemd/shieldcert-fleet.service"), &unit)?;
    let sboms = find(wheel, |name| name.ends_with(".dist-info"))?.join("sboms");
    let sbom = find(&sboms, |name| name.ends_with(".cyclonedx.json"))?;
    write(
        &folder.join("shieldcert.cdx.json"),
        &steady_sbom(root, &read(&sbom)?)?,
    )?;
    if !options.without_notices {
        print_status("collecting the licences of all packages in the command");
        write(&folder.join("THIRD-PARTY-NOTICES"), &notices(root)?)?;
    }
    Ok(())
}

/// Returns the SBOM without what differs between two builds of one commit, and without this machine's paths.
fn steady_sbom(root: &Path, sbom: &str) -> Result<String> {
    let root = root.to_str().context("the workspace's path is not text")?;
    let mut sbom: Value = serde_json::from_str(&sbom.replace(&format!("{root}/"), ""))
        .context("the SBOM is not JSON")?;
    let members = sbom.as_object_mut().context("the SBOM is no object")?;
    members.remove("serialNumber");
    if let Some(metadata) = members.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("timestamp");
    }
    Ok(serde_json::to_string_pretty(&sbom)? + "\n")
}

fn notices(root: &Path) -> Result<String> {
    let installed = Command::new("cargo-about")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !installed.is_ok_and(|status| status.success()) {
        bail!(
            "cargo-about is not installed; `cargo install --locked --features cli cargo-about` installs it, and \
             --without-notices does without"
        );
    }
    print(
        cargo()
            .args([
                "about",
                "generate",
                "--locked",
                "--config",
                "about.toml",
                "--manifest-path",
            ])
            .arg(root.join(CLI).join("Cargo.toml"))
            .arg("about.hbs")
            .current_dir(root),
    )
}

/// Packs a folder. Two calls with the same files make the same bytes.
fn pack(folder: &Path, name: &str, archive: &Path, time: u64) -> Result<()> {
    let file = File::create(archive)?;
    // Without a name and a time in the header.
    let gzip = GzBuilder::new().mtime(0).write(file, Compression::best());
    let mut tar = tar::Builder::new(gzip);
    for path in files(folder)? {
        let mut header = tar::Header::new_gnu();
        let metadata = fs::metadata(&path)?;
        header.set_size(metadata.len());
        header.set_mtime(time);
        header.set_mode(if is_executable(&metadata) {
            0o755
        } else {
            0o644
        });
        let inside = Path::new(name).join(path.strip_prefix(folder)?);
        tar.append_data(&mut header, inside, File::open(&path)?)?;
    }
    tar.into_inner()?.finish()?;
    Ok(())
}

/// Returns the files below a folder, in the order of their paths.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => files.extend(self::files(&path)?),
            false => files.push(path),
        }
    }
    files.sort();
    Ok(files)
}

/// Returns a line for each file, as `sha256sum --check` reads it.
fn sums(folder: &Path) -> Result<String> {
    let mut sums = String::new();
    for path in files(folder)? {
        let digest = Sha256::digest(fs::read(&path)?);
        let name = path.strip_prefix(folder)?.display();
        sums.push_str(&format!("{}  {name}\n", hex::encode(digest)));
    }
    Ok(sums)
}

/// Returns the time of everything in the archive: `SOURCE_DATE_EPOCH`, or the commit's.
fn source_date(root: &Path) -> Result<u64> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => print(
            Command::new("git")
                .args(["log", "-1", "--format=%ct"])
                .current_dir(root),
        )?,
    };
    let time = text.trim().parse();
    time.with_context(|| format!("SOURCE_DATE_EPOCH: {text:?} is no number of seconds"))
}

/// Returns the target that this toolchain builds for.
fn host() -> Result<String> {
    let version = print(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host
        .context("rustc does not say what it builds for")?
        .to_owned())
}

fn find(folder: &Path, is_it: impl Fn(&str) -> bool) -> Result<PathBuf> {
    for entry in fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))? {
        let path = entry?.path();
        if path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(&is_it)
        {
            return Ok(path);
        }
    }
    bail!("{}: what was to be in it is missing", folder.display())
}

fn write(path: &Path, contents: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    replace(path, contents)
}

/// Runs a command. The error names it.
fn call(command: &mut Command) -> Result<()> {
    let status = command.status();
    let status =
        status.with_context(|| format!("can't run {}", command.get_program().display()))?;
    ensure!(
        status.success(),
        "{} failed",
        command.get_program().display()
    );
    Ok(())
}

/// Runs a command, and returns what it prints.
fn print(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output();
    let output =
        output.with_context(|| format!("can't run {}", command.get_program().display()))?;
    ensure!(
        output.status.success(),
        "{} failed",
        command.get_program().display()
    );
    String::from_utf8(output.stdout).with_context(|| {
        format!(
            "{} printed something that is not text",
            command.get_program().display()
        )
    })
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o755),
    )?)
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Result<()> {
    Ok(())
}

#[cfg(unix)]
fn is_executable(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &fs::Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files that were made in another order at another time.
    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for name in names {
            write(&folder.path().join(name), name).expect("is written");
        }
        make_executable(&folder.path().join("b")).expect("is made");
        folder
    }

    #[test]
    fn the_same_files_make_the_same_archive() {
        let scratch = tempfile::tempdir().expect("a folder");
        let pack = |names: &[&str], time| {
            let archive = scratch.path().join("archive");
            super::pack(folder(names).path(), "name", &archive, time).expect("packs");
            fs::read(archive).expect("is there")
        };
        let first = pack(&["b", "a/c", "a/b"], 1);
        assert_eq!(first, pack(&["a/b", "b", "a/c"], 1));
        assert_ne!(first, pack(&["a/b", "b", "a/c"], 2));
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&first[..]));
        let entries = archive.entries().expect("entries").map(|entry| {
            let entry = entry.expect("an entry");
            let header = entry.header();
            let path = entry.path().expect("a path").display().to_string();
            (
                path,
                header.mode().expect("a mode"),
                header.mtime().expect("a time"),
            )
        });
        assert_eq!(
            entries.collect::<Vec<_>>(),
            [
                ("name/a/b".to_owned(), 0o644, 1),
                ("name/a/c".to_owned(), 0o644, 1),
                ("name/b".to_owned(), 0o755, 1)
            ]
        );
    }

    #[test]
    fn sums_are_those_of_sha256sum() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("empty"), "").expect("is written");
        assert_eq!(
            sums(folder.path()).expect("sums"),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  empty\n"
        );
    }

    #[test]
    fn an_sbom_says_nothing_of_the_machine() {
        let sbom = r#"{"serialNumber": "urn:uuid:1", "metadata": {"timestamp": "now", "tools": []},
                       "components": [{"bom-ref": "path+file:///w/crates/a#0.1.0"}]}"#;
        let steady = steady_sbom(Path::new("/w"), sbom).expect("is JSON");
        let steady: Value = serde_json::from_str(&steady).expect("is JSON");
        assert_eq!(
            steady,
            serde_json::json!({"metadata": {"tools": []}, "components": [{"bom-ref": "path+file://crates/a#0.1.0"}]})
        );
    }
}

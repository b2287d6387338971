//! PKCS#12 files: openssl, keytool and Python read this crate's, and it reads theirs.

use std::path::Path;

use shieldcert::{Identity, Pkcs12Options, Pkcs12Profile};
use shieldcert_emulator::Emulator;
use shieldcert_tests::kit::{TOKEN, key_and_csr, zone_through};

use super::tools::{are_installed, are_packages_installed, compare, run_script};
use super::{emulator, interop, is_installed, runs};

const PASSWORD: &str = "changeit";

/// Issues a certificate, and writes `certificate`, `chain`, `key` and `all` in PEM to this folder.
async fn issue(folder: &Path) -> Identity {
    let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
    let (key, csr) = key_and_csr("sensor-001");
    let issued = zone_through(emulator.transport()).issue(&csr).await;
    let certificate = issued.expect("is issued").certificate;
    let pem = certificate.pem().expect("a certificate");
    let all = [emulator.ca_pem(), &key.to_pem(), pem].concat();
    for (name, text) in [
        ("certificate", pem),
        ("chain", emulator.ca_pem()),
        ("key", &key.to_pem()),
        ("all", &all),
    ] {
        std::fs::write(folder.join(name), text).expect("writes");
    }
    Identity::from_pem(all).expect("an identity")
}

#[tokio::test]
async fn openssl_and_keytool_read_the_files() {
    if !are_installed() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let identity = issue(folder.path()).await;
    assert_eq!(identity.chain().len(), 1);
    for (profile, encryption, mac) in [
        (Pkcs12Profile::Modern, "AES-256-CBC", "MAC: sha256"),
        (
            Pkcs12Profile::Legacy,
            "pbeWithSHA1And3-KeyTripleDES-CBC",
            "MAC: sha1",
        ),
    ] {
        let path = folder.path().join("p12");
        let options = Pkcs12Options::new(PASSWORD).profile(profile);
        let options = options.friendly_name("Sensor Eins");
        identity.write_pkcs12(&path, &options).expect("writes");

        // OpenSSL 3 has the old algorithms in a provider of its own.
        let printed = run_script(
            folder.path(),
            r#"legacy=; ! openssl version | grep -q '^OpenSSL 3' || legacy=-legacy
openssl pkcs12 -in p12 -passin pass:changeit -info -nodes $legacy -out read
cat read
openssl pkey -in read | diff - key
[[ $(grep -c 'BEGIN CERTIFICATE' read) == 2 ]]
! openssl pkcs12 -in p12 -passin pass:wrong -noout $legacy"#,
        );
        for expected in [encryption, mac, "friendlyName: Sensor Eins"] {
            assert!(printed.contains(expected), "{expected}: {printed}");
        }

        let printed = run_script(
            folder.path(),
            "keytool -list -v -keystore p12 -storetype PKCS12 -storepass changeit",
        );
        for expected in [
            "Alias name: sensor eins",
            "Entry type: PrivateKeyEntry",
            "Certificate chain length: 2",
        ] {
            assert!(printed.contains(expected), "{expected}: {printed}");
        }
    }
}

/// The edge admits who has the file, and refuses them once the certificate is revoked.
#[tokio::test(flavor = "multi_thread")]
async fn curl_and_java_authenticate_with_the_files() {
    let installed = runs("curl", "--version") && runs("javac", "-version");
    if !is_installed("curl or Java's compiler", installed) || !are_installed() {
        return;
    }
    let emulator = emulator().start().await.expect("starts");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("ca"), emulator.ca_pem()).expect("writes");
    let (key, csr) = key_and_csr("sensor-001");
    let zone = zone_through(emulator.transport());
    let certificate = zone.issue(&csr).await.expect("is issued").certificate;
    let pem = certificate.pem().expect("a certificate");
    let all = [&key.to_pem(), pem, emulator.ca_pem()].concat();
    let identity = Identity::from_pem(all).expect("an identity");
    for (name, profile) in [
        ("modern", Pkcs12Profile::Modern),
        ("legacy", Pkcs12Profile::Legacy),
    ] {
        let options = Pkcs12Options::new(PASSWORD).profile(profile);
        let path = folder.path().join(name);
        identity.write_pkcs12(path, &options).expect("writes");
    }
    let edge = emulator.edge_address().expect("an edge");
    let java = interop().join("java/Handshake.java");
    let request = format!(
        "for file in modern legacy; do
  curl --silent --show-error --cacert ca --cert-type P12 --cert $file:{PASSWORD} --noproxy '*' -o body \
    --write-out '%{{http_code}}\\n' https://{edge}/
  java {java:?} $file {PASSWORD} ca https://{edge}/
done",
    );
    assert_eq!(run_script(folder.path(), &request), "200\n".repeat(4));
    let revoked = zone.revoke(certificate.id()).until_settled().await;
    revoked.expect("is revoked");
    assert_eq!(run_script(folder.path(), &request), "403\n".repeat(4));
}

struct Row {
    what: &'static str,
    /// Writes the file `p12`, whose password is `changeit` if it has one.
    script: &'static str,
    /// The common name and the length of the chain, or a part of the message.
    read: Result<&'static str, &'static str>,
}

const ROWS: &[Row] = &[
    Row {
        what: "openssl",
        script: "openssl pkcs12 -export -in all -passout pass:changeit -out p12",
        read: Ok("sensor-001 1"),
    },
    Row {
        what: "openssl, the certificate alone",
        script: "openssl pkcs12 -export -in certificate -inkey key -passout pass:changeit -out p12",
        read: Ok("sensor-001 0"),
    },
    Row {
        what: "openssl, triple DES",
        script: "openssl pkcs12 -export -in all -certpbe PBE-SHA1-3DES -keypbe PBE-SHA1-3DES -macalg sha1 \
            -passout pass:changeit -out p12",
        read: Ok("sensor-001 1"),
    },
    Row {
        what: "openssl, RC2 and triple DES, as OpenSSL 1 wrote",
        script: "legacy=; ! openssl version | grep -q '^OpenSSL 3' || legacy=-legacy
openssl pkcs12 -export $legacy -in all -certpbe PBE-SHA1-RC2-40 -keypbe PBE-SHA1-3DES -macalg sha1 \
            -passout pass:changeit -out p12",
        read: Ok("sensor-001 1"),
    },
    Row {
        what: "openssl, AES-128 and SHA-512",
        script: "openssl pkcs12 -export -in all -certpbe AES-128-CBC -keypbe AES-128-CBC -macalg sha512 \
            -passout pass:changeit -out p12",
        read: Ok("sensor-001 1"),
    },
    Row {
        what: "openssl, PBES2 with triple DES",
        script: "openssl pkcs12 -export -in all -certpbe DES-EDE3-CBC -keypbe DES-EDE3-CBC -passout pass:changeit -out p12",
        read: Err("in an unsupported way; make PEM of it with `openssl pkcs12"),
    },
    Row {
        what: "openssl, unencrypted",
        script: "openssl pkcs12 -export -in all -certpbe NONE -keypbe NONE -passout pass:changeit -out p12",
        read: Ok("sensor-001 1"),
    },
    Row {
        what: "openssl, without a MAC",
        script: "openssl pkcs12 -export -in all -nomac -passout pass:changeit -out p12",
        read: Ok("sensor-001 1"),
    },
    Row {
        what: "openssl, another password",
        script: "openssl pkcs12 -export -in all -passout pass:other -out p12",
        read: Err("the password is wrong"),
    },
    Row {
        what: "openssl, another password and no MAC",
        script: "openssl pkcs12 -export -in all -nomac -passout pass:other -out p12",
        read: Err("the password is wrong"),
    },
    Row {
        what: "openssl, no key",
        script: "openssl pkcs12 -export -nokeys -in certificate -passout pass:changeit -out p12",
        read: Err("it holds no private key"),
    },
    Row {
        what: "openssl, no certificate",
        script: "openssl pkcs12 -export -nocerts -inkey key -in key -passout pass:changeit -out p12",
        read: Err("it holds a private key but no certificate"),
    },
    Row {
        what: "cut off",
        script: "openssl pkcs12 -export -in all -passout pass:changeit -out whole
head -c 700 whole >p12",
        read: Err("it is damaged or cut off"),
    },
    Row {
        what: "keytool, P-256",
        script: "java_key p12 -keyalg EC -groupname secp256r1 -alias 1",
        read: Ok("sensor-001 0"),
    },
    Row {
        what: "keytool, RSA",
        script: "java_key p12 -keyalg RSA -keysize 2048 -alias 1",
        read: Ok("sensor-001 0"),
    },
    Row {
        what: "keytool, as before Java 17",
        script: "java_key p12 -keyalg EC -groupname secp256r1 -alias 1 -J-Dkeystore.pkcs12.legacy",
        read: Ok("sensor-001 0"),
    },
    Row {
        what: "keytool, an imported chain",
        script: "openssl pkcs12 -export -in all -name 1 -passout pass:changeit -out whole
keytool -importkeystore -srckeystore whole -srcstoretype PKCS12 -srcstorepass changeit -destkeystore p12 \
            -deststoretype PKCS12 -deststorepass changeit",
        read: Ok("sensor-001 1"),
    },
    Row {
        what: "keytool, two keys",
        script: "java_key p12 -keyalg EC -groupname secp256r1 -alias 1
java_key p12 -keyalg EC -groupname secp256r1 -alias 2",
        read: Err("it holds 2 private keys"),
    },
];

const PACKAGES: &[Row] = &[
    Row {
        what: "cryptography, its best encryption",
        script: r#""$PYTHON" - >p12 <<'END'
import sys
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

[key, certificate, chain] = [open(file, "rb").read() for file in ["key", "certificate", "chain"]]
file = pkcs12.serialize_key_and_certificates(
    "prüfer".encode(),
    serialization.load_pem_private_key(key, None),
    x509.load_pem_x509_certificate(certificate),
    [x509.load_pem_x509_certificate(chain)],
    serialization.BestAvailableEncryption(b"changeit"),
)
sys.stdout.buffer.write(file)
END"#,
        read: Ok("sensor-001 1"),
    },
    Row {
        what: "cryptography, triple DES",
        script: r#""$PYTHON" - >p12 <<'END'
import sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

[key, certificate] = [open(file, "rb").read() for file in ["key", "certificate"]]
encryption = (
    PrivateFormat.PKCS12.encryption_builder()
    .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
    .hmac_hash(hashes.SHA1())
    .build(b"changeit")
)
file = pkcs12.serialize_key_and_certificates(
    None, serialization.load_pem_private_key(key, None), x509.load_pem_x509_certificate(certificate), [], encryption
)
sys.stdout.buffer.write(file)
END"#,
        read: Ok("sensor-001 0"),
    },
];

#[tokio::test]
async fn python_reads_the_files() {
    if !are_packages_installed() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let identity = issue(folder.path()).await;
    for profile in [Pkcs12Profile::Modern, Pkcs12Profile::Legacy] {
        let options = Pkcs12Options::new(PASSWORD).profile(profile);
        let path = folder.path().join("p12");
        identity.write_pkcs12(&path, &options).expect("writes");
        let printed = run_script(
            folder.path(),
            r#""$PYTHON" - <<'END'
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

file = pkcs12.load_pkcs12(open("p12", "rb").read(), b"changeit")
key = load_pem_private_key(open("key", "rb").read(), None)
assert file.key.private_numbers() == key.private_numbers()
print(file.cert.certificate.subject.rfc4514_string(), len(file.additional_certs))
END"#,
        );
        assert_eq!(printed, "CN=sensor-001 1\n", "{profile:?}");
    }
}

#[tokio::test]
async fn files_of_openssl_and_keytool_are_read() {
    if are_installed() {
        check(ROWS).await;
    }
}

#[tokio::test]
async fn files_of_python_are_read() {
    if are_packages_installed() {
        check(PACKAGES).await;
    }
}

async fn check(rows: &[Row]) {
    let mut wrong = Vec::new();
    for row in rows {
        let folder = tempfile::tempdir().expect("a folder");
        let issued = issue(folder.path()).await;
        run_script(folder.path(), row.script);
        let der = std::fs::read(folder.path().join("p12")).expect("is written");
        let read = Identity::from_pkcs12(der, PASSWORD);
        if let (Ok(read), false) = (&read, row.script.contains("java_key")) {
            assert_eq!(read.key().to_pem(), issued.key().to_pem(), "{}", row.what);
        }
        let read = read.map(|read| {
            let name = read.certificate().common_name().unwrap_or_default();
            format!("{name} {}", read.chain().len())
        });
        let read = read.map_err(|error| error.to_string());
        wrong.extend(compare(row.what, row.read, read));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

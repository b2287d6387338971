//! CSRs of openssl, keytool, Python and Node: what this crate reads in them, and whether the emulator issues for them as they are.

use bytes::Bytes;
use shieldcert::{Csr, Transport};
use shieldcert_emulator::Emulator;
use shieldcert_tests::kit::{TOKEN, ZONE, zone_through};

use super::tools::{are_installed, are_packages_installed, compare, run_script};
use super::{is_installed, runs};

struct Row {
    what: &'static str,
    /// Writes the file `csr`.
    script: &'static str,
    /// The subject, or a part of the message.
    read: Result<&'static str, &'static str>,
    /// A part of the message, if the emulator refuses it.
    issued: Result<&'static str, &'static str>,
}

const SUBJECT: Result<&str, &str> = Ok(r"O=Temperature Testers\, Inc.,CN=sensor-001");
const ISSUED: Result<&str, &str> = Ok("");

const ROWS: &[Row] = &[
    Row {
        what: "openssl, P-256",
        script: r#"request -subj "$subject""#,
        read: SUBJECT,
        issued: ISSUED,
    },
    Row {
        what: "openssl, P-384",
        script: r#"openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -keyout key -out csr -subj "$subject""#,
        read: SUBJECT,
        issued: ISSUED,
    },
    Row {
        what: "openssl, P-521",
        script: r#"openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-521 -nodes -keyout key -out csr -subj "$subject""#,
        read: SUBJECT,
        issued: Err("key type"),
    },
    Row {
        what: "openssl, Ed25519",
        script: r#"openssl req -new -newkey ed25519 -nodes -keyout key -out csr -subj "$subject""#,
        read: SUBJECT,
        issued: ISSUED,
    },
    Row {
        what: "openssl, RSA 1024",
        script: r#"openssl req -new -newkey rsa:1024 -nodes -keyout key -out csr -subj "$subject""#,
        read: Err("its RSA key is too weak: it has 1024 bits"),
        issued: Err("1024 bits"),
    },
    Row {
        what: "openssl, RSA 2048",
        script: r#"openssl req -new -newkey rsa:2048 -nodes -keyout key -out csr -subj "$subject""#,
        read: SUBJECT,
        issued: ISSUED,
    },
    Row {
        what: "openssl, RSA 4096, SHA-512",
        script: r#"openssl req -new -newkey rsa:4096 -sha512 -nodes -keyout key -out csr -subj "$subject""#,
        read: SUBJECT,
        issued: ISSUED,
    },
    Row {
        what: "openssl, RSA 2048 signed with SHA-1",
        script: r#"openssl req -new -newkey rsa:2048 -sha1 -nodes -keyout key -out csr -subj "$subject""#,
        read: SUBJECT,
        issued: Err("signature algorithm"),
    },
    Row {
        what: "openssl, repeated attributes",
        script: r#"request -subj '/DC=com/DC=example/OU=One/OU=Two/CN=sensor-001'"#,
        read: Ok("DC=com,DC=example,OU=One,OU=Two,CN=sensor-001"),
        issued: ISSUED,
    },
    Row {
        what: "openssl, attributes joined by +",
        script: r#"request -subj '/O=Testers/CN=sensor-001+serialNumber=7'"#,
        read: Ok("O=Testers,serialNumber=7+CN=sensor-001"),
        issued: ISSUED,
    },
    Row {
        what: "openssl, UTF-8",
        script: r#"request -utf8 -subj '/O=Prüfer ⚙/CN=sensor-001'"#,
        read: Ok("O=Prüfer ⚙,CN=sensor-001"),
        issued: ISSUED,
    },
    Row {
        what: "openssl, T.61 strings",
        script: r#"printf '[req]\ndistinguished_name=dn\nstring_mask=MASK:0x4\n[dn]\n' >t61
request -config t61 -subj $'/O=Pr\xfcfer/CN=sensor-001'"#,
        read: Ok("O=Prüfer,CN=sensor-001"),
        issued: ISSUED,
    },
    Row {
        what: "openssl, BMP strings",
        script: r#"printf '[req]\ndistinguished_name=dn\nstring_mask=MASK:0x800\n[dn]\n' >bmp
request -config bmp -utf8 -subj '/O=Prüfer ⚙/CN=sensor-001'"#,
        read: Ok("O=Prüfer ⚙,CN=sensor-001"),
        issued: ISSUED,
    },
    Row {
        what: "openssl, extensions and a challenge password",
        script: r#"printf '[req]\ndistinguished_name=dn\nattributes=at\nprompt=no\n[at]\nchallengePassword=1234\n[dn]\nCN=sensor-001\n' >at
request -config at -addext 'subjectAltName=DNS:sensor-001.example.com,URI:urn:device:1' -addext 'keyUsage=digitalSignature'"#,
        read: Ok("CN=sensor-001"),
        issued: ISSUED,
    },
    Row {
        what: "no attributes, which RFC 2986 requires and some tools leave out",
        script: r#"request -outform DER -subj /CN=sensor-001
openssl asn1parse -inform DER -in csr -strparse 3 -noout -out info
{ printf '\x30\x75'; tail -c +3 info | head -c 117; } >bare
openssl dgst -sha256 -sign key -out signature bare
length=$(wc -c <signature)
byte() { printf "\\x$(printf %02x $1)"; }
{
  printf '\x30\x81'; byte $((134 + length)); cat bare
  printf '\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02\x03'; byte $((1 + length)); printf '\0'; cat signature
} >der
{ echo '-----BEGIN CERTIFICATE REQUEST-----'; openssl base64 -in der; echo '-----END CERTIFICATE REQUEST-----'; } >csr"#,
        read: Ok("CN=sensor-001"),
        issued: ISSUED,
    },
    Row {
        what: "openssl, NEW CERTIFICATE REQUEST",
        script: r#"request -newhdr -subj "$subject""#,
        read: SUBJECT,
        issued: ISSUED,
    },
    Row {
        what: "openssl, text before the block",
        script: r#"request -text -subj "$subject""#,
        read: SUBJECT,
        issued: ISSUED,
    },
    Row {
        what: "openssl, no subject",
        script: r#"request -subj /"#,
        read: Ok(""),
        issued: ISSUED,
    },
    Row {
        what: "openssl, a certificate in place of a CSR",
        script: r#"request -x509 -subj "$subject""#,
        read: Err("it is a certificate"),
        issued: Err("another kind"),
    },
    Row {
        what: "keytool, P-256",
        script: "java_request -keyalg EC -groupname secp256r1",
        read: SUBJECT,
        issued: ISSUED,
    },
    Row {
        what: "keytool, RSA 2048",
        script: "java_request -keyalg RSA -keysize 2048",
        read: SUBJECT,
        issued: ISSUED,
    },
    Row {
        what: "keytool, Ed25519, with a subject alternative name",
        script: "java_key store -keyalg Ed25519 -alias 1
keytool -certreq -alias 1 -storepass changeit -keystore store -ext san=dns:sensor-001.example.com -file csr",
        read: SUBJECT,
        issued: ISSUED,
    },
];

/// They have an extension request without extensions.
const CFSSL: &[Row] = &[
    Row {
        what: "cfssl, P-256",
        script: r#"echo '{"CN":"sensor-001","names":[{"O":"Temperature Testers, Inc."}],"key":{"algo":"ecdsa","size":256}}' |
    cfssl genkey - | cfssljson -bare made
mv made.csr csr"#,
        read: SUBJECT,
        issued: ISSUED,
    },
    Row {
        what: "cfssl, RSA 2048 with subject alternative names",
        script: r#"echo '{"CN":"sensor-001","hosts":["a.example.com","10.0.0.1"],"key":{"algo":"rsa","size":2048}}' |
    cfssl genkey - | cfssljson -bare made
mv made.csr csr"#,
        read: Ok("CN=sensor-001"),
        issued: ISSUED,
    },
];

const PACKAGES: &[Row] = &[
    Row {
        what: "cryptography, P-256 with extensions",
        script: r#""$PYTHON" - >csr <<'END'
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

names = [(NameOID.ORGANIZATION_NAME, "Prüfer"), (NameOID.COMMON_NAME, "sensor-001")]
csr = (
    x509.CertificateSigningRequestBuilder()
    .subject_name(x509.Name([x509.NameAttribute(*name) for name in names]))
    .add_extension(x509.SubjectAlternativeName([x509.DNSName("sensor-001.example.com")]), critical=False)
    .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
)
print(csr.public_bytes(serialization.Encoding.PEM).decode())
END"#,
        read: Ok("O=Prüfer,CN=sensor-001"),
        issued: ISSUED,
    },
    Row {
        what: "cryptography, Ed25519 and joined attributes",
        script: r#""$PYTHON" - >csr <<'END'
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

name = x509.Name.from_rfc4514_string("serialNumber=7+CN=sensor-001,O=Testers", {"serialNumber": x509.oid.NameOID.SERIAL_NUMBER})
csr = x509.CertificateSigningRequestBuilder().subject_name(name)
csr = csr.sign(ed25519.Ed25519PrivateKey.generate(), None)
print(csr.public_bytes(serialization.Encoding.PEM).decode())
END"#,
        read: Ok("O=Testers,serialNumber=7+CN=sensor-001"),
        issued: ISSUED,
    },
    Row {
        what: "@peculiar/x509, P-256 with an extension",
        script: r#"node - >csr <<'END'
require('reflect-metadata');
const x509 = require('@peculiar/x509');
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']).then(async (keys) => {
  const extensions = [new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature)];
  const name = 'O=Testers, CN=sensor-001';
  const options = { name, keys, signingAlgorithm: algorithm, extensions };
  console.log((await x509.Pkcs10CertificateRequestGenerator.create(options)).toString('pem'));
});
END"#,
        read: Ok("O=Testers,CN=sensor-001"),
        issued: ISSUED,
    },
    Row {
        what: "@peculiar/x509, RSA 2048",
        script: r#"node - >csr <<'END'
require('reflect-metadata');
const x509 = require('@peculiar/x509');
const algorithm = {
  name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', publicExponent: new Uint8Array([1, 0, 1]), modulusLength: 2048,
};
crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']).then(async (keys) => {
  const options = { name: 'CN=sensor-001', keys, signingAlgorithm: algorithm };
  console.log((await x509.Pkcs10CertificateRequestGenerator.create(options)).toString('pem'));
});
END"#,
        read: Ok("CN=sensor-001"),
        issued: ISSUED,
    },
];

#[tokio::test]
async fn csrs_of_openssl_and_keytool() {
    if are_installed() {
        check(ROWS).await;
    }
}

#[tokio::test]
async fn csrs_of_cfssl() {
    if is_installed("cfssl", runs("cfssl", "version")) {
        check(CFSSL).await;
    }
}

#[tokio::test]
async fn csrs_of_python_and_node() {
    if are_packages_installed() {
        check(PACKAGES).await;
    }
}

async fn check(rows: &[Row]) {
    let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
    let zone = zone_through(emulator.transport());
    let mut wrong = Vec::new();
    for row in rows {
        let folder = tempfile::tempdir().expect("a folder");
        run_script(folder.path(), row.script);
        let pem = std::fs::read(folder.path().join("csr")).expect("is written");
        let csr = Csr::from_pem(&pem);
        let read = csr.clone().map(|csr| csr.subject());
        let read = read.map_err(|error| error.to_string());
        wrong.extend(compare(row.what, row.read, read));

        let issued = post(&emulator, &pem).await.map(|()| String::new());
        wrong.extend(compare(
            &format!("{}, at the emulator", row.what),
            row.issued,
            issued,
        ));
        // As this crate sends it, with every extension and attribute.
        if let (Ok(csr), Ok(_)) = (csr, row.issued) {
            match zone.issue(&csr).await {
                Ok(issued) => {
                    let sent = issued.certificate.csr_pem().expect("a CSR");
                    assert_eq!(Csr::from_pem(sent), Ok(csr), "{}", row.what);
                }
                Err(error) => wrong.push(format!("{}, issued: {error}", row.what)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Posts a CSR as it is, and returns the message if it is refused.
async fn post(emulator: &Emulator, csr: &[u8]) -> Result<(), String> {
    let csr = String::from_utf8_lossy(csr);
    let body = serde_json::json!({ "csr": csr, "validity_days": 30 });
    let uri = format!("http://127.0.0.1/client/v4/zones/{ZONE}/client_certificates");
    let request = http::Request::post(uri)
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("content-type", "application/json")
        .body(Bytes::from(body.to_string()))
        .expect("a request");
    let response = emulator.transport().send(request).await;
    let body = response.expect("a response").into_body();
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    match &body["success"] {
        serde_json::Value::Bool(true) => Ok(()),
        _ => Err(body["errors"].to_string()),
    }
}

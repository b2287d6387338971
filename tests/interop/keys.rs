//! Private keys of openssl, with and without a password, and what openssl makes of this crate's keys.

use shieldcert::{KeyAlgorithm, PrivateKey, Subject};
use shieldcert_emulator::Emulator;
use shieldcert_tests::kit::{TOKEN, zone_through};

use super::tools::{are_installed, compare, run_script};

struct Row {
    what: &'static str,
    /// Writes the file `key`, whose password is `secret` if it has one.
    script: &'static str,
    /// The algorithm, or a part of the message.
    read: Result<&'static str, &'static str>,
}

const ROWS: &[Row] = &[
    Row {
        what: "PKCS#8, P-256",
        script: "p256 -out key",
        read: Ok("ecdsa-p256"),
    },
    Row {
        what: "PKCS#8, P-384",
        script: "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out key",
        read: Ok("ecdsa-p384"),
    },
    Row {
        what: "PKCS#8, P-521",
        script: "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out key",
        read: Err("of an unsupported kind"),
    },
    Row {
        what: "PKCS#8, Ed25519",
        script: "openssl genpkey -algorithm ed25519 -out key",
        read: Ok("ed25519"),
    },
    Row {
        what: "PKCS#8, RSA 1024",
        script: "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out key",
        read: Err("2,048, 3,072 or 4,096 bits"),
    },
    Row {
        what: "PKCS#8, RSA 2048",
        script: "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key",
        read: Ok("rsa-2048"),
    },
    Row {
        what: "PKCS#8, RSA 2560",
        script: "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2560 -out key",
        read: Err("2,048, 3,072 or 4,096 bits"),
    },
    Row {
        what: "PKCS#8, RSA 4096",
        script: "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:4096 -out key",
        read: Ok("rsa-4096"),
    },
    Row {
        what: "PKCS#1",
        script: "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out pkcs8
openssl rsa -in pkcs8 -traditional -out key",
        read: Ok("rsa-2048"),
    },
    Row {
        what: "SEC1 with its parameters before it",
        script: "openssl ecparam -name prime256v1 -genkey -out key
grep -q 'BEGIN EC PARAMETERS' key",
        read: Ok("ecdsa-p256"),
    },
    Row {
        what: "SEC1 without parameters before it",
        script: "openssl ecparam -name secp384r1 -genkey -noout -out key",
        read: Ok("ecdsa-p384"),
    },
    Row {
        what: "PKCS#8 without the public key, as Java writes it",
        script: "p256 | openssl ec -no_public | openssl pkcs8 -topk8 -nocrypt -out key",
        read: Err("it lacks its public key"),
    },
    Row {
        what: "a curve by its parameters",
        script: "p256 -pkeyopt ec_param_enc:explicit -out key",
        read: Err("of an unsupported kind"),
    },
    Row {
        what: "encrypted, AES-256",
        script: "p256 -aes-256-cbc -pass pass:secret -out key",
        read: Ok("ecdsa-p256"),
    },
    Row {
        what: "encrypted, AES-128",
        script: "p256 -aes-128-cbc -pass pass:secret -out key",
        read: Ok("ecdsa-p256"),
    },
    Row {
        what: "encrypted, AES-256, SHA-1",
        script: "p256 | openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA1 -passout pass:secret -out key",
        read: Ok("ecdsa-p256"),
    },
    Row {
        what: "encrypted, AES-256, SHA-512",
        script: "p256 | openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA512 -passout pass:secret -out key",
        read: Ok("ecdsa-p256"),
    },
    Row {
        what: "encrypted, triple DES, SHA-1",
        script: "p256 | openssl pkcs8 -topk8 -v2 des3 -v2prf hmacWithSHA1 -passout pass:secret -out key",
        read: Ok("ecdsa-p256"),
    },
    Row {
        what: "encrypted, triple DES, SHA-256",
        script: "p256 | openssl pkcs8 -topk8 -v2 des3 -passout pass:secret -out key",
        read: Ok("ecdsa-p256"),
    },
    Row {
        what: "encrypted, scrypt",
        script: "p256 | openssl pkcs8 -topk8 -scrypt -passout pass:secret -out key",
        read: Ok("ecdsa-p256"),
    },
    Row {
        what: "encrypted, RSA",
        script: "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -aes256 -pass pass:secret -out key",
        read: Ok("rsa-3072"),
    },
    Row {
        what: "encrypted with another password",
        script: "p256 -aes-256-cbc -pass pass:other -out key",
        read: Err("the password is wrong"),
    },
    Row {
        what: "encrypted with triple DES and another password",
        script: "p256 | openssl pkcs8 -topk8 -v2 des3 -passout pass:other -out key",
        read: Err("the password is wrong"),
    },
    Row {
        what: "encrypted with PBES1",
        script: "p256 | openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES -passout pass:secret -out key",
        read: Err("encrypted in an unsupported way; convert it with `openssl pkey"),
    },
    Row {
        what: "encrypted with Camellia",
        script: "p256 | openssl pkcs8 -topk8 -v2 camellia-256-cbc -passout pass:secret -out key",
        read: Err("encrypted in an unsupported way; convert it with `openssl pkey"),
    },
    Row {
        what: "encrypted before PKCS#8",
        script: "p256 | openssl ec -aes256 -passout pass:secret -out key
grep -q 'Proc-Type: 4,ENCRYPTED' key",
        read: Err("(`Proc-Type: 4,ENCRYPTED`), which is not read; convert it with `openssl pkey"),
    },
];

/// Reads each key and makes a CSR, which openssl verifies and the emulator issues for.
#[tokio::test]
async fn keys_of_openssl() {
    if !are_installed() {
        return;
    }
    let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
    let zone = zone_through(emulator.transport());
    let mut wrong = Vec::new();
    for row in ROWS {
        let folder = tempfile::tempdir().expect("a folder");
        run_script(folder.path(), row.script);
        let pem = std::fs::read(folder.path().join("key")).expect("is written");
        let key = PrivateKey::from_encrypted_pem(&pem, "secret");
        let read = key.as_ref().map(|key| key.algorithm().to_string());
        wrong.extend(compare(
            row.what,
            row.read,
            read.map_err(ToString::to_string),
        ));
        if let Ok(key) = key {
            let csr = key.csr(&Subject::common_name("sensor-001")).expect("a CSR");
            csr.write_pem(folder.path().join("csr")).expect("writes");
            run_script(folder.path(), "openssl req -in csr -verify -noout");
            zone.issue(&csr).await.expect("is issued");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn openssl_reads_the_keys() {
    if !are_installed() {
        return;
    }
    let algorithms = [
        KeyAlgorithm::EcdsaP256,
        KeyAlgorithm::EcdsaP384,
        KeyAlgorithm::Ed25519,
        #[cfg(feature = "rsa")]
        KeyAlgorithm::Rsa2048,
        #[cfg(feature = "rsa")]
        KeyAlgorithm::Rsa3072,
        #[cfg(feature = "rsa")]
        KeyAlgorithm::Rsa4096,
    ];
    for algorithm in algorithms {
        let folder = tempfile::tempdir().expect("a folder");
        let key = PrivateKey::generate(algorithm).expect("a key");
        let csr = key.csr(&Subject::common_name("sensor-001")).expect("a CSR");
        csr.write_pem(folder.path().join("csr")).expect("writes");
        key.write_pem(folder.path().join("key")).expect("writes");
        let encrypted = key.to_encrypted_pem("secret").expect("is encrypted");
        std::fs::write(folder.path().join("encrypted"), encrypted).expect("writes");
        run_script(
            folder.path(),
            "openssl req -in csr -verify -noout
openssl req -in csr -noout -pubkey >public
openssl pkey -in key -pubout | diff - public
openssl pkey -in encrypted -passin pass:secret -pubout | diff - public
! openssl pkey -in encrypted -passin pass:wrong -noout",
        );
    }
}

//! Issuing: what a certificate says, and which CSRs are refused.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::common::*;
use rcgen::KeyPair;
use shieldcert_emulator::{Emulator, IdStyle, assumptions};
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate, X509CertificationRequest};

fn der(pem: &str) -> Vec<u8> {
    pem::parse(pem).expect("PEM").into_contents()
}

#[tokio::test]
async fn every_field_comes_from_the_certificate() {
    let emulator = emulator();
    let sent = include_str!("data/rsa_2048.csr");
    let response = call(&emulator, "POST", "", create_body(sent, 90)).await;
    response.assert_succeeded();

    let pem = response.result("certificate");
    assert!(pem.ends_with("-----END CERTIFICATE-----\n") && !pem.contains('\r'));
    let der_bytes = der(pem);
    let (rest, certificate) = X509Certificate::from_der(&der_bytes).expect("a certificate");
    assert!(rest.is_empty());

    let ca_der = der(emulator.ca_pem());
    let (_, ca) = X509Certificate::from_der(&ca_der).expect("the CA");
    certificate
        .verify_signature(Some(ca.public_key()))
        .expect("signed by the CA");
    ca.verify_signature(None).expect("signed by itself");
    assert_eq!(certificate.issuer(), ca.subject());
    assert!(ca.is_ca());
    assert!(ca.validity().not_before <= certificate.validity().not_before);
    assert!(ca.validity().not_after >= certificate.validity().not_after);

    let request_der = der(sent);
    let (_, request) = X509CertificationRequest::from_der(&request_der).expect("the CSR");
    let info = &request.certification_request_info;
    assert_eq!(certificate.public_key().raw, info.subject_pki.raw);
    // The subject is the CSR's, byte for byte.
    assert_eq!(certificate.subject().as_raw(), info.subject.as_raw());

    for (field, expected) in [
        ("common_name", "rsa"),
        ("country", "US"),
        ("state", "TX"),
        ("location", "Austin"),
        ("organization", "Temperature Testers, Inc."),
        ("organizational_unit", "Field Sensors"),
        ("signature", "ECDSAWithSHA256"),
        ("status", "active"),
    ] {
        assert_eq!(response.result(field), expected, "{field}");
    }
    assert_eq!(
        certificate.signature_algorithm.algorithm.to_id_string(),
        "1.2.840.10045.4.3.2"
    );
    assert_eq!(response.body["result"]["validity_days"], 90);
    assert_eq!(
        response.result("serial_number"),
        hex::encode(certificate.raw_serial())
    );
    assert_eq!(response.result("serial_number").len(), 40);
    let digest = ring::digest::digest(&ring::digest::SHA256, &der_bytes);
    assert_eq!(
        response.result("fingerprint_sha256"),
        hex::encode(digest.as_ref())
    );

    let seconds = |field: &str| {
        let time: jiff::Timestamp = response.result(field).parse().expect("RFC 3339");
        assert!(response.result(field).ends_with('Z') && !response.result(field).contains('.'));
        time.as_second()
    };
    assert_eq!(
        seconds("issued_on"),
        certificate.validity().not_before.timestamp()
    );
    assert_eq!(
        seconds("expires_on"),
        certificate.validity().not_after.timestamp()
    );
    assert_eq!(seconds("expires_on") - seconds("issued_on"), 90 * 86_400);

    let authority = &response.body["result"]["certificate_authority"];
    assert!(
        authority["id"]
            .as_str()
            .is_some_and(|id| id.parse::<uuid::Uuid>().is_ok())
    );
    assert!(!authority["name"].as_str().expect("a name").is_empty());

    let mut ski = String::new();
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => ski = hex::encode(id.0),
            ParsedExtension::KeyUsage(usage) => {
                assert!(usage.digital_signature() && usage.flags == 1)
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                assert!(usage.client_auth && !usage.server_auth && !usage.any);
            }
            ParsedExtension::BasicConstraints(constraints) => assert!(!constraints.ca),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                let of_ca = ca
                    .extensions()
                    .iter()
                    .find_map(|e| match e.parsed_extension() {
                        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
                        _ => None,
                    });
                assert_eq!(id.key_identifier.as_ref().map(|id| id.0), of_ca);
            }
            other => panic!("not expected: {other:?}"),
        }
    }
    assert_eq!(certificate.extensions().len(), 5);
    assert_eq!(response.result("ski"), ski);
    assert_eq!(ski.len(), 40);

    // A later read returns the same.
    let again = call(&emulator, "GET", &format!("/{}", response.result("id")), "").await;
    assert_eq!(again.body, response.body);
}

#[tokio::test]
async fn extensions_of_the_csr_are_ignored() {
    let csr = include_str!("data/wants_to_be_a_ca.csr");
    let response = call(&emulator(), "POST", "", create_body(csr, 1)).await;
    let bytes = der(response.result("certificate"));
    let (_, certificate) = X509Certificate::from_der(&bytes).expect("a certificate");
    assert!(!certificate.is_ca());
    assert!(
        certificate
            .subject_alternative_name()
            .expect("readable")
            .is_none()
    );
    let usage = certificate.key_usage().expect("readable").expect("there");
    assert_eq!(usage.value.flags, 1);
}

#[tokio::test]
async fn absent_subject_fields_are_empty_strings() {
    for csr in [
        csr("only-a-name"),
        include_str!("data/no_subject.csr").to_owned(),
    ] {
        let response = call(&emulator(), "POST", "", create_body(&csr, 1)).await;
        response.assert_succeeded();
        for field in [
            "country",
            "state",
            "location",
            "organization",
            "organizational_unit",
        ] {
            assert_eq!(response.body["result"][field], "", "{field}");
        }
    }
}

#[tokio::test]
async fn subjects_keep_their_characters() {
    let response = call(
        &emulator(),
        "POST",
        "",
        create_body(include_str!("data/utf8.csr"), 1),
    )
    .await;
    assert_eq!(response.result("common_name"), "Zürich-Gerät");
    assert_eq!(response.result("organization"), "東京");
}

#[tokio::test]
async fn the_returned_csr_has_crlf() {
    let emulator = emulator();
    let lf = csr("lines");
    let crlf = lf.replace('\n', "\r\n");
    for sent in [
        lf.clone(),
        crlf.clone(),
        format!("\n {lf} \n"),
        lf.trim_end().to_owned(),
    ] {
        let response = call(&emulator, "POST", "", create_body(&sent, 1)).await;
        response.assert_succeeded();
        assert_eq!(response.result("csr"), crlf);
    }
}

#[tokio::test]
async fn each_accepted_key_type_gets_a_certificate() {
    let emulator = emulator();
    let keys = [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ];
    let mut csrs: Vec<String> = keys
        .iter()
        .map(|kind| csr_of(&KeyPair::generate_for(kind).expect("a key"), "kind"))
        .collect();
    csrs.push(include_str!("data/rsa_2048.csr").to_owned());
    csrs.push(include_str!("data/rsa_2048_pss.csr").to_owned());
    for csr in csrs {
        let response = call(&emulator, "POST", "", create_body(&csr, 365)).await;
        response.assert_succeeded();
        let bytes = der(response.result("certificate"));
        let (_, certificate) = X509Certificate::from_der(&bytes).expect("a certificate");
        let request = der(&csr);
        let (_, request) = X509CertificationRequest::from_der(&request).expect("the CSR");
        let key = &request.certification_request_info.subject_pki;
        assert_eq!(certificate.public_key().raw, key.raw);
    }
}

/// What tools write, and the real service is inferred to accept.
#[tokio::test]
async fn csrs_in_the_dress_of_other_tools_are_accepted_with_their_subject_as_it_is() {
    let emulator = emulator();
    let good = csr("good");
    for csr in [
        format!("Certificate Request:\n    Data:\n{good}"),
        format!("{good}behind it"),
        good.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"),
        good.replace('\n', "\r\n"),
        include_str!("data/two_units.csr").to_owned(),
        include_str!("data/joined.csr").to_owned(),
    ] {
        let response = call(&emulator, "POST", "", create_body(&csr, 365)).await;
        response.assert_succeeded();
        let bytes = der(response.result("certificate"));
        let (_, certificate) = X509Certificate::from_der(&bytes).expect("a certificate");
        let request = der(&csr);
        let (_, request) = X509CertificationRequest::from_der(&request).expect("the CSR");
        let info = &request.certification_request_info;
        assert_eq!(
            certificate.subject().as_raw(),
            info.subject.as_raw(),
            "{csr}"
        );
        let ca = der(emulator.ca_pem());
        let (_, ca) = X509Certificate::from_der(&ca).expect("the CA");
        certificate
            .verify_signature(Some(ca.public_key()))
            .expect("is signed by the CA");
    }
}

#[tokio::test]
async fn invalid_csrs_are_refused_and_nothing_is_stored() {
    let emulator = emulator();
    let good = csr("good");
    let reencoded = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = der(&good);
        change(&mut bytes);
        pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", bytes))
    };
    let end = "-----END CERTIFICATE REQUEST-----";
    let table = [
        ("empty", String::new(), "PEM block"),
        ("not PEM", "hello".to_owned(), "PEM block"),
        ("escaped line ends", good.replace('\n', "\\n"), "PEM block"),
        (
            "truncated base64",
            good[..good.len() / 2].to_owned(),
            "PEM block",
        ),
        ("two of them", format!("{good}{good}"), "PEM block"),
        (
            "garbage behind, an end behind that",
            format!("{good}garbage\n{end}"),
            "PEM block",
        ),
        (
            "garbage on the last line",
            format!("{}x{end}\n", good.trim_end()),
            "PEM block",
        ),
        (
            "a header",
            good.replacen("-----\n", "-----\nProc-Type: 4,ENCRYPTED\n\n", 1),
            "PEM block",
        ),
        (
            "not base64",
            good.replacen("MII", "M*I", 1).replacen("MIH", "M*H", 1),
            "PEM block",
        ),
        (
            "a certificate",
            emulator.ca_pem().to_owned(),
            "another kind",
        ),
        (
            "a certificate so labelled",
            emulator
                .ca_pem()
                .replace("CERTIFICATE-", "CERTIFICATE REQUEST-"),
            "PKCS#10",
        ),
        (
            "a private key",
            KeyPair::generate().expect("a key").serialize_pem(),
            "another kind",
        ),
        (
            "nothing inside",
            reencoded(&|bytes| bytes.clear()),
            "PKCS#10",
        ),
        (
            "truncated",
            reencoded(&|bytes| bytes.truncate(bytes.len() - 1)),
            "PKCS#10",
        ),
        (
            "a byte behind",
            reencoded(&|bytes| bytes.push(0)),
            "PKCS#10",
        ),
        (
            "a broken signature",
            reencoded(&|bytes| *bytes.last_mut().expect("a byte") ^= 1),
            "does not belong to its key",
        ),
        (
            "another name under the signature",
            reencoded(&|bytes| {
                let at = bytes
                    .windows(4)
                    .position(|w| w == b"good")
                    .expect("the name");
                bytes[at] = b'f';
            }),
            "does not belong to its key",
        ),
        (
            "RSA of 1024 bits",
            include_str!("data/weak_rsa_1024.csr").to_owned(),
            "has 1024 bits",
        ),
        (
            "SHA-1",
            include_str!("data/rsa_2048_sha1.csr").to_owned(),
            "signature algorithm is not accepted",
        ),
        (
            "secp256k1",
            include_str!("data/secp256k1.csr").to_owned(),
            "key type is not accepted",
        ),
        (
            "P-521",
            include_str!("data/p521.csr").to_owned(),
            "key type is not accepted",
        ),
    ];
    for (what, csr, why) in table {
        let response = call(&emulator, "POST", "", create_body(&csr, 365)).await;
        response.assert_failed(400, assumptions::INVALID_CSR);
        let message = response.body["errors"][0]["message"]
            .as_str()
            .expect("a message");
        assert!(message.contains(why), "{what}: {message}");
    }
    let list = call(&emulator, "GET", "", "").await;
    assert_eq!(list.body["result_info"]["total_count"], 0);
}

#[tokio::test]
async fn no_csr_with_a_changed_byte_is_accepted() {
    let emulator = Emulator::builder().build().expect("an emulator");
    let good = der(&csr("flipped"));
    let (_, request) = X509CertificationRequest::from_der(&good).expect("the CSR");
    let signed = request.certification_request_info.raw;
    let start = signed.as_ptr() as usize - good.as_ptr() as usize;
    let signed = start..start + signed.len();
    let signature = good.len() - request.signature_value.data.len();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x11;
        let csr = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", bytes));
        let response = call(&emulator, "POST", "", create_body(&csr, 1)).await;
        // The signature does not cover the name of its algorithm.
        if signed.contains(&at) || at >= signature {
            response.assert_failed(400, assumptions::INVALID_CSR);
        } else {
            assert!(
                matches!(response.status, 200 | 400),
                "byte {at}: {}",
                response.body
            );
        }
    }
}

#[tokio::test]
async fn validity_out_of_bounds_is_refused() {
    let emulator = emulator();
    let csr = csr("valid");
    let max = assumptions::MAX_VALIDITY_DAYS;
    for days in [1, 365, max] {
        call(&emulator, "POST", "", create_body(&csr, days))
            .await
            .assert_succeeded();
    }
    call(&emulator, "POST", "", create_body(&csr, 30.0))
        .await
        .assert_succeeded();
    for days in [0, -1, max + 1, i64::MAX, i64::MIN] {
        let response = call(&emulator, "POST", "", create_body(&csr, days)).await;
        response.assert_failed(400, assumptions::INVALID_VALIDITY);
    }
    let bad = [
        1.5.into(),
        1e300.into(),
        "365".into(),
        true.into(),
        serde_json::Value::Null,
    ];
    for days in bad {
        let response = call(&emulator, "POST", "", create_body(&csr, days)).await;
        response.assert_failed(400, assumptions::INVALID_BODY);
    }
}

#[tokio::test]
async fn ids_are_written_in_the_set_style_and_read_in_both() {
    for (style, length) in [(IdStyle::Hyphenated, 36), (IdStyle::Hex, 32)] {
        let emulator = Emulator::builder().ids(style).build().expect("an emulator");
        let id = issue(&emulator, "id").await;
        assert_eq!(id.len(), length);
        let uuid: uuid::Uuid = id.parse().expect("a UUID");
        for id in [
            uuid.hyphenated().to_string(),
            uuid.simple().to_string().to_uppercase(),
        ] {
            call(&emulator, "GET", &format!("/{id}"), "")
                .await
                .assert_succeeded();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_seed_and_a_start_time_make_runs_repeatable() {
    let start = UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    let one = || {
        let builder = Emulator::builder().seed(7).clock_start(start);
        builder.build().expect("an emulator")
    };
    let (first, second) = (one(), one());
    assert_eq!(issue(&first, "a").await, issue(&second, "a").await);
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    let response = call(&first, "POST", "", create_body(&csr("b"), 1)).await;
    assert_eq!(response.result("issued_on"), "2033-05-19T03:33:20Z");
    assert_eq!(response.result("expires_on"), "2033-05-20T03:33:20Z");
    assert!(start > SystemTime::now(), "that time is in the future");
}

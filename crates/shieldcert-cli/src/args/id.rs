//! Ids that are typed.

use std::path::Path;

use shieldcert::CertificateId;

/// How many hexadecimal digits an id has, hyphens left out.
const DIGITS: usize = 32;

/// Parses an id. What looks like a file, or like the beginning of an id, is refused before anything is sent.
pub(crate) fn parse(text: &str) -> Result<CertificateId, String> {
    if Path::new(text).is_file() {
        return Err(format!(
            "it is a file; `shieldcert find {text}` shows the certificate that is in it"
        ));
    }
    if text.contains(['.', '/', '\\']) {
        return Err("there is no such file, and it is no id of a certificate".to_owned());
    }
    let digits = text.chars().filter(|c| *c != '-').count();
    let is_hex = text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if is_hex && digits < DIGITS {
        return Err(format!(
            "it is too short for an id; `shieldcert find {text}` finds an id by its beginning"
        ));
    }
    text.parse()
        .map_err(|error: shieldcert::InvalidInput| error.problem().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_id_is_told_from_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("sensor");
        std::fs::write(&file, "").expect("writes");
        let file = file.display().to_string();
        let refusals = [
            file.as_str(),
            "sensor-001.pem",
            "ids/sensor",
            "5bbf27e9",
            "5bbf-",
        ];
        let refusals = refusals.map(|text| parse(text).expect_err(text).replace(&file, "FILE"));
        insta::assert_snapshot!(refusals.join("\n"), @"
        it is a file; `shieldcert find FILE` shows the certificate that is in it
        there is no such file, and it is no id of a certificate
        there is no such file, and it is no id of a certificate
        it is too short for an id; `shieldcert find 5bbf27e9` finds an id by its beginning
        it is too short for an id; `shieldcert find 5bbf-` finds an id by its beginning
        ");
        for id in [
            "7bf7f70c-7600-42e1-81c4-e4c0da9aa515",
            "7bf7f70c760042e181c4e4c0da9aa515",
            "another-kind",
        ] {
            assert!(parse(id).is_ok(), "{id}");
        }
    }
}

//! The section `[outputs]`.

use shieldcert::Pkcs12Profile;
use toml::de::DeValue;

use super::error::ConfigError;
use super::section::Section;
use super::value::{parsed, path, text, wrong_type};
use super::{OutputFormat, OutputsConfig};
use crate::nearest::hint;
use crate::quote::quote;

const FORMATS: [(&str, OutputFormat); 3] = [
    ("pem", OutputFormat::Pem),
    ("combined", OutputFormat::Combined),
    ("pkcs12", OutputFormat::Pkcs12),
];

pub(super) fn outputs(section: &Section<'_>) -> Result<OutputsConfig, ConfigError> {
    let outputs = OutputsConfig {
        formats: section
            .get("formats", formats)?
            .unwrap_or_else(|| vec![OutputFormat::Pem]),
        mode: section.get("mode", mode)?.unwrap_or(0o600),
        owner: section.get("owner", owner)?,
        pkcs12_password_file: section.get("pkcs12_password_file", path)?,
        pkcs12_profile: section
            .get("pkcs12_profile", parsed)?
            .unwrap_or(Pkcs12Profile::Modern),
    };
    if outputs.formats.contains(&OutputFormat::Pkcs12) && outputs.pkcs12_password_file.is_none() {
        let message = "PKCS#12 files have a password; give pkcs12_password_file";
        return Err(section.refuse("formats", message));
    }
    Ok(outputs)
}

fn formats(value: &DeValue<'_>) -> Result<Vec<OutputFormat>, String> {
    let DeValue::Array(array) = value else {
        return Err(wrong_type(value, "an array, such as [\"pem\", \"pkcs12\"]"));
    };
    let mut formats = Vec::new();
    for value in array.iter() {
        let name = text(value.get_ref())?;
        let Some((_, format)) = FORMATS.iter().find(|(known, _)| *known == name) else {
            let hint = hint(&name, FORMATS.iter().map(|(known, _)| *known));
            return Err(format!("{} is unknown; {hint}", quote(&name)));
        };
        if formats.contains(format) {
            return Err(format!("{} is there twice; remove one", quote(&name)));
        }
        formats.push(*format);
    }
    if formats.is_empty() {
        return Err("it is empty; give at least one of pem, combined, pkcs12".to_owned());
    }
    Ok(formats)
}

/// Parses permissions in octal digits.
fn mode(value: &DeValue<'_>) -> Result<u32, String> {
    const EXAMPLE: &str = "octal digits in double quotes, such as \"0600\" or \"0640\"";
    let DeValue::String(digits) = value else {
        return Err(wrong_type(value, EXAMPLE));
    };
    let is_octal = (3..=4).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let mode = u32::from_str_radix(digits, 8);
    let mode = mode.ok().filter(|_| is_octal);
    let Some(mode) = mode else {
        return Err(format!("{} is no mode; give {EXAMPLE}", quote(digits)));
    };
    if mode & 0o007 != 0 {
        return Err(format!(
            "{} lets everybody use private keys; end it with 0, such as \"0640\" for a group",
            quote(digits)
        ));
    }
    if mode & !0o660 != 0 {
        return Err(format!(
            "{} has more than reading and writing; give {EXAMPLE}",
            quote(digits)
        ));
    }
    if mode & 0o600 != 0o600 {
        return Err(format!(
            "with {} the owner can't read and write the files; begin it with 06",
            quote(digits)
        ));
    }
    Ok(mode)
}

/// Parses `user` or `user:group`.
fn owner(value: &DeValue<'_>) -> Result<String, String> {
    let owner = text(value)?;
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.contains(|c: char| c == ':' || c.is_whitespace() || c.is_control())
    };
    let is_owner = match owner.split_once(':') {
        None => is_name(&owner),
        Some((user, group)) => is_name(user) && is_name(group),
    };
    if is_owner {
        return Ok(owner);
    }
    Err(format!(
        "{} is no owner; give user or user:group",
        quote(&owner)
    ))
}

//! A row of a manifest as it is written, and the device that it describes.

use std::path::PathBuf;

use shieldcert::{KeyAlgorithm, Subject};

use super::column::Column;
use super::defaults::Defaults;
use super::problem::Problem;
use super::{Device, DeviceKey, DeviceState, DeviceSubject, SetAttribute};
use crate::config::MAX_VALIDITY_DAYS;
use crate::name::DeviceName;
use crate::nearest::hint;
use crate::quote::quote;

/// A device of a fleet, as a line of a manifest in JSONL has it. What is left out or `null` has its default from
/// `fleet.toml`.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "device", deny_unknown_fields))]
pub(super) struct Row {
    /// The name, unique in the fleet whatever the case of its letters. Names of Windows' devices, such as `con`, are
    /// refused.
    #[cfg_attr(
        test,
        schemars(
            required,
            length(max = 64),
            regex(pattern = "^[A-Za-z0-9_]([A-Za-z0-9_.@+-]*[A-Za-z0-9_])?$")
        )
    )]
    name: Option<String>,
    /// Whether the device is to have a certificate. Default: `present`. `absent` revokes all that it has.
    #[cfg_attr(test, schemars(with = "Option<DeviceState>"))]
    state: Option<String>,
    /// The common name of the subject. Default: the name.
    #[cfg_attr(test, schemars(length(min = 1, max = 64)))]
    common_name: Option<String>,
    /// The organization.
    #[cfg_attr(test, schemars(length(min = 1, max = 64)))]
    organization: Option<String>,
    /// The organizational unit.
    #[cfg_attr(test, schemars(length(min = 1, max = 64)))]
    organizational_unit: Option<String>,
    /// The locality, for example a city.
    #[cfg_attr(test, schemars(length(min = 1, max = 128)))]
    locality: Option<String>,
    /// The state or province.
    #[cfg_attr(test, schemars(length(min = 1, max = 128)))]
    province: Option<String>,
    /// The country, by its two capital letters of ISO 3166.
    #[cfg_attr(test, schemars(regex(pattern = "^[A-Z]{2}$")))]
    country: Option<String>,
    /// The algorithm of the key that is made for the device. Not together with `csr`.
    #[cfg_attr(
        test,
        schemars(extend("enum" = ["ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-2048", "rsa-3072", "rsa-4096", null]))
    )]
    key: Option<String>,
    /// How many days a certificate is valid.
    #[cfg_attr(test, schemars(range(min = 1, max = MAX_VALIDITY_DAYS)))]
    days: Option<u64>,
    /// The zone, by its name in `fleet.toml`.
    #[cfg_attr(test, schemars(length(min = 1)))]
    zone: Option<String>,
    /// The file with the CSR of a device that holds its key. A relative path starts at the fleet's folder.
    #[cfg_attr(test, schemars(length(min = 1)))]
    csr: Option<String>,
    /// A file that is replaced by key and certificate, in one PEM, when a certificate is brought into use; where the device
    /// holds its key, by the certificate. A relative path starts at the fleet's folder.
    #[cfg_attr(test, schemars(length(min = 1)))]
    output: Option<String>,
    /// Words by which commands select the device.
    #[cfg_attr(
        test,
        schemars(inner(length(min = 1, max = 64), regex(pattern = r"^[^\s;,]+$")))
    )]
    labels: Option<Vec<String>>,
}

/// The place of a column's value.
pub(super) enum Field<'a> {
    Text(&'a mut Option<String>),
    Days(&'a mut Option<u64>),
    Labels(&'a mut Option<Vec<String>>),
}

/// The column that has a problem, and the problem.
pub(super) type Refusal = (Column, String);

/// What can't be read of a row.
pub(super) struct Refused {
    /// `None` if it is no column of a manifest.
    pub(super) column: Option<Column>,
    /// The name of the column, safe to show.
    name: String,
    message: String,
}

impl Refused {
    /// A column that is none of a manifest, by its name, which is safe to show.
    pub(super) fn unknown(name: String, message: String) -> Self {
        Self {
            column: None,
            name,
            message,
        }
    }

    pub(super) fn at(self, line: u64) -> Problem {
        Problem::at_column(line, self.name, self.message)
    }
}

impl From<Refusal> for Refused {
    fn from((column, message): Refusal) -> Self {
        Self {
            column: Some(column),
            name: column.into(),
            message,
        }
    }
}

impl Row {
    pub(super) fn field(&mut self, column: Column) -> Field<'_> {
        Field::Text(match column {
            Column::Name => &mut self.name,
            Column::State => &mut self.state,
            Column::CommonName => &mut self.common_name,
            Column::Organization => &mut self.organization,
            Column::OrganizationalUnit => &mut self.organizational_unit,
            Column::Locality => &mut self.locality,
            Column::Province => &mut self.province,
            Column::Country => &mut self.country,
            Column::Key => &mut self.key,
            Column::Zone => &mut self.zone,
            Column::Csr => &mut self.csr,
            Column::Output => &mut self.output,
            Column::Days => return Field::Days(&mut self.days),
            Column::Labels => return Field::Labels(&mut self.labels),
        })
    }

    /// Returns the device, with defaults for what the row leaves out, or every problem of the row.
    pub(super) fn into_device(self, defaults: &Defaults) -> Result<Device, Vec<Refusal>> {
        let mut refusals = Vec::new();
        let name = keep(parse_name(self.name), &mut refusals);
        let state = keep(parse_state(self.state.as_deref()), &mut refusals);
        let subject = DeviceSubject {
            common_name: match (self.common_name, &name) {
                (Some(common_name), _) => common_name,
                (None, Some(name)) => name.to_string(),
                // The name has a problem of its own.
                (None, None) => "unnamed".to_owned(),
            },
            organization: self.organization,
            organizational_unit: self.organizational_unit,
            locality: self.locality,
            province: self.province,
            country: self.country,
        };
        refusals.extend(subject_problems(&subject));
        let key = keep(
            parse_key(self.key.as_deref(), self.csr, defaults.key),
            &mut refusals,
        );
        let days = keep(parse_days(self.days, defaults.validity_days), &mut refusals);
        let zone = keep(parse_zone(self.zone, defaults), &mut refusals);
        let output = self
            .output
            .map(|output| parse_path(output, Column::Output))
            .transpose();
        let output = keep(output, &mut refusals);
        let labels = keep(check_labels(self.labels.unwrap_or_default()), &mut refusals);
        match (name, state, key, days, zone, output, labels) {
            (
                Some(name),
                Some(state),
                Some(key),
                Some(validity_days),
                Some(zone),
                Some(output),
                Some(labels),
            ) if refusals.is_empty() => Ok(Device {
                state,
                subject,
                key,
                validity_days,
                zone,
                labels,
                output: output.or_else(|| {
                    let folder = defaults.output_folder.as_ref();
                    folder.map(|folder| folder.join(format!("{name}.pem")))
                }),
                name,
            }),
            _ => Err(refusals),
        }
    }
}

/// Keeps the problem of a value for later.
fn keep<T>(value: Result<T, Refusal>, refusals: &mut Vec<Refusal>) -> Option<T> {
    value.map_err(|refusal| refusals.push(refusal)).ok()
}

fn parse_name(name: Option<String>) -> Result<DeviceName, Refusal> {
    let Some(name) = name else {
        return Err((Column::Name, "it is missing; give the device a name".into()));
    };
    name.parse().map_err(|problem| {
        let problem = match &*name {
            "" => problem,
            name => format!("{}: {problem}", quote(name)),
        };
        (Column::Name, problem)
    })
}

fn parse_state(state: Option<&str>) -> Result<DeviceState, Refusal> {
    match state {
        None => Ok(DeviceState::default()),
        Some("present") => Ok(DeviceState::Present),
        Some("absent") => Ok(DeviceState::Absent),
        Some(other) => Err((
            Column::State,
            format!("{} is unknown; give present or absent", quote(other)),
        )),
    }
}

fn subject_problems(subject: &DeviceSubject) -> Vec<Refusal> {
    if subject.to_subject().check().is_ok() {
        return Vec::new();
    }
    // One attribute after the other shows which they are.
    let valid = || Subject::common_name("valid");
    let attributes: [(Column, Option<&str>, SetAttribute); 6] = [
        (Column::CommonName, Some(&subject.common_name), |_, name| {
            Subject::common_name(name)
        }),
        (
            Column::Organization,
            subject.organization.as_deref(),
            Subject::organization,
        ),
        (
            Column::OrganizationalUnit,
            subject.organizational_unit.as_deref(),
            Subject::organizational_unit,
        ),
        (
            Column::Locality,
            subject.locality.as_deref(),
            Subject::locality,
        ),
        (
            Column::Province,
            subject.province.as_deref(),
            Subject::state,
        ),
        (
            Column::Country,
            subject.country.as_deref(),
            Subject::country,
        ),
    ];
    let problem = |(column, value, set): (Column, Option<&str>, SetAttribute)| {
        let error = set(valid(), value?.to_owned()).check().err()?;
        Some((column, describe(&error)))
    };
    attributes.into_iter().filter_map(problem).collect()
}

/// Returns the message without the name of the attribute, since the column says it.
fn describe(error: &shieldcert::InvalidInput) -> String {
    let problem = error.problem();
    match problem
        .find(" is ")
        .into_iter()
        .chain(problem.find(" has "))
        .min()
    {
        Some(place) if problem.ends_with(" is empty") => {
            format!("it{}; give a value, or leave it out", &problem[place..])
        }
        Some(place) => format!("it{}", &problem[place..]),
        None => problem.to_owned(),
    }
}

fn parse_key(
    key: Option<&str>,
    csr: Option<String>,
    default: KeyAlgorithm,
) -> Result<DeviceKey, Refusal> {
    match (key, csr) {
        (Some(_), Some(_)) => {
            let problem = "a device that has a csr holds its key; leave out key or csr";
            Err((Column::Key, problem.into()))
        }
        (None, None) => Ok(DeviceKey::Generated(default)),
        (Some(key), None) => match key.parse::<KeyAlgorithm>() {
            Ok(key) => Ok(DeviceKey::Generated(key)),
            Err(error) => Err((Column::Key, error.problem().to_owned())),
        },
        (None, Some(csr)) => Ok(DeviceKey::Csr(parse_path(csr, Column::Csr)?)),
    }
}

fn parse_path(path: String, column: Column) -> Result<PathBuf, Refusal> {
    if path.is_empty() {
        let problem = match column {
            Column::Csr => "it is empty; give the file with the device's CSR, or leave it out",
            _ => "it is empty; give a file, or leave it out",
        };
        return Err((column, problem.into()));
    }
    if path.chars().any(char::is_control) {
        let problem = format!("{} has a control character; give a path", quote(&path));
        return Err((column, problem));
    }
    Ok(PathBuf::from(path))
}

fn parse_days(days: Option<u64>, default: u32) -> Result<u32, Refusal> {
    let Some(days) = days else {
        return Ok(default);
    };
    match u32::try_from(days) {
        Ok(days) if (1..=MAX_VALIDITY_DAYS).contains(&days) => Ok(days),
        _ => Err((
            Column::Days,
            format!("{days} days are not possible; give 1 to {MAX_VALIDITY_DAYS}"),
        )),
    }
}

fn parse_zone(zone: Option<String>, defaults: &Defaults) -> Result<Option<String>, Refusal> {
    match zone {
        None => Ok(defaults.zone.clone()),
        Some(zone) if defaults.zones.contains(&zone) => Ok(Some(zone)),
        Some(zone) => {
            let known = defaults.zones.iter().map(String::as_str);
            let problem = format!(
                "{} is no zone of fleet.toml; {}",
                quote(&zone),
                hint(&zone, known)
            );
            Err((Column::Zone, problem))
        }
    }
}

/// Checks labels, and removes what is there twice.
fn check_labels(labels: Vec<String>) -> Result<Vec<String>, Refusal> {
    const MAX_LEN: usize = 64;
    const MAX_LABELS: usize = 64;
    let mut checked = Vec::with_capacity(labels.len().min(MAX_LABELS));
    for label in labels {
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ';' | ',');
        let problem = if label.is_empty() {
            "a label is empty; remove it".to_owned()
        } else if let Some(odd) = label.chars().find(|c| is_odd(*c)) {
            format!(
                "the label {} has {odd:?}; a label is one word without commas",
                quote(&label)
            )
        } else if label.chars().count() > MAX_LEN {
            format!(
                "the label {} has more than {MAX_LEN} characters",
                quote(&label)
            )
        } else if checked.contains(&label) {
            continue;
        } else if checked.len() == MAX_LABELS {
            format!("the device has more than {MAX_LABELS} labels; remove some")
        } else {
            checked.push(label);
            continue;
        };
        return Err((Column::Labels, problem));
    }
    Ok(checked)
}

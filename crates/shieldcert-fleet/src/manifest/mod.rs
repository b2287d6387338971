//! What a fleet should hold: one row a device.

mod column;
mod csv_rows;
mod defaults;
pub(crate) mod format;
mod jsonl_rows;
mod lines;
pub(crate) mod problem;
pub(crate) mod reader;
mod row;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shieldcert::{KeyAlgorithm, Subject};

use crate::name::DeviceName;

/// A device, as the manifest says it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Device {
    /// Its name.
    pub name: DeviceName,
    /// Whether it is to have a certificate.
    pub state: DeviceState,
    /// The subject of its certificate.
    pub subject: DeviceSubject,
    /// Who makes its key.
    pub key: DeviceKey,
    /// How many days a certificate is valid.
    pub validity_days: u32,
    /// The name of its zone in `fleet.toml`. `None` leaves the choice to the fleet.
    pub zone: Option<String>,
    /// Words by which commands select it.
    pub labels: Vec<String>,
    /// A file that is replaced by key and certificate, in one PEM, when a generation is deployed. A relative path starts at
    /// the fleet's folder.
    pub output: Option<PathBuf>,
}

/// Whether a device is to have a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DeviceState {
    /// It is to have one.
    #[default]
    Present,
    /// All its certificates are to be revoked.
    Absent,
}

/// Who makes the key of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DeviceKey {
    /// The fleet does, with this algorithm.
    Generated(#[serde(with = "algorithm")] KeyAlgorithm),
    /// The device does. The file has its CSR; a relative path starts at the fleet's folder.
    Csr(PathBuf),
}

/// The subject of a device's certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeviceSubject {
    /// The common name. The device's name, unless the row gives another.
    pub common_name: String,
    /// The organization.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub organization: Option<String>,
    /// The organizational unit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub organizational_unit: Option<String>,
    /// The locality.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub locality: Option<String>,
    /// The state or province.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub province: Option<String>,
    /// The country, two capital letters.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub country: Option<String>,
}

/// Sets an attribute of a subject.
type SetAttribute = fn(Subject, String) -> Subject;

impl DeviceSubject {
    /// Returns the subject of a CSR.
    pub fn to_subject(&self) -> Subject {
        let mut subject = Subject::common_name(&self.common_name);
        let attributes: [(&Option<String>, SetAttribute); 5] = [
            (&self.organization, Subject::organization),
            (&self.organizational_unit, Subject::organizational_unit),
            (&self.locality, Subject::locality),
            (&self.province, Subject::state),
            (&self.country, Subject::country),
        ];
        for (value, set) in attributes {
            if let Some(value) = value {
                subject = set(subject, value.clone());
            }
        }
        subject
    }
}

/// Algorithms by their names.
mod algorithm {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use shieldcert::KeyAlgorithm;

    pub(super) fn serialize<S: Serializer>(
        algorithm: &KeyAlgorithm,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(algorithm.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<KeyAlgorithm, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

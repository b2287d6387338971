//! What holds for every manifest.

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::manifest::column::Column;

/// A value of a subject: any text without control characters, and without blanks around it, which CSV drops.
fn text(max_len: usize) -> impl Strategy<Value = String> {
    let pattern = format!("[\\PC&&[^ ]][\\PC]{{0,{}}}", max_len - 1);
    let text = proptest::string::string_regex(&pattern).expect("a pattern");
    let text = text.prop_map(|text| text.trim().to_owned());
    text.prop_filter("is empty", |text| !text.is_empty())
}

fn name() -> impl Strategy<Value = String> {
    let name = "[A-Za-z0-9_]([A-Za-z0-9_.@+-]{0,62}[A-Za-z0-9_])?";
    name.prop_filter("is reserved", |name: &String| {
        name.parse::<crate::DeviceName>().is_ok()
    })
}

fn any_device() -> impl Strategy<Value = Device> {
    let subject = (
        text(64),
        option::of(text(64)),
        option::of(text(64)),
        option::of(text(128)),
        option::of(text(128)),
        option::of("[A-Z]{2}"),
    );
    let algorithm = prop_oneof![
        Just(KeyAlgorithm::EcdsaP256),
        Just(KeyAlgorithm::EcdsaP384),
        Just(KeyAlgorithm::Ed25519),
        Just(KeyAlgorithm::Rsa2048),
        Just(KeyAlgorithm::Rsa3072),
        Just(KeyAlgorithm::Rsa4096),
    ];
    let key = prop_oneof![
        algorithm.prop_map(DeviceKey::Generated),
        text(40).prop_map(|path| DeviceKey::Csr(path.into())),
    ];
    let labels = btree_set("[\\PC&&[^\\s;,]]{1,12}", 0..6);
    (
        name(),
        any::<bool>(),
        subject,
        key,
        1..=36_500u32,
        prop_oneof![Just("north"), Just("south")],
        labels,
        proptest::option::of(text(40)),
    )
        .prop_map(
            |(name, is_present, subject, key, days, zone, labels, output)| {
                let (common_name, organization, unit, locality, province, country) = subject;
                Device {
                    state: if is_present {
                        DeviceState::Present
                    } else {
                        DeviceState::Absent
                    },
                    subject: DeviceSubject {
                        common_name,
                        organization,
                        organizational_unit: unit,
                        locality,
                        province,
                        country,
                    },
                    key,
                    validity_days: days,
                    zone: Some(zone.to_owned()),
                    labels: labels.into_iter().collect(),
                    output: output.map(Into::into),
                    ..device(&name)
                }
            },
        )
}

/// What a column says about a device.
fn value(device: &Device, column: Column) -> Option<String> {
    let subject = &device.subject;
    match column {
        Column::Name => Some(device.name.to_string()),
        Column::State => match device.state {
            DeviceState::Present => None,
            DeviceState::Absent => Some("absent".to_owned()),
        },
        Column::CommonName => Some(subject.common_name.clone()),
        Column::Organization => subject.organization.clone(),
        Column::OrganizationalUnit => subject.organizational_unit.clone(),
        Column::Locality => subject.locality.clone(),
        Column::Province => subject.province.clone(),
        Column::Country => subject.country.clone(),
        Column::Key => match &device.key {
            DeviceKey::Generated(algorithm) => Some(algorithm.to_string()),
            DeviceKey::Csr(_) => None,
        },
        Column::Csr => match &device.key {
            DeviceKey::Generated(_) => None,
            DeviceKey::Csr(path) => path.to_str().map(str::to_owned),
        },
        Column::Output => (device.output.as_ref())
            .and_then(|path| path.to_str())
            .map(str::to_owned),
        Column::Days => Some(device.validity_days.to_string()),
        Column::Zone => device.zone.clone(),
        Column::Labels => Some(device.labels.join(" ")),
    }
}

fn to_csv(devices: &[Device], columns: &[Column], crlf: bool) -> Vec<u8> {
    let mut builder = csv::WriterBuilder::new();
    builder.comment(Some(b'#'));
    if crlf {
        builder.terminator(csv::Terminator::CRLF);
    }
    let mut writer = builder.from_writer(Vec::new());
    let header = columns.iter().map(|column| column.as_str());
    writer.write_record(header).expect("is written");
    for device in devices {
        let cells = columns.iter().map(|column| value(device, *column));
        let cells = cells.map(Option::unwrap_or_default);
        writer.write_record(cells).expect("is written");
    }
    writer.into_inner().expect("is written")
}

fn to_jsonl(devices: &[Device], columns: &[Column]) -> String {
    let mut text = String::new();
    for device in devices {
        let mut object = serde_json::Map::new();
        for column in columns {
            let value = match column {
                Column::Days => json!(device.validity_days),
                Column::Labels => json!(device.labels),
                column => match value(device, *column) {
                    Some(value) => json!(value),
                    None => continue,
                },
            };
            object.insert(String::from(*column), value);
        }
        text.push_str(&serde_json::Value::Object(object).to_string());
        text.push('\n');
    }
    text
}

/// Bytes that look like a manifest as far as the end of a rule, and any other.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b",".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"#".to_vec()),
        Just(b"name,days,labels,csr,output\n".to_vec()),
        Just(b"{\"name\":\"a\",\"labels\":[\"x\"]}".to_vec()),
        Just(b"{\"days\":".to_vec()),
        Just(b"}".to_vec()),
        Just(b"a,1,x y,b".to_vec()),
        Just("\u{feff}".as_bytes().to_vec()),
        vec(any::<u8>(), 0..8),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn devices_are_read_back_as_they_were_written(
        devices in vec(any_device(), 0..8),
        columns in Just(Column::ALL.to_vec()).prop_shuffle(),
        crlf in any::<bool>(),
    ) {
        let expected: Vec<_> = devices.iter().cloned().map(Ok).collect();
        prop_assert_eq!(&read(Csv, to_csv(&devices, &columns, crlf)), &expected);
        prop_assert_eq!(&read(Jsonl, to_jsonl(&devices, &columns)), &expected);
    }

    #[test]
    fn any_bytes_are_read_to_their_end(bytes in any_bytes()) {
        let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
        for format in [Csv, Jsonl] {
            let mut last = 0;
            for row in read(format, bytes.clone()) {
                if let Err(problem) = row {
                    prop_assert!((1..=lines).contains(&problem.line), "{} of {}", problem, lines);
                    prop_assert!(problem.line >= last, "{} after line {}", problem, last);
                    last = problem.line;
                    let shown = problem.to_string();
                    prop_assert!(!shown.contains(char::is_control), "{:?}", shown);
                }
            }
        }
    }
}

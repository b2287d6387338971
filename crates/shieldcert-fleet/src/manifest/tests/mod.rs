//! The tests of the manifest reader.

mod messages;
mod properties;
mod schema;

use std::io::{self, BufRead, BufReader, Read};

use shieldcert::KeyAlgorithm;

use super::format::ManifestFormat::{self, Csv, Jsonl};
use super::problem::Problem;
use super::reader::{Manifest, ManifestError};
use super::{Device, DeviceKey, DeviceState, DeviceSubject};
use crate::config::Config;

fn config() -> Config {
    let text = r#"
        [zones.north]
        id = "023e105f4ecef8ad9ca31a8372d0c353"
        [zones.south]
        id = "123e105f4ecef8ad9ca31a8372d0c353"
        [devices]
        key = "ed25519"
        days = 90
        zone = "south"
    "#;
    Config::from_toml(text).expect("a configuration")
}

fn read(format: ManifestFormat, bytes: impl Into<Vec<u8>>) -> Vec<Result<Device, Problem>> {
    Manifest::from_reader(io::Cursor::new(bytes.into()), format, &config()).collect()
}

fn read_devices(format: ManifestFormat, text: &str) -> Vec<Device> {
    let rows = read(format, text).into_iter();
    rows.map(|row| row.expect("a device")).collect()
}

/// The names of the devices, and the lines of the problems.
fn outline(rows: Vec<Result<Device, Problem>>) -> Vec<String> {
    let rows = rows.into_iter();
    rows.map(|row| match row {
        Ok(device) => device.name.to_string(),
        Err(problem) => format!("line {}", problem.line),
    })
    .collect()
}

fn device(name: &str) -> Device {
    Device {
        name: name.parse().expect("a name"),
        state: DeviceState::Present,
        subject: DeviceSubject {
            common_name: name.to_owned(),
            ..DeviceSubject::default()
        },
        key: DeviceKey::Generated(KeyAlgorithm::Ed25519),
        validity_days: 90,
        zone: Some("south".to_owned()),
        labels: Vec::new(),
        output: None,
    }
}

#[test]
fn every_column_is_read() {
    let full = Device {
        state: DeviceState::Absent,
        subject: DeviceSubject {
            common_name: "Sensor One".to_owned(),
            organization: Some("Temperature Testers, Inc.".to_owned()),
            organizational_unit: Some("Field \"A\"".to_owned()),
            locality: Some("Zürich".to_owned()),
            province: Some("ZH".to_owned()),
            country: Some("CH".to_owned()),
        },
        key: DeviceKey::Generated(KeyAlgorithm::Rsa2048),
        validity_days: 30,
        zone: Some("north".to_owned()),
        labels: vec!["floor-1".to_owned(), "test".to_owned()],
        output: Some("ids/sensor-1.pem".into()),
        ..device("sensor-1")
    };
    let own_key = Device {
        key: DeviceKey::Csr("csrs/sensor-2.csr".into()),
        ..device("sensor-2")
    };
    let expected = [full, own_key];
    let csv = "\
labels,country,province,locality,organizational_unit,organization,common_name,zone,days,key,csr,output,state,name
floor-1 test,CH,ZH,Zürich,\"Field \"\"A\"\"\",\"Temperature Testers, Inc.\",Sensor One,north,30,rsa-2048,,ids/sensor-1.pem,absent,sensor-1
,,,,,,,,,,csrs/sensor-2.csr,,,sensor-2
";
    assert_eq!(read_devices(Csv, csv), expected);
    let jsonl = r#"
{"labels": ["floor-1", "test"], "country": "CH", "province": "ZH", "locality": "Z\u00fcrich", "organizational_unit": "Field \"A\"", "organization": "Temperature Testers, Inc.", "common_name": "Sensor One", "zone": "north", "days": 30, "key": "rsa-2048", "output": "ids/sensor-1.pem", "state": "absent", "name": "sensor-1"}

{"name": "sensor-2", "csr": "csrs/sensor-2.csr", "key": null, "days": null, "labels": null, "state": null}
"#;
    assert_eq!(read_devices(Jsonl, jsonl), expected);
}

#[test]
fn files_of_spreadsheets_and_people_are_read() {
    let expected = [device("a"), device("b")];
    for text in [
        "name\na\nb\n",
        "name\na\nb",
        "\u{feff}name\r\na\r\nb\r\n",
        "# devices\n\n  \nname,state\na,present\n#c,present\n\t\nb,\n\n",
        "\"name\" ,labels \n a ,\n\"b\",\"\"\n",
        "name,labels\n\ta,;\nb, ; ; \n",
    ] {
        assert_eq!(read_devices(Csv, text), expected, "{text:?}");
    }
    for text in [
        "{\"name\":\"a\"}\n{\"name\":\"b\"}\n",
        "\u{feff}{\"name\":\"a\"}\r\n\r\n  {\"name\":\"b\"}  ",
    ] {
        assert_eq!(read_devices(Jsonl, text), expected, "{text:?}");
    }
    let labelled = read_devices(Csv, "name,labels\na,one;two  three ; one\n");
    assert_eq!(labelled[0].labels, ["one", "two", "three"]);
}

#[test]
fn an_empty_manifest_has_no_device_and_no_problem() {
    for text in [
        "",
        "\n\n",
        "\u{feff}",
        "name,state\n",
        "name",
        "# none yet\n",
    ] {
        assert_eq!(read(Csv, text), [], "{text:?}");
    }
    for text in ["", "\n \r\n", "\u{feff}"] {
        assert_eq!(read(Jsonl, text), [], "{text:?}");
    }
}

#[test]
fn a_bad_row_hides_no_other() {
    let csv = b"name,days,organization\na,0,\nb,,\"open\nc,1\n\xff,,\nd,,\ne,soon,\nf,,\n";
    let expected = ["line 2", "line 3", "line 4", "line 5", "d", "line 7", "f"];
    assert_eq!(outline(read(Csv, csv)), expected);
    let jsonl =
        b"{\"name\":\"a\"\n{}\n{\"name\":\"b\"}\n\xff\n[]\n{\"name\":\"c\"}{\n{\"name\":\"d\"}";
    let expected = ["line 1", "line 2", "b", "line 4", "line 5", "line 6", "d"];
    assert_eq!(outline(read(Jsonl, jsonl)), expected);
    // Rows below a header with an odd column are checked, too.
    let odd = "name,dyas\na,1\n-,1\n";
    assert_eq!(outline(read(Csv, odd)), ["line 1", "a", "line 3"]);
    // Without a header there are no rows.
    assert_eq!(outline(read(Csv, "a,b\nc,d\n")), ["line 1"; 3]);
    assert_eq!(outline(read(Csv, "\"name\na\n")), ["line 1"]);
}

#[test]
fn a_file_that_was_cut_off_ends_in_a_problem() {
    let csv = "name,organization,days\na,\"Testers, Inc.\",30\n";
    // Up to the last comma, fewer cells are left than the header has.
    for end in csv.find("a,").expect("the row") + 1..=csv.rfind(',').expect("a comma") {
        assert_eq!(outline(read(Csv, &csv[..end])), ["line 2"], "{end}");
    }
    let jsonl = "{\"name\":\"a\",\"days\":30}";
    for end in 1..jsonl.len() {
        assert_eq!(outline(read(Jsonl, &jsonl[..end])), ["line 1"], "{end}");
    }
}

/// Endless input, as a pipe or a wrong file may be, of which no more is kept than a line may have.
#[test]
fn a_line_has_a_bound() {
    let long = |length: usize| io::repeat(b'a').take(length as u64);
    let rows = |head: &'static str, length, tail: &'static str, format| {
        let bytes = head.as_bytes().chain(long(length)).chain(tail.as_bytes());
        let manifest = Manifest::from_reader(BufReader::new(bytes), format, &config());
        let rows: Vec<_> = manifest.collect();
        rows.into_iter()
            .map(|row| row.map_err(|problem| problem.to_string()))
            .collect::<Vec<_>>()
    };
    let too_long = "line 2: it is longer than 1 MiB; is the file a manifest?";
    let found = rows("name\n", 5 << 20, "\nb\n", Csv);
    assert_eq!(found, [Err(too_long.to_owned()), Ok(device("b"))]);
    let found = rows("name\n", (1 << 20) + 1, "", Csv);
    assert_eq!(found, [Err(too_long.to_owned())]);
    // One that just fits is read.
    let found = rows("name\n", 1 << 20, "", Csv);
    let message = found[0].clone().expect_err("is too long for a name");
    assert!(message.contains("longer than 64"), "{message}");
    let found = rows("{\"name\":\"", 5 << 20, "\"}\n{\"name\":\"b\"}", Jsonl);
    assert_eq!(found[1], Ok(device("b")));
    // Nothing can be read below a header that is too long.
    assert_eq!(rows("", 5 << 20, "\nb\n", Csv).len(), 1);
}

#[test]
fn a_file_that_fails_ends_in_a_problem() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let reader: Box<dyn BufRead + Send> = Box::new(b"name\na\nb".chain(BufReader::new(Failing)));
    let rows: Vec<_> = Manifest::from_reader(reader, Csv, &config()).collect();
    let [Ok(_), Err(problem)] = &*rows else {
        panic!("{rows:?}");
    };
    let message = "line 3: the file can't be read on: the disk is gone";
    assert_eq!(problem.to_string(), message);
}

#[test]
fn the_extension_says_the_format() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in [
        ("devices.csv", "name\na\n"),
        ("devices.JSONL", "{\"name\":\"a\"}\n"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("is written");
        let manifest = Manifest::open(&path, &config()).expect("is opened");
        let rows: Result<Vec<_>, _> = manifest.collect();
        assert_eq!(rows, Ok(vec![device("a")]), "{name}");
    }
    let open = |name: &str| Manifest::open(&folder.path().join(name), &config());
    for name in ["devices", "devices.json", "devices.csv.gz"] {
        let error = open(name).expect_err("is refused");
        assert!(
            matches!(error, ManifestError::UnknownFormat { .. }),
            "{error}"
        );
    }
    std::fs::create_dir(folder.path().join("folder.csv")).expect("is made");
    for name in ["none.csv", "folder.csv"] {
        let error = open(name).expect_err("is refused");
        assert!(matches!(error, ManifestError::Open { .. }), "{error}");
    }
}

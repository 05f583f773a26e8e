//! Bytes that Apache Kafka 4.3.1 itself read and wrote unchanged: `golden/<message>.hex`, some lines per version; and
//! its error codes: `golden/error_codes.txt`.
//!
//! To record them anew, after a table has grown: `OTTLA_RECORD=1 cargo test --test protocol golden`, then
//! `java -cp "$KAFKA_LIBS/*" tests/protocol/golden/Check.java tests/protocol/golden`, which has Kafka's classes read
//! and write every line and fails when one differs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use ottla::protocol::ErrorCode;

use crate::make::Random;
use crate::{Subject, subjects};

/// Lines recorded for each version.
const LINES: u64 = 3;

#[test]
fn what_apache_kafka_wrote_is_read_and_written_unchanged() {
    for subject in subjects() {
        if std::env::var_os("OTTLA_RECORD").is_some() {
            record(&subject);
        }
        let text = std::fs::read_to_string(path(&subject)).expect("every message has a golden file");
        let mut versions = BTreeSet::new();
        for line in text.lines() {
            let (version, hex) = line.split_once(' ').expect("a line is a version and bytes");
            let version = version.parse().expect("a version is a number");
            let bytes = unhex(hex);
            let again = (subject.again)(version, bytes.clone());
            assert_eq!(again, Ok(bytes), "{} version {version}", subject.name);
            versions.insert(version);
        }
        let expected = (subject.versions.min..=subject.versions.max).collect();
        assert_eq!(versions, expected, "{} has a golden line for every version", subject.name);
    }
}

#[test]
fn every_error_code_is_what_apache_kafka_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/protocol/golden/error_codes.txt");
    let ours: String = ErrorCode::ALL.iter().map(|code| line(*code)).collect();
    if std::env::var_os("OTTLA_RECORD").is_some() {
        std::fs::write(&path, &ours).expect("the golden file is writable");
    }
    assert_eq!(ours, std::fs::read_to_string(path).expect("the golden file is there"));
}

fn line(code: ErrorCode) -> String {
    let retriable = if code.is_retriable() { " retriable" } else { "" };
    format!("{} {}{retriable}\n", code.number(), code.name())
}

fn record(subject: &Subject) {
    let mut text = String::new();
    for version in subject.versions.min..=subject.versions.max {
        for seed in 0..LINES {
            let body = subject.make(version, &mut Random(1000 + seed));
            write!(text, "{version} ").expect("a string takes all");
            for byte in body {
                write!(text, "{byte:02x}").expect("a string takes all");
            }
            text.push('\n');
        }
    }
    std::fs::write(path(subject), text).expect("the golden file is writable");
}

fn path(subject: &Subject) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/protocol/golden/{}.hex", subject.name))
}

fn unhex(hex: &str) -> Bytes {
    let digits: Vec<u8> = hex.chars().map(|c| u8::try_from(c.to_digit(16).expect("hex")).expect("a digit")).collect();
    digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect()
}

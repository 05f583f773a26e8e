//! What consumers say when they join, the parts of `ConsumerProtocolSubscription` that a coordinator needs; and what they
//! are given by their leader or in its stead, a `ConsumerProtocolAssignment`.
//!
//! Invariant: never relied on. What cannot be read is none of ours: members may say whatever their leader understands.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::codec::{Reader, Writer};
use crate::model::PartitionIndex;

/// The version of the assignments that are written.
const ASSIGNMENT: i16 = 1;

/// The topics of a subscription; `None` when it is none.
pub(super) fn topics(subscription: &Bytes) -> Option<Vec<String>> {
    front(&mut Reader::new(subscription.clone())).map(|(_, topics)| topics)
}

/// What the member has, if it says so: cooperative members do (version 1 and above).
pub(super) fn owned(subscription: &Bytes) -> Option<Vec<(String, Vec<PartitionIndex>)>> {
    let mut reader = Reader::new(subscription.clone());
    let (version, _) = front(&mut reader)?;
    if version < 1 {
        return Some(Vec::new());
    }
    skip_bytes(&mut reader)?;
    topic_partitions(&mut reader)
}

/// The partitions of an assignment by topic, in its order; `None` when it is none.
#[must_use]
pub fn assigned(assignment: &Bytes) -> Option<Vec<(String, Vec<PartitionIndex>)>> {
    let mut reader = Reader::new(assignment.clone());
    reader.i16().ok().filter(|version| *version >= 0)?;
    topic_partitions(&mut reader)
}

/// The assignment of these partitions.
pub(super) fn assignment<'a>(partitions: impl Iterator<Item = (&'a str, PartitionIndex)>) -> Bytes {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, index) in partitions {
        topics.entry(topic).or_default().push(index.get());
    }
    let length = |count: usize| i32::try_from(count).expect("a group's partitions are counted in 31 bits");
    let mut writer = Writer::new();
    writer.put_i16(ASSIGNMENT);
    writer.put_i32(length(topics.len()));
    for (topic, indexes) in topics {
        writer.put_i16(i16::try_from(topic.len()).expect("a topic's name is short"));
        writer.put_slice(topic.as_bytes());
        writer.put_i32(length(indexes.len()));
        indexes.iter().for_each(|index| writer.put_i32(*index));
    }
    // No word of a leader.
    writer.put_i32(-1);
    writer.into_bytes()
}

fn front(reader: &mut Reader) -> Option<(i16, Vec<String>)> {
    let version = reader.i16().ok().filter(|version| *version >= 0)?;
    // Each takes two bytes at least.
    let count = count(reader, 2)?;
    let topics: Option<Vec<String>> = (0..count).map(|_| text(reader)).collect();
    Some((version, topics?))
}

fn topic_partitions(reader: &mut Reader) -> Option<Vec<(String, Vec<PartitionIndex>)>> {
    let topics = count(reader, 6)?;
    let topic = |reader: &mut Reader| {
        let name = text(reader)?;
        let partitions = count(reader, 4)?;
        let indexes: Option<_> = (0..partitions).map(|_| reader.i32().ok().map(PartitionIndex::new)).collect();
        Some((name, indexes?))
    };
    (0..topics).map(|_| topic(reader)).collect()
}

fn count(reader: &mut Reader, size_min: usize) -> Option<usize> {
    let count = usize::try_from(reader.i32().ok()?).ok()?;
    (count <= reader.remaining() / size_min).then_some(count)
}

fn text(reader: &mut Reader) -> Option<String> {
    let length = usize::try_from(reader.i16().ok()?).ok()?;
    String::from_utf8(reader.take(length).ok()?.to_vec()).ok()
}

fn skip_bytes(reader: &mut Reader) -> Option<()> {
    let length = reader.i32().ok()?;
    usize::try_from(length).map_or(Some(()), |length| reader.skip(length).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_whatever_follows() {
        let read = |bytes: &'static [u8]| topics(&Bytes::from_static(bytes));
        assert_eq!(
            read(b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff"),
            Some(vec!["a".to_owned(), "bc".to_owned()])
        );
        assert_eq!(read(b"\0\0\0\0\0\0"), Some(Vec::new()));
    }

    #[test]
    fn what_cooperative_members_have_is_read() {
        let read = |bytes: &'static [u8]| owned(&Bytes::from_static(bytes));
        let says = b"\0\x01\0\0\0\x01\0\x01a\xff\xff\xff\xff\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07";
        let indexes = [0, 7].map(PartitionIndex::new).to_vec();
        assert_eq!(read(says), Some(vec![("a".to_owned(), indexes)]));
        assert_eq!(read(b"\0\0\0\0\0\x01\0\x01a\0\0\0\x01x"), Some(Vec::new()), "version 0 does not say");
        assert_eq!(read(b"\0\x01\0\0\0\0\xff\xff\xff\xff\x7f\xff\xff\xff"), None);
    }

    #[test]
    fn an_assignment_is_what_consumers_read() {
        let partitions = [("a", 0), ("b", 3), ("a", 7)].map(|(topic, index)| (topic, PartitionIndex::new(index)));
        let written = assignment(partitions.into_iter());
        let expected =
            b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07\0\x01b\0\0\0\x01\0\0\0\x03\xff\xff\xff\xff";
        assert_eq!(&written[..], expected);
    }

    #[test]
    fn what_is_no_subscription_is_none() {
        for bytes in
            [&b""[..], b"\0", b"\0\x01\x7f\xff\xff\xff", b"\0\x01\0\0\0\x01\0\x05a", b"\0\x01\0\0\0\x01\0\x01\xff"]
        {
            assert_eq!(topics(&Bytes::from_static(bytes)), None, "{bytes:?}");
        }
    }

    fn given(bytes: &'static [u8]) -> Option<Vec<(String, Vec<i32>)>> {
        let plain =
            |(topic, indexes): (String, Vec<PartitionIndex>)| (topic, indexes.iter().map(|i| i.get()).collect());
        assigned(&Bytes::from_static(bytes)).map(|found| found.into_iter().map(plain).collect())
    }

    #[test]
    fn what_members_were_given_is_read_whatever_follows() {
        let two = b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07\0\x02bc\0\0\0\0\xff\xff\xff\xff";
        assert_eq!(given(two), Some(vec![("a".to_owned(), vec![0, 7]), ("bc".to_owned(), vec![])]));
        assert_eq!(given(b"\0\0\0\0\0\0"), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_assignment_is_none() {
        let cut = b"\0\x01\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0";
        let many = b"\0\x01\0\0\0\x01\0\x01a\x7f\xff\xff\xff\0\0\0\0";
        for bytes in [&b""[..], b"\xff\xff\0\0\0\0", b"\0\x01\x7f\xff\xff\xff", cut, many, b"\0\0\xff\xff\xff\xff"] {
            assert_eq!(given(bytes), None, "{bytes:?}");
        }
    }
}

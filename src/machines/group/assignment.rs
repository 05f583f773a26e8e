//! What a leader gives to a consumer: the front of `ConsumerProtocolAssignment`, for people.
//!
//! Called by whoever tells operators of a group. Invariant: never relied on, as `subscription`; an allocation is bounded by
//! the bytes that are there.

use bytes::Bytes;

use crate::codec::Reader;
use crate::model::PartitionIndex;

/// The partitions of an assignment by topic, in its order; `None` when it is none.
#[must_use]
pub fn assigned(assignment: &Bytes) -> Option<Vec<(String, Vec<PartitionIndex>)>> {
    let mut reader = Reader::new(assignment.clone());
    if reader.i16().ok()? < 0 {
        return None;
    }
    // A topic takes a length and a count at least.
    let topics = count(&mut reader, 6)?;
    let mut found = Vec::with_capacity(topics);
    for _ in 0..topics {
        let length = usize::try_from(reader.i16().ok()?).ok()?;
        let topic = String::from_utf8(reader.take(length).ok()?.to_vec()).ok()?;
        let partitions = count(&mut reader, 4)?;
        let indexes = (0..partitions).map(|_| reader.i32().ok().map(PartitionIndex::new)).collect::<Option<_>>()?;
        found.push((topic, indexes));
    }
    Some(found)
}

/// The length of an array whose entries take so many bytes at least.
fn count(reader: &mut Reader, entry_bytes_min: usize) -> Option<usize> {
    let count = usize::try_from(reader.i32().ok()?).ok()?;
    (count <= reader.remaining() / entry_bytes_min).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &'static [u8]) -> Option<Vec<(String, Vec<i32>)>> {
        let plain =
            |(topic, indexes): (String, Vec<PartitionIndex>)| (topic, indexes.iter().map(|i| i.get()).collect());
        assigned(&Bytes::from_static(bytes)).map(|found| found.into_iter().map(plain).collect())
    }

    #[test]
    fn partitions_are_read_whatever_follows() {
        let two = b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07\0\x02bc\0\0\0\0\xff\xff\xff\xff";
        assert_eq!(read(two), Some(vec![("a".to_owned(), vec![0, 7]), ("bc".to_owned(), vec![])]));
        assert_eq!(read(b"\0\0\0\0\0\0"), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_assignment_is_none() {
        let cut = b"\0\x01\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0";
        let many = b"\0\x01\0\0\0\x01\0\x01a\x7f\xff\xff\xff\0\0\0\0";
        for bytes in [&b""[..], b"\xff\xff\0\0\0\0", b"\0\x01\x7f\xff\xff\xff", cut, many, b"\0\0\xff\xff\xff\xff"] {
            assert_eq!(read(bytes), None, "{bytes:?}");
        }
    }
}

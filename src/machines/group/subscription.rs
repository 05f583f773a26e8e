//! What consumers say when they join: the front of `ConsumerProtocolSubscription`, which is all that a coordinator needs.
//!
//! Invariant: never relied on. What cannot be read is none of ours: members may say whatever their leader understands.

use bytes::Bytes;

use crate::codec::Reader;

/// The topics of a subscription; `None` when it is none.
pub(super) fn topics(subscription: &Bytes) -> Option<Vec<String>> {
    let mut reader = Reader::new(subscription.clone());
    let version = reader.i16().ok()?;
    let count = reader.i32().ok()?;
    if version < 0 {
        return None;
    }
    // Each takes two bytes at least.
    let count = usize::try_from(count).ok().filter(|count| *count <= reader.remaining() / 2)?;
    let topic = |reader: &mut Reader| {
        let length = usize::try_from(reader.i16().ok()?).ok()?;
        String::from_utf8(reader.take(length).ok()?.to_vec()).ok()
    };
    (0..count).map(|_| topic(&mut reader)).collect()
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
    fn what_is_no_subscription_is_none() {
        for bytes in
            [&b""[..], b"\0", b"\0\x01\x7f\xff\xff\xff", b"\0\x01\0\0\0\x01\0\x05a", b"\0\x01\0\0\0\x01\0\x01\xff"]
        {
            assert_eq!(topics(&Bytes::from_static(bytes)), None, "{bytes:?}");
        }
    }
}

//! The last offset of each key in the part of a log that is being compacted, in bounded memory.
//!
//! Used by `job`. Invariant: the table never takes more than the bytes it was allowed, the copy while it grows included;
//! what it does not know it was either never given or refused.

use crate::model::Offset;
use crate::records::KeyDigest;

const SLOT_BYTES: usize = std::mem::size_of::<Slot>();
/// While it grows, a table half as large stands beside the new one.
const GROWTH_BYTES: usize = SLOT_BYTES / 2;
const SLOTS_MIN: usize = 64;
/// At most so many of ten slots are taken, so that a search stays short.
const LOAD_OF_TEN: usize = 8;

/// See the file's comment.
#[derive(Debug)]
pub(super) struct KeyMap {
    /// Open addressing with linear search.
    slots: Vec<Slot>,
    used: usize,
    slots_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    digest: [u64; 2],
    /// -1 while the slot is free.
    offset: Offset,
}

impl Slot {
    const FREE: Self = Self { digest: [0; 2], offset: Offset::new(-1) };

    fn is_free(&self) -> bool {
        self.offset < Offset::ZERO
    }
}

impl KeyMap {
    /// One that takes at most so many bytes, but room for a few keys always.
    pub(super) fn new(bytes_max: usize) -> Self {
        let slots_max = (bytes_max / (SLOT_BYTES + GROWTH_BYTES)).max(SLOTS_MIN);
        // Doubling ends just there.
        let mut slots = slots_max;
        while slots >= 2 * SLOTS_MIN {
            slots /= 2;
        }
        Self { slots: vec![Slot::FREE; slots], used: 0, slots_max }
    }

    /// Notes that a key stands at an offset, which is higher than all before. Whether there was room.
    pub(super) fn put(&mut self, key: KeyDigest, offset: Offset) -> bool {
        let (digest, mut at) = (words(key), self.slot_of(words(key)));
        if self.slots[at].is_free() {
            if (self.used + 1) * 10 > self.slots.len() * LOAD_OF_TEN {
                if self.slots.len() * 2 > self.slots_max {
                    return false;
                }
                self.grow();
                at = self.slot_of(digest);
            }
            self.used += 1;
        }
        self.slots[at] = Slot { digest, offset };
        true
    }

    /// The last offset of a key.
    pub(super) fn get(&self, key: KeyDigest) -> Option<Offset> {
        let slot = self.slots[self.slot_of(words(key))];
        (!slot.is_free()).then_some(slot.offset)
    }

    /// Where a digest stands, or would.
    fn slot_of(&self, digest: [u64; 2]) -> usize {
        let count = u64::try_from(self.slots.len()).expect("a length fits in 64 bits");
        let mut at = usize::try_from(digest[0] % count).expect("it is less than a length");
        while !self.slots[at].is_free() && self.slots[at].digest != digest {
            at = (at + 1) % self.slots.len();
        }
        at
    }

    fn grow(&mut self) {
        let grown = vec![Slot::FREE; self.slots.len() * 2];
        for slot in std::mem::replace(&mut self.slots, grown) {
            if !slot.is_free() {
                let at = self.slot_of(slot.digest);
                self.slots[at] = slot;
            }
        }
    }
}

fn words(key: KeyDigest) -> [u64; 2] {
    let bytes = key.get().to_le_bytes();
    let (low, high) = bytes.split_at(8);
    [low, high].map(|word| u64::from_le_bytes(word.try_into().expect("a half of sixteen bytes is eight")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn key(number: u32) -> KeyDigest {
        KeyDigest::of(&number.to_be_bytes())
    }

    proptest::proptest! {
        #[test]
        fn a_map_says_what_an_ordered_one_says(keys in proptest::collection::vec(0..300_u32, 0..2000)) {
            let mut map = KeyMap::new(1 << 20);
            let mut expected = BTreeMap::new();
            for (offset, number) in keys.into_iter().enumerate() {
                let offset = Offset::new(i64::try_from(offset).unwrap());
                assert!(map.put(key(number), offset));
                expected.insert(number, offset);
            }
            for number in 0..300 {
                assert_eq!(map.get(key(number)), expected.get(&number).copied());
            }
        }
    }

    #[test]
    fn a_full_map_takes_news_of_known_keys_only_and_stays_within_its_bytes() {
        let bytes_max = 100_000;
        let mut map = KeyMap::new(bytes_max);
        let known = (0..).take_while(|number| map.put(key(*number), Offset::new(i64::from(*number)))).count();
        let (slots, slot) = (map.slots.len(), SLOT_BYTES);
        assert!(known > bytes_max / 100, "{known} keys");
        assert!(slots * slot + slots / 2 * slot <= bytes_max, "{slots} slots of {slot} bytes");
        assert!(map.put(key(0), Offset::new(9_999)) && !map.put(key(1 << 30), Offset::new(9_999)));
        assert_eq!(map.get(key(0)), Some(Offset::new(9_999)));
        assert_eq!(map.get(key(1 << 30)), None);
    }
}

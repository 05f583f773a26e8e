//! Stands for a key in 16 bytes: SipHash-2-4 with 128 bits (Aumasson and Bernstein, 2012).
//!
//! Called while a log is compacted, which remembers the last offset of each key. Invariant: the digest depends on the
//! key's bytes alone, not on the pieces in which they come; two keys share one by chance once in 2^64 of them.

use std::io::{self, Write};

/// The digest of a record's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyDigest(u128);

/// No secret: who finds two keys of one digest harms nothing but his own topic.
const KEY: [u64; 2] = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];

impl KeyDigest {
    /// Of a key that is there as a whole.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.take(key);
        hasher.finish()
    }

    /// Its bits, for a table.
    #[must_use]
    pub fn get(self) -> u128 {
        self.0
    }
}

/// Takes a key piece by piece.
pub(super) struct Hasher {
    state: [u64; 4],
    /// Bytes that do not fill a word yet, the first in the lowest place.
    word: u64,
    length: u64,
}

impl Hasher {
    pub(super) fn new() -> Self {
        let state = [
            KEY[0] ^ 0x736f_6d65_7073_6575,
            KEY[1] ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            KEY[0] ^ 0x6c79_6765_6e65_7261,
            KEY[1] ^ 0x7465_6462_7974_6573,
        ];
        Self { state, word: 0, length: 0 }
    }

    fn take(&mut self, piece: &[u8]) {
        for byte in piece {
            self.word |= u64::from(*byte) << (8 * (self.length % 8));
            self.length += 1;
            if self.length.is_multiple_of(8) {
                let word = std::mem::take(&mut self.word);
                self.compress(word);
            }
        }
    }

    pub(super) fn finish(mut self) -> KeyDigest {
        let last = self.word | (self.length << 56);
        self.compress(last);
        self.state[2] ^= 0xee;
        let low = self.drain();
        self.state[1] ^= 0xdd;
        let high = self.drain();
        KeyDigest(u128::from(low) | u128::from(high) << 64)
    }

    fn compress(&mut self, word: u64) {
        self.state[3] ^= word;
        self.round();
        self.round();
        self.state[0] ^= word;
    }

    fn drain(&mut self) -> u64 {
        (0..4).for_each(|_| self.round());
        self.state.iter().fold(0, |folded, word| folded ^ word)
    }

    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.state;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.state = [a, b, c, d];
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(key: &[u8]) -> String {
        KeyDigest::of(key).get().to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn digests_are_those_of_the_reference() {
        // `vectors_sip128` of the authors' implementation: keys of the bytes 0, 1, 2, ...
        assert_eq!(hex(&[]), "a3817f04ba25a8e66df67214c7550293");
        assert_eq!(hex(&[0]), "da87c1d86b99af44347659119b22fc45");
    }

    proptest::proptest! {
        #[test]
        fn the_pieces_do_not_matter(key: Vec<u8>, piece in 1..20_usize) {
            let mut hasher = Hasher::new();
            key.chunks(piece).for_each(|piece| hasher.take(piece));
            assert_eq!(hasher.finish(), KeyDigest::of(&key));
        }
    }

    #[test]
    fn every_byte_and_the_length_count() {
        let keys: Vec<Vec<u8>> = (0..40_usize).flat_map(|n| [vec![0; n], [vec![0; n], vec![1]].concat()]).collect();
        let mut digests: Vec<KeyDigest> = keys.iter().map(|key| KeyDigest::of(key)).collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), keys.len());
    }
}

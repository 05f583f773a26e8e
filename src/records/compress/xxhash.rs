//! XXH32, the checksum of the LZ4 frame format.
//!
//! Called by `lz4` for the frame's header, its blocks and its content.

const PRIME_1: u32 = 0x9E37_79B1;
const PRIME_2: u32 = 0x85EB_CA77;
const PRIME_3: u32 = 0xC2B2_AE3D;
const PRIME_4: u32 = 0x27D4_EB2F;
const PRIME_5: u32 = 0x1656_67B1;
const STRIPE: usize = 16;

/// A running hash with seed 0.
#[derive(Clone)]
pub(super) struct XxHash32 {
    lanes: [u32; 4],
    pending: Vec<u8>,
    total: u64,
}

impl XxHash32 {
    pub(super) fn new() -> Self {
        let lanes = [PRIME_1.wrapping_add(PRIME_2), PRIME_2, 0, 0u32.wrapping_sub(PRIME_1)];
        Self { lanes, pending: Vec::new(), total: 0 }
    }

    /// Of one slice.
    pub(super) fn of(bytes: &[u8]) -> u32 {
        let mut hash = Self::new();
        hash.write(bytes);
        hash.finish()
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        self.total += u64::try_from(bytes.len()).expect("a length fits in 64 bits");
        if !self.pending.is_empty() {
            let fill = bytes.len().min(STRIPE - self.pending.len());
            self.pending.extend_from_slice(&bytes[..fill]);
            bytes = &bytes[fill..];
            if self.pending.len() < STRIPE {
                return;
            }
            let stripe = std::mem::take(&mut self.pending);
            self.stripe(&stripe);
        }
        let mut stripes = bytes.chunks_exact(STRIPE);
        for stripe in &mut stripes {
            self.stripe(stripe);
        }
        self.pending.extend_from_slice(stripes.remainder());
    }

    fn stripe(&mut self, stripe: &[u8]) {
        for (lane, word) in self.lanes.iter_mut().zip(stripe.chunks_exact(4)) {
            *lane = lane.wrapping_add(word_of(word).wrapping_mul(PRIME_2)).rotate_left(13).wrapping_mul(PRIME_1);
        }
    }

    pub(super) fn finish(&self) -> u32 {
        let [a, b, c, d] = self.lanes;
        let mut hash = if self.total < 16 {
            PRIME_5
        } else {
            let sum = a.rotate_left(1).wrapping_add(b.rotate_left(7));
            sum.wrapping_add(c.rotate_left(12)).wrapping_add(d.rotate_left(18))
        };
        let low = u32::try_from(self.total & u64::from(u32::MAX)).expect("the low 32 bits");
        hash = hash.wrapping_add(low);
        let mut words = self.pending.chunks_exact(4);
        for word in &mut words {
            hash = hash.wrapping_add(word_of(word).wrapping_mul(PRIME_3)).rotate_left(17).wrapping_mul(PRIME_4);
        }
        for byte in words.remainder() {
            hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(PRIME_5)).rotate_left(11).wrapping_mul(PRIME_1);
        }
        hash = (hash ^ (hash >> 15)).wrapping_mul(PRIME_2);
        hash = (hash ^ (hash >> 13)).wrapping_mul(PRIME_3);
        hash ^ (hash >> 16)
    }
}

fn word_of(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("chunks of four bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(XxHash32::of(b""), 0x02CC_5D05);
        assert_eq!(XxHash32::of(b"a"), 0x550D_7456);
        assert_eq!(XxHash32::of(b"abc"), 0x32D1_53FF);
        assert_eq!(XxHash32::of(b"Nobody inspects the spammish repetition"), 0xE229_3B2F);
    }

    proptest::proptest! {
        #[test]
        fn the_pieces_do_not_matter(bytes: Vec<u8>, cut: proptest::sample::Index) {
            let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
            let mut hash = XxHash32::new();
            hash.write(head);
            hash.write(tail);
            assert_eq!(hash.finish(), XxHash32::of(&bytes));
        }
    }
}

//! Tells whether batches are what was written, from the pieces in which they are read, without holding one.
//!
//! Called by `storage` (a look at one place) and `broker` (what is sent to consumers). Invariant: when `feed` has
//! returned `Ok`, every batch that ended in the bytes so far has its CRC and begins no earlier than the one before
//! it ended.

use crate::model::Offset;

use super::header::Header;

/// Where bytes are not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the batch {at} bytes behind the first, at offset {offset}, is not what was written")]
pub struct Damage {
    /// Where the batch begins, counted from the first byte fed.
    pub at: u64,
    /// The offset that should stand there.
    pub offset: Offset,
    /// Where the batch before it begins; the same as `at` for the first. If the two are out of order, this one may be
    /// the damaged one, as no CRC covers base offsets.
    pub before: u64,
    /// The offset at which that one may begin at the earliest.
    pub before_offset: Offset,
}

/// See the file's comment.
#[derive(Clone, Debug)]
pub struct IntactCheck {
    /// Where the present batch begins, and the one before it.
    at: u64,
    before: u64,
    /// The offsets at which they may begin at the earliest.
    next: Offset,
    next_before: Offset,
    /// What has come of its header.
    front: [u8; Header::SIZE],
    front_len: usize,
    /// Once the header is whole.
    body: Option<Body>,
}

#[derive(Clone, Copy, Debug)]
struct Body {
    header: Header,
    /// The CRC of what has come.
    crc: u32,
    /// How many bytes are still to come.
    left: usize,
}

impl IntactCheck {
    /// Begins where a batch begins that holds `first` or a later offset.
    #[must_use]
    pub fn new(first: Offset) -> Self {
        Self { at: 0, before: 0, next: first, next_before: first, front: [0; Header::SIZE], front_len: 0, body: None }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// The first batch that cannot be what was written. Nothing may be fed after it.
    pub fn feed(&mut self, mut piece: &[u8]) -> Result<(), Damage> {
        while !piece.is_empty() {
            let taken = match self.body.take() {
                None => self.take_front(piece)?,
                Some(body) => self.take_body(body, piece)?,
            };
            piece = &piece[taken..];
        }
        Ok(())
    }

    /// Nothing follows.
    ///
    /// # Errors
    /// A batch was begun and is not whole.
    pub fn finish(&self) -> Result<(), Damage> {
        if self.front_len > 0 { Err(self.here()) } else { Ok(()) }
    }

    /// The present batch, as if it were damaged: for a reader that gets no further.
    #[must_use]
    pub fn here(&self) -> Damage {
        Damage { at: self.at, offset: self.next, before: self.before, before_offset: self.next_before }
    }

    fn take_front(&mut self, piece: &[u8]) -> Result<usize, Damage> {
        let taken = piece.len().min(Header::SIZE - self.front_len);
        self.front[self.front_len..self.front_len + taken].copy_from_slice(&piece[..taken]);
        self.front_len += taken;
        if self.front_len < Header::SIZE {
            return Ok(taken);
        }
        let header = Header::parse(&self.front).map_err(|_| self.here())?;
        // The first may begin earlier: whoever reads asks for an offset within it.
        let is_first = self.at == 0;
        if if is_first { header.next_offset() <= self.next } else { header.base_offset < self.next } {
            return Err(self.here());
        }
        let crc = crc32c::crc32c(&self.front[Header::CRC_START..]);
        self.close(Body { header, crc, left: header.size() - Header::SIZE })?;
        Ok(taken)
    }

    fn take_body(&mut self, body: Body, piece: &[u8]) -> Result<usize, Damage> {
        let taken = piece.len().min(body.left);
        let crc = crc32c::crc32c_append(body.crc, &piece[..taken]);
        self.close(Body { crc, left: body.left - taken, ..body })?;
        Ok(taken)
    }

    /// Judges the batch if it is whole.
    fn close(&mut self, body: Body) -> Result<(), Damage> {
        if body.left > 0 {
            self.body = Some(body);
            return Ok(());
        }
        if body.crc != body.header.crc {
            return Err(self.here());
        }
        (self.before, self.next_before) = (self.at, self.next);
        self.at += u64::try_from(body.header.size()).expect("a batch is smaller than 2^31");
        self.next = body.header.next_offset();
        self.front_len = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LeaderEpoch;
    use crate::records::{Batch, Builder, Codec, Draft};

    fn batch(base: i64, values: &[&str]) -> Vec<u8> {
        let mut builder = Builder::new(Codec::None);
        for value in values {
            builder.push(Draft { value: Some(value.as_bytes()), ..Draft::default() }).unwrap();
        }
        let batch: Batch = builder.build().unwrap();
        let stamped = batch.stamp(Offset::new(base), LeaderEpoch::new(3));
        [&stamped.header[..], &stamped.rest].concat()
    }

    fn three() -> Vec<u8> {
        [batch(4, &["a", "b"]), batch(6, &["cc"]), batch(7, &["ddd", "e"])].concat()
    }

    fn check(bytes: &[u8], piece: usize) -> Result<(), Damage> {
        let mut check = IntactCheck::new(Offset::new(5));
        bytes.chunks(piece).try_for_each(|piece| check.feed(piece))?;
        check.finish()
    }

    #[test]
    fn whole_batches_are_intact_in_whatever_pieces_they_come() {
        let bytes = three();
        for piece in 1..=bytes.len() {
            assert_eq!(check(&bytes, piece), Ok(()), "pieces of {piece}");
        }
    }

    #[test]
    fn every_changed_byte_is_seen_but_for_the_epoch_and_a_gap_before_the_end() {
        let bytes = three();
        let starts = [0, batch(4, &["a", "b"]).len(), bytes.len() - batch(7, &["ddd", "e"]).len()];
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            let begin = starts.iter().rev().find(|start| **start <= at).copied().unwrap();
            // No CRC covers them: the epoch, and the base of a last batch that becomes larger.
            let is_free = (12..16).contains(&(at - begin)) || (begin == starts[2] && (0..8).contains(&(at - begin)));
            let found = check(&changed, 40);
            if is_free {
                continue;
            }
            let damage = found.expect_err(&format!("byte {at}"));
            let near = [u64::try_from(begin).unwrap(), damage.at, damage.before];
            assert!(near[0] == near[1] || near[0] == near[2], "byte {at}: {damage:?}");
        }
    }

    #[test]
    fn what_is_cut_off_is_not_intact() {
        let bytes = three();
        for end in [1, 61, bytes.len() - 1] {
            assert!(check(&bytes[..end], 50).is_err(), "{end} bytes");
        }
        assert_eq!(check(&[], 1), Ok(()));
    }
}

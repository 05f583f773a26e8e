//! Tells whether batches are what was written, from the pieces in which they are read, without holding one.
//!
//! Called by `storage` (a look at one place) and `broker` (what is sent of logs). Invariant: when `feed` has returned
//! `Ok`, every batch that ended in the bytes so far has its CRC and begins where the one before it ended.

use crate::model::{EpochHistory, Offset};

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
    /// The offset at which that one begins.
    pub before_offset: Offset,
}

/// What the log knows of batches from elsewhere, which no CRC covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The base offset of the first.
    pub first: Offset,
    /// Which epochs they are of. Where it says nothing, as it has been lost, any will do.
    pub epochs: EpochHistory,
    /// Up to where offsets may be left out between them, as compaction does.
    pub gaps_end: Offset,
}

/// See the file's comment.
#[derive(Clone, Debug)]
pub struct IntactCheck {
    /// Where the present batch begins, and the one before it.
    at: u64,
    before: u64,
    /// The offsets at which they begin.
    next: Offset,
    next_before: Offset,
    gaps_end: Offset,
    epochs: EpochHistory,
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
    /// Begins where the first batch begins.
    #[must_use]
    pub fn new(expected: Expected) -> Self {
        let Expected { first, epochs, gaps_end } = expected;
        Self {
            gaps_end,
            epochs,
            at: 0,
            before: 0,
            next: first,
            next_before: first,
            front: [0; Header::SIZE],
            front_len: 0,
            body: None,
        }
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
        if self.is_between() { Ok(()) } else { Err(self.here()) }
    }

    /// The present batch, as if it were damaged: for a reader that gets no further.
    #[must_use]
    pub fn here(&self) -> Damage {
        Damage { at: self.at, offset: self.next, before: self.before, before_offset: self.next_before }
    }

    /// How many bytes the present batch still lacks, as far as is known: first those of its header.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.body.map_or(Header::SIZE - self.front_len, |body| body.left)
    }

    /// Whether the last byte fed was the last of a batch.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.front_len == 0
    }

    fn take_front(&mut self, piece: &[u8]) -> Result<usize, Damage> {
        let taken = piece.len().min(Header::SIZE - self.front_len);
        self.front[self.front_len..self.front_len + taken].copy_from_slice(&piece[..taken]);
        self.front_len += taken;
        if self.front_len < Header::SIZE {
            return Ok(taken);
        }
        let header = Header::parse(&self.front).map_err(|_| self.here())?;
        // Where the first begins is known.
        let gaps_end = if self.at > 0 { self.gaps_end } else { Offset::ZERO };
        let continues = header.continues(self.next, gaps_end);
        let of_another = self.epochs.epoch_at(header.base_offset).is_some_and(|epoch| epoch != header.leader_epoch);
        if !continues || of_another {
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
    use crate::model::{EpochStart, LeaderEpoch};
    use crate::records::{Batch, Builder, Codec, Draft};

    fn batch(base: i64, values: &[&str]) -> Vec<u8> {
        batch_of(3, base, values)
    }

    fn batch_of(epoch: i32, base: i64, values: &[&str]) -> Vec<u8> {
        let mut builder = Builder::new(Codec::None);
        for value in values {
            builder.push(Draft { value: Some(value.as_bytes()), ..Draft::default() }).unwrap();
        }
        let batch: Batch = builder.build().unwrap();
        let stamped = batch.stamp(Offset::new(base), LeaderEpoch::new(epoch));
        [&stamped.header[..], &stamped.rest].concat()
    }

    fn expected(gaps_end: i64) -> Expected {
        Expected { first: Offset::new(4), epochs: epochs(&[(3, 2)]), gaps_end: Offset::new(gaps_end) }
    }

    fn epochs(entries: &[(i32, i64)]) -> EpochHistory {
        let entries = entries
            .iter()
            .map(|&(epoch, start)| EpochStart { epoch: LeaderEpoch::new(epoch), start: Offset::new(start) });
        EpochHistory::from_entries(entries.collect()).expect("the test's entries rise")
    }

    fn three() -> Vec<u8> {
        [batch(4, &["a", "b"]), batch(6, &["cc"]), batch(7, &["ddd", "e"])].concat()
    }

    fn check(bytes: &[u8], piece: usize) -> Result<(), Damage> {
        let mut check = IntactCheck::new(expected(0));
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
    fn every_changed_byte_is_seen() {
        let bytes = three();
        let starts = [0, batch(4, &["a", "b"]).len(), bytes.len() - batch(7, &["ddd", "e"]).len()];
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            let begin = starts.iter().rev().find(|start| **start <= at).copied().unwrap();
            let damage = check(&changed, 40).expect_err(&format!("byte {at}"));
            assert_eq!(damage.at, u64::try_from(begin).unwrap(), "byte {at}: {damage:?}");
        }
    }

    #[test]
    fn a_gap_is_sound_only_where_compaction_may_have_made_it() {
        let bytes = [batch(4, &["a", "b"]), batch(9, &["c"])].concat();
        let check = |gaps_end| IntactCheck::new(expected(gaps_end)).feed(&bytes);
        assert!(check(0).is_err() && check(8).is_err());
        assert_eq!(check(9), Ok(()));
    }

    #[test]
    fn each_batch_is_of_the_epoch_that_the_history_tells() {
        let bytes = [batch_of(3, 4, &["a", "b"]), batch_of(5, 6, &["c"])].concat();
        let check = |entries| {
            let expected = Expected { epochs: epochs(entries), ..expected(0) };
            IntactCheck::new(expected).feed(&bytes).map_err(|damage| damage.offset.get())
        };
        assert_eq!(check(&[(3, 2), (5, 6)]), Ok(()));
        assert_eq!(check(&[(5, 6)]), Ok(()), "what is not known is believed");
        assert_eq!(check(&[(3, 2), (4, 5), (5, 7)]), Err(6));
        assert_eq!(check(&[(2, 2), (5, 6)]), Err(4));
        assert_eq!(check(&[(3, 2)]), Err(6));
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

//! What the flush log says of a log, and the frames in which it says it.
//!
//! Invariant: frames are read up to the first that is not whole; what a frame says of a log replaces what earlier ones
//! said.

use crate::model::{LeaderEpoch, Offset, PartitionId, PartitionIndex, TopicId};

use super::bytes_at::Cursor;
use super::segment::{DerivedAt, Place};

const MAGIC: [u8; 4] = *b"OTLf";
const FRAME_HEADER_BYTES: usize = 4 + 4 + 4;
const ATTESTED: u8 = 1;
const FORGOTTEN: u8 = 2;
const VOLATILE: u8 = 3;
const SETTLED: u8 = 4;

/// What is known to be on the disk of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attested {
    /// Where the log starts.
    pub start: Offset,
    /// The end of what is durable: segment, byte and offset.
    pub end: Place,
    /// The newest epoch at that end.
    pub epoch: LeaderEpoch,
    /// Up to where indexes, epochs and producers are durable.
    pub derived: DerivedAt,
}

impl Attested {
    /// Whether a log of which this is said has files: without them it has lost something.
    pub(super) fn needs_files(&self) -> bool {
        self.end.position > 0 || self.end.offset > self.start
    }

    /// This, said of the same log, where `before` was known: a retention may have moved the start since this was put
    /// together, and the files before it are gone.
    pub(super) fn after(self, before: Self) -> Self {
        let is_behind = self.end.segment < before.end.segment && self.end.offset <= before.end.offset;
        let (end, epoch) = if is_behind { (before.end, before.epoch) } else { (self.end, self.epoch) };
        Self { start: self.start.max(before.start), end, epoch, ..self }
    }
}

/// One statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) partition: PartitionId,
    pub(super) said: Said,
}

/// What a statement says of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// What of it is on the disk.
    Attested(Attested),
    /// It is gone, and nothing is known of it any more.
    Gone,
    /// From here on its appends may count before they are flushed.
    Volatile,
    /// They do not any more, and all that did are flushed.
    Settled,
}

/// A frame with these statements.
pub(super) fn encode_frame(sequence: u64, statements: &[Statement]) -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME_HEADER_BYTES + 12 + statements.len() * 97);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&u32::try_from(statements.len()).expect("a group is bounded").to_be_bytes());
    statements.iter().for_each(|statement| encode(&mut out, statement));
    let length = u32::try_from(out.len() - FRAME_HEADER_BYTES).expect("a group is bounded");
    out[4..8].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&out[FRAME_HEADER_BYTES..]);
    out[8..12].copy_from_slice(&crc.to_be_bytes());
    out
}

fn encode(out: &mut Vec<u8>, statement: &Statement) {
    out.extend_from_slice(&statement.partition.topic.get());
    out.extend_from_slice(&statement.partition.index.get().to_be_bytes());
    let attested = match statement.said {
        Said::Attested(attested) => attested,
        Said::Gone => return out.push(FORGOTTEN),
        Said::Volatile => return out.push(VOLATILE),
        Said::Settled => return out.push(SETTLED),
    };
    out.push(ATTESTED);
    out.extend_from_slice(&attested.start.get().to_be_bytes());
    out.extend_from_slice(&attested.epoch.get().to_be_bytes());
    for place in [attested.end, attested.derived.place] {
        out.extend_from_slice(&place.segment.get().to_be_bytes());
        out.extend_from_slice(&place.position.to_be_bytes());
        out.extend_from_slice(&place.offset.get().to_be_bytes());
    }
    out.extend_from_slice(&attested.derived.offset_entries.to_be_bytes());
    out.extend_from_slice(&attested.derived.time_entries.to_be_bytes());
}

/// What follows the frames that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nothing: all of the file was read.
    Whole,
    /// What a crash leaves of the frame that was written last.
    Torn,
    /// Something that was whole: the first frame, which is on the disk before the file has its name, or one that others
    /// were written behind. What is lost may have taken back what was read.
    Damaged,
}

/// All statements of the whole frames at the front of `bytes`, and what follows them.
pub(super) fn decode_frames(bytes: &[u8]) -> (Vec<Statement>, Ending) {
    let mut statements = Vec::new();
    let mut rest = bytes;
    let mut last = None;
    while let Some((sequence, frame, after)) = decode_frame(rest) {
        // A frame of an earlier life would have a sequence that does not go on.
        if last.is_some_and(|last: u64| sequence != last + 1) {
            break;
        }
        last = Some(sequence);
        statements.extend(frame);
        rest = after;
    }
    let ending = match last {
        Some(_) if rest.is_empty() => Ending::Whole,
        Some(last) if !holds_frame_after(rest, last) => Ending::Torn,
        Some(_) | None => Ending::Damaged,
    };
    (statements, ending)
}

/// Whether a whole frame that was written later stands anywhere in `bytes`.
fn holds_frame_after(bytes: &[u8], last: u64) -> bool {
    let starts = bytes.windows(MAGIC.len()).enumerate().filter(|(_, window)| *window == MAGIC);
    starts.filter_map(|(at, _)| decode_frame(&bytes[at..])).any(|(sequence, ..)| sequence > last)
}

fn decode_frame(bytes: &[u8]) -> Option<(u64, Vec<Statement>, &[u8])> {
    let mut header = Cursor::new(bytes);
    if header.take()? != MAGIC {
        return None;
    }
    let (length, crc) = (usize::try_from(header.u32()?).ok()?, header.u32()?);
    let body = bytes.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES.checked_add(length)?)?;
    if crc32c::crc32c(body) != crc {
        return None;
    }
    let mut cursor = Cursor::new(body);
    let sequence = cursor.u64()?;
    let count = cursor.u32()?;
    let mut statements = Vec::new();
    for _ in 0..count {
        statements.push(decode(&mut cursor)?);
    }
    cursor.is_empty().then_some((sequence, statements, &bytes[FRAME_HEADER_BYTES + length..]))
}

fn decode(cursor: &mut Cursor<'_>) -> Option<Statement> {
    let topic = TopicId::new(cursor.take()?);
    let partition = PartitionId { topic, index: PartitionIndex::new(cursor.i32()?) };
    let said = match cursor.u8()? {
        ATTESTED => Said::Attested(decode_attested(cursor)?),
        FORGOTTEN => Said::Gone,
        VOLATILE => Said::Volatile,
        SETTLED => Said::Settled,
        _ => return None,
    };
    Some(Statement { partition, said })
}

fn decode_attested(cursor: &mut Cursor<'_>) -> Option<Attested> {
    let start = Offset::new(cursor.i64()?);
    let epoch = LeaderEpoch::new(cursor.i32()?);
    let (end, place) = (decode_place(cursor)?, decode_place(cursor)?);
    let derived = DerivedAt { place, offset_entries: cursor.u64()?, time_entries: cursor.u64()? };
    Some(Attested { start, end, epoch, derived })
}

fn decode_place(cursor: &mut Cursor<'_>) -> Option<Place> {
    let segment = Offset::new(cursor.i64()?);
    let position = cursor.u64()?;
    Some(Place { segment, position, offset: Offset::new(cursor.i64()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(end: i64) -> Statement {
        let partition = PartitionId { topic: TopicId::new([7; 16]), index: PartitionIndex::new(1) };
        let end = Place { segment: Offset::new(5), position: 600, offset: Offset::new(end) };
        let derived = DerivedAt { offset_entries: 3, ..DerivedAt::front_of(Offset::new(5), Offset::new(5)) };
        let attested = Attested { start: Offset::new(2), end, epoch: LeaderEpoch::new(4), derived };
        Statement { partition, said: Said::Attested(attested) }
    }

    #[test]
    fn frames_are_read_up_to_the_first_that_is_not_whole() {
        let said = [Said::Gone, Said::Volatile, Said::Settled].map(|said| Statement { said, ..statement(9) });
        let before = [&[statement(9)][..], &said].concat();
        let (first, second) = (encode_frame(8, &before), encode_frame(9, &[statement(11)]));
        let both = [first.clone(), second.clone()].concat();
        assert_eq!(decode_frames(&both), ([&before[..], &[statement(11)]].concat(), Ending::Whole));
        for cut in first.len() + 1..both.len() {
            assert_eq!(decode_frames(&both[..cut]), (before.clone(), Ending::Torn), "cut at {cut}");
        }
        let stale = [second, first].concat();
        assert_eq!(decode_frames(&stale), (vec![statement(11)], Ending::Torn));
    }

    #[test]
    fn a_frame_that_was_whole_once_is_damaged_and_not_torn() {
        let frames = [8, 9, 10].map(|sequence| encode_frame(sequence, &[statement(9)]));
        let length = frames[0].len();
        let all = frames.concat();
        for at in 0..2 * length {
            let mut flipped = all.clone();
            flipped[at] ^= 1;
            assert_eq!(decode_frames(&flipped).1, Ending::Damaged, "byte {at}");
        }
        for cut in 0..length {
            assert_eq!(decode_frames(&all[..cut]), (vec![], Ending::Damaged), "cut at {cut}");
        }
        let mut last = all.clone();
        *last.last_mut().expect("it is not empty") ^= 1;
        assert_eq!(decode_frames(&last), (vec![statement(9); 2], Ending::Torn));
    }
}

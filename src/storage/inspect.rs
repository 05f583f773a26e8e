//! Looks at single batches: which one ends before an offset, and whether what stands at a place is what was written.
//!
//! Invariant: nothing here changes the log or its files.

use crate::env::OpenMode;
use crate::model::Offset;
use crate::records::{Damage, Header, IntactCheck};

use super::append::as_u64;
use super::error::{Corruption, ReadError};
use super::log::Log;
use super::segment::{Place, Suffix};
use super::tail::BatchAt;

/// How much is read at once.
const PIECE_BYTES: usize = 64 << 10;
/// How many batches are looked at: where two are out of order either may be the damaged one.
const BATCHES: usize = 2;

/// A batch, without its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundBatch {
    /// Where it stands, and its base offset.
    pub place: Place,
    /// The offset after its last record.
    pub next: Offset,
    /// The CRC that its header states.
    pub crc: u32,
}

impl Log {
    /// The last batch that begins below `end`, if the log has one.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn batch_before(&self, end: Offset) -> Result<Option<FoundBatch>, ReadError> {
        if end <= self.start || end > self.end {
            return Ok(None);
        }
        let found = self.find(end.plus(-1))?.filter(|(_, at)| at.base < end);
        Ok(found.map(|(index, BatchAt { base, next, position, crc })| {
            let place = Place { segment: self.segments[index].base, position, offset: base };
            FoundBatch { place, next, crc }
        }))
    }

    /// Reads the batch at a place where one begins, and the one behind it. A place that is in the log no more is well.
    ///
    /// # Errors
    /// They are not what was written, or cannot be read.
    pub fn inspect(&self, place: Place) -> Result<(), ReadError> {
        let Ok(index) = self.segments.binary_search_by_key(&place.segment, |segment| segment.base) else {
            return Ok(());
        };
        let failed = |error| self.refused(index, error);
        let damaged = |damage: Damage| {
            self.corruption(Place { position: place.position + damage.at, offset: damage.offset, ..place })
        };
        let file = self.file(index, Suffix::Log, OpenMode::Write).map_err(failed)?;
        let end = self.segments[index].size;
        let mut check = IntactCheck::new(place.offset);
        let mut buffer = vec![0; PIECE_BYTES];
        let (mut at, mut batches) = (place.position, 0);
        while at < end && batches < BATCHES {
            let mut size = [0; Header::SIZE];
            let count = file.read_at(at, &mut size).map_err(failed)?;
            // A length that is no length is found out by the check.
            let size = Header::parse(&size[..count]).map_or(Header::SIZE, |header| header.size());
            let batch_end = at.saturating_add(as_u64(size)).min(end);
            while at < batch_end {
                let left = usize::try_from(batch_end - at).unwrap_or(usize::MAX);
                let count = file.read_at(at, &mut buffer[..left.min(PIECE_BYTES)]).map_err(failed)?;
                if count == 0 {
                    let missing = Place { position: at, ..place };
                    return Err(self.corruption(missing).into());
                }
                check.feed(&buffer[..count]).map_err(damaged)?;
                at += as_u64(count);
            }
            check.finish().map_err(damaged)?;
            batches += 1;
        }
        Ok(())
    }

    fn corruption(&self, place: Place) -> Corruption {
        Corruption { path: self.path_of(place.segment, Suffix::Log), place, attested: self.flushed }
    }
}

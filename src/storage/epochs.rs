//! Whether the history of epochs that a log finds at its start is that of its batches.
//!
//! The file is Kafka's and has no checksum, and whoever cuts a log goes by it (KIP-101): one flipped bit could move a
//! cut. Called by `recover`. Invariant: a history is believed if the batches on both sides of each of its boundaries
//! say the same (the nearest, where compaction has left a gap), which takes work by the number of elections; else it is made anew from the headers of all batches.
//! Only if those contradict each other, the file is believed as it is: what does not fit is told when it is read.

use std::io;

use crate::env::{OpenMode, is_media_error};
use crate::model::{EpochHistory, LeaderEpoch, Offset};
use crate::probe::{Mark, Mutant, mark, planted};

use super::log::Log;
use super::offset_index::OffsetEntry;
use super::scan::{Headers, HeadersFrom};
use super::segment::Suffix;

impl Log {
    /// Takes what the file has `told` over, or what the batches say; `newest` is the epoch at the attested end. Returns
    /// whether there is anything to believe.
    pub(super) fn settle_epochs(&mut self, told: Option<EpochHistory>, newest: LeaderEpoch) -> io::Result<bool> {
        if let Some(told) = &told
            && (planted(Mutant::EpochsTakenOnTrust) || self.fits(told)?)
        {
            self.epochs = told.clone();
            return Ok(true);
        }
        mark(Mark::EpochsMadeAnew);
        let of_batches = unless_damaged(self.epochs_of_batches())?.flatten();
        let of_batches = of_batches.filter(|made| made.latest().is_none_or(|latest| latest.epoch <= newest));
        self.derived.epochs_changed |= of_batches.is_some();
        let Some(epochs) = of_batches.or(told) else { return Ok(false) };
        self.epochs = epochs;
        Ok(true)
    }

    /// Whether each entry begins with a batch of its epoch, behind one of the entry before, and the last entry goes to the
    /// end. As epochs rise, all batches between are then of their entry's.
    fn fits(&self, told: &EpochHistory) -> io::Result<bool> {
        let first = self.segments.first().map_or(self.start, |segment| segment.base.max(self.start));
        if first >= self.end {
            return Ok(true);
        }
        let told = told.within(first, self.end);
        if self.thinned_end() > first {
            return self.fits_around_gaps(&told, first);
        }
        let mut before = None;
        for entry in told.entries() {
            if entry.start > first && self.epoch_at(entry.start.plus(-1))? != before {
                return Ok(false);
            }
            let begins = entry.start.max(first);
            let Some((epoch, base)) = self.batch_at(begins)? else { return Ok(false) };
            let is_front = base == begins || base < begins && begins == first;
            if epoch != entry.epoch || !is_front {
                return Ok(false);
            }
            before = Some(entry.epoch);
        }
        Ok(before.is_some() && self.epoch_at(self.end.plus(-1))? == before)
    }

    /// As `fits` where compaction may have taken out all batches of an epoch: the nearest on both sides of each boundary
    /// are of the epochs that it tells, and no batch stands across one, but where the log begins.
    fn fits_around_gaps(&self, told: &EpochHistory, first: Offset) -> io::Result<bool> {
        let agrees = |found: Option<(LeaderEpoch, Offset)>| {
            // Where nothing is left, nothing speaks against it.
            found.is_none_or(|(epoch, base)| told.epoch_at(base).is_none_or(|known| known == epoch))
        };
        for entry in told.entries() {
            let (before, behind) = (self.last_before(entry.start)?, self.first_behind(entry.start)?);
            let is_within = entry.start > first && behind.is_some_and(|(_, base)| base < entry.start);
            if !agrees(before) || !agrees(behind) || is_within {
                return Ok(false);
            }
        }
        Ok(!told.entries().is_empty() && agrees(self.last_before(self.end)?))
    }

    /// The last batch that begins before an offset.
    fn last_before(&self, offset: Offset) -> io::Result<Option<(LeaderEpoch, Offset)>> {
        for index in (0..self.segments.len()).rev().filter(|index| self.segments[*index].base < offset) {
            let segment = self.segments[index];
            let left = |entry: OffsetEntry| entry.last < offset;
            let found = self.walk(index, HeadersFrom::batch(0, segment.base), segment.size, left, |headers| {
                let mut last = None;
                while let Some((_, header)) = headers.step()?.filter(|(_, header)| header.base_offset < offset) {
                    last = Some((header.leader_epoch, header.base_offset));
                }
                Ok(last)
            });
            if let Some(found) = unless_damaged(found)?.flatten() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The first batch that ends behind an offset.
    fn first_behind(&self, offset: Offset) -> io::Result<Option<(LeaderEpoch, Offset)>> {
        let first = self.segments.partition_point(|segment| segment.base <= offset).saturating_sub(1);
        for index in first..self.segments.len() {
            if let Some(batch) = unless_damaged(self.locate(index, offset))?.flatten() {
                return Ok(Some((batch.epoch, batch.base)));
            }
        }
        Ok(None)
    }

    fn epoch_at(&self, offset: Offset) -> io::Result<Option<LeaderEpoch>> {
        Ok(self.batch_at(offset)?.map(|(epoch, _)| epoch))
    }

    /// Epoch and base of the batch that holds `offset`; `None` where something else stands.
    fn batch_at(&self, offset: Offset) -> io::Result<Option<(LeaderEpoch, Offset)>> {
        let index = self.segments.partition_point(|segment| segment.base <= offset).saturating_sub(1);
        let found = unless_damaged(self.locate(index, offset))?.flatten();
        Ok(found.map(|batch| (batch.epoch, batch.base)))
    }

    /// The history that the headers of all batches tell; `None` if epochs fall.
    fn epochs_of_batches(&self) -> io::Result<Option<EpochHistory>> {
        let mut made = EpochHistory::default();
        let mut end = self.segments.first().map_or(self.end, |first| first.base);
        for (index, segment) in self.segments.iter().enumerate().filter(|(_, segment)| segment.size > 0) {
            let file = self.file(index, Suffix::Log, OpenMode::Write)?;
            let front = HeadersFrom::batch(0, segment.base);
            let mut headers = Headers::new(&*file, front, segment.size, self.thinned_end());
            while let Some((_, header)) = headers.step()? {
                if made.latest().is_some_and(|latest| latest.epoch > header.leader_epoch) {
                    return Ok(None);
                }
                made.begin(header.leader_epoch, end.min(header.base_offset));
                end = header.next_offset();
            }
        }
        Ok(Some(made))
    }
}

/// Batches that are not what they were, or that the disk does not give back, say nothing.
fn unless_damaged<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData || is_media_error(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

//! Puts a segment that a round has made in the place of those that it stands for.
//!
//! Called by the log's owner, and by `recover`. The steps, each durable before the next: `<base>.log.cleaned` gets the
//! name `<base>-<end>.swap`; the old segments in that range are removed; the new one gets its name. From the first step on
//! a start ends what was begun, before it undoes it. Invariant: a start finds the old segments or the new one, never parts
//! of both.

use std::io;
use std::path::Path;

use crate::env::Files;
use crate::model::{Offset, PartitionId};
use crate::probe::{Mark, Mutant, mark, planted};
use crate::storage::error::LogError;
use crate::storage::log::Log;
use crate::storage::segment::{Segment, Suffix};
use crate::storage::truncate::remove_if_there;

use super::marker::Marker;
use super::sink::{CLEANED, MADE, Made, cleaned_path, discard};

/// The end of the name of a segment that takes the place of others.
const SWAP: &str = ".swap";

/// A segment that waits to be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The log's partition.
    pub partition: PartitionId,
    pub(super) structure: u64,
    pub(super) base: Offset,
    pub(super) end: Offset,
    pub(super) made: Made,
}

impl Replacement {
    /// The offsets that it covers: segments which begin there are replaced.
    #[must_use]
    pub fn range(&self) -> std::ops::Range<Offset> {
        self.base..self.end
    }
}

/// What became of a replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenOver {
    /// It stands in the log; the round goes on from this state of it.
    Yes(Structure),
    /// The log is not what it was made from any more: the round is over.
    No,
}

/// Which state of a log's segments; another after each change that is not at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Structure(pub(super) u64);

impl Log {
    /// Takes a segment over that a round has made, durably. If the log has changed meanwhile, it is thrown away.
    ///
    /// # Errors
    /// The disk refused: the log is poisoned, and a start finds it as it was or as it was to be.
    pub fn take_over(&mut self, replacement: &Replacement) -> Result<TakenOver, LogError> {
        self.check_writable()?;
        let Replacement { base, end, made, .. } = *replacement;
        let is_stale = replacement.structure != self.structure && !planted(Mutant::StaleRoundTaken);
        if is_stale || !self.may_replace(end) {
            mark(Mark::CompactionOvertaken);
            discard(&*self.home.files, &self.directory, base).map_err(|e| Self::failure(&self.directory, e))?;
            return Ok(TakenOver::No);
        }
        let first = self.segments.partition_point(|segment| segment.base < base);
        let next = self.segments.partition_point(|segment| segment.base < end);
        assert!(self.segments[first].base == base && next < self.segments.len(), "closed segments are replaced");
        // An earlier statement that a crash would bring back might name a segment that goes now.
        self.home.flush_log.attest()?;
        self.poisoned = true;
        if made.is_thinned {
            self.note_thinned_now(end)?;
        }
        self.replace_files(base, end, first..next).map_err(|error| Self::failure(&self.directory, error))?;
        let segment = Segment { base, size: made.size, largest: Some(made.largest) };
        self.segments.splice(first..next, [segment]);
        self.structure += 1;
        self.poisoned = false;
        mark(Mark::SegmentsCompacted);
        Ok(TakenOver::Yes(Structure(self.structure)))
    }

    /// Whether nothing that a start goes by stands below `end`, nor does the part of the log that is written.
    fn may_replace(&self, end: Offset) -> bool {
        let attested = self.home.flush_log.attested(self.id);
        let is_settled = attested.is_some_and(|at| at.end.segment >= end && at.derived.place.segment >= end);
        is_settled && self.active().is_some_and(|active| active.base >= end)
    }

    fn replace_files(&self, base: Offset, end: Offset, old: std::ops::Range<usize>) -> io::Result<()> {
        let files = &*self.home.files;
        let swap = self.directory.join(swap_name(base, end));
        files.rename(&cleaned_path(&self.directory, base, Suffix::Log), &swap)?;
        if !planted(Mutant::SwapUnsynced) {
            files.sync_dir(&self.directory)?;
        }
        for segment in self.segments[old].iter().rev() {
            for suffix in MADE {
                self.home.handles.forget((self.number, segment.base, suffix));
                remove_if_there(files, &self.path_of(segment.base, suffix))?;
            }
            if segment.base > base {
                remove_if_there(files, &self.path_of(segment.base, Suffix::Snapshot))?;
            }
        }
        if !planted(Mutant::ReplacedUnsynced) {
            files.sync_dir(&self.directory)?;
        }
        for suffix in [Suffix::OffsetIndex, Suffix::TimeIndex] {
            files.rename(&cleaned_path(&self.directory, base, suffix), &self.path_of(base, suffix))?;
        }
        files.rename(&swap, &self.path_of(base, Suffix::Log))?;
        files.sync_dir(&self.directory)
    }
}

/// Whether a file's name is one that compaction gives while it works.
pub(in crate::storage) fn is_of_compaction(name: &str) -> bool {
    name.ends_with(SWAP) || name.ends_with(CLEANED)
}

/// Ends what a crash has left of a takeover, and removes what was only being made.
pub(in crate::storage) fn finish_swaps(files: &dyn Files, directory: &Path) -> io::Result<()> {
    let entries = files.list(directory)?;
    for (base, end) in entries.iter().filter_map(|entry| parse_swap(&entry.name)) {
        mark(Mark::SwapFinished);
        // The name of the swap may have become durable before that of the file which was made ahead of it.
        Marker::make(files, directory, end)?;
        for entry in &entries {
            let is_replaced = Suffix::parse(&entry.name)
                .is_some_and(|(offset, suffix)| suffix != Suffix::Snapshot && base <= offset && offset < end);
            if is_replaced {
                remove_if_there(files, &directory.join(&entry.name))?;
            }
        }
        files.sync_dir(directory)?;
        files.rename(&directory.join(swap_name(base, end)), &directory.join(Suffix::Log.file_name(base)))?;
        files.sync_dir(directory)?;
    }
    for entry in entries.iter().filter(|entry| entry.name.ends_with(CLEANED)) {
        remove_if_there(files, &directory.join(&entry.name))?;
    }
    Ok(())
}

fn swap_name(base: Offset, end: Offset) -> String {
    format!("{:020}-{:020}{SWAP}", base.get(), end.get())
}

fn parse_swap(name: &str) -> Option<(Offset, Offset)> {
    let (base, end) = name.strip_suffix(SWAP)?.split_once('-')?;
    let parse = |digits: &str| {
        let is_number = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().map(Offset::new).filter(|_| is_number)
    };
    Some((parse(base)?, parse(end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_swap_tells_its_range_and_is_none_of_a_segment() {
        let name = swap_name(Offset::new(40), Offset::new(4711));
        assert_eq!(name, "00000000000000000040-00000000000000004711.swap");
        assert_eq!(parse_swap(&name), Some((Offset::new(40), Offset::new(4711))));
        assert_eq!(Suffix::parse(&name), None);
        for other in ["00000000000000000040.log", "40-4711.swap", "x-y.swap", "00000000000000000040.swap"] {
            assert_eq!(parse_swap(other), None, "{other}");
        }
    }
}

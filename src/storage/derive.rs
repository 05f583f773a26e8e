//! What is derived from the batches (indexes, epochs, producers), written behind them now and then.
//!
//! Every few MiB, at a roll and at rest, all of it is written as of one place of the log and joins a group flush; once
//! durable, that place goes into the attestation, and a start makes only what lies behind it anew. The epochs take two
//! groups, as a file is replaced by a rename: the first syncs the new content under another name, the second the
//! rename. Invariant: at most one such round is under way.

use std::collections::VecDeque;

use crate::env::OpenMode;
use crate::model::Offset;

use super::append::as_u64;
use super::checkpoint::{beside, encode_epochs, write_beside};
use super::error::LogError;
use super::log::Log;
use super::segment::{DerivedAt, Suffix};
use super::{offset_index, producer_snapshot, time_index};

/// Kafka's name of the epochs' file.
pub(super) const EPOCHS_FILE: &str = "leader-epoch-checkpoint";

/// See the file's comment.
#[derive(Debug, Default)]
pub(super) struct Derived {
    /// As of where everything derived is durable.
    pub(super) at: DerivedAt,
    pub(super) stage: Stage,
    /// Whether the epochs differ from their file.
    pub(super) epochs_changed: bool,
    /// Snapshots that a later one has replaced, oldest first.
    replaced: VecDeque<Offset>,
}

/// How far a round has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Settled,
    /// Everything is written; the next order syncs it.
    Written {
        at: DerivedAt,
        renames: bool,
    },
    Syncing {
        at: DerivedAt,
        renames: bool,
        serial: u64,
    },
    /// The epochs have their name; the next order syncs the directory.
    Renamed {
        at: DerivedAt,
    },
    Naming {
        at: DerivedAt,
        serial: u64,
    },
}

impl Log {
    /// Whether enough was appended since the last round.
    pub(super) fn derived_is_due(&self) -> bool {
        let (place, end) = (self.derived.at.place, self.end_place());
        let is_far =
            place.segment != end.segment || end.position - place.position >= self.options.derived_interval_bytes;
        self.derived.stage == Stage::Settled && !self.segments.is_empty() && place != end && is_far
    }

    /// Whether a round would find anything to do.
    pub(super) fn derived_is_behind(&self) -> bool {
        if self.derived.stage != Stage::Settled || self.segments.is_empty() {
            return false;
        }
        // At the same place the entries differ when a start made a damaged index anew.
        self.derived.at != self.derived_here() || self.derived.epochs_changed
    }

    /// Starts a round as of the end.
    pub(super) fn write_derived(&mut self) -> Result<(), LogError> {
        assert_eq!(self.derived.stage, Stage::Settled, "at most one round is under way");
        self.tail.push_time();
        self.write_indexes()?;
        self.write_snapshot(self.end)?;
        let renames = self.write_epochs()?;
        self.derived.stage = Stage::Written { at: self.derived_here(), renames };
        Ok(())
    }

    /// A roll has written indexes and snapshot; it is a round if no other is under way.
    pub(super) fn derive_at_roll(&mut self) {
        if self.derived.stage == Stage::Settled
            && let Ok(renames) = self.write_epochs()
        {
            self.derived.stage = Stage::Written { at: self.derived_here(), renames };
        }
    }

    /// Notes that an order takes what is written. Returns the place that is durable once it is carried out.
    pub(super) fn derived_ordered(&mut self, serial: u64) -> DerivedAt {
        let (stage, at) = match self.derived.stage {
            Stage::Written { at, renames } => {
                (Stage::Syncing { at, renames, serial }, if renames { self.derived.at } else { at })
            }
            Stage::Renamed { at } => (Stage::Naming { at, serial }, at),
            same @ (Stage::Settled | Stage::Syncing { .. } | Stage::Naming { .. }) => (same, self.derived.at),
        };
        self.derived.stage = stage;
        at
    }

    /// Notes that an order was carried out.
    pub(super) fn derived_synced(&mut self, done: u64) {
        match self.derived.stage {
            Stage::Syncing { at, renames: true, serial } if serial <= done => {
                let path = self.directory.join(EPOCHS_FILE);
                if self.home.files.rename(&beside(&path), &path).is_ok() {
                    self.unsynced.directory = true;
                    self.derived.stage = Stage::Renamed { at };
                } else {
                    self.derived.epochs_changed = true;
                    self.derived.stage = Stage::Settled;
                }
            }
            Stage::Syncing { at, renames: false, serial } | Stage::Naming { at, serial } if serial <= done => {
                self.derived_settled(at);
            }
            Stage::Settled
            | Stage::Written { .. }
            | Stage::Syncing { .. }
            | Stage::Renamed { .. }
            | Stage::Naming { .. } => {}
        }
    }

    /// What is derived, as of the end; the index entries are written.
    pub(super) fn derived_here(&self) -> DerivedAt {
        let (offset_entries, time_entries) = (self.tail.offsets_written, self.tail.times_written);
        DerivedAt { place: self.end_place(), offset_entries, time_entries }
    }

    fn derived_settled(&mut self, at: DerivedAt) {
        let before = std::mem::replace(&mut self.derived.at, at).place;
        self.derived.stage = Stage::Settled;
        if before.offset != at.place.offset {
            self.derived.replaced.push_back(before.offset);
        }
        // The one before is kept: the attestation of the new one may be lost.
        while self.derived.replaced.len() > 1 {
            let offset = self.derived.replaced.pop_front().expect("there are two");
            if !self.segments.iter().any(|segment| segment.base == offset) {
                // One that stays does no harm.
                let _ = self.home.files.remove_file(&self.path_of(offset, Suffix::Snapshot));
            }
        }
    }

    /// Writes the pending index entries of the active segment; makes the files if there are none.
    pub(super) fn write_indexes(&mut self) -> Result<(), LogError> {
        let base = self.active_mut().base;
        let offsets: Vec<u8> = self.tail.offsets.iter().flat_map(|entry| entry.encode(base)).collect();
        let times: Vec<u8> = self.tail.times.iter().flat_map(|entry| entry.encode(base)).collect();
        let offsets_at = self.tail.offsets_written * as_u64(offset_index::ENTRY_BYTES);
        let times_at = self.tail.times_written * as_u64(time_index::ENTRY_BYTES);
        self.write_index(Suffix::OffsetIndex, offsets_at, &offsets)?;
        self.write_index(Suffix::TimeIndex, times_at, &times)?;
        self.tail.written();
        Ok(())
    }

    fn write_index(&mut self, suffix: Suffix, position: u64, bytes: &[u8]) -> Result<(), LogError> {
        let index = self.segments.len() - 1;
        let path = self.path_of(self.segments[index].base, suffix);
        let file = self.file(index, suffix, OpenMode::Create).map_err(|e| Self::failure(&path, e))?;
        let written = file.len().and_then(|length| {
            if length > position {
                // Left by an attempt that failed half way.
                file.set_len(position)?;
            }
            if bytes.is_empty() { Ok(()) } else { file.write_at(position, &[bytes]) }
        });
        written.map_err(|e| Self::failure(&path, e))?;
        self.unsynced.note_file(&file);
        self.unsynced.directory = true;
        Ok(())
    }

    /// Writes the producers as of `offset`, which is the end.
    pub(super) fn write_snapshot(&mut self, offset: Offset) -> Result<(), LogError> {
        let path = self.path_of(offset, Suffix::Snapshot);
        let files = self.home.files.clone();
        // One that is there is of this very state: others are removed when a log is cut or recovered.
        if files.exists(&path).map_err(|e| Self::failure(&path, e))? {
            return Ok(());
        }
        let bytes = producer_snapshot::encode(&self.producers);
        let written = files.open(&path, OpenMode::Create).and_then(|file| {
            file.write_at(0, &[&bytes])?;
            Ok(file)
        });
        match written {
            Ok(file) => self.unsynced.note_file(&file),
            Err(source) => {
                // Half a snapshot must not be taken for one that is there.
                let _ = files.remove_file(&path);
                return Err(Self::failure(&path, source));
            }
        }
        self.unsynced.directory = true;
        Ok(())
    }

    /// Writes the epochs under another name if they have changed; whether they had.
    fn write_epochs(&mut self) -> Result<bool, LogError> {
        if !self.derived.epochs_changed {
            return Ok(false);
        }
        let path = self.directory.join(EPOCHS_FILE);
        let text = encode_epochs(&self.epochs);
        let file = write_beside(&*self.home.files, &path, text.as_bytes()).map_err(|e| Self::failure(&path, e))?;
        self.unsynced.note_file(&file);
        self.unsynced.directory = true;
        self.derived.epochs_changed = false;
        Ok(true)
    }
}

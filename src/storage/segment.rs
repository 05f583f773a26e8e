//! One segment: the names of its files, and what is remembered of it.

use std::io;
use std::path::Path;

use crate::env::{File, is_media_error};
use crate::model::{Offset, Timestamp};
use crate::records::Damage;

/// The kinds of files that a segment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Suffix {
    Log,
    OffsetIndex,
    TimeIndex,
    /// The producers as of the segment's base, or as of another offset.
    Snapshot,
}

impl Suffix {
    pub(super) const ALL: [Self; 4] = [Self::Log, Self::OffsetIndex, Self::TimeIndex, Self::Snapshot];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::OffsetIndex => "index",
            Self::TimeIndex => "timeindex",
            Self::Snapshot => "snapshot",
        }
    }

    /// `%020d.suffix`.
    pub(super) fn file_name(self, base: Offset) -> String {
        format!("{:020}.{}", base.get(), self.as_str())
    }

    /// What a file's name says; `None` for one that is not a segment's.
    pub(super) fn parse(name: &str) -> Option<(Offset, Self)> {
        let (digits, suffix) = name.split_once('.')?;
        if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let base = Offset::new(digits.parse().ok()?);
        Self::ALL.into_iter().find(|s| s.as_str() == suffix).map(|s| (base, s))
    }
}

/// What is remembered of a segment while its log is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) base: Offset,
    /// Bytes of whole batches.
    pub(super) size: u64,
    /// The largest timestamp, once somebody has asked; the active segment's is in the tail.
    pub(super) largest: Option<Timestamp>,
}

impl Segment {
    pub(super) fn new(base: Offset) -> Self {
        Self { base, size: 0, largest: None }
    }

    /// Its first byte.
    pub(super) fn front(&self) -> Place {
        Place { segment: self.base, position: 0, offset: self.base }
    }
}

/// A place in a log: a byte of a segment and the offset that stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The base offset of the segment.
    pub segment: Offset,
    /// Bytes into its file.
    pub position: u64,
    /// The offset of the next record there.
    pub offset: Offset,
}

impl Place {
    /// Where to look for damage that was found in what was read from here on: from the batch before on, as either of two
    /// may be the damaged one.
    #[must_use]
    pub fn of_damage(self, damage: &Damage) -> Self {
        Self { position: self.position + damage.before, offset: damage.before_offset, ..self }
    }
}

/// As of where everything derived from the batches is durable, and how many entries the indexes of that segment hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DerivedAt {
    /// The place.
    pub place: Place,
    /// Entries of its segment's offset index up to there; what follows in the file does not count.
    pub offset_entries: u64,
    /// Entries of its segment's time index up to there.
    pub time_entries: u64,
}

impl DerivedAt {
    /// The front of a segment, where nothing is derived yet.
    pub(super) fn front_of(segment: Offset, offset: Offset) -> Self {
        Self { place: Place { segment, position: 0, offset }, offset_entries: 0, time_entries: 0 }
    }
}

/// The whole of a small file; `None` when it is not there.
pub(super) fn read_whole(files: &dyn crate::env::Files, path: &Path) -> io::Result<Option<Vec<u8>>> {
    if !files.exists(path)? {
        return Ok(None);
    }
    let file = files.open(path, crate::env::OpenMode::Read)?;
    let len = usize::try_from(file.len()?).expect("a file that is read whole fits in memory");
    let mut bytes = vec![0; len];
    let count = file.read_at(0, &mut bytes)?;
    bytes.truncate(count);
    Ok(Some(bytes))
}

/// An index that is too short or that the disk does not give back says nothing.
pub(super) fn unless_unreadable<T>(found: io::Result<Option<T>>) -> io::Result<Option<T>> {
    match found {
        Err(error) if is_unreadable(&error) => Ok(None),
        found => found,
    }
}

/// Whether a file is too short, or the disk does not give it back.
pub(super) fn is_unreadable(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof || is_media_error(error)
}

/// How many of `count` sorted entries of `size` bytes at the front of `file` are `left`; all of those stand before all
/// others. Reads blocks of a page, so that a look-up in 2 MiB of index reads some ten of them.
pub(super) fn partition_point(
    file: &dyn File,
    size: usize,
    count: u64,
    left: impl Fn(&[u8]) -> bool,
) -> io::Result<u64> {
    const PAGE: usize = 4096;
    let size64 = u64::try_from(size).expect("an entry is small");
    let per_block = u64::try_from(PAGE / size).expect("a page is small");
    let mut entry = [0_u8; 16];
    let entry = &mut entry[..size];
    let (mut low, mut high) = (0, count);
    while high - low > per_block {
        let middle = low + (high - low) / 2;
        if file.read_at(middle * size64, entry)? < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if left(entry) { low = middle + 1 } else { high = middle }
    }
    let mut block = vec![0; size * usize::try_from(high - low).expect("at most a page of entries")];
    if file.read_at(low * size64, &mut block)? < block.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let within = block.chunks_exact(size).take_while(|entry| left(entry)).count();
    Ok(low + u64::try_from(within).expect("at most a page of entries"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Files as _, OpenMode, SystemFiles};

    #[test]
    fn names_of_segment_files_are_read_and_others_are_not() {
        let base = Offset::new(1234);
        for suffix in Suffix::ALL {
            assert_eq!(Suffix::parse(&suffix.file_name(base)), Some((base, suffix)));
        }
        for other in ["partition.metadata", "1234.log", "0000000000000000123x.log", "00000000000000001234.log.deleted"]
        {
            assert_eq!(Suffix::parse(other), None);
        }
        assert_eq!(Suffix::Log.file_name(base), "00000000000000001234.log");
    }

    #[test]
    fn a_partition_point_is_found_in_any_number_of_entries() {
        let dir = tempfile::tempdir().unwrap();
        let files = SystemFiles::default();
        for count in [0_u64, 1, 2, 511, 512, 513, 5000] {
            let file = files.open(&dir.path().join(count.to_string()), OpenMode::Create).unwrap();
            let bytes: Vec<u8> = (0..count).flat_map(|i| (2 * i).to_be_bytes()).collect();
            file.write_at(0, &[&bytes]).unwrap();
            for target in [0, 1, 2, 1023, 1024, 1025, 5001, 20_000] {
                let left = |e: &[u8]| u64::from_be_bytes(e.try_into().unwrap()) < target;
                let found = partition_point(&*file, 8, count, left).unwrap();
                assert_eq!(found, count.min(target.div_ceil(2)), "{count} entries, target {target}");
            }
        }
    }
}

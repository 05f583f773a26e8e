//! What may go wrong with a disk that runs, and where.
//!
//! A fault is injected with [`super::SimulatedFiles::inject`] and strikes what happens from then on. Invariant: without
//! one nothing goes wrong; which operation it strikes follows from the operations alone.

use std::io;
use std::path::{Path, PathBuf};

/// Errors of the system, by Linux' numbers.
pub(super) mod errno {
    pub(in crate::testing::files) const EIO: i32 = 5;
    pub(in crate::testing::files) const EACCES: i32 = 13;
    pub(in crate::testing::files) const EMFILE: i32 = 24;
    pub(in crate::testing::files) const ENOSPC: i32 = 28;
    pub(in crate::testing::files) const EROFS: i32 = 30;
    pub(in crate::testing::files) const ESTALE: i32 = 116;
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `fsync` fails with EIO; what it should have made durable is clean from then on and never will be. So do ext4,
    /// XFS and Btrfs after a failed writeback (Rebello et al., ATC 2020; "fsyncgate").
    SyncFails,
    /// `fsync` says that all is well and makes nothing durable: a disk with a volatile cache that ignores flushes. What
    /// waits goes on waiting, and a later honest sync takes it along.
    SyncLies,
    /// A write fails with EIO when half of it is done: a medium that cannot be written, a lost path to the storage.
    WriteFails,
    /// A write is seen, even synced, and never reaches the medium: a firmware that drops it ("phantom write").
    WriteLost,
    /// A write is seen, fails on its way to the medium without a sync, and is forgotten; a sync says so, with EIO, to
    /// who had the file open then, and to nobody else: Linux reports a failed writeback once per descriptor, and a file
    /// that nobody has open may leave memory with its error.
    WritebackFails,
    /// A write is seen where it was meant to be, and reaches the medium elsewhere: a bit flip in the disk's address
    /// lines or its firmware's map. If there is no such file it is lost.
    WriteMisdirected {
        /// The file that it falls on.
        to: PathBuf,
        /// And where in it.
        position: u64,
    },
    /// A read fails with EIO: unreadable sectors, a lost path to the storage.
    ReadFails,
    /// A read gives what stands elsewhere, in this or another file; nothing if there is no such file.
    ReadMisdirected {
        /// The file that is read instead.
        from: PathBuf,
        /// And from where in it.
        position: u64,
    },
    /// An open fails with EACCES: somebody has changed the owner or the mode of a directory.
    OpenDenied,
    /// An open fails with EMFILE: the process has as many files as it may.
    TooManyOpen,
    /// Whatever would change something fails with EROFS; reads work: ext4 remounts itself so after an error of its
    /// journal, or an operator does.
    ReadOnly,
}

/// What kind of file it is, by its name; one that will be renamed (`.tmp`) is of the kind that it will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// Record batches.
    Segment,
    /// Where which offset stands.
    OffsetIndex,
    /// Which offset was written when.
    TimeIndex,
    /// The state of producers.
    ProducerSnapshot,
    /// Where which leader epoch starts.
    Epochs,
    /// What is known to be durable.
    FlushLog,
    /// Whose directory it is: of the node, of a partition, and whether it was left in order.
    Meta,
    /// A directory, where its entries are synced.
    Directory,
    /// The quorum's own files, and others.
    Other,
}

/// Which files a fault strikes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    kind: Option<FileKind>,
    below: Option<PathBuf>,
}

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The next time.
    Once,
    /// Once, after it could have so many times.
    OnceAfter(usize),
    /// From now on.
    Always,
}

/// What a fault can strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    Open,
    Read,
    Write,
    /// Anything that would change a file or a directory.
    Change,
    Sync,
}

/// The faults that are injected.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    injected: Vec<Injected>,
}

#[derive(Clone, Debug)]
struct Injected {
    fault: Fault,
    target: Target,
    times: Times,
}

impl Target {
    /// All files and directories.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// All files of a kind.
    #[must_use]
    pub fn kind(kind: FileKind) -> Self {
        Self { kind: Some(kind), below: None }
    }

    /// A file, or all that stands below a directory, the directory included. A file is what it was opened as.
    #[must_use]
    pub fn below(path: impl Into<PathBuf>) -> Self {
        Self { kind: None, below: Some(path.into()) }
    }

    /// Of these only the ones below a directory.
    #[must_use]
    pub fn and_below(self, path: impl Into<PathBuf>) -> Self {
        Self { below: Some(path.into()), ..self }
    }

    /// Whether a file is one of them.
    #[must_use]
    pub fn holds(&self, path: &Path, kind: FileKind) -> bool {
        self.kind.is_none_or(|wanted| wanted == kind) && self.below.as_ref().is_none_or(|below| path.starts_with(below))
    }
}

impl FileKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Segment,
        Self::OffsetIndex,
        Self::TimeIndex,
        Self::ProducerSnapshot,
        Self::Epochs,
        Self::FlushLog,
        Self::Meta,
        Self::Directory,
        Self::Other,
    ];

    /// What the name of a file says.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = name.strip_suffix(".tmp").unwrap_or(name);
        let name = name.strip_suffix(".deleted").unwrap_or(name);
        match name {
            "flush-log" => return Self::FlushLog,
            "leader-epoch-checkpoint" => return Self::Epochs,
            "meta.properties" | "node-identity" | "partition.metadata" | ".kafka_cleanshutdown" => return Self::Meta,
            _ => {}
        }
        match name.rsplit_once('.') {
            Some((_, "log")) => Self::Segment,
            Some((_, "index")) => Self::OffsetIndex,
            Some((_, "timeindex")) => Self::TimeIndex,
            Some((_, "snapshot")) => Self::ProducerSnapshot,
            _ => Self::Other,
        }
    }
}

impl Fault {
    fn is_met_at(&self, occasion: Occasion) -> bool {
        let own = match self {
            Self::SyncFails | Self::SyncLies => Occasion::Sync,
            Self::WriteFails | Self::WriteLost | Self::WritebackFails | Self::WriteMisdirected { .. } => {
                Occasion::Write
            }
            Self::ReadFails | Self::ReadMisdirected { .. } => Occasion::Read,
            Self::OpenDenied | Self::TooManyOpen => Occasion::Open,
            Self::ReadOnly => Occasion::Change,
        };
        own == occasion
    }

    /// What the system says then, if it says anything.
    pub(super) fn error(&self) -> Option<io::Error> {
        let number = match self {
            Self::SyncFails | Self::WriteFails | Self::ReadFails => errno::EIO,
            Self::OpenDenied => errno::EACCES,
            Self::TooManyOpen => errno::EMFILE,
            Self::ReadOnly => errno::EROFS,
            Self::SyncLies
            | Self::WriteLost
            | Self::WritebackFails
            | Self::WriteMisdirected { .. }
            | Self::ReadMisdirected { .. } => return None,
        };
        Some(io::Error::from_raw_os_error(number))
    }
}

impl Faults {
    pub(super) fn inject(&mut self, fault: Fault, target: Target, times: Times) {
        self.injected.push(Injected { fault, target, times });
    }

    /// The fault that strikes a file now, if one does.
    pub(super) fn strike(&mut self, occasion: Occasion, path: &Path, kind: impl Fn() -> FileKind) -> Option<Fault> {
        if self.injected.is_empty() {
            return None;
        }
        let kind = kind();
        for at in 0..self.injected.len() {
            let one = &mut self.injected[at];
            if !one.fault.is_met_at(occasion) || !one.target.holds(path, kind) {
                continue;
            }
            match one.times {
                Times::Always => return Some(one.fault.clone()),
                Times::Once | Times::OnceAfter(0) => return Some(self.injected.remove(at).fault),
                Times::OnceAfter(count) => one.times = Times::OnceAfter(count - 1),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_tells_its_kind() {
        let of = |name: &str| FileKind::of(&Path::new("/data/topic-0").join(name));
        assert_eq!(of("00000000000000000007.log"), FileKind::Segment);
        assert_eq!(of("00000000000000000007.log.deleted"), FileKind::Segment);
        assert_eq!(of("00000000000000000007.index"), FileKind::OffsetIndex);
        assert_eq!(of("00000000000000000007.timeindex"), FileKind::TimeIndex);
        assert_eq!(of("00000000000000000007.snapshot"), FileKind::ProducerSnapshot);
        assert_eq!(of("leader-epoch-checkpoint.tmp"), FileKind::Epochs);
        assert_eq!(of("flush-log"), FileKind::FlushLog);
        assert_eq!(of("partition.metadata"), FileKind::Meta);
        assert_eq!(of("vote"), FileKind::Other);
    }

    #[test]
    fn a_fault_strikes_its_own_occasions_and_files_as_often_as_told() {
        let mut faults = Faults::default();
        let target = Target::kind(FileKind::Segment).and_below("/data/a");
        faults.inject(Fault::SyncFails, target.clone(), Times::OnceAfter(1));
        faults.inject(Fault::ReadOnly, Target::any(), Times::Always);
        let mut strikes = |occasion, path: &str| {
            let path = Path::new(path);
            faults.strike(occasion, path, || FileKind::of(path))
        };
        assert_eq!(strikes(Occasion::Sync, "/data/a/0.index"), None);
        assert_eq!(strikes(Occasion::Sync, "/data/b/0.log"), None);
        assert_eq!(strikes(Occasion::Write, "/data/a/0.log"), None);
        assert_eq!(strikes(Occasion::Sync, "/data/a/0.log"), None);
        assert_eq!(strikes(Occasion::Sync, "/data/a/0.log"), Some(Fault::SyncFails));
        assert_eq!(strikes(Occasion::Sync, "/data/a/0.log"), None);
        for _ in 0..2 {
            assert_eq!(strikes(Occasion::Change, "/data/x"), Some(Fault::ReadOnly));
        }
    }
}

//! What operations do to the image of a file or a directory, and how a power cut may end them.
//!
//! Invariant: a change is for one image, whatever else is there; so those of one file can be carried out alone.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::content::Content;

/// What a disk writes whole or not at all.
pub(super) const SECTOR: u64 = 512;

/// Names a file or a directory, whatever stands where.
pub(super) type NodeNumber = usize;

/// What is in a file or a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Image {
    File(Content),
    Directory(BTreeMap<Arc<str>, NodeNumber>),
}

/// Something that was asked for and waits for a sync.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    /// Rises with each operation of a disk.
    pub(super) serial: u64,
    /// Whose image it changes.
    pub(super) node: NodeNumber,
    pub(super) change: Change,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Write {
        position: u64,
        bytes: Bytes,
        /// Whether the file was shorter.
        grows: bool,
    },
    SetLen(u64),
    Link {
        name: Arc<str>,
        node: NodeNumber,
    },
    Unlink(Arc<str>),
    Rename {
        from: Arc<str>,
        to: Arc<str>,
        node: NodeNumber,
    },
}

/// How an operation that waits ends at a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Lost,
    Whole,
    /// Of a write only the first sectors.
    Head,
    /// Of a write only the last sectors.
    Tail,
    /// Of a write that made its file longer only that: zeros.
    Length,
}

impl Image {
    /// The same kind with nothing in it.
    pub(super) fn emptied(&self) -> Self {
        match self {
            Self::File(_) => Self::File(Content::default()),
            Self::Directory(_) => Self::Directory(BTreeMap::new()),
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self, Self::Directory(_))
    }

    /// The entries of a directory; none of a file.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Arc<str>, NodeNumber)> {
        let entries = match self {
            Self::Directory(entries) => Some(entries),
            Self::File(_) => None,
        };
        entries.into_iter().flatten().map(|(name, node)| (name, *node))
    }

    /// As `apply`, and a file bears the time.
    pub(super) fn write(&mut self, change: &Change, clock: i64) {
        self.apply(change);
        if let Self::File(content) = self {
            content.set_modified(clock);
        }
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match (self, change) {
            (Self::File(content), Change::Write { position, bytes, .. }) => content.write(as_usize(*position), bytes),
            (Self::File(content), Change::SetLen(len)) => content.set_len(as_usize(*len)),
            (Self::Directory(entries), Change::Link { name, node }) => {
                entries.insert(name.clone(), *node);
            }
            (Self::Directory(entries), Change::Unlink(name)) => {
                entries.remove(name);
            }
            (Self::Directory(entries), Change::Rename { from, to, node }) => {
                if entries.get(from) == Some(node) {
                    entries.remove(from);
                }
                entries.insert(to.clone(), *node);
            }
            (image, change) => panic!("{change:?} is not for {image:?}"),
        }
    }
}

impl Change {
    /// How it may end.
    pub(super) fn ends(&self) -> &'static [End] {
        match self {
            Self::Write { position, bytes, grows } => match (split_at(*position, bytes.len()), grows) {
                (None, false) => &[End::Lost, End::Whole],
                (None, true) => &[End::Lost, End::Whole, End::Length],
                (Some(_), false) => &[End::Lost, End::Whole, End::Head, End::Tail],
                (Some(_), true) => &[End::Lost, End::Whole, End::Head, End::Tail, End::Length],
            },
            Self::SetLen(_) | Self::Link { .. } | Self::Unlink(_) | Self::Rename { .. } => &[End::Lost, End::Whole],
        }
    }

    /// Does to an image what is left of it.
    pub(super) fn apply_ended(&self, image: &mut Image, end: End) {
        match (self, end) {
            (_, End::Lost) => {}
            (change, End::Whole) => image.apply(change),
            (Self::Write { position, bytes, .. }, End::Head | End::Tail) => {
                let middle = split_at(*position, bytes.len()).expect("only a write of several sectors is torn");
                let range = if end == End::Head { 0..middle } else { middle..bytes.len() };
                image.apply(&self.part(range));
            }
            (Self::Write { position, bytes, grows: true }, End::Length) => {
                let Image::File(content) = image else { panic!("only a file is written") };
                content.set_len(content.len().max(as_usize(*position) + bytes.len()));
            }
            (change, end) => panic!("{change:?} cannot end as {end:?}"),
        }
    }

    /// Only some of the bytes that it writes.
    fn part(&self, range: Range<usize>) -> Self {
        let Self::Write { position, bytes, grows } = self else { panic!("only a write has parts") };
        Self::Write { position: *position + as_u64(range.start), bytes: bytes.slice(range), grows: *grows }
    }

    /// What it writes to each sector that it touches; the change itself if it is no write.
    pub(super) fn by_sector(&self) -> Vec<Self> {
        let Self::Write { position, bytes, .. } = self else { return vec![self.clone()] };
        let mut parts = Vec::new();
        let mut from = 0;
        while from < bytes.len() {
            let left = as_usize(SECTOR - (position + as_u64(from)) % SECTOR);
            let to = bytes.len().min(from + left);
            parts.push(self.part(from..to));
            from = to;
        }
        parts
    }

    /// Whether it gives a file this name.
    pub(super) fn names(&self, wanted: &str) -> bool {
        match self {
            Self::Link { name, .. } | Self::Rename { to: name, .. } => &**name == wanted,
            Self::Write { .. } | Self::SetLen(_) | Self::Unlink(_) => false,
        }
    }

    /// What it writes, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Write { bytes, .. } => as_u64(bytes.len()),
            Self::SetLen(_) | Self::Link { .. } | Self::Unlink(_) | Self::Rename { .. } => 0,
        }
    }
}

/// The boundary of sectors nearest to the middle of a write, if there is one within.
fn split_at(position: u64, len: usize) -> Option<usize> {
    let middle = (position + as_u64(len) / 2).div_ceil(SECTOR) * SECTOR;
    let at = as_usize(middle.checked_sub(position)?);
    (at > 0 && at < len).then_some(at)
}

pub(super) fn as_usize(position: u64) -> usize {
    usize::try_from(position).expect("simulated files are small")
}

pub(super) fn as_u64(length: usize) -> u64 {
    u64::try_from(length).expect("a length fits in 64 bits")
}

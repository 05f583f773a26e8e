//! What happens to a disk from outside, while nobody uses it or behind the back of who does: damage at rest, copies,
//! replacement; and what a look from outside tells.
//!
//! Invariant: damage is on the medium, so that a restart finds it, too.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::SimulatedFiles;
use super::change::{Change, Image, NodeNumber, SECTOR, as_u64, as_usize};
use super::content::Content;
use super::disk::{BadSector, Disk, ROOT, Traffic};
use super::outcomes;

impl SimulatedFiles {
    /// Some bits of a file's byte are not what was written: rot, or a bit that flipped on its way to the disk.
    pub fn flip_bits(&self, path: &Path, position: usize, bits: u8) {
        self.damage(path, |content| {
            let mut byte = [0];
            if content.read(position, &mut byte) == 1 {
                content.write(position, &[byte[0] ^ bits]);
            }
        });
    }

    /// Part of a file is other bytes, as a drive or a controller with a fault leaves it. What lies beyond the file's
    /// end stays away.
    pub fn garble(&self, path: &Path, range: Range<u64>, next_byte: &mut dyn FnMut() -> u8) {
        let garbage: Vec<u8> = range.clone().map(|_| next_byte()).collect();
        let begin = as_usize(range.start);
        self.damage(path, |content| {
            let count = garbage.len().min(content.len().saturating_sub(begin));
            content.write(begin, &garbage[..count]);
        });
    }

    /// Part of a file stands at another place of it, too: a write that went astray.
    pub fn copy_at_rest(&self, path: &Path, from: Range<u64>, to: u64) {
        self.damage(path, |content| {
            let mut bytes = vec![0; as_usize(from.end - from.start)];
            let found = content.read(as_usize(from.start), &mut bytes);
            let count = found.min(content.len().saturating_sub(as_usize(to)));
            content.write(as_usize(to), &bytes[..count]);
        });
    }

    /// A file is shorter than it was: an operator's mistake, a repair of the file system. No effect on a shorter one.
    pub fn truncate_at_rest(&self, path: &Path, len: u64) {
        self.damage(path, |content| content.set_len(content.len().min(as_usize(len))));
    }

    /// A file or directory is gone, durably: an operator's mistake, a repair of the file system.
    pub fn delete_at_rest(&self, path: &Path) {
        let mut disk = self.disk();
        let (directory, name) = disk.parent(path).expect("its directory is there");
        disk.find(path).expect("the file is there");
        disk.both_mut(directory).into_iter().for_each(|image| image.apply(&Change::Unlink(name.into())));
        disk.pending_mut(directory).retain(|operation| !operation.change.names(name));
        disk.recount();
    }

    /// Two files or directories have each other's place: an operator's mistake, an inode that points elsewhere.
    pub fn swap_at_rest(&self, one: &Path, other: &Path) {
        let mut disk = self.disk();
        let place = |path: &Path| {
            let (directory, name) = disk.parent(path).expect("its directory is there");
            (directory, Arc::<str>::from(name), disk.find(path).expect("the file is there"))
        };
        let (one, other) = (place(one), place(other));
        for (directory, name, node) in [(one.0, one.1, other.2), (other.0, other.1, one.2)] {
            disk.pending_mut(directory).retain(|operation| !operation.change.names(&name));
            let link = Change::Link { name, node };
            disk.both_mut(directory).into_iter().for_each(|image| image.apply(&link));
        }
        disk.recount();
    }

    /// From now on the sector of a file at this position cannot be read, until it is written as a whole.
    pub fn fail_reads_at(&self, path: &Path, position: u64) {
        let mut disk = self.disk();
        let node = disk.find(path).expect("the file is there");
        disk.medium.bad.push(BadSector { node, begin: position / SECTOR * SECTOR });
    }

    /// What is clean is read from the medium again, as when memory was short: after a failed sync and with lost or
    /// misdirected writes that is something else.
    pub fn evict_clean(&self) {
        self.disk().evict();
    }

    /// The disk is new: nothing is on it, and it has no fault. What was open is stale.
    pub fn wipe(&self) {
        self.heal();
        self.disk().replace(vec![Arc::new(Image::Directory(BTreeMap::new()))]);
    }

    /// Another disk with the same on it, all of it durable: a copy of a disk that is not in use.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let disk = self.disk();
        Self::of(Disk::of(disk.seen(), disk.medium_of_copy()))
    }

    /// All that is on the disk is what is on another, durably: an old copy that somebody has played back, or a disk
    /// that was cloned. What was open is stale.
    pub fn restore(&self, from: &Self) {
        let images = from.disk().seen();
        self.disk().replace(images);
    }

    /// The disk as it would be if the power went now and all that was not synced were lost.
    #[must_use]
    pub fn durable(&self) -> Self {
        let point = self.crash_point();
        point.after(&vec![0; point.ways().len()])
    }

    /// How many bytes of a file are durable under its name; `None` when not even that is.
    #[must_use]
    pub fn durable_len(&self, path: &Path) -> Option<u64> {
        let disk = self.disk();
        match disk.durable(disk.find_durable(path)?) {
            Image::File(content) => Some(as_u64(content.len())),
            Image::Directory(_) => None,
        }
    }

    /// All files below a directory as they are seen, with their sizes, in order of their paths.
    #[must_use]
    pub fn files_under(&self, path: &Path) -> Vec<(PathBuf, u64)> {
        let disk = self.disk();
        let mut files = Vec::new();
        if let Ok(node) = disk.find(path) {
            walk(&disk, node, path, &mut |path, content| files.push((path.to_owned(), as_u64(content.len()))));
        }
        files.sort();
        files
    }

    /// A number that is the same for disks with the same directories, files and bytes on them, as they are seen, and
    /// hardly ever for others.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let disk = self.disk();
        outcomes::digest(ROOT, &|node| disk.cached(node))
    }

    /// How many bytes a file has.
    #[must_use]
    pub fn size_of(&self, path: &Path) -> usize {
        let disk = self.disk();
        disk.file(disk.find(path).expect("the file is there")).len()
    }

    /// How many bytes wait for a sync: what one of everything would have to write.
    #[must_use]
    pub fn dirty_bytes(&self) -> u64 {
        self.disk().dirty()
    }

    /// How many bytes of the disk are in use.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.disk().used()
    }

    /// What the disk was asked for so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.disk().traffic
    }

    /// How many bytes were read so far, of all files.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.traffic().bytes_read
    }

    fn damage(&self, path: &Path, hurt: impl Fn(&mut Content)) {
        let mut disk = self.disk();
        let node = disk.find(path).expect("the file is there");
        for image in disk.both_mut(node) {
            match image {
                Image::File(content) => hurt(content),
                Image::Directory(_) => panic!("only a file has bytes to damage"),
            }
        }
        disk.recount();
    }
}

/// Visits the files at and below a node, in order of their names.
fn walk(disk: &Disk, node: NodeNumber, path: &Path, visit: &mut dyn FnMut(&Path, &Content)) {
    match disk.cached(node) {
        Image::File(content) => visit(path, content),
        Image::Directory(entries) => {
            entries.iter().for_each(|(name, entry)| walk(disk, *entry, &path.join(&**name), visit));
        }
    }
}

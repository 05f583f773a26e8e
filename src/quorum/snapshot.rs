//! Snapshots: one file each, `snapshot-<index>-<term>-<node>`: a head, the image's records, a tail with count and hash.
//!
//! Called by the state machine (build, install, load) and by `rpc.rs` (chunks sent and received).
//! Invariants: a file under a snapshot's name is whole and durable, for it gets that name only after its content was
//! verified and synced; the image in memory is replaced only by a file that was read to its end and matched its hash.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::envelope::{self, EnvelopeError, Kind};
use super::types::SnapshotMeta;
use super::vote::{read_all, write_durably};
use crate::env::{Files, OpenMode};
use crate::machines::metadata::{Image, Record, SnapshotHeader, snapshot};

/// Records are gathered into frames of about this size.
const FRAME_BYTES: usize = 256 * 1024;
/// A chunk on its way to another node.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;
/// The largest snapshot that is taken from another node: 4 GiB hold some ten million partitions.
pub(crate) const SNAPSHOT_BYTES_MAX: u64 = 4 << 30;

/// A snapshot's content, wherever it lies. openraft hands it around.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SnapshotFile {
    /// The file.
    pub(crate) path: PathBuf,
}

/// Why a snapshot could not be written or used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its content is not what was written.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Head {
    meta: SnapshotMeta,
    header: SnapshotHeader,
}

#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Tail {
    records: u64,
    crc: u32,
}

/// The directory that holds a node's snapshots.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotDir {
    files: Arc<dyn Files>,
    dir: PathBuf,
}

/// A snapshot read to its end.
pub(crate) struct Loaded {
    pub(crate) meta: SnapshotMeta,
    pub(crate) image: Image,
}

impl SnapshotDir {
    /// The directory `dir`, made if it is not there; what an earlier start left half done is removed.
    pub(crate) fn open(files: Arc<dyn Files>, dir: PathBuf) -> Result<Self, SnapshotError> {
        let this = Self { files, dir };
        this.files.create_dir_all(&this.dir).map_err(|e| this.io(&this.dir, e))?;
        for entry in this.list()? {
            if entry.starts_with("incoming-") || entry.ends_with(".tmp") {
                this.remove(&entry)?;
            }
        }
        Ok(this)
    }

    /// Writes a snapshot; durable when it returns. The older ones go.
    pub(crate) fn write(&self, meta: &SnapshotMeta, image: &Image) -> Result<SnapshotFile, SnapshotError> {
        let bytes = encode(meta, image).map_err(|e| self.damaged(&self.dir, &e))?;
        let name = name_of(meta);
        write_durably(&*self.files, &self.dir, &name, &bytes).map_err(|e| self.io(&self.dir.join(&name), e))?;
        self.keep_only(&name)?;
        Ok(SnapshotFile { path: self.dir.join(name) })
    }

    /// Takes in a snapshot that was received: reads it to its end, then gives it its name. The older ones go.
    pub(crate) fn install(&self, file: &SnapshotFile) -> Result<Loaded, SnapshotError> {
        let bytes = read_all(&*self.files, &file.path).map_err(|e| self.io(&file.path, e))?;
        let loaded = decode(&bytes).map_err(|reason| SnapshotError::Damaged { path: file.path.clone(), reason })?;
        let name = name_of(&loaded.meta);
        if file.path != self.dir.join(&name) {
            write_durably(&*self.files, &self.dir, &name, &bytes).map_err(|e| self.io(&self.dir.join(&name), e))?;
        }
        self.keep_only(&name)?;
        Ok(loaded)
    }

    /// The newest snapshot that can be read to its end. One that cannot is set aside, loudly.
    pub(crate) fn load_newest(&self) -> Result<Option<Loaded>, SnapshotError> {
        for name in self.snapshots()? {
            let path = self.dir.join(&name);
            let bytes = read_all(&*self.files, &path).map_err(|e| self.io(&path, e))?;
            match decode(&bytes) {
                Ok(loaded) => return Ok(Some(loaded)),
                Err(reason) => {
                    tracing::error!(path = %path.display(), reason, "snapshot is damaged and set aside");
                    let aside = self.dir.join(format!("damaged-{name}"));
                    self.files.rename(&path, &aside).map_err(|e| self.io(&path, e))?;
                }
            }
        }
        Ok(None)
    }

    /// The newest snapshot's file and what it covers.
    pub(crate) fn newest(&self) -> Result<Option<(SnapshotMeta, SnapshotFile)>, SnapshotError> {
        let Some(name) = self.snapshots()?.into_iter().next() else { return Ok(None) };
        let path = self.dir.join(name);
        let bytes = read_all(&*self.files, &path).map_err(|e| self.io(&path, e))?;
        let head: Result<(Head, _), _> = envelope::decode_front(Kind::SnapshotHead, &bytes);
        let (head, _) = head.map_err(|e| self.damaged(&path, &e))?;
        Ok(Some((head.meta, SnapshotFile { path })))
    }

    /// Up to [`CHUNK_BYTES`] of a snapshot's file from `offset`, and the file's length.
    pub(crate) fn chunk(&self, file: &SnapshotFile, offset: u64) -> Result<(Vec<u8>, u64), SnapshotError> {
        let error = |e| self.io(&file.path, e);
        let open = self.files.open(&file.path, OpenMode::Read).map_err(error)?;
        let length = open.len().map_err(error)?;
        let left = length.saturating_sub(offset).min(CHUNK_BYTES as u64);
        let mut bytes = vec![0; usize::try_from(left).expect("a chunk is small")];
        let read = open.read_at(offset, &mut bytes).map_err(error)?;
        bytes.truncate(read);
        Ok((bytes, length))
    }

    /// Takes one chunk of a snapshot that another node sends. `transfer` names the sending; the first chunk begins
    /// the file anew.
    pub(crate) fn take_chunk(&self, transfer: u64, offset: u64, bytes: &[u8]) -> Result<SnapshotFile, SnapshotError> {
        let path = self.dir.join(format!("incoming-{transfer:016x}"));
        let error = |e| self.io(&path, e);
        let file = self.files.open(&path, OpenMode::Create).map_err(error)?;
        if offset == 0 {
            file.set_len(0).map_err(error)?;
        }
        let length = file.len().map_err(error)?;
        if length < offset || offset.saturating_add(bytes.len() as u64) > SNAPSHOT_BYTES_MAX {
            return Err(SnapshotError::Damaged { path, reason: format!("chunk at {offset} of {length} bytes") });
        }
        file.write_at(offset, &[bytes]).map_err(error)?;
        Ok(SnapshotFile { path })
    }

    /// Names of snapshots, newest first.
    fn snapshots(&self) -> Result<Vec<String>, SnapshotError> {
        let mut names = self.list()?;
        names.retain(|name| name.starts_with("snapshot-") && !name.ends_with(".tmp"));
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(names)
    }

    fn keep_only(&self, name: &str) -> Result<(), SnapshotError> {
        let others: Vec<String> = self.list()?.into_iter().filter(|other| other != name).collect();
        others.iter().filter(|other| !other.starts_with("damaged-")).try_for_each(|other| self.remove(other))
    }

    fn list(&self) -> Result<Vec<String>, SnapshotError> {
        let entries = self.files.list(&self.dir).map_err(|e| self.io(&self.dir, e))?;
        Ok(entries.into_iter().filter(|entry| !entry.is_directory).map(|entry| entry.name).collect())
    }

    fn remove(&self, name: &str) -> Result<(), SnapshotError> {
        let path = self.dir.join(name);
        self.files.remove_file(&path).map_err(|e| self.io(&path, e))
    }

    #[expect(clippy::unused_self, reason = "reads as what it is at its many callers")]
    fn io(&self, path: &Path, source: io::Error) -> SnapshotError {
        SnapshotError::Io { path: path.to_owned(), source }
    }

    #[expect(clippy::unused_self, reason = "reads as what it is at its many callers")]
    fn damaged(&self, path: &Path, error: &EnvelopeError) -> SnapshotError {
        SnapshotError::Damaged { path: path.to_owned(), reason: error.to_string() }
    }
}

/// Sorts by index, then term: the newest name is the greatest.
fn name_of(meta: &SnapshotMeta) -> String {
    let (index, term, node) =
        meta.last_log_id.map_or((0, 0, 0), |id| (id.index, id.leader_id.term, id.leader_id.node_id));
    format!("snapshot-{index:020}-{term:020}-{node}")
}

/// The id openraft knows a snapshot by.
pub(crate) fn id_of(meta: &SnapshotMeta) -> String {
    name_of(meta)
}

fn encode(meta: &SnapshotMeta, image: &Image) -> Result<Vec<u8>, EnvelopeError> {
    let (header, records) = snapshot(image);
    let mut bytes = envelope::encode(Kind::SnapshotHead, &Head { meta: meta.clone(), header })?;
    let mut count = 0;
    let mut gathered: Vec<Record> = Vec::new();
    let mut gathered_bytes = 0;
    for record in records {
        gathered_bytes += record.size_max();
        gathered.push(record);
        count += 1;
        if gathered_bytes >= FRAME_BYTES {
            bytes.extend(envelope::encode(Kind::SnapshotRecords, &gathered)?);
            gathered.clear();
            gathered_bytes = 0;
        }
    }
    bytes.extend(envelope::encode(Kind::SnapshotRecords, &gathered)?);
    let tail = Tail { records: count, crc: crc32c::crc32c(&bytes) };
    bytes.extend(envelope::encode(Kind::SnapshotTail, &tail)?);
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<Loaded, String> {
    let text = |e: EnvelopeError| e.to_string();
    let (head, mut rest): (Head, _) = envelope::decode_front(Kind::SnapshotHead, bytes).map_err(text)?;
    let mut records: Vec<Record> = Vec::new();
    loop {
        match envelope::decode_front::<Vec<Record>>(Kind::SnapshotRecords, rest) {
            Ok((some, behind)) => {
                records.extend(some);
                rest = behind;
            }
            Err(EnvelopeError::Kind { .. }) => break,
            Err(error) => return Err(error.to_string()),
        }
    }
    let found = Tail { records: records.len() as u64, crc: crc32c::crc32c(&bytes[..bytes.len() - rest.len()]) };
    let tail: Tail = envelope::decode(Kind::SnapshotTail, rest).map_err(text)?;
    if tail != found {
        return Err("its tail does not match its content".to_owned());
    }
    Ok(Loaded { meta: head.meta, image: Image::from_snapshot(head.header, records) })
}

//! Small files that are replaced as a whole: ours with a CRC, and Kafka's text checkpoints.
//!
//! Called by `data_dir`, `derive`, and by `quorum` for its vote. Invariant: a reader finds the old or the new content,
//! never a mix: it is written under another name, synced, renamed, and the directory synced.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::env::{Files, OpenMode};
use crate::model::{EpochHistory, EpochStart, LeaderEpoch, Offset, PartitionIndex, TopicName};
use crate::probe::{Mutant, planted};

use super::bytes_at::Cursor;
use super::segment::read_whole;

const MAGIC: [u8; 4] = *b"OTLs";
const VERSION: u8 = 1;

/// What a CRC'd small file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmallFile {
    /// There is no such file.
    Missing,
    /// It is not one that was written here, or not whole.
    Damaged,
    /// Its content.
    Whole(Vec<u8>),
}

/// Replaces the file at `path`; durable when it returns. `kind` names what is in it and must match when it is read.
///
/// # Errors
/// What the system said; then the old content may still stand there.
pub fn write_small(files: &dyn Files, path: &Path, kind: [u8; 4], content: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(content.len() + 17);
    bytes.extend_from_slice(&MAGIC);
    bytes.push(VERSION);
    bytes.extend_from_slice(&kind);
    bytes.extend_from_slice(&u32::try_from(content.len()).expect("a small file is small").to_be_bytes());
    bytes.extend_from_slice(content);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
    replace(files, path, &bytes)
}

/// Reads what `write_small` wrote.
///
/// # Errors
/// What the system said.
pub fn read_small(files: &dyn Files, path: &Path, kind: [u8; 4]) -> io::Result<SmallFile> {
    let Some(bytes) = read_whole(files, path)? else { return Ok(SmallFile::Missing) };
    Ok(parse_small(&bytes, kind).map_or(SmallFile::Damaged, SmallFile::Whole))
}

fn parse_small(bytes: &[u8], kind: [u8; 4]) -> Option<Vec<u8>> {
    let (covered, crc) = bytes.split_last_chunk::<4>()?;
    let mut cursor = Cursor::new(covered);
    let is_ours = cursor.take()? == MAGIC && cursor.u8()? == VERSION && cursor.take()? == kind;
    let length = cursor.u32()?;
    let content = covered.get(13..)?;
    let is_whole = u32::from_be_bytes(*crc) == crc32c::crc32c(covered) && u32::try_from(content.len()).ok()? == length;
    (is_ours && is_whole).then(|| content.to_vec())
}

/// Replaces the file at `path` by these bytes; durable when it returns.
///
/// # Errors
/// What the system said.
pub fn replace(files: &dyn Files, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().expect("a file stands in a directory");
    let temporary = write_beside(files, path, bytes)?;
    if !planted(Mutant::SmallFilesUnsynced) {
        temporary.sync_data()?;
    }
    files.rename(&beside(path), path)?;
    files.sync_dir(directory)
}

/// The name under which the new content is written.
pub(super) fn beside(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// Writes the new content beside the old; neither synced nor renamed.
pub(super) fn write_beside(
    files: &dyn Files,
    path: &Path,
    bytes: &[u8],
) -> io::Result<std::sync::Arc<dyn crate::env::File>> {
    let temporary = beside(path);
    // One that was left behind may be longer.
    if files.exists(&temporary)? {
        files.remove_file(&temporary)?;
    }
    let file = files.open(&temporary, OpenMode::Create)?;
    file.write_at(0, &[bytes])?;
    Ok(file)
}

/// One line of Kafka's checkpoints by partition (`recovery-point-offset-checkpoint`,
/// `replication-offset-checkpoint`, `log-start-offset-checkpoint`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionOffset {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub index: PartitionIndex,
    /// Its offset.
    pub offset: Offset,
}

/// Writes one of Kafka's checkpoints by partition; durable when it returns.
///
/// # Errors
/// What the system said.
pub fn write_offsets(files: &dyn Files, path: &Path, lines: &[PartitionOffset]) -> io::Result<()> {
    let mut text = format!("0\n{}\n", lines.len());
    for line in lines {
        writeln!(text, "{} {} {}", line.topic, line.index, line.offset).expect("a string takes everything");
    }
    replace(files, path, text.as_bytes())
}

/// Reads one of Kafka's checkpoints by partition; nothing when it is missing or not whole, as it is only a hint.
///
/// # Errors
/// What the system said.
pub fn read_offsets(files: &dyn Files, path: &Path) -> io::Result<Vec<PartitionOffset>> {
    let bytes = read_whole(files, path)?.unwrap_or_default();
    Ok(parse_lines(&bytes, parse_offset_line).unwrap_or_default())
}

fn parse_offset_line(line: &str) -> Option<PartitionOffset> {
    let mut words = line.split(' ');
    let topic = TopicName::new(words.next()?).ok()?;
    let index = PartitionIndex::new(words.next()?.parse().ok()?);
    let offset = Offset::new(words.next()?.parse().ok()?);
    words.next().is_none().then_some(PartitionOffset { topic, index, offset })
}

/// The text of `leader-epoch-checkpoint`.
pub(super) fn encode_epochs(epochs: &EpochHistory) -> String {
    let mut text = format!("0\n{}\n", epochs.entries().len());
    for entry in epochs.entries() {
        writeln!(text, "{} {}", entry.epoch, entry.start).expect("a string takes everything");
    }
    text
}

/// Reads `leader-epoch-checkpoint`; `None` when it is not one, or not whole.
pub(super) fn decode_epochs(bytes: &[u8]) -> Option<EpochHistory> {
    EpochHistory::from_entries(parse_lines(bytes, |line| {
        let (epoch, start) = line.split_once(' ')?;
        Some(EpochStart { epoch: LeaderEpoch::new(epoch.parse().ok()?), start: Offset::new(start.parse().ok()?) })
    })?)
}

/// Kafka's form: a version, a count, so many lines. The last line's end must be there, or its number may be cut.
fn parse_lines<T>(bytes: &[u8], parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let mut lines = text.split('\n');
    if lines.next()? != "0" {
        return None;
    }
    let count: usize = lines.next()?.parse().ok()?;
    let parsed: Vec<T> = lines.map(parse).collect::<Option<_>>()?;
    (parsed.len() == count).then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SystemFiles;

    #[test]
    fn a_small_file_is_read_whole_or_told_to_be_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let files = SystemFiles::default();
        let path = dir.path().join("vote");
        assert_eq!(read_small(&files, &path, *b"vote").unwrap(), SmallFile::Missing);
        write_small(&files, &path, *b"vote", b"long content").unwrap();
        write_small(&files, &path, *b"vote", b"short").unwrap();
        assert_eq!(read_small(&files, &path, *b"vote").unwrap(), SmallFile::Whole(b"short".to_vec()));
        assert_eq!(read_small(&files, &path, *b"node").unwrap(), SmallFile::Damaged);
        let bytes = std::fs::read(&path).unwrap();
        for cut in 0..bytes.len() {
            assert_eq!(parse_small(&bytes[..cut], *b"vote"), None);
        }
    }

    #[test]
    fn epochs_are_kafkas_text_and_a_cut_one_is_none() {
        let entries = [(1, 0), (3, 120)].map(|(e, s)| EpochStart { epoch: LeaderEpoch::new(e), start: Offset::new(s) });
        let history = EpochHistory::from_entries(entries.to_vec()).unwrap();
        let text = encode_epochs(&history);
        assert_eq!(text, "0\n2\n1 0\n3 120\n");
        assert_eq!(decode_epochs(text.as_bytes()), Some(history));
        for cut in 0..text.len() {
            assert_eq!(decode_epochs(&text.as_bytes()[..cut]), None);
        }
        assert_eq!(decode_epochs(b"0\n0\n"), Some(EpochHistory::default()));
    }

    #[test]
    fn offsets_by_partition_are_kafkas_text() {
        let dir = tempfile::tempdir().unwrap();
        let files = SystemFiles::default();
        let path = dir.path().join("replication-offset-checkpoint");
        let topic = TopicName::new("orders").unwrap();
        let lines = [PartitionOffset { topic, index: PartitionIndex::new(3), offset: Offset::new(77) }];
        write_offsets(&files, &path, &lines).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n1\norders 3 77\n");
        assert_eq!(read_offsets(&files, &path).unwrap(), lines);
        assert_eq!(read_offsets(&files, &dir.path().join("none")).unwrap(), []);
    }
}

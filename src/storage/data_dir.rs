//! One entry of `log.dirs`: locked, identified, with its flush log.
//!
//! Called by `broker` and `node`. Invariant: the boot number of a start is on the disk before anything is sent (rule
//! S15); the clean marker of the last stop is gone from the disk before any log is opened.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::env::{FileLock, Files, Seed};
use crate::model::Timestamp;
use crate::model::{
    BootNumber, BrokerEpoch, ClusterId, DirectoryId, NodeId, PartitionId, PartitionIndex, TopicId, TopicName,
};
use crate::probe::{Mark, Mutant, mark, planted};

use super::attestation::Attested;
use super::bytes_at::Cursor;
use super::checkpoint::{SmallFile, read_small, replace, write_small};
use super::error::DataDirError;
use super::flush_log::{FlushLog, Found};
use super::home::{Home, make_durable_directory};
use super::segment::{Suffix, read_whole};

const META: &str = "meta.properties";
const LOCK: &str = ".lock";
const CLEAN: &str = ".kafka_cleanshutdown";
const IDENTITY: &str = "node-identity";
const IDENTITY_KIND: [u8; 4] = *b"node";
/// Directories that end so wait for their removal.
const DELETE: &str = "-delete";
/// Directories that end so were set aside.
pub(super) const STRAY: &str = "-stray";
/// The longest name that file systems take.
const NAME_MAX: usize = 255;

/// A directory of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPartition {
    /// The topic's name, from the directory's.
    pub name: TopicName,
    /// The topic's id, from `partition.metadata`, and the partition's number.
    pub id: PartitionId,
    /// Where it is.
    pub directory: PathBuf,
}

/// See the file's comment. Dropping it gives up the lock.
#[derive(Debug)]
pub struct DataDir {
    home: Arc<Home>,
    _lock: Box<dyn FileLock>,
    node: NodeId,
    directory_id: DirectoryId,
    /// Guards what a registration writes down; held for one small file's write.
    known: Mutex<Known>,
    was_clean: bool,
    partitions: Vec<FoundPartition>,
    set_aside: Vec<String>,
}

/// What changes while the node runs.
#[derive(Clone, Copy, Debug)]
struct Known {
    cluster_id: Option<ClusterId>,
    identity: Identity,
}

/// What is kept of this node from start to start.
#[derive(Clone, Copy, Debug)]
struct Identity {
    directory_id: DirectoryId,
    boot: BootNumber,
    /// The broker epoch of the last registration that was unfenced (rules R12, S3).
    broker_epoch: Option<BrokerEpoch>,
}

/// The content of `meta.properties` that counts.
#[derive(Clone, Debug, Default)]
struct Meta {
    node: String,
    directory_id: Option<DirectoryId>,
    cluster_id: Option<ClusterId>,
}

impl DataDir {
    /// The quorum's own directory, beside those of partitions, named as Kafka names it.
    pub const METADATA_DIRECTORY: &'static str = "__cluster_metadata-0";

    /// Locks and reads a directory, formats it if the rule allows, and numbers this start by the wall clock.
    ///
    /// # Errors
    /// See [`DataDirError`]; each says what to do.
    pub fn open(
        files: Arc<dyn Files>,
        path: &Path,
        node: NodeId,
        seed: &dyn Seed,
        now: Timestamp,
    ) -> Result<Self, DataDirError> {
        let failure = |source| DataDirError::Io { path: path.to_owned(), source };
        make_durable_directory(&*files, path).map_err(failure)?;
        let lock = lock(&*files, path)?;
        let meta = match read_meta(&*files, path)? {
            Some(meta) => meta,
            None => format_empty(&*files, path, node, seed)?,
        };
        if meta.node != node.to_string() {
            let (path, expected) = (path.to_owned(), node.to_string());
            return Err(DataDirError::OtherNode { path, found: meta.node, expected });
        }
        let Some(directory_id) = meta.directory_id else {
            return Err(DataDirError::Damaged { path: path.join(META), what: "directory.id" });
        };
        let marker = take_clean_marker(&*files, path).map_err(failure)?;
        let mut identity = read_identity(&*files, path, directory_id)?;
        let is_new = identity.boot == BootNumber::new(0);
        if is_new || !planted(Mutant::BootStays) {
            identity.boot = next_boot(identity.boot, now);
        }
        let (home, found) = Home::open(files, path)?;
        if found != Found::Statements && !is_new && !planted(Mutant::LostFlushLogTrusted) {
            // The flush log is lost: what the partitions hold is not known to be what it was (rule S3).
            identity.broker_epoch = None;
        }
        let was_clean = marker.is_some() && (marker == identity.broker_epoch || planted(Mutant::CleanMarkerStays));
        let mut dir = Self {
            home: Arc::new(home),
            _lock: lock,
            node,
            directory_id,
            known: Mutex::new(Known { cluster_id: meta.cluster_id, identity }),
            was_clean,
            partitions: Vec::new(),
            set_aside: Vec::new(),
        };
        dir.write_identity(&identity).map_err(failure)?;
        dir.remove_deleted(&dir.deleted().map_err(failure)?).map_err(failure)?;
        dir.find_partitions().map_err(failure)?;
        Ok(dir)
    }

    /// Where its logs live.
    #[must_use]
    pub fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// Its flush log, for the thread that flushes.
    #[must_use]
    pub fn flush_log(&self) -> &FlushLog {
        self.home.flush_log()
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.home.root
    }

    /// Its identity, minted when it was formatted.
    #[must_use]
    pub fn directory_id(&self) -> DirectoryId {
        self.directory_id
    }

    /// The cluster it belongs to, once that is known.
    #[must_use]
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.known().cluster_id
    }

    /// Binds the directory to a cluster, durably.
    ///
    /// # Errors
    /// What the system said.
    pub fn set_cluster_id(&self, cluster: ClusterId) -> io::Result<()> {
        let mut known = self.known();
        let meta =
            Meta { node: self.node.to_string(), directory_id: Some(self.directory_id), cluster_id: Some(cluster) };
        write_meta(&*self.home.files, &self.home.root, &meta)?;
        known.cluster_id = Some(cluster);
        Ok(())
    }

    /// Which start this is; higher than every earlier one (rule S15).
    #[must_use]
    pub fn boot(&self) -> BootNumber {
        self.known().identity.boot
    }

    /// The broker epoch of the last unfenced registration with this directory; `None` when there was none, or when the
    /// data cannot vouch for it (rules R12, S3).
    #[must_use]
    pub fn previous_broker_epoch(&self) -> Option<BrokerEpoch> {
        self.known().identity.broker_epoch
    }

    /// Notes the broker epoch of a registration that is unfenced now, durably.
    ///
    /// # Errors
    /// What the system said.
    pub fn set_broker_epoch(&self, epoch: BrokerEpoch) -> io::Result<()> {
        let mut known = self.known();
        known.identity.broker_epoch = Some(epoch);
        self.write_identity(&known.identity)
    }

    /// Whether the last stop was an orderly one of the last registered life.
    #[must_use]
    pub fn was_clean(&self) -> bool {
        self.was_clean
    }

    /// Marks an orderly stop; the last act, after every log has come to rest.
    ///
    /// # Errors
    /// What the system said.
    pub fn mark_clean(&self) -> io::Result<()> {
        let epoch = self.previous_broker_epoch().map_or(-1, BrokerEpoch::get);
        let text = format!("{{\"version\":0,\"brokerEpoch\":{epoch}}}");
        replace(&*self.home.files, &self.home.root.join(CLEAN), text.as_bytes())
    }

    /// The partitions whose directories were found at open.
    #[must_use]
    pub fn partitions(&self) -> &[FoundPartition] {
        &self.partitions
    }

    /// The directories that were set aside at open, as they could not be read; by their former names.
    #[must_use]
    pub fn set_aside(&self) -> &[String] {
        &self.set_aside
    }

    /// What is known to be on the disk of a partition.
    #[must_use]
    pub fn attested(&self, partition: PartitionId) -> Option<Attested> {
        self.flush_log().attested(partition)
    }

    /// Forgets what was attested of a partition that is not here any more and need not be.
    pub fn forget(&self, partition: PartitionId) {
        self.flush_log().forget(partition);
    }

    /// Deletes a partition whose log could not be opened, or was given up; see [`super::Log::delete`].
    ///
    /// # Errors
    /// What the system said.
    pub fn delete(&self, name: &TopicName, partition: PartitionId) -> io::Result<()> {
        self.flush_log().forget(partition);
        let directory = self.home.root.join(format!("{name}-{}", partition.index));
        give_up_directory(&self.home, &directory, partition.topic)
    }

    /// The directories of deleted partitions, by name. None of them is used again.
    ///
    /// # Errors
    /// What the system said.
    pub fn deleted(&self) -> io::Result<BTreeSet<String>> {
        let entries = self.home.files.list(&self.home.root)?;
        Ok(entries.into_iter().filter(|e| e.is_directory && e.name.ends_with(DELETE)).map(|e| e.name).collect())
    }

    /// Removes directories that [`DataDir::deleted`] has named, some time after it did.
    ///
    /// # Errors
    /// What the system said.
    pub fn remove_deleted<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> io::Result<()> {
        names.into_iter().try_for_each(|name| self.home.files.remove_dir_all(&self.home.root.join(name)))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_identity(&self, identity: &Identity) -> io::Result<()> {
        let mut content = identity.directory_id.get().to_vec();
        content.extend_from_slice(&identity.boot.get().to_be_bytes());
        content.extend_from_slice(&identity.broker_epoch.map_or(-1, BrokerEpoch::get).to_be_bytes());
        write_small(&*self.home.files, &self.home.root.join(IDENTITY), IDENTITY_KIND, &content)
    }

    fn find_partitions(&mut self) -> io::Result<()> {
        for entry in self.home.files.list(&self.home.root)? {
            if !entry.is_directory || entry.name == Self::METADATA_DIRECTORY {
                continue;
            }
            let Some((name, index)) = parse_directory(&entry.name) else { continue };
            let directory = self.home.root.join(&entry.name);
            match read_partition_metadata(&*self.home.files, &directory)? {
                Some(topic) => {
                    self.partitions.push(FoundPartition { name, id: PartitionId { topic, index }, directory });
                }
                // A crash before its first flush: it never held anything.
                None if is_hollow(&*self.home.files, &directory)? => self.home.files.remove_dir_all(&directory)?,
                None => {
                    mark(Mark::SetAside);
                    self.rename_aside(&directory, STRAY)?;
                    self.set_aside.push(entry.name);
                }
            }
        }
        Ok(())
    }

    fn rename_aside(&self, directory: &Path, suffix: &str) -> io::Result<()> {
        rename_aside(&self.home, directory, suffix)
    }
}

/// Renames a partition's directory to one with this suffix, as Kafka does: `name.<32 digits>-suffix`.
pub(super) fn rename_aside(home: &Home, directory: &Path, suffix: &str) -> io::Result<()> {
    let name = directory.file_name().and_then(|name| name.to_str()).expect("a partition's directory has a name");
    for number in 0_u128.. {
        let tail = format!(".{number:032x}{suffix}");
        let kept = name.len().min(NAME_MAX - tail.len());
        let to = home.root.join(format!("{}{tail}", &name[..kept]));
        if !home.files.exists(&to)? {
            return home.files.rename(directory, &to);
        }
    }
    unreachable!("some number of 128 bits is free")
}

/// Renames the directory of a partition, unless a later topic of the same name has it by now.
fn give_up_directory(home: &Home, directory: &Path, topic: TopicId) -> io::Result<()> {
    let _names = home.names.lock().unwrap_or_else(PoisonError::into_inner);
    let owner = read_partition_metadata(&*home.files, directory)?;
    let is_owner = owner.map_or(directory == home.root, |owner| owner == topic || planted(Mutant::NewerTopicDeleted));
    if is_owner { rename_aside(home, directory, DELETE) } else { Ok(()) }
}

impl super::Log {
    /// Deletes the log: its directory is renamed now and removed by [`DataDir::remove_deleted`]. Not synced: if the
    /// rename is lost in a crash, whoever wanted it gone will say so again.
    ///
    /// # Errors
    /// The disk refused.
    pub fn delete(self) -> Result<(), super::LogError> {
        self.home.flush_log.forget(self.id);
        self.home.handles.forget_log(self.number);
        if !self.has_directory {
            return Ok(());
        }
        give_up_directory(&self.home, &self.directory, self.id.topic).map_err(|e| Self::failure(&self.directory, e))
    }

    /// Renames a directory that an earlier topic of the same name left: it was deleted, else this one would not be.
    pub(super) fn claim_directory(&mut self) -> io::Result<()> {
        let _names = self.home.names.lock().unwrap_or_else(PoisonError::into_inner);
        let owner =
            if self.has_directory { read_partition_metadata(&*self.home.files, &self.directory)? } else { None };
        if owner.is_some_and(|topic| topic != self.id.topic) && !planted(Mutant::OldDirectoryReused) {
            mark(Mark::RecreatedTopic);
            rename_aside(&self.home, &self.directory, DELETE)?;
            self.has_directory = false;
        }
        Ok(())
    }
}

/// The text of `partition.metadata`.
pub(super) fn partition_metadata(topic: TopicId) -> String {
    format!("version: 0\ntopic_id: {topic}\n")
}

fn read_partition_metadata(files: &dyn Files, directory: &Path) -> io::Result<Option<TopicId>> {
    let bytes = read_whole(files, &directory.join("partition.metadata"))?.unwrap_or_default();
    let Ok(text) = String::from_utf8(bytes) else { return Ok(None) };
    let mut lines = text.lines();
    let version = lines.next().and_then(|line| line.strip_prefix("version:")).map(str::trim);
    let topic = lines.next().and_then(|line| line.strip_prefix("topic_id:")).map(str::trim);
    Ok(if version == Some("0") { topic.and_then(|topic| topic.parse().ok()) } else { None })
}

/// Whether no segment of the directory holds a byte.
fn is_hollow(files: &dyn Files, directory: &Path) -> io::Result<bool> {
    for entry in files.list(directory)? {
        if let Some((_, Suffix::Log)) = Suffix::parse(&entry.name)
            && files.open(&directory.join(&entry.name), crate::env::OpenMode::Read)?.len()? > 0
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn parse_directory(name: &str) -> Option<(TopicName, PartitionIndex)> {
    let (topic, index) = name.rsplit_once('-')?;
    let number: i32 = index.parse().ok()?;
    let is_plain = number >= 0 && index == number.to_string();
    Some((TopicName::new(topic).ok()?, PartitionIndex::new(number))).filter(|_| is_plain)
}

fn lock(files: &dyn Files, path: &Path) -> Result<Box<dyn FileLock>, DataDirError> {
    files.lock(&path.join(LOCK)).map_err(|source| {
        if source.kind() == io::ErrorKind::WouldBlock {
            return DataDirError::Locked { path: path.to_owned() };
        }
        DataDirError::Io { path: path.join(LOCK), source }
    })
}

fn format_empty(files: &dyn Files, path: &Path, node: NodeId, seed: &dyn Seed) -> Result<Meta, DataDirError> {
    let failure = |source| DataDirError::Io { path: path.to_owned(), source };
    let entries = files.list(path).map_err(failure)?;
    // `lost+found` stands in the root of a fresh disk; a format that was cut short left its new file.
    let ours = |name: &str| name == LOCK || name == "lost+found" || name == "meta.properties.tmp";
    if entries.iter().any(|entry| !ours(&entry.name)) {
        return Err(DataDirError::Unformatted { path: path.to_owned() });
    }
    let directory_id = Some(DirectoryId::new(seed.uuid()));
    let meta = Meta { node: node.to_string(), directory_id, cluster_id: None };
    write_meta(files, path, &meta).map_err(failure)?;
    Ok(meta)
}

fn read_meta(files: &dyn Files, path: &Path) -> Result<Option<Meta>, DataDirError> {
    let path = path.join(META);
    let bytes = read_whole(files, &path).map_err(|source| DataDirError::Io { path: path.clone(), source })?;
    let Some(bytes) = bytes else { return Ok(None) };
    let damaged = |what| DataDirError::Damaged { path: path.clone(), what };
    let text = String::from_utf8(bytes).map_err(|_| damaged("text"))?;
    let value = |key: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.split_once('=')).find(|(k, _)| k.trim() == key).map(|(_, v)| v.trim().to_owned())
    };
    let node = value("node.id").ok_or_else(|| damaged("node.id"))?;
    let directory_id = value("directory.id").and_then(|id| id.parse().ok());
    let cluster_id = match value("cluster.id") {
        Some(id) => Some(id.parse().map_err(|_| damaged("cluster.id"))?),
        None => None,
    };
    Ok(Some(Meta { node, directory_id, cluster_id }))
}

fn write_meta(files: &dyn Files, path: &Path, meta: &Meta) -> io::Result<()> {
    let mut text = format!("version=1\nnode.id={}\n", meta.node);
    if let Some(id) = meta.directory_id {
        text.push_str(&format!("directory.id={id}\n"));
    }
    if let Some(id) = meta.cluster_id {
        text.push_str(&format!("cluster.id={id}\n"));
    }
    replace(files, &path.join(META), text.as_bytes())
}

/// Reads the clean marker and removes it, durably: a crash from here on must not look clean (KAFKA-18635).
fn take_clean_marker(files: &dyn Files, path: &Path) -> io::Result<Option<BrokerEpoch>> {
    let marker = path.join(CLEAN);
    let Some(bytes) = read_whole(files, &marker)? else { return Ok(None) };
    if !planted(Mutant::CleanMarkerStays) {
        files.remove_file(&marker)?;
    }
    files.sync_dir(path)?;
    let json: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    let epoch = json.as_ref().and_then(|json| json.get("brokerEpoch")).and_then(serde_json::Value::as_i64);
    Ok(epoch.filter(|epoch| *epoch >= 0).map(BrokerEpoch::new))
}

/// The number of a start: its moment in milliseconds since 1970, or one more than that of the last start where the clock
/// does not rise. By the clock, so that a directory that was put back from an older copy has a number that no start in
/// between had: it would pass for the same start (rule S15).
fn next_boot(last: BootNumber, now: Timestamp) -> BootNumber {
    let clock = u64::try_from(now.get()).unwrap_or(0);
    BootNumber::new(clock.max(last.get() + 1))
}

fn read_identity(files: &dyn Files, path: &Path, directory_id: DirectoryId) -> Result<Identity, DataDirError> {
    let path = path.join(IDENTITY);
    let new = Identity { directory_id, boot: BootNumber::new(0), broker_epoch: None };
    match read_small(files, &path, IDENTITY_KIND).map_err(|source| DataDirError::Io { path: path.clone(), source })? {
        SmallFile::Missing => Ok(new),
        SmallFile::Whole(content) => {
            let mut cursor = Cursor::new(&content);
            let fields = (|| Some((DirectoryId::new(cursor.take()?), cursor.u64()?, cursor.i64()?)))();
            let Some((written_by, boot, epoch)) = fields else {
                return Err(DataDirError::Damaged { path, what: "the node's identity" });
            };
            // Copied from another directory: its registrations are not this one's.
            let broker_epoch = (written_by == directory_id && epoch >= 0).then_some(BrokerEpoch::new(epoch));
            Ok(Identity { directory_id, boot: BootNumber::new(boot), broker_epoch })
        }
        SmallFile::Damaged => Err(DataDirError::Damaged { path, what: "the node's identity" }),
    }
}

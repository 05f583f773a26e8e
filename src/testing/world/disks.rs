//! Faults of disks: what fails for a while, and what is destroyed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::World;
use super::disturb::{Undo, index};
use super::fault::{Fault, Which};
use super::power::End;
use super::process::{DATA, mount};
use crate::env::{Files as _, OpenMode};
use crate::model::{BrokerEpoch, NodeId};
use crate::records::{Header, split};
use crate::testing::{Chance, SimulatedFiles};

/// What a drive writes at once.
const SECTOR: u64 = 512;
/// What is left of a disk that is full: enough for a few small files.
const ROOM_LEFT: u64 = 2 << 10;

/// A copy of a node's disk, and the life that it is of.
#[derive(Debug)]
pub(super) struct KeptImage {
    files: SimulatedFiles,
    epoch: Option<BrokerEpoch>,
}

impl World {
    #[expect(clippy::wildcard_enum_match_arm, reason = "called for those of a disk only")]
    pub(super) fn disturb_disk(&mut self, fault: Fault) -> Vec<Undo> {
        match fault {
            Fault::FailSyncs(which, span) => self.ail(which, span, |files| files.fail_syncs_after(0)),
            Fault::FailWrites(which, span) => self.ail(which, span, |files| files.fail_writes_after(0)),
            Fault::FailReads(which, error, span) => {
                let node = self.which(which);
                if self.observer.sick.is_some_and(|sick| sick != node) {
                    return Vec::new();
                }
                self.observer.unread.insert(node);
                self.ail(Which::Node(index(node)), span, |files| files.fail_reads(error))
            }
            Fault::FlipSegment(which, number) => {
                if let Some(node) = self.may_damage(which) {
                    self.flip(node, number, ".log");
                }
                Vec::new()
            }
            Fault::FlipDerived(which, number) => {
                let node = self.which(which);
                self.down(Which::Node(index(node)), End::Killed, None);
                let kind = *Chance::new(number).pick(&[".index", ".timeindex", ".snapshot", "leader-epoch-checkpoint"]);
                self.flip(node, number, kind);
                Vec::new()
            }
            Fault::Wipe(which) => {
                let node = self.may_destroy(which);
                self.destroy(node, |world, node| {
                    let files = SimulatedFiles::default();
                    mount(&files);
                    world.replace_disk(node, files);
                    world.machine(node).applied = crate::model::LogIndex::new(0);
                })
            }
            Fault::FillDisk(which, span) => self.ail(which, span, |files| {
                files.set_capacity(Some(files.used_bytes() + ROOM_LEFT));
            }),
            Fault::Damage(which, number) => {
                let node = self.may_damage(which);
                self.destroy(node, |world, node| world.damage(node, number))
            }
            Fault::Forge(which, number) => {
                let node = self.may_damage(which);
                self.destroy(node, |world, node| world.forge(node, number))
            }
            Fault::FlipTail(which, number) => {
                if let Some(node) = self.may_damage(which) {
                    self.flip_tail(node, number);
                }
                Vec::new()
            }
            Fault::KeepImage(which) => {
                let node = self.which(which);
                let machine = self.machine(node);
                let epoch = machine.process.as_ref().and_then(|process| process.epoch);
                machine.kept = Some(KeptImage { files: machine.files.durable(), epoch });
                Vec::new()
            }
            Fault::OldImage(which) => {
                self.play_back(which);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// While the node is down, something is done to its disk, if it may be.
    fn destroy(&mut self, node: Option<NodeId>, how: impl FnOnce(&mut Self, NodeId)) -> Vec<Undo> {
        if let Some(node) = node {
            self.down(Which::Node(index(node)), End::Killed, None);
            how(self, node);
        }
        Vec::new()
    }

    /// An operator plays an old image of a disk back. One of the very life that served last is no other than the disk
    /// itself after a crash that lost what was synced, and nothing could tell: that is not done.
    fn play_back(&mut self, which: Which) {
        let node = self.which(which);
        let served =
            self.quorum.image().broker(node).and_then(|broker| broker.last_active.as_ref().map(|l| l.broker_epoch));
        let Some(kept) = &self.machines[&node].kept else { return };
        let is_older = kept.epoch.is_some() && kept.epoch < served;
        // Where the clock was set back as well, the start cannot be told from an earlier one (ADR 14).
        let clock = super::client::wall(self.now).get() + self.machines[&node].skew_ms;
        let image = self.quorum.image();
        let last_boot = image.broker(node).map_or(0, |broker| broker.boot.get());
        let is_late = u64::try_from(clock).is_ok_and(|clock| clock > last_boot);
        if !is_older || !is_late || self.may_destroy(Which::Node(index(node))).is_none() {
            return;
        }
        self.down(Which::Node(index(node)), End::Killed, None);
        let machine = self.machine(node);
        let kept = machine.kept.take().expect("just seen");
        machine.files = kept.files;
        machine.applied = crate::model::LogIndex::new(0);
        self.record.say(self.now, &format!("the disk of {node} is an old image"));
    }

    fn ail(&mut self, which: Which, span: Duration, how: impl FnOnce(&SimulatedFiles)) -> Vec<Undo> {
        let node = self.which(which);
        let until = self.now.plus(span + Duration::from_secs(5));
        let machine = self.machine(node);
        how(&machine.files);
        machine.ill_until = until;
        vec![Undo::Disk(node)]
    }

    /// The node, if records may be destroyed there: one of a run.
    pub(super) fn may_destroy(&mut self, which: Which) -> Option<NodeId> {
        let node = self.which(which);
        if self.observer.unread.iter().any(|unread| *unread != node) {
            return None;
        }
        if self.is_last_copy(node) {
            return None;
        }
        let sick = *self.observer.sick.get_or_insert(node);
        (sick == node).then_some(node)
    }

    /// The node, if what stands on its disk may be damaged. All of that is attested first: what was flushed a moment ago,
    /// and is missing after a crash, no start can tell from what never was.
    fn may_damage(&mut self, which: Which) -> Option<NodeId> {
        let node = self.which(which);
        let attested = self.running(node)?.directory.flush_log().attest();
        if let Err(cause) = attested {
            self.exited(node, format!("the flush log failed: {cause}"));
            return None;
        }
        self.may_destroy(Which::Node(index(node)))
    }

    /// Whether nobody but this node may lead some partition: all others have fallen behind.
    pub(super) fn is_last_copy(&self, node: NodeId) -> bool {
        let image = self.quorum.image();
        let mut partitions = image.topics().partitions();
        partitions.any(|(_, of)| {
            let mut claims = of.isr.iter().chain(&of.elr).peekable();
            claims.peek().is_some() && claims.all(|member| *member == node)
        })
    }

    /// Flips bits of a file of a partition.
    fn flip(&mut self, node: NodeId, number: u64, suffix: &str) {
        let mut chance = Chance::new(number);
        let files = self.machines[&node].files.clone();
        let found: Vec<PathBuf> =
            files_of(&files).into_iter().filter(|p| p.to_string_lossy().ends_with(suffix)).collect();
        if found.is_empty() {
            return;
        }
        let path = chance.pick(&found).clone();
        let size = files.size_of(&path);
        if size > 0 {
            let bits = 1 << chance.below(8);
            files.flip_bits(&path, chance.below(size), bits);
            self.record.say(self.now, &format!("flipped bits of {} of {node}", path.display()));
        }
    }

    fn flip_tail(&mut self, node: NodeId, number: u64) {
        let mut chance = Chance::new(number);
        let files = self.machines[&node].files.clone();
        let logs = last_segments(&files);
        if logs.is_empty() {
            return;
        }
        let path = chance.pick(&logs).clone();
        let size = files.size_of(&path);
        if size > 0 {
            files.flip_bits(&path, size - 1 - chance.below(size.min(300)), 1 << chance.below(8));
            self.record.say(self.now, &format!("flipped bits at the end of {} of {node}", path.display()));
        }
    }

    /// Another value stands in the last batch of a log, and its checksum is right. Not of one that is compacted: its leader
    /// may have written that batch anew by then, or taken it out, and nothing else tells.
    fn forge(&mut self, node: NodeId, number: u64) {
        if self.knobs.compaction.is_some() {
            return;
        }
        let image = self.quorum.image();
        let follows = |name: &str| {
            let led = image.topics().led_by(node);
            let names = led.filter_map(|(id, _)| Some(format!("{}-{}", image.topic(id.topic)?.name, id.index)));
            !names.into_iter().any(|led| led == name)
        };
        let files = self.machines[&node].files.clone();
        let mut logs = last_segments(&files);
        logs.retain(|path| {
            let directory = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
            directory.is_some_and(follows)
        });
        if logs.is_empty() {
            return;
        }
        let path = Chance::new(number).pick(&logs).clone();
        let Some((at, forged)) = forged(&files, &path) else { return };
        let mut bytes = forged.into_iter();
        let range = at..at + u64::try_from(bytes.len()).expect("a small batch");
        files.garble(&path, range, &mut || bytes.next().unwrap_or_default());
        self.record.say(self.now, &format!("forged the last batch of {} of {node}", path.display()));
    }

    /// Cuts, garbles or removes something of a node's partitions, all of which a start finds out.
    fn damage(&mut self, node: NodeId, number: u64) {
        let mut chance = Chance::new(number);
        let files = self.machines[&node].files.clone();
        let is_wanted = |path: &PathBuf| path.extension().is_some_and(|end| end == "log");
        let mut segments: Vec<PathBuf> = files_of(&files).into_iter().filter(is_wanted).collect();
        // Of the last one nothing that is missing at its end can be told from what was never attested.
        let all = segments.clone();
        segments.retain(|path| all.iter().any(|other| other.parent() == path.parent() && other > path));
        if segments.is_empty() {
            return;
        }
        let path = chance.pick(&segments).clone();
        let size = u64::try_from(files.size_of(&path)).expect("a small file");
        let flush_log = Path::new(DATA).join("flush-log");
        let is_first = !all.iter().any(|other| other.parent() == path.parent() && *other < path);
        let passes_for_gap = ends_in_gaps(&files, &path, &all);
        // Without its flush log a start takes the first segment for the begin of the log (docs/DATA.md): in one run either
        // of them goes.
        let what = match if self.plan.seed.is_multiple_of(4) { 5 } else { chance.below(5) } {
            0 if size > 0 => {
                let len = chance.number() % size;
                if passes_for_gap && is_boundary(&files, &path, len) {
                    return;
                }
                files.truncate_at_rest(&path, len);
                format!("cut {}", path.display())
            }
            1 if size > 0 => {
                let begin = chance.number() % size;
                files.garble(&path, begin..size.min(begin + 512), &mut || 0xA5);
                format!("garbled {}", path.display())
            }
            2 if is_first || !passes_for_gap => {
                files.delete_at_rest(&path);
                format!("removed {}", path.display())
            }
            3 => {
                let directory = path.parent().expect("it has a directory").to_owned();
                let removed = files.remove_dir_all(&directory);
                format!("removed {}: {removed:?}", directory.display())
            }
            4 if size > SECTOR => {
                // Of another partition's file, a batch that looks alike could be told by nothing in Kafka's format.
                let (from, to) = (chance.number() % size / SECTOR, chance.number() % size / SECTOR);
                files.copy_at_rest(&path, from * SECTOR..(from + 1) * SECTOR, to * SECTOR);
                format!("sector {from} of {} stands at {to}, too", path.display())
            }
            5 if files.exists(&flush_log).unwrap_or(false) => {
                files.delete_at_rest(&flush_log);
                "removed the flush log".to_owned()
            }
            _ => return,
        };
        self.record.say(self.now, &format!("{what} of {node}"));
    }
}

/// Whether the end of a segment that is not the last lies where a log may have gaps: whole batches that are missing there
/// pass for what compaction took.
fn ends_in_gaps(files: &SimulatedFiles, path: &Path, segments: &[PathBuf]) -> bool {
    let marker = read(files, &path.with_file_name("compacted")).unwrap_or_default();
    let thinned_end = marker.get(12..20).and_then(|bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?)));
    let base = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<i64>().ok();
    let behind = segments.iter().filter(|other| other.parent() == path.parent() && other.as_path() > path);
    let end = behind.filter_map(base).min();
    end.zip(thinned_end).is_some_and(|(end, thinned_end)| end <= thinned_end)
}

/// Whether a batch ends, or the file begins, at a place in a segment.
fn is_boundary(files: &SimulatedFiles, path: &Path, at: u64) -> bool {
    let bytes = read(files, path).unwrap_or_default();
    let front = bytes.get(..usize::try_from(at).expect("a small file")).unwrap_or_default();
    split(front.to_vec().into()).all(|batch| batch.is_ok())
}

fn read(files: &SimulatedFiles, path: &Path) -> Option<Vec<u8>> {
    let file = files.open(path, OpenMode::Read).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().ok()?).ok()?];
    file.read_at(0, &mut bytes).ok()?;
    Some(bytes)
}

/// The last segments of all logs.
fn last_segments(files: &SimulatedFiles) -> Vec<PathBuf> {
    let mut logs = files_of(files);
    logs.retain(|path| path.extension().is_some_and(|end| end == "log"));
    let all = logs.clone();
    logs.retain(|path| !all.iter().any(|other| other.parent() == path.parent() && other > path));
    logs
}

/// The last batch of a segment with another value in it, and where it stands.
fn forged(files: &SimulatedFiles, path: &Path) -> Option<(u64, Vec<u8>)> {
    let bytes = read(files, path)?;
    let batches: Vec<_> = split(bytes.into()).map_while(Result::ok).collect();
    let (last, before) = batches.split_last()?;
    let at: usize = before.iter().map(|batch| batch.bytes().len()).sum();
    let mut forged = last.bytes().to_vec();
    // The last byte counts the headers of the last record; the one before it is of its value.
    let place = forged.len().checked_sub(2)?;
    forged[place] ^= 1;
    let crc = crc32c::crc32c(&forged[Header::CRC_START..]);
    forged[17..21].copy_from_slice(&crc.to_be_bytes());
    Some((u64::try_from(at).ok()?, forged))
}

/// Every file of every partition, in order.
pub(super) fn files_of(files: &SimulatedFiles) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let root = Path::new(DATA);
    for entry in files.list(root).unwrap_or_default().into_iter().filter(|entry| entry.is_directory) {
        let directory = root.join(&entry.name);
        let inside = files.list(&directory).unwrap_or_default();
        all.extend(inside.into_iter().filter(|e| !e.is_directory).map(|e| directory.join(e.name)));
    }
    all
}

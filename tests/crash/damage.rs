//! What becomes of a directory that was damaged while its node was down: what it holds, or a report, never a silent
//! loss. `docs/DATA.md` has the table of what may be lost, and what it costs.

use std::path::{Path, PathBuf};

use ottla::testing::{FileKind, SimulatedFiles};

use crate::guard::Broken;
use crate::model::{Phase, Seen};
use crate::run::{Recorded, record};
use crate::start::{Started, id_of, open_directory, start};
use crate::states::catch;
use crate::step::{Random, Step};
use crate::traces;

/// What somebody or something does to a file.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Flip(usize, u8),
    Cut(u64),
    /// Garbage over so many bytes from here.
    Garble(u64, u64),
    Delete,
}

/// What is asked of a start on a directory with a file of some kind damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// That it finds everything.
    Whole,
    /// That it refuses, or says that something is missing, or vouches for nothing, or finds everything.
    ReportedOrWhole,
    /// That it finds everything, whether or not it vouches for it.
    WholeOrUntrusted,
    /// That it finds everything and vouches for nothing.
    WholeAndUntrusted,
}

fn harms(len: u64) -> Vec<Harm> {
    let mut harms = vec![Harm::Delete];
    harms.extend([0, len / 2, len.saturating_sub(1)].into_iter().filter(|to| *to < len).map(Harm::Cut));
    let bytes = (0..len).filter(|at| *at < 24 || at % 61 == 0 || at + 8 > len);
    let bit = |at: u64| 1 << (at % 8);
    harms.extend(bytes.map(|at| Harm::Flip(usize::try_from(at).unwrap(), bit(at))));
    harms.extend((0..len.div_ceil(512)).map(|sector| Harm::Garble(sector * 512, 512)));
    harms
}

fn apply(harm: Harm, files: &SimulatedFiles, path: &Path) {
    match harm {
        Harm::Flip(at, bits) => files.flip_bits(path, at, bits),
        Harm::Cut(to) => files.truncate_at_rest(path, to),
        Harm::Garble(from, count) => {
            let mut random = Random::new(from);
            files.garble(path, from..from + count, &mut || u8::try_from(random.below(256)).unwrap());
        }
        Harm::Delete => files.delete_at_rest(path),
    }
}

fn asked(path: &Path, harm: Harm) -> Asked {
    match (FileKind::of(path), harm) {
        // It has no sum: an offset that is another one is known at the next read, which finds batches of other epochs.
        (FileKind::Epochs, Harm::Flip(..)) => Asked::ReportedOrWhole,
        (FileKind::OffsetIndex | FileKind::TimeIndex | FileKind::ProducerSnapshot | FileKind::Epochs, _) => {
            Asked::Whole
        }
        (FileKind::FlushLog, Harm::Delete | Harm::Cut(0)) => Asked::WholeAndUntrusted,
        (FileKind::FlushLog, _) => Asked::WholeOrUntrusted,
        (FileKind::Segment | FileKind::Meta, _) => Asked::ReportedOrWhole,
        (FileKind::Directory | FileKind::Other, _) => Asked::Whole,
    }
}

/// Damages each file of what a trace leaves, in each way. Says how many starts it judged, or what is wrong.
pub(crate) fn judge(steps: &[Step], broken: Option<Broken>) -> Result<usize, String> {
    // All is attested: nothing that is damaged can be taken for torn. At first what is derived is behind, so that a
    // start has to look at the end of the log; then it is not, and the flush log is in one piece.
    let endings: [&[Step]; 2] = [&[Step::Attest], &[Step::Rest, Step::Kill, Step::Rest]];
    let counts = endings.into_iter().map(|ending| {
        let recorded = catch(|| record(&[steps, ending].concat(), broken))?;
        judge_end(&recorded, ending.len() > 1)
    });
    counts.sum()
}

fn judge_end(recorded: &Recorded, is_at_rest: bool) -> Result<usize, String> {
    let files = || {
        let point = recorded.points.last().expect("there is a last one");
        point.after(&vec![1; point.ways().len()])
    };
    let mut count = 0;
    for (path, len) in files().files_under(Path::new("/data")) {
        // Statements of several frames are lost one by one from the end, as by a crash.
        if !is_at_rest && FileKind::of(&path) == FileKind::FlushLog {
            continue;
        }
        for harm in harms(len) {
            let files = files();
            apply(harm, &files, &path);
            catch(|| judge_one(&files, recorded, &path, harm))
                .map_err(|e| format!("{harm:?} of {} bytes of {}: {e}", len, path.display()))?;
            count += 1;
        }
    }
    let files = files();
    let directory = PathBuf::from("/data/topic-0");
    if !files.files_under(&directory).is_empty() {
        files.delete_at_rest(&directory);
        catch(|| judge_gone(&files, recorded)).map_err(|e| format!("with its directory gone {e}"))?;
    }
    Ok(count + 1)
}

fn judge_one(files: &SimulatedFiles, recorded: &Recorded, path: &Path, harm: Harm) -> Result<(), String> {
    let (asked, is_segment) = (asked(path, harm), FileKind::of(path) == FileKind::Segment);
    let len = || files.files_under(path).first().map(|(_, len)| *len);
    let (_, phase) = recorded.phase(recorded.points.len() - 1);
    let before = len();
    let found = judge_start(start(files, phase.topic), phase, asked);
    // What was attested is never cut, whatever became of it: others may stand behind it.
    if is_segment && len() < before {
        return Err(format!("{before:?} bytes were cut to {:?}", len()));
    }
    found
}

fn judge_start(started: Result<Started, String>, phase: &Phase, asked: Asked) -> Result<(), String> {
    match started {
        Ok(started) if started.is_named() || !started.vouches() => match asked {
            Asked::Whole => Err("it is named, or its directory is not vouched for".into()),
            Asked::ReportedOrWhole => Ok(()),
            Asked::WholeOrUntrusted | Asked::WholeAndUntrusted => whole(&started, phase),
        },
        Ok(_) if asked == Asked::WholeAndUntrusted => Err("its directory is vouched for".into()),
        Ok(started) => match started.look() {
            Err(_) if asked == Asked::ReportedOrWhole => Ok(()),
            Err(error) => Err(error),
            Ok(_) => whole(&started, phase),
        },
        Err(_) if asked == Asked::ReportedOrWhole => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether everything is there, whatever the directory vouches for.
fn whole(started: &Started, phase: &Phase) -> Result<(), String> {
    phase.judge(&Seen { vouches: true, ..started.look()? })
}

/// The directory says, before a log is opened, that the partition is missing.
fn judge_gone(files: &SimulatedFiles, recorded: &Recorded) -> Result<(), String> {
    let (_, phase) = recorded.phase(recorded.points.len() - 1);
    let is_named = open_directory(files)?.missing().contains(&id_of(phase.topic));
    if is_named { Ok(()) } else { Err("it is not named".into()) }
}

#[test]
fn what_was_damaged_is_reported_or_makes_no_difference() {
    let mut starts = 0;
    let mut findings = Vec::new();
    for (name, steps) in traces::ALL {
        match judge(steps, None) {
            Ok(count) => starts += count,
            Err(finding) => findings.push(format!("{name}: {finding}")),
        }
    }
    println!("{starts} starts on damaged directories judged");
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

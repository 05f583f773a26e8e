//! Which old segments go, and how.
//!
//! Invariant: a segment's files are touched only after a durable statement that the log starts behind them, so that a
//! segment that is missing at a start is always a loss.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::{Instant, Now, Offset, Timestamp};
use crate::probe::{Mark, Mutant, mark, planted};

use super::attestation::Attested;
use super::compact::is_older;
use super::error::{LogError, ReadError};
use super::log::Log;
use super::segment::{Segment, Suffix};
use super::truncate::remove_if_there;

/// The end of a deleted file's name.
pub(super) const DELETED: &str = ".deleted";

/// A file that was renamed and is removed later: a reader that has its name may open it for so long.
#[derive(Debug)]
pub(super) struct Doomed {
    path: PathBuf,
    since: Instant,
}

/// What `retain` did.
#[derive(Debug, Default)]
pub struct Retained {
    /// How many segments were deleted.
    pub segments: usize,
    /// How many bytes they had.
    pub bytes: u64,
    /// How many producers were forgotten.
    pub producers: usize,
    /// Why the age of a segment could not be read, if it could not.
    pub unread: Option<ReadError>,
}

/// What the rules look at of a segment.
#[derive(Clone, Copy, Debug)]
struct Age {
    end: Offset,
    size: u64,
    /// Its age counts from here. If that is not known, it is not old.
    since: Option<Timestamp>,
}

impl Log {
    /// Lets the log start at `to`, at most its end. Whether that moved it. Reads see it at once; it is durable with the
    /// next flush; the segments below go with the next `retain`.
    pub fn advance_start(&mut self, to: Offset) -> bool {
        let to = to.min(self.end);
        if to <= self.start {
            return false;
        }
        self.start = to;
        self.unsynced.statement = true;
        true
    }

    /// Deletes what the rules let go of: below the log's start always, by size and time if the policy says so. Nothing
    /// at or above the high watermark goes. Also removes files whose delay has passed and forgets silent producers.
    ///
    /// # Errors
    /// The disk refused; what was not deleted is tried again next time.
    pub fn retain(&mut self, now: Now, high_watermark: Offset) -> Result<Retained, LogError> {
        self.check_writable()?;
        self.remove_doomed(now)?;
        let producers = self.producers.expire(now.timestamp, self.options.producer_expiration);
        let (ages, unread) = self.ages();
        let count = deletable(&ages, self.start, high_watermark, &self.rules(now));
        if count == 0 {
            return Ok(Retained { producers, unread, ..Retained::default() });
        }
        if count == self.segments.len() {
            self.roll(self.end)?;
        }
        self.advance_start(self.segments[count].base);
        let segments = self.delete_oldest(count, now)?;
        let bytes = ages[..segments].iter().map(|age| age.size).sum();
        Ok(Retained { segments, bytes, producers, unread })
    }

    /// Deletes the segments that lie wholly below the log's start, files and all, without delay. For the quorum's log,
    /// after `advance_start`.
    ///
    /// # Errors
    /// As `retain`.
    pub fn purge(&mut self, now: Now) -> Result<usize, LogError> {
        self.check_writable()?;
        let count = self.segments.windows(2).take_while(|pair| pair[1].base <= self.start).count();
        let gone = if count > 0 { self.delete_oldest(count, now)? } else { 0 };
        for doomed in self.doomed.drain(..) {
            remove_if_there(&*self.home.files, &doomed.path).map_err(|e| Self::failure(&doomed.path, e))?;
        }
        Ok(gone)
    }

    fn ages(&mut self) -> (Vec<Age>, Option<ReadError>) {
        let wants_time = self.options.cleanup.delete && self.options.retention_span.is_some();
        let mut unread = None;
        let mut ages = Vec::with_capacity(self.segments.len());
        for index in 0..self.segments.len() {
            let since = if wants_time { self.age_of(index, &mut unread) } else { None };
            ages.push(Age { end: self.segment_end(index), size: self.segments[index].size, since });
        }
        (ages, unread)
    }

    /// The largest timestamp of a segment; when its records have none or are damaged, when the file was last written.
    /// What cannot be read now is asked next time.
    fn age_of(&mut self, index: usize, unread: &mut Option<ReadError>) -> Option<Timestamp> {
        match self.largest_timestamp(index) {
            Ok(largest) if largest >= Timestamp::new(0) => return Some(largest),
            Ok(_) => {}
            Err(error) => {
                let is_damage = matches!(error, ReadError::Corrupt(_));
                *unread = Some(error);
                if !is_damage {
                    return None;
                }
            }
        }
        let path = self.path_of(self.segments[index].base, Suffix::Log);
        let modified = self.home.files.modified(&path);
        modified.map(Timestamp::new).map_err(|e| *unread = Some(Self::failure(&path, e).into())).ok()
    }

    fn rules(&self, now: Now) -> Rules {
        let deletes = self.options.cleanup.delete;
        Rules {
            now: now.timestamp,
            bytes: self.options.retention_bytes.filter(|_| deletes),
            span: self.options.retention_span.filter(|_| deletes),
        }
    }

    /// Renames the files of the oldest segments away, once the flush log durably says that the log starts behind them
    /// and what is derived from them (the producers) stands on the disk too. What does not go now goes next time.
    fn delete_oldest(&mut self, count: usize, now: Now) -> Result<usize, LogError> {
        let Some(attested) = self.home.flush_log.attested(self.id) else { return Ok(0) };
        let start = self.start.min(attested.end.offset).min(attested.derived.place.segment).max(attested.start);
        let is_gone = |pair: &&[Segment]| pair[1].base <= start.min(attested.derived.place.segment);
        let gone = self.segments[..=count].windows(2).take_while(is_gone).count();
        if gone == 0 {
            return Ok(0);
        }
        mark(Mark::SegmentDeleted);
        self.home.flush_log.note(self.id, Attested { start, ..attested });
        if !planted(Mutant::DeletedBeforeStated) {
            self.home.flush_log.attest()?;
        }
        // Not before: their file must not begin behind the start that a crash would bring back.
        if self.epochs.truncate_start(start) {
            self.derived.epochs_changed = true;
        }
        for segment in &self.segments[..gone] {
            for suffix in Suffix::ALL {
                let path = self.path_of(segment.base, suffix);
                self.home.handles.forget((self.number, segment.base, suffix));
                self.doomed.extend(self.doom(&path, now).map_err(|e| Self::failure(&path, e))?);
            }
        }
        self.segments.drain(..gone);
        self.structure += 1;
        self.unsynced.directory = true;
        Ok(gone)
    }

    fn doom(&self, path: &std::path::Path, now: Now) -> std::io::Result<Option<Doomed>> {
        let mut name = path.as_os_str().to_owned();
        name.push(DELETED);
        let to = PathBuf::from(name);
        match self.home.files.rename(path, &to) {
            Ok(()) => Ok(Some(Doomed { path: to, since: now.instant })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn remove_doomed(&mut self, now: Now) -> Result<(), LogError> {
        let delay = self.options.file_delete_delay;
        let due = self.doomed.iter().take_while(|doomed| now.instant.since(doomed.since) >= delay).count();
        for doomed in self.doomed.drain(..due) {
            remove_if_there(&*self.home.files, &doomed.path).map_err(|e| Self::failure(&doomed.path, e))?;
        }
        Ok(())
    }
}

/// The policy, as it counts now.
#[derive(Clone, Copy, Debug)]
struct Rules {
    now: Timestamp,
    bytes: Option<u64>,
    span: Option<Duration>,
}

/// How many segments go, oldest first: each of them for one reason at least, none that holds the high watermark. The
/// last may be among them; it is then replaced by an empty one.
fn deletable(ages: &[Age], start: Offset, high_watermark: Offset, rules: &Rules) -> usize {
    let mut left: u64 = ages.iter().map(|age| age.size).sum();
    let mut count = 0;
    for (i, age) in ages.iter().enumerate() {
        let is_last = i + 1 == ages.len();
        let is_below_start = !is_last && age.end <= start;
        let is_too_much = rules.bytes.is_some_and(|bytes| left.saturating_sub(age.size) >= bytes);
        let is_too_old = rules.span.zip(age.since).is_some_and(|(span, since)| is_older(since, rules.now, span));
        let is_committed = age.end <= high_watermark || planted(Mutant::RetentionIgnoresWatermark);
        let is_free = is_committed && (age.size > 0 || !is_last);
        if !is_below_start && !(is_free && (is_too_much || is_too_old)) {
            break;
        }
        left -= age.size;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ages(list: &[(i64, u64, i64)]) -> Vec<Age> {
        let age = |&(end, size, largest): &(i64, u64, i64)| Age {
            end: Offset::new(end),
            size,
            since: Some(Timestamp::new(largest)),
        };
        list.iter().map(age).collect()
    }

    fn check(list: &[(i64, u64, i64)], start: i64, watermark: i64, rules: Rules, expected: usize) {
        assert_eq!(deletable(&ages(list), Offset::new(start), Offset::new(watermark), &rules), expected);
    }

    const SEGMENTS: [(i64, u64, i64); 3] = [(10, 100, 1000), (20, 100, 2000), (30, 50, 3000)];
    const KEEP: Rules = Rules { now: Timestamp::new(10_000), bytes: None, span: None };

    #[test]
    fn segments_below_the_start_go_under_any_policy() {
        check(&SEGMENTS, 9, 0, KEEP, 0);
        check(&SEGMENTS, 10, 0, KEEP, 1);
        check(&SEGMENTS, 30, 30, KEEP, 2);
    }

    #[test]
    fn the_total_stays_at_the_limit_or_above() {
        let rules = |bytes| Rules { bytes: Some(bytes), ..KEEP };
        check(&SEGMENTS, 0, 30, rules(250), 0);
        check(&SEGMENTS, 0, 30, rules(151), 0);
        check(&SEGMENTS, 0, 30, rules(150), 1);
        check(&SEGMENTS, 0, 30, rules(0), 3);
        check(&SEGMENTS, 0, 19, rules(0), 1);
    }

    #[test]
    fn old_segments_go_up_to_the_first_that_is_not() {
        let rules = |span| Rules { span: Some(Duration::from_millis(span)), ..KEEP };
        check(&SEGMENTS, 0, 30, rules(9000), 0);
        check(&SEGMENTS, 0, 30, rules(8999), 1);
        check(&SEGMENTS, 0, 30, rules(6999), 3);
        check(&SEGMENTS, 0, 20, rules(6999), 2);
        let future = [(10, 100, 99_000), (20, 100, 1)];
        check(&future, 0, 20, rules(1), 0);
    }
}

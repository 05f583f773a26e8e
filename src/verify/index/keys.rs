//! What compaction may have taken from a partition, and from when on.
//!
//! Read by B12, and by whatever judges that something is missing. Invariant: a record may be missing only once a later
//! record of its key is there, or, for a tombstone, once it has stayed for as long as was promised; what is known to have
//! been committed is what was promised at an offset, what a reader was given, and what stands in a log in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Instant, Offset};
use crate::verify::history::{Class, KeyId, Send, ValueId};

/// A record that was committed.
#[derive(Clone, Copy)]
pub(crate) struct Known<'h> {
    /// Where.
    pub(crate) offset: Offset,
    /// What was sent.
    pub(crate) send: &'h Send,
    /// Its key.
    pub(crate) key: KeyId,
    /// From when on it may be missing, if ever.
    pub(crate) may_go_at: Option<Instant>,
}

/// What is known of a partition from elsewhere.
#[derive(Clone, Copy)]
pub(super) struct Circumstances {
    /// For how long a tombstone stays at least.
    pub(super) tombstones: Duration,
    /// Below it nobody can say what stood there: retention, or a deletion, has taken it.
    pub(super) removed: Offset,
    /// When the run ended.
    pub(super) ended_at: Instant,
}

/// A write that may be, or have been, anywhere, with its key and the moment from which on it may be missing.
struct Stray<'h> {
    send: &'h Send,
    key: KeyId,
    may_go_at: Option<Instant>,
}

/// The records of a compacted partition.
pub(crate) struct Keys<'h> {
    /// Those whose offsets are known, by offset: one for each.
    pub(crate) records: Vec<Known<'h>>,
    /// Where the last of each key stands among them.
    lasts: BTreeMap<KeyId, usize>,
    /// From when on a record may be missing that may be, or have been, anywhere: the first of them.
    stray_gone_at: Option<Instant>,
    /// From when on each value may be missing, of those that ever may.
    moments: BTreeMap<ValueId, Instant>,
    /// Whether what was committed may have been lost, so that nobody knows what replaced what.
    is_unknown: bool,
}

impl<'h> Keys<'h> {
    /// Of what was committed, promises first, and of what may stand elsewhere.
    pub(super) fn new(
        mut committed: Vec<(Offset, &'h Send)>,
        strays: impl Iterator<Item = &'h Send>,
        circumstances: Circumstances,
    ) -> Self {
        // What contradicts itself at one offset is A1's: here the first counts.
        committed.sort_by_key(|(offset, _)| *offset);
        committed.dedup_by_key(|(offset, _)| *offset);
        let known =
            |(offset, send): (Offset, &'h Send)| Some(Known { offset, send, key: send.keyed?.key, may_go_at: None });
        let records = committed.into_iter().filter_map(known).collect();
        let stray = |send: &'h Send| Some(Stray { send, key: send.keyed?.key, may_go_at: None });
        let strays = strays.filter(|send| send.class != Class::Fail).filter_map(stray).collect();
        let mut keys = Self { records, is_unknown: false, ..Self::unknown() };
        keys.find_moments(strays, circumstances);
        keys
    }

    /// Of a partition that may have lost what was committed.
    pub(super) const fn unknown() -> Self {
        Self {
            records: Vec::new(),
            lasts: BTreeMap::new(),
            stray_gone_at: None,
            moments: BTreeMap::new(),
            is_unknown: true,
        }
    }

    /// The last record of each key.
    pub(crate) fn lasts(&self) -> impl Iterator<Item = &Known<'h>> {
        self.lasts.values().map(|at| &self.records[*at])
    }

    /// The records in a range of offsets.
    pub(crate) fn range(&self, start: Offset, end: Offset) -> &[Known<'h>] {
        let below = |offset: Offset| self.records.partition_point(|known| known.offset < offset);
        self.records.get(below(start)..below(end)).unwrap_or_default()
    }

    /// The record at an offset.
    pub(crate) fn at(&self, offset: Offset) -> Option<&Known<'h>> {
        self.range(offset, offset.plus(1)).first()
    }

    /// Whether what stood at an offset may be missing at a moment. Of an offset of which nothing is known, whatever might
    /// have stood there counts.
    pub(crate) fn may_lack(&self, offset: Offset, moment: Instant) -> bool {
        let is_over = |at: Option<Instant>| at.is_some_and(|at| at <= moment);
        match self.at(offset) {
            Some(known) => is_over(known.may_go_at),
            None => self.is_unknown || is_over(self.stray_gone_at),
        }
    }

    /// Whether a write whose offset was not told may be missing at a moment.
    pub(crate) fn may_lack_value(&self, value: ValueId, moment: Instant) -> bool {
        self.is_unknown || self.moments.get(&value).is_some_and(|at| *at <= moment)
    }

    /// From when on each record may be missing: from the back, as what replaces it stands behind it.
    fn find_moments(&mut self, mut strays: Vec<Stray<'h>>, circumstances: Circumstances) {
        let Circumstances { tombstones, removed, ended_at } = circumstances;
        let mut keys: BTreeMap<KeyId, OfKey> = BTreeMap::new();
        for stray in &strays {
            let key = keys.entry(stray.key).or_default();
            key.strays += 1;
            key.strays_from = earliest([key.strays_from, Some(stray.send.invoked)]);
            key.is_deleted |= gone_by_itself(stray.send, tombstones).is_some_and(|at| at <= ended_at);
        }
        for (at, known) in self.records.iter_mut().enumerate().rev() {
            self.lasts.entry(known.key).or_insert(at);
            let key = keys.entry(known.key).or_default();
            let by_stray = key.strays_from.filter(|_| key.is_deleted || known.offset < removed);
            known.may_go_at = earliest([key.replaced_from, by_stray, gone_by_itself(known.send, tombstones)]);
            key.replaced_from = earliest([key.replaced_from, key.strays_from, Some(known.send.invoked)]);
            key.placed_by = key.placed_by.max(placed_by(known.send));
        }
        for stray in &mut strays {
            let (key, invoked) = (&keys[&stray.key], stray.send.invoked);
            let by_known = key.replaced_from.filter(|_| key.placed_by >= invoked);
            let is_hidden = key.strays > 1 && (key.is_deleted || removed > Offset::ZERO);
            let by_stray = key.strays_from.filter(|_| is_hidden);
            let by_another = earliest([by_known, by_stray]).map(|at| at.max(invoked));
            stray.may_go_at = earliest([by_another, gone_by_itself(stray.send, tombstones)]);
        }
        self.stray_gone_at = earliest(strays.iter().map(|stray| stray.may_go_at));
        let known = self.records.iter().map(|known| (known.send.value, known.may_go_at));
        let all = known.chain(strays.iter().map(|stray| (stray.send.value, stray.may_go_at)));
        self.moments = all.filter_map(|(value, at)| Some((value, at?))).collect();
    }
}

/// What is known of one key, on the way from the back of the log. A write that has no known place may have replaced anything
/// of its key from the first, if it is gone itself by now: for what is known to stand behind it, by itself, or with all that
/// stood below some offset.
#[derive(Default)]
struct OfKey {
    /// How many writes of it have no known place, and when the first of them was sent.
    strays: usize,
    strays_from: Option<Instant>,
    /// Whether one of them is a tombstone that may be gone by itself.
    is_deleted: bool,
    /// When the first was sent that may stand behind the place that was come to.
    replaced_from: Option<Instant>,
    /// By when each that has a known place had it: what was sent later stands behind them all.
    placed_by: Instant,
}

fn earliest(moments: impl IntoIterator<Item = Option<Instant>>) -> Option<Instant> {
    moments.into_iter().flatten().min()
}

/// By when a write whose place is known stood there.
fn placed_by(send: &Send) -> Instant {
    send.returned.filter(|_| send.class == Class::Ok).unwrap_or(Instant::from_nanos(u64::MAX))
}

/// From when on a tombstone may be missing.
fn gone_by_itself(send: &Send, tombstones: Duration) -> Option<Instant> {
    let is_tombstone = send.keyed.is_some_and(|keyed| keyed.is_tombstone);
    is_tombstone.then(|| send.invoked.plus(tombstones))
}

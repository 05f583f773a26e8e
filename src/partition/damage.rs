//! What becomes of a copy in whose files something stands that was not written.
//!
//! Part of `Replica`. A copy that others can replace is given up: it leads and follows no more, and the controller is
//! told (rule S3). A leader that is alone in sync goes on with the rest of its log, as nobody else has it.
//! Invariant: a place that was found damaged is no part of an answer to a consumer before it was looked at again and
//! found sound: a medium may fail for a while only.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use crate::machines::replication::{BatchMark, FollowerFetch};
use crate::model::{Instant, Offset};
use crate::probe::{Mark, Mutant, mark, planted};
use crate::storage::{Corruption, Log, Place, ReadError, ReadPlan};

use super::effect::{Breakage, ContradictedFollower, Effect, ReadRefusal, UnservedRecords};
use super::replica::{Replica, Role, Turn};

/// How many damaged places of one log are remembered. Each further one is found again by whoever reads it, and told now
/// and then.
const PLACES_MAX: usize = 64;

/// How often it is told of one partition that readers are refused, though it is not known to be damaged.
const UNREADABLE_TOLD_EVERY: Duration = Duration::from_secs(60);

/// After how long a damaged place is looked at again when somebody wants to read it: at first, and at most. In between
/// it doubles each time.
const LOOK_AGAIN_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The places of a log that are known to be damaged.
#[derive(Debug, Default)]
pub(super) struct DamagedPlaces {
    /// By where the batches begin.
    places: BTreeMap<Place, Damage>,
}

/// What is known of a damaged place.
#[derive(Clone, Copy, Debug)]
struct Damage {
    /// The offset at which the damaged batches end.
    end: Offset,
    /// When it was looked at last, and for how long that is enough.
    looked_at: Instant,
    wait: Duration,
}

impl DamagedPlaces {
    /// Whether the batch there is damaged.
    pub(super) fn holds(&self, place: Place) -> bool {
        self.places.contains_key(&place)
    }

    /// The damaged place that holds an offset, if it is to be looked at again by now.
    fn due(&self, offset: Offset, now: Instant) -> Option<Place> {
        let is_due = |(place, damage): &(&Place, &Damage)| {
            (place.offset..damage.end).contains(&offset) && now.since(damage.looked_at) >= damage.wait
        };
        self.places.iter().find(is_due).map(|(place, _)| *place)
    }

    /// Whether a damaged batch begins at this offset.
    pub(super) fn begins_at(&self, offset: Offset) -> bool {
        self.places.keys().any(|place| place.offset == offset)
    }

    /// What of a plan may be sent: what stands before the first damaged place. Refused if it begins there.
    pub(super) fn keep_sound(&self, plan: &mut ReadPlan) -> Result<(), ReadRefusal> {
        let begin = Place { offset: Offset::ZERO, ..plan.place };
        let Some((first, _)) = self.places.range(begin..).next().filter(|(first, _)| first.segment == begin.segment)
        else {
            return Ok(());
        };
        if first.position == begin.position && !plan.is_empty() {
            return Err(ReadRefusal::Damaged);
        }
        mark(Mark::DamageWithheld);
        plan.end_before(*first);
        Ok(())
    }

    /// Compaction has read these segments, and others stand in their place.
    pub(super) fn forget_segments(&mut self, range: Range<Offset>) {
        self.places.retain(|place, _| !range.contains(&place.segment));
    }

    /// What has been deleted was the repair. A log may start within a batch, which is sent as a whole.
    fn forget_below(&mut self, start: Offset) {
        self.places.retain(|_, damage| damage.end > start);
    }
}

impl Replica {
    /// A reader found what stands here damaged, at a time of this generation: looks whether it is.
    pub(super) fn inspect(&mut self, generation: u64, place: Place, turn: &mut Turn<'_>) {
        // What was truncated or begun anew since is not what the reader had.
        if generation == self.generation {
            self.look(place, turn);
        }
    }

    /// Something did not fit while it was looked for: finds out what exactly is damaged there.
    pub(super) fn on_suspicion(&mut self, corruption: &Corruption, turn: &mut Turn<'_>) -> ReadRefusal {
        // What is known is not read again: it may claim to be large, and its disk be slow.
        if self.damaged.holds(corruption.place) {
            return ReadRefusal::Damaged;
        }
        self.look(corruption.place, turn)
    }

    /// Reads what stands at a place and behind it. Only what is found damaged then is blamed; whoever was refused for
    /// anything else asks again.
    fn look(&mut self, place: Place, turn: &mut Turn<'_>) -> ReadRefusal {
        let Some(log) = &self.log else { return ReadRefusal::Offline };
        let message = match log.inspect(place) {
            Err(ReadError::Corrupt(exact)) => return self.on_corruption(&exact, turn),
            Err(error @ (ReadError::OutOfRange { .. } | ReadError::Log(_))) => error.to_string(),
            Ok(()) => sound_now(place),
        };
        self.tell_unreadable(message, turn);
        ReadRefusal::Offline
    }

    /// Gives the copy up, or remembers the place if nobody else could serve the log.
    fn on_corruption(&mut self, corruption: &Corruption, turn: &mut Turn<'_>) -> ReadRefusal {
        let place = corruption.place;
        if self.damaged.holds(place) {
            return ReadRefusal::Damaged;
        }
        if self.has_others(turn.now.instant) {
            self.report_broken(corruption.to_string(), Breakage::Unreadable, turn.effects);
            return ReadRefusal::Offline;
        }
        let Some(log) = &self.log else { return ReadRefusal::Offline };
        self.damaged.forget_below(log.start());
        if self.damaged.places.len() >= PLACES_MAX {
            self.tell_unreadable(corruption.to_string(), turn);
            return ReadRefusal::Damaged;
        }
        let (end, looked_at, wait) = (log.next_batch(place), turn.now.instant, LOOK_AGAIN_AFTER.0);
        self.damaged.places.insert(place, Damage { end, looked_at, wait });
        let (partition, name) = (self.id, self.name.clone());
        turn.effects.push(Effect::Damaged(UnservedRecords { partition, name, message: corruption.to_string() }));
        ReadRefusal::Damaged
    }

    /// Somebody wants to read here, and what is known to be damaged may be sound by now: with it followers can catch up.
    pub(super) fn look_again(&mut self, offset: Offset, turn: &mut Turn<'_>) {
        let now = turn.now.instant;
        let Some(place) = self.damaged.due(offset, now) else { return };
        let looked = self.log.as_ref().map_or(Ok(()), |log| log.inspect(place));
        if !is_blamed(place, &looked) {
            self.damaged.places.remove(&place);
            self.tell_unreadable(sound_now(place), turn);
        } else if let Some(damage) = self.damaged.places.get_mut(&place) {
            (damage.looked_at, damage.wait) = (now, (damage.wait * 2).min(LOOK_AGAIN_AFTER.1));
        }
    }

    /// Whether somebody else in sync can serve the log.
    fn has_others(&self, now: Instant) -> bool {
        if planted(Mutant::LoneCopyGivenUp) {
            return true;
        }
        match &self.role {
            Role::Leader(leader) => leader.is_replaceable(now),
            Role::Follower(follower) => follower.is_replaceable(),
            Role::Idle => false,
        }
    }

    /// Gives a damaged copy up as soon as others can replace it.
    pub(super) fn settle_damage(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.damaged.places.is_empty() || !self.has_others(now) {
            return;
        }
        let Some(start) = self.log.as_ref().map(Log::start) else { return };
        self.damaged.forget_below(start);
        let Some((first, _)) = self.damaged.places.first_key_value() else { return };
        let message = format!("damaged at byte {} (offset {}), and others can lead", first.position, first.offset);
        self.damaged.places.clear();
        self.report_broken(message, Breakage::Unreadable, out);
    }

    pub(super) fn tell_unreadable(&mut self, message: String, turn: &mut Turn<'_>) {
        let now = turn.now.instant;
        if self.unreadable_told_at.is_some_and(|told| now.since(told) < UNREADABLE_TOLD_EVERY) {
            return;
        }
        self.unreadable_told_at = Some(now);
        let (partition, name) = (self.id, self.name.clone());
        turn.effects.push(Effect::Unreadable(UnservedRecords { partition, name, message }));
    }

    /// Compares a follower's last batch with what stands there (rule R21). If this copy is sound by its CRC, the
    /// follower's is the one to be given up: the leader's log is the log. If it is damaged just there, and nobody else
    /// could lead, there is nothing to compare with: the follower may hold what is lost here, and goes on.
    pub(super) fn check_last_batch(&mut self, fetch: &FollowerFetch, turn: &mut Turn<'_>) -> Result<(), ReadRefusal> {
        let Some(log) = &self.log else { return Err(ReadRefusal::Offline) };
        if fetch.last_crc.is_none() || planted(Mutant::LastBatchUncompared) {
            return Ok(());
        }
        let refusal = match log.batch_before(fetch.offset) {
            // Of what compaction has written anew, here or there, no two copies need be alike.
            Ok(Some(ours)) if ours.is_thinned => return Ok(()),
            Ok(Some(ours)) if !fetch.agrees_with(BatchMark { next: ours.next, crc: ours.crc }) => {
                self.contradict(ours.place, fetch, turn)
            }
            // What is deleted here contradicts nobody.
            Ok(_) => return Ok(()),
            Err(error) => self.on_read_error(&error, turn),
        };
        if refusal == ReadRefusal::Damaged { Ok(()) } else { Err(refusal) }
    }

    /// A follower holds another batch than what stands here: which of them is the wrong one?
    fn contradict(&mut self, ours: Place, fetch: &FollowerFetch, turn: &mut Turn<'_>) -> ReadRefusal {
        let looked = self.log.as_ref().map_or(Ok(()), |log| log.inspect(ours));
        match looked {
            // What is damaged behind it says nothing of it.
            Err(ReadError::Corrupt(found)) if found.place != ours => {}
            Err(error) => return self.on_read_error(&error, turn),
            Ok(()) => {}
        }
        let (partition, name) = (self.id, self.name.clone());
        let told = ContradictedFollower { partition, name, follower: fetch.node, offset: fetch.offset };
        mark(Mark::Contradicted);
        turn.effects.push(Effect::Contradicted(told));
        ReadRefusal::Contradicted
    }
}

/// Whether it is this place that a look found damaged, or could not reach.
fn is_blamed(place: Place, looked: &Result<(), ReadError>) -> bool {
    match looked {
        Ok(()) => false,
        // What is damaged behind it says nothing of it.
        Err(ReadError::Corrupt(found)) => found.place == place,
        Err(ReadError::OutOfRange { .. } | ReadError::Log(_)) => true,
    }
}

/// What is said of a place at which a reader was refused.
fn sound_now(Place { segment, position, offset }: Place) -> String {
    format!(
        "a reader was refused at byte {position} (offset {offset}) of segment {segment}, which is sound when read again"
    )
}

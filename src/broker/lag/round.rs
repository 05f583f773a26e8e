//! One round: which groups are followed, what is asked, and what is told of the answers. No I/O.
//!
//! Invariant: a group is told whole or not at all, so that no sum of it is partial; what is left out is counted; what is
//! remembered from the round before is of partitions that groups here have committed for.

use std::collections::BTreeMap;
use std::time::Duration;

use super::measures::Measures;
use super::{Asked, Measured, PARTITIONS_MAX, partition_named};
use crate::machines::group::{GroupState, SurveyedGroup};
use crate::machines::metadata::Image;
use crate::model::{Instant, Now, Offset, PartitionId, Timestamp};
use crate::telemetry::{GroupPartitionSample, GroupSample, GroupsSample};

/// Groups that have series of their own.
const GROUPS_MAX: usize = 10_000;
/// A group with a longer name has none: labels are kept by whoever scrapes.
const NAME_BYTES_MAX: usize = 255;
/// How long the age of a record is taken from memory while nobody reads on: retention or compaction may have removed it.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// The groups of a round.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    groups: Vec<SurveyedGroup>,
    states: BTreeMap<GroupState, u64>,
    partitions: usize,
    groups_left_out: u64,
    partitions_left_out: u64,
}

/// What was told of one partition at one offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Read {
    unread_since: Timestamp,
    at: Instant,
}

/// What is remembered from one round for the next.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Where partitions ended.
    ends: BTreeMap<PartitionId, Offset>,
    /// How old what somebody reads next is.
    times: BTreeMap<(PartitionId, Offset), Read>,
}

impl Chosen {
    /// How many more partitions may be measured.
    pub(super) fn room(&self) -> usize {
        PARTITIONS_MAX - self.partitions
    }

    /// Takes a group, or counts it.
    pub(super) fn take(&mut self, group: SurveyedGroup) {
        *self.states.entry(group.state).or_default() += 1;
        let count = group.offsets.as_ref().map(Vec::len).filter(|count| *count <= self.room());
        let fits = self.groups.len() < GROUPS_MAX && group.group.as_str().len() <= NAME_BYTES_MAX;
        let Some(count) = count.filter(|_| fits) else {
            self.groups_left_out += 1;
            self.partitions_left_out += u64::try_from(group.offset_count).unwrap_or(u64::MAX);
            return;
        };
        self.partitions += count;
        self.groups.push(group);
    }
}

impl Known {
    /// What is to be asked.
    pub(super) fn questions(&self, chosen: &Chosen, image: &Image, now: Now) -> Vec<Asked> {
        let offsets = chosen.groups.iter().flat_map(|group| group.offsets.iter().flatten());
        let asked = |(topic, index, offset): &(_, _, Offset)| {
            let partition = partition_named(image, topic, *index)?;
            let remembered = self.times.get(&(partition, *offset));
            let wants_time = remembered.is_none_or(|read| now.instant.since(read.at) >= REMEMBERED_FOR);
            Some(Asked { partition, offset: *offset, wants_time })
        };
        offsets.filter_map(asked).collect()
    }

    /// What is told of the answers; they are remembered, and what nobody asks about any more is not.
    pub(super) fn settle(&mut self, chosen: Chosen, image: &Image, measured: &Measures, now: Now) -> GroupsSample {
        let before = std::mem::take(self);
        let mut sample = GroupsSample {
            states: GroupState::ALL
                .map(|state| (state.name(), chosen.states.get(&state).copied().unwrap_or(0)))
                .to_vec(),
            groups_left_out: chosen.groups_left_out,
            partitions_left_out: chosen.partitions_left_out,
            ..GroupsSample::default()
        };
        for group in chosen.groups {
            let mut told = GroupSample {
                group: group.group.to_string(),
                members: u64::try_from(group.members).unwrap_or(u64::MAX),
                partitions: Vec::new(),
            };
            for (topic, index, committed) in group.offsets.into_iter().flatten() {
                let partition = partition_named(image, &topic, index);
                let answer = partition.and_then(|partition| measured.get(&(partition, committed)));
                sample.partitions_unmeasured += u64::from(answer.is_none());
                let (end, unread_since) = match partition {
                    Some(partition) => self.remember(&before, (partition, committed), answer, now),
                    None => (None, None),
                };
                let lag = end.map(|end| Measured::lag_of(end, committed));
                let age = lag.and_then(|lag| Measured::age(lag, unread_since, now.timestamp));
                told.partitions.push(GroupPartitionSample {
                    topic: topic.to_string(),
                    partition: index.get(),
                    committed: committed.get(),
                    lag_records: lag,
                    lag_seconds: age.map(|ms| Duration::from_millis(ms).as_secs_f64()),
                });
            }
            sample.groups.push(told);
        }
        sample
    }

    /// What is known of a place now: what was answered, else what was known before.
    fn remember(
        &mut self,
        before: &Self,
        place: (PartitionId, Offset),
        answer: Option<&Measured>,
        now: Now,
    ) -> (Option<Offset>, Option<Timestamp>) {
        let end = answer.map(|answer| answer.high_watermark).or_else(|| before.ends.get(&place.0).copied());
        let fresh = answer.and_then(|answer| answer.unread_since);
        let read = fresh.map(|unread_since| Read { unread_since, at: now.instant });
        let read = read.or_else(|| before.times.get(&place).copied());
        self.ends.extend(end.map(|end| (place.0, end)));
        self.times.extend(read.map(|read| (place, read)));
        (end, read.map(|read| read.unread_since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::metadata::Record;
    use crate::model::{GroupId, LogIndex, PartitionIndex, TopicId, TopicName};

    fn topic() -> TopicName {
        TopicName::new("t").expect("a valid name")
    }

    fn image() -> Image {
        let mut image = Image::default();
        image.replay(LogIndex::new(1), &Record::TopicCreated { topic: TopicId::new([1; 16]), name: topic() });
        image
    }

    fn partition(index: i32) -> PartitionId {
        PartitionId { topic: TopicId::new([1; 16]), index: PartitionIndex::new(index) }
    }

    /// A group with these offsets in the partitions of the topic.
    fn group(name: &str, offsets: &[i64]) -> SurveyedGroup {
        let at = |(index, offset): (usize, &i64)| {
            let index = i32::try_from(index).expect("few");
            (topic(), PartitionIndex::new(index), Offset::new(*offset))
        };
        SurveyedGroup {
            group: GroupId::new(name),
            protocol_type: "consumer".into(),
            state: GroupState::Stable,
            members: 1,
            offset_count: offsets.len(),
            offsets: Some(offsets.iter().enumerate().map(at).collect()),
        }
    }

    fn chosen(groups: Vec<SurveyedGroup>) -> Chosen {
        let mut chosen = Chosen::default();
        groups.into_iter().for_each(|group| chosen.take(group));
        chosen
    }

    fn now(seconds: u64) -> Now {
        let timestamp = Timestamp::new(i64::try_from(seconds).expect("soon") * 1_000);
        Now { instant: Instant::ZERO.plus(Duration::from_secs(seconds)), timestamp }
    }

    fn measured(rows: &[(i32, i64, i64, Option<i64>)]) -> Measures {
        let row = |(index, offset, end, since): &(i32, i64, i64, Option<i64>)| {
            let known = Measured { high_watermark: Offset::new(*end), unread_since: since.map(Timestamp::new) };
            ((partition(*index), Offset::new(*offset)), known)
        };
        rows.iter().map(row).collect()
    }

    /// What is told of the partitions of the first group: lag in records and in seconds.
    fn lags(sample: &GroupsSample) -> Vec<(Option<u64>, Option<f64>)> {
        sample.groups[0].partitions.iter().map(|known| (known.lag_records, known.lag_seconds)).collect()
    }

    #[test]
    fn lag_is_what_lies_between_the_commit_and_the_high_watermark_and_its_age() {
        let answers = measured(&[(0, 5, 9, Some(2_000)), (1, 7, 7, None), (2, 8, 3, None)]);
        let sample = Known::default().settle(chosen(vec![group("g", &[5, 7, 8])]), &image(), &answers, now(10));
        assert_eq!(lags(&sample), [(Some(4), Some(8.0)), (Some(0), Some(0.0)), (Some(0), Some(0.0))]);
        let stable = sample.states.iter().find(|(state, _)| *state == "Stable");
        assert_eq!((stable, sample.partitions_unmeasured), (Some(&("Stable", 1)), 0));
    }

    #[test]
    fn a_group_is_counted_in_whatever_state_it_is() {
        // A new state does not compile here, and belongs among all of them.
        let number = |state| match state {
            GroupState::Empty => 0,
            GroupState::PreparingRebalance => 1,
            GroupState::CompletingRebalance => 2,
            GroupState::Stable => 3,
            GroupState::Assigning => 4,
            GroupState::Reconciling => 5,
        };
        let all = chosen(GroupState::ALL.map(|state| SurveyedGroup { state, ..group("g", &[]) }).to_vec());
        let sample = Known::default().settle(all, &image(), &Measures::new(), now(1));
        assert_eq!(GroupState::ALL.map(number), [0, 1, 2, 3, 4, 5]);
        assert_eq!(sample.states, GroupState::ALL.map(|state| (state.name(), 1)).to_vec());
    }

    #[test]
    fn a_leader_that_does_not_answer_leaves_what_was_known_and_is_counted() {
        let mut known = Known::default();
        let first = known.settle(chosen(vec![group("g", &[5, 5])]), &image(), &Measures::new(), now(1));
        assert_eq!((lags(&first), first.partitions_unmeasured), (vec![(None, None), (None, None)], 2));
        let answers = measured(&[(0, 5, 9, Some(2_000))]);
        known.settle(chosen(vec![group("g", &[5, 5])]), &image(), &answers, now(10));
        let later = known.settle(chosen(vec![group("g", &[6, 5])]), &image(), &Measures::new(), now(20));
        assert_eq!(lags(&later), [(Some(3), None), (None, None)], "it has read one more since; that one is not known");
        let same = known.settle(chosen(vec![group("g", &[9, 5])]), &image(), &Measures::new(), now(20));
        assert_eq!(lags(&same), [(Some(0), Some(0.0)), (None, None)]);
    }

    #[test]
    fn the_age_of_a_record_is_read_once_a_minute_while_nobody_reads_on() {
        let mut known = Known::default();
        let wants = |known: &Known, offset, at| {
            known.questions(&chosen(vec![group("g", &[offset])]), &image(), now(at))[0].wants_time
        };
        assert!(wants(&known, 5, 0));
        known.settle(chosen(vec![group("g", &[5])]), &image(), &measured(&[(0, 5, 9, Some(2_000))]), now(10));
        assert!(!wants(&known, 5, 69) && wants(&known, 5, 70) && wants(&known, 6, 11));
        let sample = known.settle(chosen(vec![group("g", &[5])]), &image(), &measured(&[(0, 5, 9, None)]), now(20));
        assert_eq!(lags(&sample), [(Some(4), Some(18.0))]);
    }

    #[test]
    fn a_group_that_is_gone_is_neither_told_nor_remembered() {
        let mut known = Known::default();
        known.settle(chosen(vec![group("g", &[5])]), &image(), &measured(&[(0, 5, 9, Some(2_000))]), now(10));
        let sample = known.settle(chosen(Vec::new()), &image(), &Measures::new(), now(20));
        assert!(sample.groups.is_empty() && known.ends.is_empty() && known.times.is_empty());
    }

    #[test]
    fn what_is_too_much_is_left_out_whole_and_counted() {
        let mut all = chosen(vec![group("a", &vec![0; PARTITIONS_MAX - 1])]);
        all.take(group("b", &[0, 0]));
        all.take(SurveyedGroup { offsets: None, offset_count: 7, ..group("c", &[]) });
        all.take(group(&"d".repeat(NAME_BYTES_MAX + 1), &[]));
        all.take(group(&"e".repeat(NAME_BYTES_MAX), &[0]));
        assert_eq!(all.room(), 0);
        let sample = Known::default().settle(all, &Image::default(), &Measures::new(), now(1));
        let told: Vec<_> = sample.groups.iter().map(|group| (&group.group[..1], group.partitions.len())).collect();
        assert_eq!(told, [("a", PARTITIONS_MAX - 1), ("e", 1)]);
        assert_eq!((sample.groups_left_out, sample.partitions_left_out), (3, 9));
        let stable = sample.states.iter().find(|(state, _)| *state == "Stable");
        assert_eq!(stable, Some(&("Stable", 5)), "they are counted all the same");
    }

    #[test]
    fn more_groups_than_are_followed_are_counted() {
        let mut all = Chosen::default();
        (0..=GROUPS_MAX).for_each(|number| all.take(group(&format!("g{number}"), &[])));
        assert_eq!((all.groups.len(), all.groups_left_out), (GROUPS_MAX, 1));
    }
}

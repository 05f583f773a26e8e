//! What nodes ask brokers about groups, and what they answer.
//!
//! Packed by `calls`. Invariant: every list in a question has a bound that its other end checks.

use serde::{Deserialize, Serialize};

use super::GroupsError;
use crate::machines::group::{Survey, SurveyedGroup};
use crate::model::{NodeId, Offset, PartitionId, PartitionIndex, Timestamp};

/// A question to a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::broker) enum Question {
    /// How far partitions are that it leads.
    Measure(Vec<Asked>),
    /// The groups that it coordinates, by id: so many behind this one.
    List { after: Option<String>, groups_max: usize },
    /// One of them.
    Describe(String),
    /// One of them is to go.
    Delete(String),
}

/// The answer to a question of the same name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::broker) enum Answer {
    /// In the order of the question; `None` where it cannot tell.
    Measure(Vec<Option<Measured>>),
    List(GroupPage),
    Describe(Result<Box<GroupReport>, GroupsError>),
    Delete(Result<(), GroupsError>),
}

/// A partition, and where somebody goes on in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::broker) struct Asked {
    pub(in crate::broker) partition: PartitionId,
    pub(in crate::broker) offset: Offset,
    /// Whether it is not known yet how old the record there is.
    pub(in crate::broker) wants_time: bool,
}

/// How far a partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::broker) struct Measured {
    pub(in crate::broker) high_watermark: Offset,
    /// When the batch was made that holds the first record at or behind the offset. `None` if there is none, it bears no time, or it
    /// was not asked for.
    pub(in crate::broker) unread_since: Option<Timestamp>,
}

/// Some groups, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPage {
    /// The groups.
    pub groups: Vec<GroupSummary>,
    /// Whether there is none behind them.
    pub is_last: bool,
    /// The partitions of `__consumer_offsets` whose groups are missing: nobody coordinates them now, or nobody answered.
    pub missing: Vec<PartitionIndex>,
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupSummary {
    /// `group.id`.
    pub group: String,
    /// What it does, in Kafka's words.
    pub state: String,
    /// Its kind; empty for one that only commits offsets.
    pub protocol_type: String,
    /// How many members it has.
    pub members: usize,
    /// For how many partitions it has committed.
    pub committed_partitions: usize,
    /// Who coordinates it.
    pub coordinator: NodeId,
}

/// A group with its members and what they have still to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReport {
    /// What it does, in Kafka's words.
    pub state: String,
    /// Its kind; empty for one that only commits offsets.
    pub protocol_type: String,
    /// What the members chose; empty while that is open.
    pub protocol: String,
    /// Who coordinates it.
    pub coordinator: NodeId,
    /// Its members.
    pub members: Vec<MemberReport>,
    /// What it has committed.
    pub offsets: Vec<OffsetReport>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberReport {
    /// Its id.
    pub member: String,
    /// `group.instance.id` of a static member.
    pub instance: Option<String>,
    /// `client.id`.
    pub client: String,
    /// Its address.
    pub host: String,
    /// What it has, by topic; `None` when that is in nobody's words but its group's.
    pub assignment: Option<Vec<(String, Vec<PartitionIndex>)>>,
}

/// A committed offset and what lies behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetReport {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// Where the group goes on.
    pub committed: Offset,
    /// Since when.
    pub committed_at: Timestamp,
    /// Whatever the client wrote beside it.
    pub metadata: String,
    /// Where committed records end; `None` when the partition's leader does not tell.
    pub high_watermark: Option<Offset>,
    /// How many offsets it is behind.
    pub lag_records: Option<u64>,
    /// How old what it reads next is, in milliseconds.
    pub lag_ms: Option<u64>,
}

impl GroupPage {
    /// The most groups in one page: what one turn of a coordinator gives.
    pub const GROUPS_MAX: usize = Survey::GROUPS_MAX;
    /// Names of a page may have so many bytes together; above that it ends early.
    const NAME_BYTES_MAX: usize = 2 << 20;

    /// Some groups of one coordinator.
    pub(in crate::broker) fn of(groups: Vec<SurveyedGroup>, is_last: bool, coordinator: NodeId) -> Self {
        let summary = |one: SurveyedGroup| GroupSummary {
            group: one.group.to_string(),
            state: one.state.name().to_owned(),
            protocol_type: one.protocol_type.to_string(),
            members: one.members,
            committed_partitions: one.offset_count,
            coordinator,
        };
        Self { groups: groups.into_iter().map(summary).collect(), is_last, missing: Vec::new() }
    }

    /// The first groups of all pages, each of which begins behind the same group.
    pub(in crate::broker) fn merge(pages: Vec<Self>, groups_max: usize) -> Self {
        // Behind the end of a page that is not the last one there may be others of its coordinator.
        let open = pages.iter().filter(|page| !page.is_last);
        let horizon = open.map(|page| page.groups.last().map(|last| last.group.clone())).min();
        let mut merged = Self { is_last: horizon.is_none(), ..Self::default() };
        for page in pages {
            merged.missing.extend(page.missing);
            merged.groups.extend(page.groups);
        }
        merged.missing.sort_unstable();
        merged.groups.sort_unstable();
        let within = |one: &GroupSummary| horizon.as_ref().is_none_or(|end| end.as_ref() >= Some(&one.group));
        merged.groups.retain(within);
        let mut bytes = 0;
        let fits = merged.groups.iter().take_while(|one| {
            let is_first = bytes == 0;
            bytes += one.group.len() + one.protocol_type.len();
            is_first || bytes <= Self::NAME_BYTES_MAX
        });
        let count = fits.count().min(groups_max);
        merged.is_last &= count == merged.groups.len();
        merged.groups.truncate(count);
        merged
    }
}

impl Measured {
    /// How many offsets behind somebody is who goes on at `offset`.
    pub(in crate::broker) fn lag_of(high_watermark: Offset, offset: Offset) -> u64 {
        u64::try_from(high_watermark.get().saturating_sub(offset.get().max(0))).unwrap_or(0)
    }

    /// How old what is read next is, in milliseconds; nothing that is read next is no age at all.
    pub(in crate::broker) fn age(lag_records: u64, unread_since: Option<Timestamp>, now: Timestamp) -> Option<u64> {
        if lag_records == 0 {
            return Some(0);
        }
        unread_since.map(|since| u64::try_from(now.get().saturating_sub(since.get())).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(names: &[&str], is_last: bool) -> GroupPage {
        let summary = |name: &&str| GroupSummary {
            group: (*name).to_owned(),
            state: "Empty".to_owned(),
            protocol_type: String::new(),
            members: 0,
            committed_partitions: 0,
            coordinator: NodeId::new(1),
        };
        GroupPage { groups: names.iter().map(summary).collect(), is_last, missing: Vec::new() }
    }

    fn merged(pages: Vec<GroupPage>, groups_max: usize) -> (Vec<String>, bool) {
        let page = GroupPage::merge(pages, groups_max);
        (page.groups.into_iter().map(|one| one.group).collect(), page.is_last)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn pages_become_one_in_the_order_of_ids() {
        let pages = || vec![page(&["b", "d"], true), page(&["a", "e"], true)];
        assert_eq!(merged(pages(), 9), (names(&["a", "b", "d", "e"]), true));
        assert_eq!(merged(pages(), 3), (names(&["a", "b", "d"]), false));
        assert_eq!(merged(Vec::new(), 9), (Vec::new(), true));
    }

    #[test]
    fn nothing_is_told_behind_what_a_coordinator_has_not_told_yet() {
        assert_eq!(
            merged(vec![page(&["b", "c"], false), page(&["a", "x"], true)], 9),
            (names(&["a", "b", "c"]), false)
        );
    }

    #[test]
    fn a_page_of_long_names_ends_early_and_never_before_its_first() {
        let long = |letter: &str| letter.repeat(GroupPage::NAME_BYTES_MAX / 2 + 1);
        let (a, b) = (long("a"), long("b"));
        assert_eq!(merged(vec![page(&[&a, &b], true)], 9), (vec![a], false));
        let huge = "a".repeat(GroupPage::NAME_BYTES_MAX + 1);
        assert_eq!(merged(vec![page(&[&huge], true)], 9), (vec![huge], true));
    }

    #[test]
    fn whoever_has_read_all_lags_by_nothing_and_nobody_lags_by_less() {
        let lag = |end, offset| Measured::lag_of(Offset::new(end), Offset::new(offset));
        assert_eq!((lag(7, 7), lag(7, 9), lag(7, 2)), (0, 0, 5));
        let age = |lag, since: Option<i64>| Measured::age(lag, since.map(Timestamp::new), Timestamp::new(1_000));
        assert_eq!(
            (age(0, None), age(1, None), age(1, Some(400)), age(1, Some(2_000))),
            (Some(0), None, Some(600), Some(0))
        );
    }
}

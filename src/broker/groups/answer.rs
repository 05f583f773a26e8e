//! A broker answers questions about the groups that it coordinates and the partitions that it leads.
//!
//! Called by `vouching` for each such request of another node, and by `cluster_wide` for this one. Invariant: a question
//! above its bound is not answered.

use std::collections::BTreeMap;

use super::question::{Answer, GroupPage, GroupReport, Measured, MemberReport, OffsetReport, Question};
use super::{GroupsError, led_here};
use crate::broker::Broker;
use crate::broker::lag::{self, ASKED_MAX, Asked};
use crate::machines::group::{
    CONSUMER_PROTOCOL, Call, ConsumerDescription, DescribedConsumer, DescribedMember, Description, Fetch, Offsets,
    Survey, assigned,
};
use crate::model::{GroupId, PartitionIndex, Timestamp};

impl Broker {
    /// What this broker says; `None` to a question that is out of bounds.
    pub(in crate::broker) async fn answer_about_groups(&self, question: Question) -> Option<Answer> {
        match question {
            Question::Measure(asked) if asked.len() > ASKED_MAX => None,
            Question::Measure(asked) => Some(Answer::Measure(self.measure_here(&asked).await)),
            Question::List { groups_max, .. } if groups_max > GroupPage::GROUPS_MAX => None,
            Question::List { after, groups_max } => Some(Answer::List(self.page(after, groups_max).await)),
            Question::Describe(group) => Some(Answer::Describe(self.report(&GroupId::new(&group)).await)),
            Question::Delete(group) => Some(Answer::Delete(self.delete_group(&GroupId::new(&group)).await)),
        }
    }

    /// Groups of this broker, by id.
    async fn page(&self, after: Option<String>, groups_max: usize) -> GroupPage {
        let after = after.map(|after| GroupId::new(&after));
        let survey = || Call::Survey(Survey { after: after.clone(), groups_max, offsets_max: 0 });
        let here = led_here(&self.image(), self.node());
        let asked: Vec<_> = here.into_iter().map(|id| (id, self.ask_coordinator(id, survey()))).collect();
        let mut pages = Vec::with_capacity(asked.len());
        for (id, pending) in asked {
            pages.push(match pending.outcome().await.survey() {
                Ok(part) => GroupPage::of(part.groups, part.is_last, self.node()),
                Err(_) => GroupPage { is_last: true, missing: vec![id.index], ..GroupPage::default() },
            });
        }
        GroupPage::merge(pages, groups_max)
    }

    async fn delete_group(&self, group: &GroupId) -> Result<(), GroupsError> {
        Ok(self.ask_group(group, Call::Delete(group.clone())).outcome().await.delete()?)
    }

    async fn report(&self, group: &GroupId) -> Result<Box<GroupReport>, GroupsError> {
        let described = self.ask_group(group, Call::Describe(group.clone()));
        let fetched = self.ask_group(group, Call::Fetch(Fetch::all(group.clone())));
        let consumers = self.ask_group(group, Call::DescribeConsumers(group.clone()));
        let described = described.outcome().await.describe();
        // One of the two knows it, if anybody does.
        let report = match consumers.outcome().await.describe_consumers() {
            Ok(described) => self.report_of_consumers(*described),
            Err(_) => self.report_of_classic(*described?),
        };
        let offsets = fetched.outcome().await.fetch()?;
        Ok(Box::new(GroupReport { offsets: self.offset_reports(offsets).await, ..report }))
    }

    fn report_of_classic(&self, group: Description) -> GroupReport {
        let Description { state, protocol_type, protocol, members } = group;
        GroupReport {
            state: state.name().to_owned(),
            protocol_type: protocol_type.to_string(),
            protocol: protocol.to_string(),
            coordinator: self.node(),
            members: members.into_iter().map(|member| member_report(&protocol_type, member)).collect(),
            offsets: Vec::new(),
        }
    }

    fn report_of_consumers(&self, group: ConsumerDescription) -> GroupReport {
        GroupReport {
            state: group.state.name().to_owned(),
            protocol_type: CONSUMER_PROTOCOL.to_owned(),
            protocol: group.assignor.to_owned(),
            coordinator: self.node(),
            members: group.members.into_iter().map(consumer_report).collect(),
            offsets: Vec::new(),
        }
    }

    /// What is committed, with what lies behind it. Of more partitions than are measured at once the rest has no lag.
    async fn offset_reports(&self, offsets: Offsets) -> Vec<OffsetReport> {
        let image = self.image();
        let mut rows = Vec::new();
        for (topic, known) in offsets {
            rows.extend(known.into_iter().map(|(partition, committed)| (topic.clone(), partition, committed)));
        }
        let place = |(topic, partition, committed): &(_, _, crate::machines::group::Committed)| {
            let partition = lag::partition_named(&image, topic, *partition)?;
            Some(Asked { partition, offset: committed.offset, wants_time: true })
        };
        let asked: Vec<Option<Asked>> = rows.iter().map(place).collect();
        let measured = lag::measure(self, asked.iter().flatten().take(lag::PARTITIONS_MAX).copied()).await;
        let now = self.now().timestamp;
        let found =
            asked.into_iter().map(|asked| measured.get(&asked.map(|one| (one.partition, one.offset))?).copied());
        rows.into_iter()
            .zip(found.collect::<Vec<_>>())
            .map(|((topic, partition, committed), measured)| OffsetReport {
                topic: topic.to_string(),
                partition,
                committed: committed.offset,
                committed_at: committed.at,
                metadata: committed.metadata.to_string(),
                high_watermark: measured.map(|known| known.high_watermark),
                lag_records: measured.map(|known| Measured::lag_of(known.high_watermark, committed.offset)),
                lag_ms: measured.and_then(|known| age(known, committed.offset, now)),
            })
            .collect()
    }
}

fn age(known: Measured, committed: crate::model::Offset, now: Timestamp) -> Option<u64> {
    Measured::age(Measured::lag_of(known.high_watermark, committed), known.unread_since, now)
}

fn consumer_report(one: DescribedConsumer) -> MemberReport {
    let mut assignment: BTreeMap<String, Vec<PartitionIndex>> = BTreeMap::new();
    for (partition, topic) in one.assigned {
        assignment.entry(topic.to_string()).or_default().push(partition.index);
    }
    MemberReport {
        member: one.member.to_string(),
        instance: one.says.instance.as_ref().map(ToString::to_string),
        client: one.says.client.id.to_string(),
        host: one.says.client.host.to_string(),
        assignment: Some(assignment.into_iter().collect()),
    }
}

fn member_report(protocol_type: &str, one: DescribedMember) -> MemberReport {
    // Before it is given anything there is nothing to read.
    let is_given = !one.assignment.is_empty();
    let assignment = match protocol_type {
        CONSUMER_PROTOCOL if is_given => assigned(&one.assignment),
        CONSUMER_PROTOCOL => Some(Vec::new()),
        _ => None,
    };
    MemberReport {
        member: one.member.to_string(),
        instance: one.instance.map(|instance| instance.to_string()),
        client: one.client.id.to_string(),
        host: one.client.host.to_string(),
        assignment,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::machines::group::Client;
    use crate::model::MemberId;

    fn assignment(protocol_type: &str, assignment: &'static [u8]) -> Option<Vec<(String, Vec<i32>)>> {
        let member = DescribedMember {
            member: MemberId::new("m"),
            instance: None,
            client: Client::new("c", "/h"),
            metadata: Bytes::new(),
            assignment: Bytes::from_static(assignment),
        };
        let plain = |(topic, indexes): (String, Vec<crate::model::PartitionIndex>)| {
            (topic, indexes.into_iter().map(crate::model::PartitionIndex::get).collect())
        };
        member_report(protocol_type, member).assignment.map(|all| all.into_iter().map(plain).collect())
    }

    #[test]
    fn what_consumers_have_is_read_and_what_others_have_is_theirs() {
        let bytes = b"\0\x01\0\0\0\x01\0\x01a\0\0\0\x01\0\0\0\x07\xff\xff\xff\xff";
        assert_eq!(assignment("consumer", bytes), Some(vec![("a".to_owned(), vec![7])]));
        assert_eq!(assignment("consumer", b""), Some(Vec::new()), "it waits for its leader");
        assert_eq!(assignment("consumer", b"?"), None);
        assert_eq!(assignment("connect", bytes), None);
    }
}

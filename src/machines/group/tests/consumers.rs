//! Groups of KIP-848 as their members see them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::machines::metadata::{self, ConfigResource};
use crate::model::{LogIndex, NodeId, PartitionId, TopicId};

const NODE: NodeId = NodeId::new(1);

pub(super) fn topic_id(name: &str) -> TopicId {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(name.bytes()).for_each(|(place, byte)| *place = byte);
    TopicId::new(bytes)
}

pub(super) fn partitions(name: &str, indexes: impl IntoIterator<Item = i32>) -> BTreeSet<PartitionId> {
    let id = |index| PartitionId { topic: topic_id(name), index: PartitionIndex::new(index) };
    indexes.into_iter().map(id).collect()
}

/// A heartbeat that says nothing new.
pub(super) fn quiet(member: &str, epoch: i32) -> Beat {
    Beat {
        group: group(),
        member: id(member),
        epoch: GroupEpoch::new(epoch),
        instance: None,
        rack: None,
        client: Client::new("c", "/1.2.3.4"),
        rebalance_timeout_ms: None,
        topics: None,
        regex: None,
        assignor: None,
        owned: None,
    }
}

/// A heartbeat that says everything.
pub(super) fn full(member: &str, epoch: i32, topics: &[&str], owned: &BTreeSet<PartitionId>) -> Beat {
    Beat {
        rebalance_timeout_ms: Some(60_000),
        topics: Some(topics.iter().map(|name| Arc::from(*name)).collect()),
        owned: Some(owned.clone()),
        ..quiet(member, epoch)
    }
}

fn joining(member: &str) -> Beat {
    full(member, 0, &["t"], &BTreeSet::new())
}

fn by_regex(member: &str, regex: &str) -> Beat {
    Beat { topics: None, regex: Some(regex.into()), ..joining(member) }
}

fn holding(member: &str, epoch: i32, owned: &BTreeSet<PartitionId>) -> Beat {
    Beat { owned: Some(owned.clone()), ..quiet(member, epoch) }
}

impl Bench {
    fn learn(&mut self, records: &[metadata::Record], name: &str) {
        let index = LogIndex::new(self.image.last_applied().get() + 1);
        self.image.pass(index);
        self.image.assume(records);
        let present = Present { groups: &self.groups, now: self.now, options: &self.options, image: &self.image };
        topics_changed(present, &mut self.soft, &[topic(name)].into());
        self.due();
    }

    pub(super) fn make_topic(&mut self, name: &str, count: usize) {
        let created = metadata::Record::TopicCreated { topic: topic_id(name), name: topic(name) };
        self.learn(&[created], name);
        self.grow_topic(name, count);
    }

    /// Adds partitions.
    pub(super) fn grow_topic(&mut self, name: &str, by: usize) {
        let known = self.image.topic_named(name).expect("it is there").partition_count;
        let record = metadata::Record::PartitionsCreated {
            topic: topic_id(name),
            first: PartitionIndex::new(known),
            replica_count: 1,
            replicas: vec![NODE; by],
            absent: Vec::new(),
        };
        self.learn(&[record], name);
    }

    pub(super) fn delete_topic(&mut self, name: &str) {
        self.learn(&[metadata::Record::TopicDeleted { topic: topic_id(name) }], name);
    }

    pub(super) fn beat(&mut self, beat: Beat) -> Result<Told, Refusal> {
        self.ask(Call::Beat(Box::new(beat))).beat()
    }

    fn told(&mut self, beat: Beat) -> (i32, Option<usize>) {
        let told = self.beat(beat).expect("it is taken");
        (told.epoch.get(), told.assignment.map(|share| share.len()))
    }

    pub(super) fn consumers(&mut self) -> ConsumerDescription {
        *self.ask(Call::DescribeConsumers(group())).describe_consumers().expect("it is there")
    }
}

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.make_topic("t", 4);
    bench
}

#[test]
fn the_first_member_has_everything_with_its_first_heartbeat() {
    let mut bench = bench();
    let told = bench.beat(joining("a")).expect("it joins");
    assert_eq!((told.epoch.get(), told.assignment), (1, Some(partitions("t", 0..4))));
    assert_eq!(told.interval, Duration::from_millis(500));
    let quiet = bench.beat(quiet("a", 1)).expect("it lives");
    assert_eq!((quiet.epoch.get(), quiet.assignment, quiet.is_known), (1, None, true));
    assert_eq!(bench.consumers().state, GroupState::Stable);
}

#[test]
fn a_second_member_gets_what_the_first_has_given_back() {
    let mut bench = bench();
    bench.told(joining("a"));
    let b = bench.beat(joining("b")).expect("it joins");
    assert_eq!((b.epoch.get(), b.assignment), (2, Some(BTreeSet::new())));
    assert_eq!(b.interval, Duration::from_millis(100), "it is asked back soon");
    let a = bench.beat(quiet("a", 1)).expect("it lives");
    let kept = a.assignment.expect("it has changed");
    assert_eq!((a.epoch.get(), kept.len()), (1, 2), "it gives back in its old epoch");
    assert_eq!(bench.told(quiet("b", 2)), (2, None), "the first may still read them");
    assert_eq!(bench.consumers().state, GroupState::Reconciling);
    assert!(GroupState::ALL.contains(&bench.consumers().state), "it is counted by its state");
    assert_eq!(bench.told(holding("a", 1, &kept)), (2, None));
    let b = bench.beat(quiet("b", 2)).expect("it lives");
    assert_eq!(b.assignment, Some(&partitions("t", 0..4) - &kept));
    assert_eq!(bench.consumers().state, GroupState::Stable);
}

#[test]
fn what_a_member_leaves_goes_to_the_others_at_their_next_heartbeat() {
    let mut bench = bench();
    bench.told(joining("a"));
    bench.told(joining("b"));
    assert_eq!(bench.beat(quiet("b", -1)).map(|told| told.epoch), Ok(GroupEpoch::LEAVING));
    assert_eq!(bench.told(quiet("a", 1)), (3, None));
    assert_eq!(bench.consumers().members.len(), 1);
    bench.beat(quiet("a", -1)).expect("it leaves");
    assert_eq!(bench.consumers().state, GroupState::Empty);
    assert_eq!(bench.beat(quiet("a", 3)), Err(Refusal::UnknownMember));
}

#[test]
fn a_silent_member_is_out_after_its_session_and_no_sooner() {
    let mut bench = bench();
    bench.told(joining("a"));
    bench.told(joining("b"));
    for _ in 0..8 {
        bench.pass(Duration::from_secs(5));
        bench.beat(quiet("a", 1)).expect("it lives");
    }
    bench.pass(Duration::from_millis(4_999));
    assert_eq!(bench.consumers().members.len(), 2);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.consumers().members.len(), 1);
    assert_eq!(bench.beat(quiet("b", 2)), Err(Refusal::UnknownMember));
}

#[test]
fn whoever_gives_nothing_back_in_time_is_out() {
    let mut bench = bench();
    bench.told(joining("a"));
    bench.told(joining("b"));
    for _ in 0..59 {
        bench.beat(quiet("a", 1)).expect("it lives");
        bench.beat(quiet("b", 2)).expect("it lives");
        bench.pass(Duration::from_secs(1));
    }
    assert_eq!(bench.consumers().members.len(), 2);
    bench.beat(quiet("b", 2)).expect("it lives");
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.told(quiet("b", 2)), (3, Some(4)));
    assert_eq!(bench.beat(quiet("a", 1)), Err(Refusal::UnknownMember));
}

#[test]
fn another_epoch_than_its_own_fences_a_member_unless_an_answer_was_lost() {
    let mut bench = bench();
    bench.told(joining("a"));
    assert_eq!(bench.beat(quiet("a", 2)), Err(Refusal::FencedEpoch));
    bench.grow_topic("t", 2);
    assert_eq!(bench.told(quiet("a", 1)), (2, Some(6)));
    assert_eq!(bench.beat(quiet("a", 1)), Err(Refusal::FencedEpoch), "it has not said what it has");
    let had = partitions("t", 0..4);
    assert_eq!(bench.told(full("a", 1, &["t"], &had)), (2, Some(6)));
    bench.grow_topic("t", 1);
    bench.told(quiet("a", 2));
    assert_eq!(bench.beat(full("a", 1, &["t"], &had)), Err(Refusal::FencedEpoch), "two epochs are too many");
    assert_eq!(bench.told(joining("a")), (3, Some(7)), "and joins again with the same id");
}

#[test]
fn partitions_that_come_are_assigned_when_the_image_says_so() {
    let mut bench = bench();
    bench.told(joining("a"));
    bench.grow_topic("t", 900);
    assert_eq!((bench.consumers().epoch.get(), bench.consumers().assignment_epoch.get()), (2, 2));
    assert_eq!(bench.told(quiet("a", 1)), (2, Some(904)));
    bench.make_topic("other", 1);
    assert_eq!(bench.consumers().epoch.get(), 2, "what nobody reads concerns nobody");
}

#[test]
fn a_topic_that_goes_is_given_back() {
    let mut bench = bench();
    bench.make_topic("u", 2);
    bench.told(full("a", 0, &["t", "u"], &BTreeSet::new()));
    bench.delete_topic("u");
    let told = bench.beat(quiet("a", 1)).expect("it lives");
    assert_eq!(told.assignment, Some(partitions("t", 0..4)));
}

#[test]
fn a_topic_that_is_to_come_is_read_when_it_does() {
    let mut bench = Bench::new();
    assert_eq!(bench.told(joining("a")), (1, Some(0)));
    bench.make_topic("t", 3);
    let epoch = bench.consumers().assignment_epoch.get();
    assert_eq!(bench.told(quiet("a", 1)), (epoch, Some(3)));
}

#[test]
fn a_regular_expression_stands_for_the_topics_that_match_it_now_and_later() {
    let mut bench = bench();
    bench.make_topic("t-eu", 2);
    bench.make_topic("x", 2);
    let told = bench.beat(by_regex("a", "t(-.*)?")).expect("it joins");
    assert_eq!(told.assignment, Some(&partitions("t", 0..4) | &partitions("t-eu", 0..2)));
    bench.make_topic("t-us", 1);
    let told = bench.beat(quiet("a", 1)).expect("it lives").assignment.expect("more");
    assert!(told.is_superset(&partitions("t-us", 0..1)) && told.len() == 7);
    bench
        .beat(Beat { topics: Some([Arc::from("x")].into()), regex: Some("".into()), ..holding("a", 3, &told) })
        .expect("it lives");
    assert!(bench.groups.get(&group()).unwrap().consumer.as_ref().unwrap().regexes().is_empty());
    assert_eq!(bench.consumers().members[0].target.len(), 2, "it has another subscription");
}

#[test]
fn what_cannot_be_served_is_refused_and_changes_nothing() {
    let mut bench = Bench::with(Options { consumer_size_max: 1, group_bytes_max: 1_000, ..Options::default() });
    bench.make_topic("t", 4);
    assert_eq!(bench.beat(by_regex("a", "(")), Err(Refusal::Regex));
    let asking = Beat { assignor: Some("sticky".into()), ..joining("a") };
    assert_eq!(bench.beat(asking), Err(Refusal::Assignor));
    let wordy = Beat { topics: Some([Arc::from("x".repeat(2_000))].into()), ..joining("a") };
    assert_eq!(bench.beat(wordy), Err(Refusal::TooLarge));
    assert!(bench.records.is_empty() && bench.soft.next_deadline() > Some(bench.now.instant));
    bench.told(joining("a"));
    assert_eq!(bench.beat(joining("b")), Err(Refusal::GroupFull));
    assert_eq!(bench.beat(quiet("b", 1)), Err(Refusal::UnknownMember));
    assert!(bench.beat(joining("a")).is_ok(), "who is in stays in");
}

#[test]
fn a_static_member_that_is_away_for_a_while_keeps_its_part() {
    let mut bench = bench();
    let of = |member: &str, epoch| Beat {
        instance: Some(InstanceId::new("i")),
        ..full(member, epoch, &["t"], &BTreeSet::new())
    };
    bench.told(of("a", 0));
    bench.told(joining("b"));
    let kept = bench.beat(Beat { owned: None, ..of("a", 1) }).unwrap().assignment.unwrap();
    bench.told(Beat { owned: Some(kept.clone()), ..of("a", 1) });
    assert_eq!(bench.beat(of("c", 0)), Err(Refusal::UnreleasedInstance));
    assert_eq!(bench.beat(of("c", 2)), Err(Refusal::FencedInstance));
    assert_eq!(bench.beat(of("a", -2)).map(|told| told.epoch), Ok(GroupEpoch::AWAY));
    let told = bench.beat(of("c", 0)).expect("it is back");
    assert_eq!((told.epoch.get(), told.assignment), (2, Some(kept)), "nobody was disturbed");
    assert_eq!(bench.beat(of("a", 2)), Err(Refusal::FencedInstance));
    bench.told(of("c", -2));
    bench.pass(Duration::from_secs(46));
    assert!(bench.consumers().members.is_empty(), "nor does a static member stay away for ever");
}

#[test]
fn most_members_choose_the_assignor() {
    let mut bench = bench();
    bench.told(Beat { assignor: Some("range".into()), ..joining("a") });
    assert_eq!(bench.consumers().assignor, "range");
    bench.told(Beat { assignor: Some("uniform".into()), ..joining("b") });
    bench.told(Beat { assignor: Some("uniform".into()), ..joining("c") });
    assert_eq!(bench.consumers().assignor, "uniform");
}

#[test]
fn many_members_are_heard_less_often() {
    let mut bench = Bench::with(Options { heartbeats_per_second: 10, ..Options::default() });
    bench.make_topic("t", 4);
    let interval = |bench: &mut Bench, name: &str| bench.beat(joining(name)).expect("it joins").interval;
    assert_eq!(interval(&mut bench, "m000"), Duration::from_millis(500));
    for at in 1..100 {
        bench.beat(joining(&format!("m{at:03}"))).expect("it joins");
    }
    assert_eq!(interval(&mut bench, "m100"), Duration::from_millis(10_100));
    let other = Beat { group: GroupId::new("other"), ..joining("z") };
    assert_eq!(bench.beat(other).expect("it joins").interval, Duration::from_millis(10_200));
}

#[test]
fn a_group_is_heard_as_often_as_its_operators_say() {
    let mut bench = bench();
    let resource = ConfigResource::Group(GroupId::new("g"));
    let set = |name: &str, value: &str| {
        let (name, value) = (name.to_owned(), Some(value.to_owned()));
        metadata::Record::ConfigSet { resource: resource.clone(), name, value }
    };
    bench.told(joining("a"));
    bench.learn(&[set("consumer.heartbeat.interval.ms", "2000"), set("consumer.session.timeout.ms", "5000")], "t");
    assert_eq!(bench.beat(quiet("a", 1)).expect("it is present").interval, Duration::from_secs(2));
    bench.pass(Duration::from_millis(4_900));
    assert_eq!(bench.consumers().members.len(), 1);
    bench.pass(Duration::from_millis(200));
    assert!(bench.consumers().members.is_empty(), "its session was shorter than others'");
    let other = Beat { group: GroupId::new("other"), ..joining("z") };
    assert_eq!(bench.beat(other).expect("it joins").interval, Duration::from_millis(500));
}

#[test]
fn a_large_group_is_assigned_less_often_and_settles_all_the_same() {
    let mut bench = Bench::new();
    bench.make_topic("t", 10_000);
    bench.told(joining("a"));
    bench.told(joining("b"));
    assert_eq!(bench.consumers().state, GroupState::Assigning);
    assert!(GroupState::ALL.contains(&bench.consumers().state), "it is counted by its state");
    bench.pass(Duration::from_millis(250));
    assert_eq!(bench.consumers().assignment_epoch, bench.consumers().epoch);
    assert_eq!(bench.consumers().members[1].target.len(), 5_000);
}

#[test]
fn the_next_coordinator_goes_on_where_the_last_one_was() {
    let mut bench = bench();
    bench.told(joining("a"));
    bench.told(joining("b"));
    let kept = bench.beat(quiet("a", 1)).unwrap().assignment.unwrap();
    bench.pass(Duration::from_secs(40));
    bench.fail_over();
    bench.due();
    let epoch = bench.consumers().epoch.get();
    assert_eq!(epoch, 2, "nothing has changed");
    bench.pass(Duration::from_secs(44));
    assert_eq!(bench.told(holding("a", 1, &kept)), (2, None), "sessions begin anew");
    assert_eq!(bench.told(quiet("b", 2)), (2, Some(2)));
    bench.fail_over();
    bench.pass(Duration::from_secs(46));
    assert!(bench.consumers().members.is_empty());
}

#[test]
fn who_was_to_give_back_is_out_under_the_next_coordinator_too() {
    let mut bench = bench();
    bench.told(Beat { rebalance_timeout_ms: Some(10_000), ..joining("a") });
    bench.told(joining("b"));
    bench.told(quiet("a", 1));
    bench.fail_over();
    bench.pass(Duration::from_secs(11));
    assert_eq!(bench.consumers().members.len(), 1);
}

#[test]
fn commits_are_taken_from_members_in_their_epoch_or_of_what_they_had_then() {
    let mut bench = bench();
    let of = |member: &str, epoch: i32, partition: i32| {
        let offsets = vec![CommitOf { partition: PartitionIndex::new(partition), ..commit_of("t", 5) }];
        Call::Commit(Commit { identity: identity(member, epoch), knows_kip_848: true, offsets })
    };
    bench.told(joining("a"));
    assert_eq!(bench.ask(of("a", 1, 0)).commit(), Ok(vec![Ok(())]));
    assert_eq!(bench.ask(of("z", 1, 0)).commit(), Err(Refusal::UnknownMember));
    assert_eq!(bench.ask(of("", -1, 0)).commit(), Err(Refusal::UnknownMember), "there are members");
    assert_eq!(bench.ask(of("a", 2, 0)).commit(), Err(Refusal::StaleEpoch));
    assert_eq!(bench.ask(commit("a", 1, 5)).commit(), Err(Refusal::Version), "by an old request");
    bench.grow_topic("t", 1);
    bench.told(quiet("a", 1));
    assert_eq!(bench.ask(of("a", 1, 0)).commit(), Ok(vec![Ok(())]), "it has had it since then");
    assert_eq!(bench.ask(of("a", 1, 4)).commit(), Err(Refusal::StaleEpoch), "that it has only now");
    let fetch = |member: Option<&str>, epoch| {
        Call::Fetch(Fetch { group: group(), member: member.map(id), epoch: GroupEpoch::new(epoch), topics: None })
    };
    assert_eq!(bench.ask(fetch(Some("a"), 1)).fetch(), Err(Refusal::StaleEpoch));
    assert_eq!(bench.ask(fetch(Some("z"), 1)).fetch(), Err(Refusal::UnknownMember));
    assert_eq!(bench.ask(fetch(Some("a"), 2)).fetch().map(|offsets| offsets.len()), Ok(1));
    assert_eq!(bench.ask(fetch(Some(""), -1)).fetch(), Err(Refusal::UnknownMember), "an empty id is nobody's");
    assert_eq!(bench.ask(fetch(None, 2)).fetch(), Err(Refusal::UnknownMember));
    assert_eq!(bench.ask(fetch(None, -1)).fetch().map(|offsets| offsets.len()), Ok(1));
    bench.beat(quiet("a", -1)).expect("it leaves");
    assert_eq!(bench.ask(of("", -1, 0)).commit(), Ok(vec![Ok(())]), "nobody is in");
}

#[test]
fn nobody_leaves_a_group_that_is_not_there() {
    let mut bench = bench();
    assert_eq!(bench.beat(quiet("a", -1)), Err(Refusal::GroupNotFound));
    bench.ask(commit("", -1, 5)).commit().expect("a group that only commits");
    assert_eq!(bench.beat(quiet("a", -1)), Err(Refusal::GroupNotFound));
    bench.told(joining("b"));
    assert_eq!(bench.beat(quiet("a", -1)), Err(Refusal::UnknownMember));
    assert_eq!(bench.records.len(), bench.records.iter().filter(|record| *record.group() == group()).count());
}

#[test]
fn a_group_is_of_one_protocol_while_it_has_members_and_of_any_when_it_has_none() {
    let mut bench = bench();
    bench.told(joining("a"));
    let refused = bench.ask(Call::Join(Join { protocol_type: "connect".into(), ..join("") })).join();
    assert_eq!(refused, Err(Refusal::Protocol));
    assert_eq!(bench.heartbeat("a", 1), Err(Refusal::UnknownMember));
    assert_eq!(bench.ask(Call::Describe(group())).describe(), Err(Refusal::GroupNotFound));
    bench.beat(quiet("a", -1)).expect("it leaves");
    bench.stable(&["b"]);
    assert_eq!(bench.ask(Call::DescribeConsumers(group())).describe_consumers(), Err(Refusal::GroupNotFound));
    assert_eq!(bench.beat(joining("c")), Err(Refusal::GroupNotFound));
    bench.call(Call::Leave(Leave { group: group(), members: vec![(id("b"), None)] }));
    bench.told(joining("c"));
    assert!(bench.groups.get(&group()).unwrap().classic.is_none());
}

#[test]
fn a_group_is_listed_deleted_and_forgotten_as_others_are() {
    let mut bench = bench();
    bench.told(joining("a"));
    let listed = bench.ask(Call::List).list().expect("groups");
    assert_eq!((listed[0].protocol, listed[0].state), (Protocol::Consumer, GroupState::Stable));
    assert_eq!(bench.ask(Call::Delete(group())).delete(), Err(Refusal::NonEmpty));
    let forget =
        |name: &str| Call::Forget(Forget { group: group(), topics: vec![(topic(name), vec![PartitionIndex::new(0)])] });
    assert_eq!(bench.ask(forget("t")).forget(), Ok(vec![Err(Refusal::SubscribedToTopic)]));
    assert_eq!(bench.ask(forget("u")).forget(), Ok(vec![Ok(())]));
    bench.beat(quiet("a", -1)).expect("it leaves");
    assert_eq!(bench.ask(Call::Delete(group())).delete(), Ok(()));
    assert_eq!(bench.groups, Groups::default());
}

#[test]
fn what_members_read_does_not_expire_and_an_empty_group_does() {
    let mut bench = bench();
    bench.told(joining("a"));
    let offsets = vec![commit_of("t", 5)];
    let call = Call::Commit(Commit { identity: identity("a", 1), knows_kip_848: true, offsets });
    assert!(bench.ask(call).commit().is_ok());
    for _ in 0..(8 * 24 * 60 * 2) {
        bench.pass(Duration::from_secs(30));
        bench.beat(quiet("a", 1)).expect("it lives");
    }
    assert_eq!(bench.groups.get(&group()).unwrap().offsets.len(), 1);
    bench.pass(Duration::from_secs(1_000));
    assert_eq!(bench.groups, Groups::default(), "the commit is old, and nobody reads the topic");
}

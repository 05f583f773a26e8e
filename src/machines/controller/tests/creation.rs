//! Topics made and deleted.

use super::*;
use crate::model::InvalidConfig;

fn make(world: &mut World, topic: NewTopic) -> Result<CreatedTopic, TopicRefusal> {
    let reply = world.event(Event::CreateTopics(request(vec![topic])));
    let Reply::CreateTopics(mut outcomes) = reply else { panic!("it is answered") };
    outcomes.remove(0).1
}

fn refused(edit: impl FnOnce(&mut NewTopic)) -> TopicRefusal {
    let mut world = World::with_topic();
    let mut topic = new_topic("new");
    edit(&mut topic);
    make(&mut world, topic).expect_err("the test's topic is refused")
}

#[test]
fn a_topic_gets_the_defaults() {
    let mut world = World::with_brokers(3);
    let created = make(&mut world, NewTopic { partitions: None, ..new_topic("a") }).unwrap();
    assert_eq!((created.partitions, created.replication_factor), (1, 3));
    let (_, partition) = world.partition("a", 0);
    assert_eq!(partition.isr.len(), 3);
    assert_eq!(partition.leader, Some(partition.replicas[0]));
}

#[test]
fn a_request_that_comes_again_makes_no_other_topic() {
    let mut world = World::with_brokers(3);
    let first = make(&mut world, new_topic("a")).unwrap();
    assert_eq!(make(&mut world, new_topic("a")), Ok(first));
}

/// Whoever was away while the topic was deleted holds its records under its id.
#[test]
fn a_request_that_comes_again_after_the_deletion_makes_a_topic_of_another_id() {
    let mut world = World::with_brokers(3);
    let first = make(&mut world, new_topic("a")).unwrap();
    delete(&mut world, vec![TopicReference::Id(first.id)]);
    let second = make(&mut world, new_topic("a")).unwrap();
    assert_ne!(first.id, second.id);
}

#[test]
fn a_topic_is_refused_with_the_reason() {
    assert!(matches!(refused(|t| t.name = "a/b".to_owned()), TopicRefusal::Name(_)));
    assert!(matches!(refused(|t| t.name = "t".to_owned()), TopicRefusal::AlreadyExists { .. }));
    assert_eq!(refused(|t| t.partitions = Some(0)), TopicRefusal::Partitions { partitions: 0 });
    let none = refused(|t| t.replication_factor = ReplicationFactor::Asked(0));
    assert_eq!(none, TopicRefusal::Replicas { replication_factor: 0 });
    let many = refused(|t| t.replication_factor = ReplicationFactor::Asked(4));
    assert_eq!(many, TopicRefusal::TooFewBrokers { replication_factor: 4, registered: 3 });
    let unknown = refused(|t| t.configs.push(("x".to_owned(), Some("y".to_owned()))));
    assert_eq!(unknown, TopicRefusal::Config(InvalidConfig::Unknown { name: "x".to_owned() }));
    let missing = refused(|t| t.configs.push(("retention.ms".to_owned(), None)));
    assert!(matches!(missing, TopicRefusal::Config(InvalidConfig::Missing { .. })));
    assert_eq!(refused(|t| t.partitions = Some(10_001)), TopicRefusal::TooManyPartitions { partitions_max: 10_000 });
}

#[test]
fn a_request_for_very_many_topics_is_refused_without_comparing_each_with_each() {
    let mut world = World::with_brokers(3);
    let topics = (0..100_000).map(|n| NewTopic { partitions: Some(0), ..new_topic(&format!("t{n}")) }).collect();
    let Reply::CreateTopics(answers) = world.event(Event::CreateTopics(request(topics))) else { panic!("an answer") };
    let refusal = TopicRefusal::TooManyPartitions { partitions_max: 10_000 };
    assert!(answers.len() == 100_000 && answers.iter().all(|(_, outcome)| outcome.as_ref() == Err(&refusal)));
}

/// How many of thirty topics each of the brokers leads in partition `index`.
fn led(world: &World, index: i32) -> [usize; 3] {
    let leaders: Vec<_> = (0..30).map(|n| world.partition(&format!("t{n}"), index).1.leader).collect();
    [1, 2, 3].map(|node| leaders.iter().filter(|leader| **leader == Some(NodeId::new(node))).count())
}

#[test]
fn the_topics_of_one_request_are_not_all_led_by_one_broker() {
    let mut world = World::with_brokers(3);
    let topics = (0..30).map(|n| NewTopic { partitions: Some(1), ..new_topic(&format!("t{n}")) }).collect();
    world.event(Event::CreateTopics(request(topics)));
    assert!(led(&world, 0).iter().all(|count| *count > 3), "{:?}", led(&world, 0));
    let growing = |n| GrowingTopic { name: format!("t{n}"), count: 2, assignments: None };
    let (topics, settled) = ((0..30).map(growing).collect(), Vec::new());
    world.event(Event::CreatePartitions(CreatePartitions { topics, validate_only: false, seed: 5, settled }));
    assert!(led(&world, 1).iter().all(|count| *count > 3), "{:?}", led(&world, 1));
}

#[test]
fn names_that_differ_only_in_dots_collide() {
    let mut world = World::with_brokers(3);
    make(&mut world, new_topic("a.b")).unwrap();
    let refusal = make(&mut world, new_topic("a_b")).unwrap_err();
    assert_eq!(refusal.to_string(), "topic 'a_b' collides with existing topic 'a.b'");
}

#[test]
fn the_default_replication_factor_waits_for_brokers_and_never_shrinks() {
    let mut world = World::with_brokers(2);
    let waiting = TopicRefusal::WaitingForBrokers { replication_factor: 3, registered: 2 };
    assert_eq!(make(&mut world, new_topic("a")), Err(waiting.clone()));
    let internal = NewTopic { replication_factor: ReplicationFactor::Configured(3), ..new_topic("__consumer_offsets") };
    assert_eq!(make(&mut world, internal), Err(waiting));
    world.event(Event::Register(registration(3, 1)));
    assert_eq!(make(&mut world, new_topic("a")).unwrap().replication_factor, 3);
    let (_, partition) = world.partition("a", 0);
    assert_eq!(partition.isr.len(), 2, "a fenced broker is in no isr");
}

#[test]
fn a_topic_needs_somebody_to_lead_it() {
    let mut world = World::new();
    world.event(Event::Register(registration(1, 1)));
    let single = NewTopic { replication_factor: ReplicationFactor::Asked(1), ..new_topic("a") };
    assert_eq!(make(&mut world, single), Err(TopicRefusal::NobodyActive));
}

fn assignment(lists: &[(i32, &[i32])]) -> TopicRefusal {
    let lists = lists.iter().map(|(index, on)| ManualAssignment { index: *index, replicas: nodes(on) });
    refused(|topic| {
        topic.partitions = None;
        topic.assignments = lists.collect();
    })
}

#[test]
fn a_manual_assignment_is_checked() {
    let flaw = |index, flaw| TopicRefusal::Assignment { index, flaw };
    assert_eq!(assignment(&[(0, &[1]), (2, &[1])]), flaw(1, AssignmentFlaw::Gap));
    assert_eq!(assignment(&[(0, &[1]), (0, &[1])]), flaw(0, AssignmentFlaw::Gap));
    assert_eq!(assignment(&[(0, &[])]), flaw(0, AssignmentFlaw::Empty));
    assert_eq!(assignment(&[(0, &[1, 1])]), flaw(0, AssignmentFlaw::Twice(NodeId::new(1))));
    assert_eq!(assignment(&[(0, &[1, 7])]), flaw(0, AssignmentFlaw::Unknown(NodeId::new(7))));
    assert_eq!(assignment(&[(0, &[1, 2]), (1, &[1])]), flaw(1, AssignmentFlaw::Uneven));
    let both = refused(|topic| topic.assignments = vec![ManualAssignment { index: 0, replicas: nodes(&[1]) }]);
    assert_eq!(both, TopicRefusal::AssignedAndCounted);
}

#[test]
fn a_topic_named_twice_in_a_request_is_refused_both_times() {
    let mut world = World::with_brokers(3);
    let topics = vec![new_topic("a"), new_topic("b"), new_topic("a")];
    let Reply::CreateTopics(outcomes) = world.event(Event::CreateTopics(request(topics))) else { panic!("answered") };
    let refused: Vec<bool> = outcomes.iter().map(|(_, outcome)| *outcome == Err(TopicRefusal::Twice)).collect();
    assert_eq!(refused, [true, false, true]);
}

#[test]
fn a_dry_run_changes_nothing() {
    let mut world = World::with_brokers(3);
    let before = world.image.clone();
    let dry = CreateTopics { validate_only: true, ..request(vec![new_topic("a")]) };
    let Reply::CreateTopics(outcomes) = world.event(Event::CreateTopics(dry)) else { panic!("answered") };
    assert!(outcomes[0].1.is_ok());
    assert_eq!(world.image, before);
}

#[test]
fn the_largest_request_is_several_proposals_and_each_topic_appears_whole() {
    let mut world = World::with_brokers(3);
    let names: Vec<String> = (0..1000).map(|number| format!("topic-{number:04}")).collect();
    let mut topics: Vec<NewTopic> = names.iter().map(|name| new_topic(name)).collect();
    for (number, topic) in (0_u16..).zip(&mut topics) {
        topic.partitions = Some(10);
        let mut id = [0; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        topic.id = TopicId::new(id);
    }
    let before = world.log.len();
    let Reply::CreateTopics(outcomes) = world.event(Event::CreateTopics(request(topics))) else { panic!("answered") };
    assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()));
    assert!(outcomes.iter().map(|(name, _)| name).eq(&names));
    assert_eq!(world.image.topics().partition_count(), 10_000);
    assert!(world.log.len() - before > 1);
    for (_, proposal) in &world.log[before..] {
        assert!(bincode::serialized_size(&proposal.records).unwrap() <= 128 * 1024);
    }
}

#[test]
fn one_topic_of_ten_thousand_partitions_fits() {
    let mut world = World::with_brokers(3);
    let created = make(&mut world, NewTopic { partitions: Some(10_000), ..new_topic("wide") }).unwrap();
    assert_eq!(created.partitions, 10_000);
    assert_eq!(world.image.topic_named("wide").unwrap().partition_count, 10_000);
}

#[test]
fn leaders_are_spread_evenly() {
    let mut world = World::with_brokers(3);
    make(&mut world, NewTopic { partitions: Some(30), ..new_topic("a") }).unwrap();
    for node in 1..=3 {
        assert_eq!(world.image.topics().led_by(NodeId::new(node)).count(), 10);
    }
}

#[test]
fn replicas_stand_in_different_racks() {
    let mut world = World::new();
    for node in 1..=6 {
        let rack = Some(format!("rack-{}", node % 3));
        world.event(Event::Register(Registration { rack, ..registration(node, 1) }));
        world.serve(node);
    }
    make(&mut world, NewTopic { partitions: Some(60), ..new_topic("a") }).unwrap();
    for (id, partition) in world.image.topics().partitions() {
        let racks: std::collections::BTreeSet<i32> = partition.replicas.iter().map(|node| node.get() % 3).collect();
        assert_eq!(racks.len(), 3, "{id} stands on {:?}", partition.replicas);
    }
    for node in 1..=6 {
        assert_eq!(world.image.topics().led_by(NodeId::new(node)).count(), 10, "broker {node}");
    }
}

#[test]
fn topics_are_deleted_by_name_or_id_with_all_that_is_theirs() {
    let mut world = World::with_topic();
    let before = world.image.clone();
    let id = world.partition("t", 0).0.topic;
    let configured = NewTopic { configs: vec![("retention.ms".to_owned(), Some("1".to_owned()))], ..new_topic("b") };
    make(&mut world, configured).unwrap();
    let topics = vec![
        TopicReference::Name("b".to_owned()),
        TopicReference::Id(TopicId::ZERO),
        TopicReference::Name("x".to_owned()),
        TopicReference::Id(id),
    ];
    let refusals: Vec<Option<DeleteRefusal>> =
        delete(&mut world, topics).into_iter().map(|(_, outcome)| outcome.err()).collect();
    assert_eq!(refusals, [None, Some(DeleteRefusal::UnknownId), Some(DeleteRefusal::UnknownName), None]);
    assert_eq!(world.image.topics().topic_count(), 0);
    assert_eq!(world.image.topics().in_isr_of(NodeId::new(1)).count(), 0);
    assert_eq!(world.image.configs().overrides(&ConfigResource::Topic(id)).count(), 0);
    assert_eq!(before.topics().topic_count(), 1, "an image that somebody kept is as it was");
}

fn delete(
    world: &mut World,
    topics: Vec<TopicReference>,
) -> Vec<(TopicReference, Result<DeletedTopic, DeleteRefusal>)> {
    let event = Event::DeleteTopics(DeleteTopics { topics, settled: Vec::new() });
    let Reply::DeleteTopics(outcomes) = world.event(event) else { panic!("answered") };
    outcomes
}

/// As Apache Kafka 4.3 does.
#[test]
fn a_topic_that_a_request_deletes_twice_stays_and_is_answered_once() {
    let named = |name: &str| TopicReference::Name(name.to_owned());
    let mut world = World::with_topic();
    let id = world.partition("t", 0).0.topic;
    let twice = Err(DeleteRefusal::Twice);
    let unknown = (named("zz"), Err(DeleteRefusal::UnknownName));
    let outcomes = delete(&mut world, vec![named("t"), named("zz"), named("t")]);
    assert_eq!(outcomes, [(named("t"), twice.clone()), unknown]);
    let by_id = TopicReference::Id(id);
    assert_eq!(delete(&mut world, vec![by_id.clone(); 3]), [(by_id.clone(), twice.clone())]);
    let both = Err(DeleteRefusal::ByNameAndId(id));
    assert_eq!(delete(&mut world, vec![by_id, named("t")]), [(named("t"), both)]);
    assert_eq!(delete(&mut world, vec![named("zz"), named("zz")]), [(named("zz"), twice)]);
    assert_eq!(world.image.topics().topic_count(), 1);
}

#[test]
fn a_topic_repeated_far_apart_stays_when_the_request_is_several_proposals() {
    let mut world = World::with_brokers(3);
    let topics: Vec<NewTopic> = (0..9_000_u16)
        .map(|number| {
            let mut id = [0; 16];
            id[..2].copy_from_slice(&number.to_be_bytes());
            NewTopic { id: TopicId::new(id), partitions: Some(1), ..new_topic(&format!("t{number}")) }
        })
        .collect();
    let mut names: Vec<TopicReference> = topics.iter().map(|topic| TopicReference::Name(topic.name.clone())).collect();
    world.event(Event::CreateTopics(request(topics)));
    names.push(names[0].clone());
    let before = world.log.len();
    assert_eq!(delete(&mut world, names).len(), 9_000);
    assert!(world.log.len() - before > 1, "it takes more than one proposal");
    assert!(world.image.topic_named("t0").is_some());
    assert_eq!(world.image.topics().topic_count(), 1);
}

#[test]
fn the_minimum_isr_is_the_smaller_of_configuration_and_replicas() {
    let mut world = World::with_brokers(3);
    let factor = |n| NewTopic { replication_factor: ReplicationFactor::Asked(n), ..new_topic(&format!("t{n}")) };
    for n in 1..=3 {
        make(&mut world, factor(n)).unwrap();
        let topic = world.image.topic_named(&format!("t{n}")).unwrap().id;
        let expect = usize::try_from(n).unwrap().min(2);
        assert_eq!(effective_min_isr(&world.image, &Defaults::default(), topic), expect);
    }
}

/// Broker 1 serves, 2 and 3 are registered.
fn with_one_that_serves() -> World {
    let mut world = World::with_brokers(1);
    for node in [2, 3] {
        world.event(Event::Register(registration(node, 1)));
    }
    world
}

/// Nothing of such a partition can have been committed, so nobody who comes lacks anything.
#[test]
fn a_topic_that_begins_below_its_minimum_is_led_by_whoever_comes_when_its_first_leader_is_lost() {
    let mut world = with_one_that_serves();
    world.create("a", &[&[1, 2, 3]]);
    let (id, partition) = world.partition("a", 0);
    assert_eq!((partition.leader, partition.isr, partition.elr), (Some(NodeId::new(1)), nodes(&[1]), nodes(&[2, 3])));
    let restarted = Registration { suspects: vec![id], ..restart(&world, 1, 2) };
    world.event(Event::Register(restarted));
    world.serve(2);
    let (_, partition) = world.partition("a", 0);
    assert_eq!((partition.leader, partition.isr), (Some(NodeId::new(2)), nodes(&[2])));
}

#[test]
fn a_topic_that_is_made_with_enough_of_its_replicas_has_no_others_eligible() {
    let mut world = with_one_that_serves();
    world.serve(2);
    world.create("a", &[&[1, 2, 3]]);
    let (_, partition) = world.partition("a", 0);
    assert_eq!((partition.isr, partition.elr), (nodes(&[1, 2]), nodes(&[])));
    let configs = vec![("min.insync.replicas".to_owned(), Some("3".to_owned()))];
    make(&mut world, NewTopic { configs, ..new_topic("b") }).unwrap();
    let (_, partition) = world.partition("b", 0);
    assert_eq!((partition.isr.len(), partition.elr), (2, nodes(&[3])));
}

#[test]
fn partitions_that_are_added_below_the_minimum_have_all_replicas_eligible() {
    let mut world = World::with_topic();
    for node in [2, 3] {
        world.event(Event::Register(registration(node, 2)));
    }
    let topics = vec![GrowingTopic { name: "t".to_owned(), count: 2, assignments: Some(vec![nodes(&[1, 2, 3])]) }];
    world.event(Event::CreatePartitions(CreatePartitions { topics, validate_only: false, seed: 0, settled: vec![] }));
    assert_eq!(world.partition("t", 1).1.elr, nodes(&[2, 3]));
}

#[test]
fn a_topic_too_large_to_be_written_out_appears_whole_all_the_same() {
    let mut world = with_one_that_serves();
    let before = world.log.len();
    make(&mut world, NewTopic { partitions: Some(5_000), ..new_topic("a") }).unwrap();
    assert_eq!(world.log.len() - before, 1);
    assert_eq!(world.partition("a", 4_999).1.isr, nodes(&[1]));
}

//! Configurations, more partitions, and brokers that leave.

use super::*;
use crate::model::TopicName;

fn alter(world: &mut World, target: ConfigTarget, changes: &[(&str, ConfigChange)]) -> Result<(), ConfigRefusal> {
    let changes = changes.iter().map(|(name, change)| ((*name).to_owned(), change.clone())).collect();
    let resources = vec![ConfigAlteration { target, changes, scope: AlterationScope::Incremental }];
    let request = AlterConfigs { resources, validate_only: false, settled: Vec::new() };
    let reply = world.event(Event::AlterConfigs(request));
    let Reply::AlterConfigs(mut outcomes) = reply else { panic!("it is answered") };
    outcomes.each.remove(0).1
}

fn t() -> ConfigTarget {
    ConfigTarget::Topic("t".to_owned())
}

fn set(value: &str) -> ConfigChange {
    ConfigChange::Set(value.to_owned())
}

fn value(world: &World, name: &str) -> Option<String> {
    let topic = world.image.topic_named("t").unwrap().id;
    world.image.configs().get(&ConfigResource::Topic(topic), name).map(str::to_owned)
}

#[test]
fn a_value_is_set_and_taken_back() {
    let mut world = World::with_topic();
    alter(&mut world, t(), &[("retention.ms", set("5"))]).unwrap();
    assert_eq!(value(&world, "retention.ms").as_deref(), Some("5"));
    alter(&mut world, t(), &[("retention.ms", ConfigChange::Delete), ("segment.ms", ConfigChange::Delete)]).unwrap();
    assert_eq!(value(&world, "retention.ms"), None);
}

#[test]
fn words_join_and_leave_lists_only() {
    let mut world = World::with_topic();
    let compact = || "compact".to_owned();
    alter(&mut world, t(), &[("cleanup.policy", ConfigChange::Append(compact()))]).unwrap();
    assert_eq!(value(&world, "cleanup.policy").as_deref(), Some("delete,compact"));
    alter(&mut world, t(), &[("cleanup.policy", ConfigChange::Subtract("delete".to_owned()))]).unwrap();
    assert_eq!(value(&world, "cleanup.policy").as_deref(), Some("compact"));
    let policies = || ConfigChange::Append(" delete, compact ".to_owned());
    alter(&mut world, t(), &[("cleanup.policy", policies())]).unwrap();
    alter(&mut world, t(), &[("cleanup.policy", policies())]).unwrap();
    assert_eq!(value(&world, "cleanup.policy").as_deref(), Some("compact,delete"));
    let refusal = alter(&mut world, t(), &[("retention.ms", ConfigChange::Append("5".to_owned()))]).unwrap_err();
    assert_eq!(refusal, ConfigRefusal::NotAList { name: "retention.ms".to_owned() });
}

#[test]
fn one_bad_change_refuses_all_of_its_resource() {
    let mut world = World::with_topic();
    let changes = [("retention.ms", set("5")), ("segment.bytes", set("1"))];
    assert!(matches!(alter(&mut world, t(), &changes), Err(ConfigRefusal::Config(_))));
    assert_eq!(value(&world, "retention.ms"), None);
    let unclean = alter(&mut world, t(), &[("unclean.leader.election.enable", set("true"))]).unwrap_err();
    assert!(unclean.to_string().contains("only replicas that hold all acknowledged records may lead"));
    let unknown = alter(&mut world, ConfigTarget::Topic("x".to_owned()), &[]);
    assert_eq!(unknown, Err(ConfigRefusal::UnknownTopic));
    let fixed = alter(&mut world, ConfigTarget::Cluster, &[("node.id", set("5"))]).unwrap_err();
    assert_eq!(fixed, ConfigRefusal::NotDynamic { name: "node.id".to_owned() });
}

fn alter_all(world: &mut World, resources: Vec<ConfigAlteration>) -> Vec<(ConfigTarget, Result<(), ConfigRefusal>)> {
    let reply = world.event(Event::AlterConfigs(AlterConfigs { resources, validate_only: false, settled: Vec::new() }));
    let Reply::AlterConfigs(outcomes) = reply else { panic!("it is answered") };
    outcomes.each
}

fn setting(topic: &str, retention_ms: &str) -> ConfigAlteration {
    let changes = vec![("retention.ms".to_owned(), set(retention_ms))];
    ConfigAlteration { target: ConfigTarget::Topic(topic.to_owned()), changes, scope: AlterationScope::Incremental }
}

#[test]
fn a_resource_that_a_request_alters_twice_stays_as_it_is() {
    let mut world = World::with_topic();
    world.create("u", &[&[1, 2, 3]]);
    let outcomes = alter_all(&mut world, vec![setting("t", "5"), setting("u", "6"), setting("t", "7")]);
    let outcomes: Vec<_> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes, [Err(ConfigRefusal::Twice), Ok(()), Err(ConfigRefusal::Twice)]);
    assert_eq!(value(&world, "retention.ms"), None);
}

#[test]
fn a_resource_that_is_altered_twice_far_apart_stays_when_the_request_is_several_proposals() {
    let mut world = World::with_brokers(3);
    world.soft = Soft::new(Options { proposal_bytes_max: 2_048, ..Options::default() });
    for number in 0..60 {
        world.create(&format!("t{number}"), &[&[1, 2, 3]]);
    }
    let before = world.log.len();
    let resources = (0..60).chain([0]).map(|number| setting(&format!("t{number}"), "5")).collect();
    let outcomes = alter_all(&mut world, resources);
    assert!(world.log.len() > before + 1);
    let refused: Vec<_> = (0..).zip(&outcomes).filter(|(_, (_, outcome))| outcome.is_err()).map(|(at, _)| at).collect();
    assert_eq!(refused, [0, 60]);
}

#[test]
fn an_answer_says_from_where_on_it_is_seen() {
    let mut world = World::with_topic();
    let grow = CreatePartitions { topics: vec![growing("t", 2)], validate_only: false, seed: 3, settled: Vec::new() };
    let Reply::CreatePartitions(grown) = world.event(Event::CreatePartitions(grow)) else { panic!("it is answered") };
    assert_eq!(grown.seen_at, world.image.last_applied());
    let mut seen_at = || {
        let (resources, settled) = (vec![setting("t", "5")], Vec::new());
        let reply = world.event(Event::AlterConfigs(AlterConfigs { resources, validate_only: false, settled }));
        let Reply::AlterConfigs(altered) = reply else { panic!("it is answered") };
        (altered.seen_at, world.image.last_applied(), world.log.len())
    };
    let first = seen_at();
    assert_eq!(first.0, first.1);
    assert!(first.0 > grown.seen_at);
    assert_eq!(seen_at(), first, "what was so before is seen, too");
}

#[test]
fn a_smaller_minimum_ends_the_elr_in_the_same_proposal() {
    for target in [t(), ConfigTarget::Cluster] {
        let mut world = World::with_topic();
        let (id, partition) = world.partition("t", 0);
        let state = Partition { isr: nodes(&[1]), elr: nodes(&[2]), ..partition };
        world.accept(Decision::new(vec![Record::PartitionChanged { partition: id, state }], Reply::Nothing));
        let before = world.log.len();
        alter(&mut world, target, &[("min.insync.replicas", set("1"))]).unwrap();
        assert_eq!(world.log.len(), before + 1);
        assert_eq!(show(&world.partition("t", 0).1), "leader 1 isr [1] elr [] epoch 0");
    }
}

#[test]
fn the_clusters_minimum_never_returns_to_the_nodes() {
    let mut world = World::with_topic();
    let minimum = "min.insync.replicas";
    let refusal = alter(&mut world, ConfigTarget::Cluster, &[(minimum, ConfigChange::Delete)]);
    assert_eq!(refusal, Err(ConfigRefusal::MinIsrStays));
    let (target, scope) = (ConfigTarget::Cluster, AlterationScope::Replace);
    let changes = vec![("log.retention.ms".to_owned(), set("5"))];
    assert_eq!(alter_all(&mut world, vec![ConfigAlteration { target, changes, scope }])[0].1, Ok(()));
    assert_eq!(world.image.configs().get(&ConfigResource::Cluster, minimum), Some("2"));
}

#[test]
fn what_is_not_set_or_does_not_exist_can_be_taken_back() {
    let mut world = World::with_topic();
    let before = world.log.len();
    for target in [t(), ConfigTarget::Cluster, ConfigTarget::Broker(NodeId::new(1))] {
        let changes = [("no.such.thing", ConfigChange::Delete), ("log.retention.ms", ConfigChange::Delete)];
        assert_eq!(alter(&mut world, target, &changes), Ok(()));
    }
    assert_eq!(world.log.len(), before);
}

#[test]
fn one_broker_has_nothing_of_its_own() {
    let mut world = World::with_topic();
    let mut refused = |name: &str| alter(&mut world, ConfigTarget::Broker(NodeId::new(1)), &[(name, set("5"))]);
    let name = "log.retention.ms".to_owned();
    assert_eq!(refused("log.retention.ms"), Err(ConfigRefusal::NotPerBroker { name }));
    assert_eq!(refused("node.id"), Err(ConfigRefusal::NotDynamic { name: "node.id".to_owned() }));
    assert_eq!(alter(&mut world, ConfigTarget::Cluster, &[("log.retention.ms", set("5"))]), Ok(()));
}

fn grow(world: &mut World, count: i32, assignments: Option<&[&[i32]]>) -> Result<(), GrowRefusal> {
    let assignments = assignments.map(|assignments| assignments.iter().map(|on| nodes(on)).collect());
    let topics = vec![GrowingTopic { name: "t".to_owned(), count, assignments }];
    let request = CreatePartitions { topics, validate_only: false, seed: 3, settled: Vec::new() };
    let reply = world.event(Event::CreatePartitions(request));
    let Reply::CreatePartitions(mut outcomes) = reply else { panic!("it is answered") };
    outcomes.each.remove(0).1
}

#[test]
fn a_topic_grows_after_its_last_partition() {
    let mut world = World::with_topic();
    grow(&mut world, 3, None).unwrap();
    assert_eq!(world.image.topic_named("t").unwrap().partition_count, 3);
    assert_eq!(world.partition("t", 2).1.replicas.len(), 3);
    grow(&mut world, 4, Some(&[&[3, 1, 2]])).unwrap();
    assert_eq!(world.partition("t", 3).1.leader, Some(NodeId::new(3)));
    assert_eq!(grow(&mut world, 4, None), Err(GrowRefusal::NotMore { present: 4, asked: 4 }));
    let counts = GrowRefusal::AssignmentCount { assignments: 1, added: 2 };
    assert_eq!(grow(&mut world, 6, Some(&[&[1, 2, 3]])), Err(counts));
    let counts = GrowRefusal::AssignmentCount { assignments: 0, added: 1 };
    assert_eq!(grow(&mut world, 5, Some(&[])), Err(counts), "a list of none is not no list, as in Kafka");
    let uneven = TopicRefusal::Assignment { index: 4, flaw: AssignmentFlaw::Uneven };
    assert_eq!(grow(&mut world, 5, Some(&[&[1]])), Err(GrowRefusal::Topic(uneven)));
}

fn growing(name: &str, count: i32) -> GrowingTopic {
    GrowingTopic { name: name.to_owned(), count, assignments: None }
}

fn grow_all(world: &mut World, topics: Vec<GrowingTopic>) -> Vec<Result<(), GrowRefusal>> {
    let request = CreatePartitions { topics, validate_only: false, seed: 3, settled: Vec::new() };
    let reply = world.event(Event::CreatePartitions(request));
    let Reply::CreatePartitions(outcomes) = reply else { panic!("it is answered") };
    outcomes.each.into_iter().map(|(_, outcome)| outcome).collect()
}

#[test]
fn the_topic_that_keeps_groups_does_not_grow() {
    let mut world = World::with_topic();
    world.create(TopicName::CONSUMER_OFFSETS, &[&[1, 2, 3]]);
    let outcomes = grow_all(&mut world, vec![growing(TopicName::CONSUMER_OFFSETS, 2), growing("t", 2)]);
    assert_eq!(outcomes, [Err(GrowRefusal::KeepsGroups), Ok(())]);
    assert_eq!(world.image.topic_named(TopicName::CONSUMER_OFFSETS).unwrap().partition_count, 1);
}

#[test]
fn a_topic_that_a_request_names_twice_does_not_grow() {
    let mut world = World::with_topic();
    world.create("u", &[&[1, 2, 3]]);
    let outcomes = grow_all(&mut world, vec![growing("t", 2), growing("u", 2), growing("t", 3)]);
    assert_eq!(outcomes, [Err(GrowRefusal::Twice), Ok(()), Err(GrowRefusal::Twice)]);
    assert_eq!(world.image.topic_named("t").unwrap().partition_count, 1);
}

#[test]
fn a_request_for_too_many_partitions_in_all_grows_nothing() {
    let mut world = World::with_topic();
    world.create("u", &[&[1, 2, 3]]);
    let partitions_max = world.soft.options().request_partitions_max;
    let half = i32::try_from(partitions_max / 2).unwrap();
    let outcomes = grow_all(&mut world, vec![growing("t", half + 1), growing("u", half + 2)]);
    let refusal = GrowRefusal::Topic(TopicRefusal::TooManyPartitions { partitions_max });
    assert_eq!(outcomes, [Err(refusal.clone()), Err(refusal)]);
    assert_eq!(grow_all(&mut world, vec![growing("t", 2), growing("u", 3)]), [Ok(()), Ok(())]);
}

#[test]
fn topics_that_do_not_exist_count_too() {
    let mut world = World::with_topic();
    let partitions_max = world.soft.options().request_partitions_max;
    let absent = |count: usize| (0..count).map(|number| growing(&format!("absent-{number}"), 2)).collect();
    let outcomes = grow_all(&mut world, absent(partitions_max + 1));
    let refusal = GrowRefusal::Topic(TopicRefusal::TooManyPartitions { partitions_max });
    assert!(outcomes.iter().all(|outcome| *outcome == Err(refusal.clone())));
    let outcomes = grow_all(&mut world, absent(partitions_max));
    assert!(outcomes.iter().all(|outcome| *outcome == Err(GrowRefusal::UnknownTopic)));
}

#[test]
fn a_broker_is_forgotten_only_when_stopped_and_empty() {
    let mut world = World::with_topic();
    world.event(Event::Register(registration(4, 1)));
    world.serve(4);
    let forget = |world: &mut World, node| {
        let Reply::Unregister(outcome) = world.event(Event::Unregister(NodeId::new(node))) else { panic!("answered") };
        outcome
    };
    assert_eq!(forget(&mut world, 9), Err(UnregisterRefusal::Unknown(NodeId::new(9))));
    assert_eq!(forget(&mut world, 4), Err(UnregisterRefusal::Alive(NodeId::new(4))));
    for node in [1, 4] {
        world.event(Event::Heartbeat(world.heartbeat(node, Wish::StayFenced)));
    }
    let keeps = UnregisterRefusal::KeepsReplicas { node: NodeId::new(1), partitions: 1 };
    assert_eq!(forget(&mut world, 1), Err(keeps));
    assert_eq!(forget(&mut world, 4), Ok(()));
    assert!(world.image.broker(NodeId::new(4)).is_none());
}

#[test]
fn a_group_sets_what_groups_have_whether_it_exists_or_not() {
    let mut world = World::with_topic();
    let (heartbeat, session) = ("consumer.heartbeat.interval.ms", "consumer.session.timeout.ms");
    let (group, target) = (GroupId::new("g"), || ConfigTarget::Group(GroupId::new("g")));
    alter(&mut world, target(), &[(heartbeat, set("1000")), (session, set("9000"))]).unwrap();
    let of_group = |world: &World| world.image.configs().group_configs(&group);
    assert_eq!(of_group(&world).heartbeat_interval, Some(Duration::from_secs(1)));
    assert_eq!(of_group(&world).session_timeout, Some(Duration::from_secs(9)));
    for refused in [(heartbeat, "9000"), (session, "1000"), (heartbeat, "1"), (session, "x"), ("retention.ms", "1")] {
        let refusal = alter(&mut world, target(), &[(refused.0, set(refused.1))]);
        assert!(matches!(refusal, Err(ConfigRefusal::Config(_))), "{refused:?}");
    }
    let refusal = alter(&mut world, t(), &[(heartbeat, set("1000"))]);
    assert!(matches!(refusal, Err(ConfigRefusal::Config(InvalidConfig::Unknown { .. }))), "topics have others");
    alter(&mut world, target(), &[(heartbeat, ConfigChange::Delete), (session, ConfigChange::Delete)]).unwrap();
    assert_eq!(of_group(&world), GroupConfigs::default());
}

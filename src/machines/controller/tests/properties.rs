//! Random histories: whatever happens, the image stays sound.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Something that may happen to a cluster of four brokers.
#[derive(Clone, Debug)]
enum Happening {
    Restart { node: i32, keeps_disk: bool, clean: bool },
    Serve(i32),
    Suspect { node: i32, partition: usize },
    Unserved { node: i32, partition: usize },
    Hang(i32),
    Stop(i32),
    Close(i32),
    Dialed(i32, DialOutcome),
    Unreachable { node: i32, leader: i32 },
    Alter { partition: usize, members: u8 },
    Create { name: u8, partitions: i32, replicas: i16 },
    Delete(u8),
    Pass(u64),
    Tick,
    NewController,
    Barrier,
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let node = || 1..=4_i32;
    let outcome = prop_oneof![Just(DialOutcome::Refused), Just(DialOutcome::Answered), Just(DialOutcome::Unable)];
    prop_oneof![
        2 => (node(), any::<bool>(), any::<bool>())
            .prop_map(|(node, keeps_disk, clean)| Restart { node, keeps_disk, clean }),
        8 => node().prop_map(Serve),
        1 => (node(), any::<usize>()).prop_map(|(node, partition)| Suspect { node, partition }),
        1 => (node(), any::<usize>()).prop_map(|(node, partition)| Unserved { node, partition }),
        1 => node().prop_map(Hang),
        1 => node().prop_map(Stop),
        2 => node().prop_map(Close),
        2 => (node(), outcome).prop_map(|(node, outcome)| Dialed(node, outcome)),
        2 => (node(), node()).prop_map(|(node, leader)| Unreachable { node, leader }),
        6 => (any::<usize>(), any::<u8>()).prop_map(|(partition, members)| Alter { partition, members }),
        2 => (0..4_u8, 1..4_i32, 1..=4_i16)
            .prop_map(|(name, partitions, replicas)| Create { name, partitions, replicas }),
        1 => (0..4_u8).prop_map(Delete),
        6 => (1..900_u64).prop_map(Pass),
        6 => Just(Tick),
        1 => Just(NewController),
        1 => Just(Barrier),
    ]
}

fn happen(world: &mut World, happening: Happening, topics: &mut u64) {
    match happening {
        Happening::Restart { node, keeps_disk, clean } => {
            let boot = world.image.broker(NodeId::new(node)).map_or(1, |broker| broker.boot.get() + 1);
            let mut again = registration(node, boot);
            if keeps_disk && world.image.broker(NodeId::new(node)).is_some() {
                again = restart(world, node, boot);
            }
            world.event(Event::Register(Registration { clean, ..again }));
            if world.image.broker(NodeId::new(node)).is_some() {
                world.connect(node);
            }
        }
        Happening::Suspect { node, partition } => {
            if let Some((id, _)) = nth(world, partition) {
                beat(world, node, |heartbeat| heartbeat.suspects = vec![id]);
            }
        }
        Happening::Unserved { node, partition } => {
            if let Some((id, _)) = nth(world, partition) {
                beat(world, node, |heartbeat| heartbeat.unserved = vec![id]);
            }
        }
        Happening::Serve(node) => beat(world, node, |_| {}),
        Happening::Hang(node) => beat(world, node, |h| h.progress.oldest_turn = Duration::from_secs(9)),
        Happening::Stop(node) => beat(world, node, |heartbeat| heartbeat.wish = Wish::ShutDown),
        Happening::Unreachable { node, leader } => beat(world, node, |h| h.unfetchable = nodes(&[leader])),
        Happening::Close(node) if world.image.broker(NodeId::new(node)).is_some() => world.close(node),
        Happening::Dialed(node, outcome) if world.image.broker(NodeId::new(node)).is_some() => {
            world.dialed(node, outcome);
        }
        Happening::Close(_) | Happening::Dialed(..) => {}
        Happening::Alter { partition, members } => alter(world, partition, members),
        Happening::Create { name, partitions, replicas } => {
            *topics += 1;
            let mut topic = new_topic(&format!("topic.{name}"));
            topic.id = TopicId::new((u128::from(*topics) << 64).to_be_bytes());
            topic.partitions = Some(partitions);
            topic.replication_factor = ReplicationFactor::Asked(replicas);
            world.event(Event::CreateTopics(CreateTopics { seed: *topics, ..request(vec![topic]) }));
        }
        Happening::Delete(name) => {
            let topics = vec![TopicReference::Name(format!("topic.{name}"))];
            world.event(Event::DeleteTopics(DeleteTopics { topics, settled: Vec::new() }));
        }
        Happening::Pass(millis) => world.pass(millis),
        Happening::Tick => drop(world.tick()),
        Happening::NewController => world.soft.begin(&world.image, world.now),
        Happening::Barrier => world.soft.barrier_passed(world.now.instant),
    }
}

fn beat(world: &mut World, node: i32, edit: impl FnOnce(&mut Heartbeat)) {
    if world.image.broker(NodeId::new(node)).is_some() {
        let mut heartbeat = world.heartbeat(node, Wish::Serve);
        edit(&mut heartbeat);
        world.event(Event::Heartbeat(heartbeat));
    }
}

fn nth(world: &World, number: usize) -> Option<(PartitionId, Partition)> {
    let count = world.image.topics().partition_count();
    let (id, partition) = world.image.topics().partitions().nth(number.checked_rem(count)?)?;
    Some((id, partition.clone()))
}

/// The leader asks for a random set of its replicas, itself included.
fn alter(world: &mut World, number: usize, members: u8) {
    let Some((id, partition)) = nth(world, number) else { return };
    let Some(leader) = partition.leader else { return };
    let wanted = |at: usize, node: NodeId| node == leader || members & (1 << at) != 0;
    let isr = partition.replicas.iter().enumerate().filter(|(at, node)| wanted(*at, **node));
    let isr = isr.map(|(_, node)| IsrMember { node: *node, broker_epoch: world.epoch(node.get()) }).collect();
    let change = IsrChange {
        partition: id,
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        isr,
        recovery: partition.recovery,
    };
    let request = AlterIsr { node: leader, broker_epoch: world.epoch(leader.get()), changes: vec![change] };
    world.event(Event::AlterIsr(request));
}

/// What holds of every image.
fn assert_sound(image: &Image) {
    for (id, partition) in image.topics().partitions() {
        assert_eq!(partition.flaw(), None, "{id}");
        let min_isr = effective_min_isr(image, &Defaults::default(), id.topic);
        assert!(partition.elr.is_empty() || partition.isr.len() < min_isr, "{id} has an elr beside a full isr");
        let held = |list: &[NodeId], node| list.contains(&node);
        for node in (1..=4).map(NodeId::new) {
            let indexed = image.topics().in_isr_of(node).any(|(other, _)| other == id);
            assert_eq!(indexed, held(&partition.isr, node), "{id} in the index of isrs");
        }
    }
    let leaderless = image.topics().leaderless().count();
    assert_eq!(leaderless, image.topics().partitions().filter(|(_, p)| p.leader.is_none()).count());
}

/// What holds between one image and the next: epochs rise, and a change of leader begins an epoch (rules R1, S18).
fn assert_steps(before: &Image, after: &Image) {
    for (id, change) in after.since(before).partitions {
        let (Some(old), Some(new)) = (change.before, change.after) else { continue };
        assert!(new.partition_epoch > old.partition_epoch, "{id} changed within a partition epoch");
        let keeps_leader = new.leader_epoch == old.leader_epoch;
        assert_eq!(keeps_leader, new.leader == old.leader, "{id}: {} then {}", show(&old), show(&new));
        // Clean elections only: who leads was in the ISR or, that being empty or led by nobody reachable, the ELR.
        if let Some(leader) = new.leader.filter(|_| !keeps_leader) {
            let eligible = old.isr.contains(&leader) || old.elr.contains(&leader);
            assert!(eligible, "{id}: {leader} was elected from {}", show(&old));
        }
    }
    for (node, change) in after.since(before).brokers {
        let (Some(old), Some(new)) = (change.before, change.after) else { continue };
        assert!(new.broker_epoch >= old.broker_epoch, "the epoch of broker {node} fell");
        if old.is_fenced() && new.is_active() {
            // Else it would resume an epoch that another process of its began (rule R1).
            assert_eq!(before.topics().in_isr_of(node).count(), 0, "broker {node} is unfenced with a former life");
        }
    }
}

/// What holds once nothing is owed (rules R15, S10).
fn assert_settled(image: &Image) {
    for broker in image.brokers().iter().filter(|broker| !broker.is_active()) {
        assert_eq!(image.topics().in_isr_of(broker.node).count(), 0, "broker {} is fenced", broker.node);
    }
    for (id, partition) in image.topics().leaderless() {
        let able = partition.elr.iter().any(|node| image.brokers().is_active(*node));
        assert!(!able, "{id} has no leader but could: {}", show(partition));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_history_leaves_a_sound_image(
        proposal_bytes_max in prop_oneof![Just(450), Just(128 * 1024)],
        history in vec(happening(), 1..80),
    ) {
        let mut world = World::with_brokers(4);
        world.soft.options.proposal_bytes_max = proposal_bytes_max;
        let mut topics = 0;
        for happening in history {
            let logged = world.log.len();
            let mut before = world.image.clone();
            happen(&mut world, happening, &mut topics);
            for (index, proposal) in &world.log[logged..] {
                // Decision by decision and record by record: each leaves the image sound.
                for record in &proposal.records {
                    let mut after = before.clone();
                    after.replay(*index, record);
                    assert_steps(&before, &after);
                    before = after;
                }
            }
            assert_sound(&world.image);
        }
        world.settle();
        assert_sound(&world.image);
        assert_settled(&world.image);
        // The same log gives the same image, and so does a snapshot of it.
        let mut again = Image::default();
        for (index, proposal) in &world.log {
            while again.last_applied().get() + 1 < index.get() {
                again.pass(LogIndex::new(again.last_applied().get() + 1));
            }
            prop_assert_eq!(again.apply(*index, proposal), Applied::Accepted);
        }
        prop_assert_eq!(&again, &world.image);
        prop_assert_eq!(&world.rebuilt(), &world.image);
        prop_assert!(again.since(&world.image).is_empty());
    }
}

//! Registrations and heartbeats.

use std::collections::VecDeque;

use super::*;

fn register(world: &mut World, registration: Registration) -> Result<Registered, RegisterRefusal> {
    let Reply::Register(outcome) = world.event(Event::Register(registration)) else { panic!("it is answered") };
    outcome
}

fn beat(world: &mut World, heartbeat: Heartbeat) -> HeartbeatAnswer {
    let Reply::Heartbeat(Ok(answer)) = world.event(Event::Heartbeat(heartbeat)) else { panic!("it is answered") };
    answer
}

#[test]
fn a_registration_has_the_index_of_its_entry_as_epoch_and_begins_fenced() {
    let mut world = World::new();
    let registered = register(&mut world, registration(1, 1)).unwrap();
    let index = i64::try_from(world.image.last_accepted().get()).unwrap();
    assert_eq!(registered.broker_epoch, Some(BrokerEpoch::new(index)));
    assert_eq!(world.epoch(1), BrokerEpoch::new(index));
    assert!(world.image.broker(NodeId::new(1)).unwrap().is_fenced());
}

#[test]
fn the_same_start_registered_again_keeps_its_epoch() {
    let mut world = World::with_topic();
    let before = world.log.len();
    let again = register(&mut world, registration(1, 1)).unwrap();
    assert_eq!(again.broker_epoch, Some(world.epoch(1)));
    assert_eq!(world.log.len(), before);
}

#[test]
fn a_start_registered_twice_in_one_proposal_has_its_epoch_from_the_log() {
    let mut world = World::new();
    let first = decide(&world.image, &mut world.soft, world.now, Event::Register(registration(1, 1)));
    let between = world.image.with(&first.records);
    let second = decide(&between, &mut world.soft, world.now, Event::Register(registration(1, 1)));
    assert!(second.records.is_empty());
    let index = LogIndex::new(world.image.last_applied().get() + 7);
    assert_eq!(second.reply.at(index), first.reply.at(index));
}

#[test]
fn two_starts_of_a_broker_do_not_register_in_one_proposal() {
    let mut world = World::with_brokers(1);
    let mut waiting: VecDeque<_> =
        [2, 3].map(|boot| Asked { event: Event::Register(restart(&world, 1, boot)), to: boot }).into();
    let round = |world: &mut World, waiting: &mut VecDeque<_>| {
        let mut round = Round::decide(&world.image, &mut world.soft, world.now, waiting, 1 << 17);
        world.accept(Decision::new(std::mem::take(&mut round.records), Reply::Nothing));
        round.settle(Some(world.image.last_applied()), waiting)
    };
    let epochs: Vec<_> = [0, 1]
        .map(|_| match round(&mut world, &mut waiting).as_slice() {
            [(boot, Reply::Register(Ok(registered)))] => (*boot, registered.broker_epoch),
            replies => panic!("{replies:?}"),
        })
        .into();
    assert_eq!((epochs[0].0, epochs[1].0), (2, 3));
    assert!(epochs[0].1 < epochs[1].1, "{epochs:?}");
}

#[test]
fn a_later_start_on_the_same_disk_is_accepted_at_once_and_loses_its_leaderships() {
    check(
        |_| {},
        |world| Event::Register(restart(world, 1, 2)),
        &["registered 1", "0 leader 2 isr [2,3] elr [] epoch 1"],
    );
}

#[test]
fn an_earlier_start_is_refused() {
    let mut world = World::with_topic();
    let later = restart(&world, 1, 5);
    register(&mut world, later).unwrap();
    let refusal = register(&mut world, registration(1, 4)).unwrap_err();
    assert!(matches!(refusal, RegisterRefusal::OldBoot { .. }));
}

#[test]
fn other_disks_under_a_living_node_id_are_refused_until_its_session_ends() {
    let mut world = World::with_topic();
    let mut other = registration(1, 1);
    other.directories[0].id = directory(99);
    assert_eq!(register(&mut world, other.clone()), Err(RegisterRefusal::Duplicate { node: NodeId::new(1) }));
    world.live(2000, &[2, 3]);
    // Who is silent is not dead before it is fenced: that is judged first.
    assert_eq!(register(&mut world, other.clone()), Err(RegisterRefusal::Duplicate { node: NodeId::new(1) }));
    world.tick();
    assert!(register(&mut world, other).is_ok());
    let (_, partition) = world.partition("t", 0);
    assert_eq!(show(&partition), "leader 2 isr [2,3] elr [] epoch 1");
}

#[test]
fn a_directory_has_one_owner() {
    let mut world = World::with_topic();
    let mut thief = registration(4, 1);
    thief.directories[0].id = directory(2);
    let refusal = RegisterRefusal::DirectoryOwned { directory: directory(2), owner: NodeId::new(2) };
    assert_eq!(register(&mut world, thief), Err(refusal));
    let mut nothing = registration(4, 1);
    nothing.directories.clear();
    assert_eq!(register(&mut world, nothing), Err(RegisterRefusal::Directories));
}

#[test]
fn a_node_of_another_cluster_is_refused() {
    let mut world = World::new();
    let theirs = ClusterId::new([8; 16]);
    let stranger = Registration { cluster: Some(theirs), ..registration(1, 1) };
    assert_eq!(register(&mut world, stranger), Err(RegisterRefusal::Cluster { ours: cluster(), theirs }));
}

/// Leaves partition 0 of "t" with nobody but 1: 2 and 3 lost theirs before.
fn only_one(world: &mut World) {
    let (id, partition) = world.partition("t", 0);
    let state = Partition { isr: nodes(&[1]), partition_epoch: partition.partition_epoch.next(), ..partition };
    let records = vec![Record::PartitionChanged { partition: id, state }];
    world.accept(Decision::new(records, Reply::Nothing));
}

#[test]
fn the_last_holder_that_crashed_keeps_its_claim_when_its_disk_proves_it() {
    check(
        only_one,
        |world| Event::Register(restart(world, 1, 2)),
        &["registered 1", "0 leader none isr [] elr [1] epoch 1"],
    );
}

#[test]
fn an_old_image_of_a_disk_has_no_claim() {
    let stale = |world: &World| {
        let mut again = restart(world, 1, 2);
        again.directories[0].previous_epoch = Some(BrokerEpoch::new(1));
        Event::Register(again)
    };
    check(only_one, stale, &["0 leader none isr [] elr [] epoch 1", "registered 1"]);
}

#[test]
fn a_suspect_partition_leaves_the_elr_with_the_registration() {
    let suspects = |world: &World| {
        let suspects = vec![world.partition("t", 0).0];
        Event::Register(Registration { suspects, ..restart(world, 1, 2) })
    };
    check(only_one, suspects, &["0 leader none isr [] elr [] epoch 1", "registered 1"]);
}

#[test]
fn a_crash_costs_the_claims_of_topics_that_acknowledge_from_the_page_cache() {
    let volatile = |world: &mut World| {
        only_one(world);
        let resource = ConfigResource::Topic(world.partition("t", 0).0.topic);
        let record = Record::ConfigSet { resource, name: "flush.mode".to_owned(), value: Some("kafka".to_owned()) };
        world.accept(Decision::new(vec![record], Reply::Nothing));
    };
    let crash = |world: &World| Event::Register(restart(world, 1, 2));
    check(volatile, crash, &["0 leader none isr [] elr [] epoch 1", "registered 1"]);
    let stop = |world: &World| Event::Register(Registration { clean: true, ..restart(world, 1, 2) });
    check(volatile, stop, &["registered 1", "0 leader none isr [] elr [1] epoch 1"]);
}

#[test]
fn a_restart_before_the_first_unfence_keeps_the_proof() {
    let twice = |world: &mut World| {
        only_one(world);
        let again = restart(world, 1, 2);
        world.event(Event::Register(again));
    };
    // It had stored the epoch of its second life, or had not come so far: both disks are up to date.
    check(twice, |world| Event::Register(restart(world, 1, 3)), &["registered 1"]);
    let first = |world: &World| {
        let mut again = restart(world, 1, 3);
        let last_active = world.image.broker(NodeId::new(1)).and_then(|broker| broker.last_active.clone());
        again.directories[0].previous_epoch = last_active.map(|last| last.broker_epoch);
        Event::Register(again)
    };
    check(twice, first, &["registered 1"]);
}

#[test]
fn a_broker_is_unfenced_once_it_has_applied_its_registration_and_has_no_former_life() {
    let mut world = World::with_topic();
    let again = restart(&world, 1, 2);
    register(&mut world, again).unwrap();
    let mut early = world.heartbeat(1, Wish::Serve);
    early.progress.applied = LogIndex::new(u64::try_from(world.epoch(1).get()).unwrap() - 1);
    let answer = beat(&mut world, early);
    assert_eq!(answer, HeartbeatAnswer { is_fenced: true, is_caught_up: false, should_shut_down: false });
    let recovering = world.heartbeat(1, Wish::StayFenced);
    assert!(beat(&mut world, recovering).is_fenced);
    let ready = world.heartbeat(1, Wish::Serve);
    assert!(!beat(&mut world, ready).is_fenced);
}

#[test]
fn a_former_life_that_leads_still_keeps_a_broker_fenced() {
    let mut world = World::with_topic();
    // The registration alone: its elections did not fit and are still owed.
    let restarted = restart(&world, 1, 2);
    let decision = decide(&world.image, &mut world.soft, world.now, Event::Register(restarted));
    let records = decision.records[..1].to_vec();
    world.accept(Decision { records, ..decision });
    let ready = world.heartbeat(1, Wish::Serve);
    let answer = beat(&mut world, ready);
    assert!(answer.is_fenced);
    world.settle();
    let ready = world.heartbeat(1, Wish::Serve);
    assert!(!beat(&mut world, ready).is_fenced);
    assert_eq!(show(&world.partition("t", 0).1), "leader 2 isr [2,3] elr [] epoch 1");
}

#[test]
fn suspects_leave_in_the_batch_that_unfences() {
    let down = |world: &mut World| {
        only_one(world);
        let again = restart(world, 1, 2);
        world.event(Event::Register(again));
    };
    let suspect = |world: &World| {
        let suspects = vec![world.partition("t", 0).0];
        Event::Heartbeat(Heartbeat { suspects, ..world.heartbeat(1, Wish::Serve) })
    };
    check(down, suspect, &["0 leader none isr [] elr [] epoch 1", "unfenced 1"]);
    let sure = |world: &World| Event::Heartbeat(world.heartbeat(1, Wish::Serve));
    check(down, sure, &["unfenced 1", "0 leader 1 isr [1] elr [] epoch 2"]);
}

#[test]
fn a_copy_that_cannot_be_served_is_given_up_while_another_can_lead() {
    check(|_| {}, |world| unserved(world, 1), &["0 leader 2 isr [2,3] elr [] epoch 1"]);
    check(only_one, |world| unserved(world, 1), &[]);
}

#[test]
fn copies_that_are_all_given_up_at_once_leave_one_that_leads_after_its_next_start() {
    let mut world = World::with_topic();
    let mut shown = Vec::new();
    for node in [1, 2, 3, 3] {
        let event = unserved(&world, node);
        world.event(event);
        shown.push(show(&world.partition("t", 0).1));
    }
    let last = "leader 3 isr [3] elr [2] epoch 2";
    assert_eq!(shown, ["leader 2 isr [2,3] elr [] epoch 1", last, last, last]);
    // Each says it again and again; of two that cannot serve neither is better.
    for node in [2, 3, 2, 3] {
        let event = unserved(&world, node);
        world.event(event);
    }
    assert_eq!(show(&world.partition("t", 0).1), last);
    let again = restart(&world, 3, 2);
    register(&mut world, again).unwrap();
    assert_eq!(show(&world.partition("t", 0).1), "leader 2 isr [2] elr [3] epoch 3");
    world.serve(3);
    let event = unserved(&world, 2);
    world.event(event);
    assert_eq!(show(&world.partition("t", 0).1), "leader 3 isr [3] elr [2] epoch 4");
}

#[test]
fn a_copy_that_could_not_be_read_leads_again_when_all_others_have_lost_theirs() {
    let mut world = World::with_topic();
    for node in [1, 2] {
        let event = unserved(&world, node);
        world.event(event);
    }
    assert_eq!(show(&world.partition("t", 0).1), "leader 3 isr [3] elr [2] epoch 2");
    let empty = registration(3, 2);
    world.close(3);
    world.pass(20_000);
    world.serve(2);
    register(&mut world, empty).unwrap();
    let again = restart(&world, 2, 2);
    register(&mut world, again).unwrap();
    world.serve(2);
    assert_eq!(show(&world.partition("t", 0).1), "leader 2 isr [2] elr [] epoch 5");
}

#[test]
fn a_copy_that_cannot_be_served_goes_when_one_comes_that_is_eligible() {
    let mut world = World::with_topic();
    let (id, partition) = world.partition("t", 0);
    let state = Partition {
        isr: nodes(&[1]),
        elr: nodes(&[2]),
        partition_epoch: partition.partition_epoch.next(),
        ..partition
    };
    let gone = restart(&world, 2, 2);
    register(&mut world, gone).unwrap();
    world.accept(Decision::new(vec![Record::PartitionChanged { partition: id, state }], Reply::Nothing));
    let event = unserved(&world, 1);
    world.event(event.clone());
    assert_eq!(show(&world.partition("t", 0).1), "leader 1 isr [1] elr [2] epoch 0");
    world.serve(2);
    world.event(event);
    assert_eq!(show(&world.partition("t", 0).1), "leader 2 isr [2] elr [1] epoch 1");
}

/// Broker `node` holds partition 0 of "t" and cannot read it.
fn unserved(world: &World, node: i32) -> Event {
    let unserved = vec![world.partition("t", 0).0];
    Event::Heartbeat(Heartbeat { unserved, ..world.heartbeat(node, Wish::Serve) })
}

#[test]
fn a_wish_that_is_read_late_unfences_nobody_who_stops() {
    let mut world = World::with_topic();
    let again = restart(&world, 3, 2);
    register(&mut world, again).unwrap();
    let (serve, stop) = (world.heartbeat(3, Wish::Serve), world.heartbeat(3, Wish::ShutDown));
    assert!(beat(&mut world, stop).should_shut_down);
    assert!(beat(&mut world, serve).is_fenced);
}

#[test]
fn who_has_stopped_serves_again_after_its_next_start() {
    let mut world = World::with_topic();
    for boot in [2, 3] {
        let again = restart(&world, 3, boot);
        register(&mut world, again).unwrap();
        world.serve(3);
        assert!(!world.image.broker(NodeId::new(3)).unwrap().is_fenced(), "start {boot}");
        let stop = world.heartbeat(3, Wish::ShutDown);
        beat(&mut world, stop);
    }
}

#[test]
fn another_life_is_told_that_it_is_stale() {
    let mut world = World::with_topic();
    let stale = Heartbeat { broker_epoch: BrokerEpoch::new(1), ..world.heartbeat(1, Wish::Serve) };
    let expect = StaleBroker { node: NodeId::new(1), given: BrokerEpoch::new(1), registered: Some(world.epoch(1)) };
    assert_eq!(world.event(Event::Heartbeat(stale)), Reply::Heartbeat(Err(expect)));
}

#[test]
fn what_a_former_life_said_late_takes_nothing_from_the_present_one() {
    let mut world = World::with_topic();
    only_one(&mut world);
    let doubts = vec![world.partition("t", 0).0];
    let late = [
        Heartbeat { suspects: doubts, ..world.heartbeat(1, Wish::Serve) },
        world.heartbeat(1, Wish::StayFenced),
        world.heartbeat(1, Wish::ShutDown),
    ];
    let again = restart(&world, 1, 2);
    register(&mut world, again).unwrap();
    world.serve(1);
    for heartbeat in late {
        let answer = world.event(Event::Heartbeat(heartbeat));
        assert_eq!(show(&world.partition("t", 0).1), "leader 1 isr [1] elr [] epoch 2");
        assert!(matches!(answer, Reply::Heartbeat(Err(_))), "{answer:?}");
    }
}

#[test]
fn a_stop_in_good_order_moves_leaders_first_and_waits_until_the_others_know() {
    let mut world = World::with_topic();
    let stop = world.heartbeat(1, Wish::ShutDown);
    assert!(!beat(&mut world, stop).should_shut_down);
    assert_eq!(show(&world.partition("t", 0).1), "leader 2 isr [2,3] elr [] epoch 1");
    let stop = world.heartbeat(1, Wish::ShutDown);
    assert!(!beat(&mut world, stop.clone()).should_shut_down, "2 and 3 have not heard of it");
    world.all_serve(&[2, 3]);
    let answer = beat(&mut world, stop);
    assert!(answer.should_shut_down && answer.is_fenced);
    assert!(world.image.broker(NodeId::new(1)).unwrap().is_fenced());
}

#[test]
fn a_stop_waits_for_slow_others_no_longer_than_a_session() {
    let mut world = World::with_topic();
    for _ in 0..2 {
        let stop = world.heartbeat(1, Wish::ShutDown);
        assert!(!beat(&mut world, stop).should_shut_down);
    }
    world.pass(2000);
    let stop = world.heartbeat(1, Wish::ShutDown);
    assert!(beat(&mut world, stop).should_shut_down);
}

#[test]
fn producer_ids_come_in_blocks_that_never_overlap() {
    let mut world = World::with_topic();
    let ask = AllocateProducers { node: NodeId::new(1), broker_epoch: world.epoch(1) };
    let mut ends = Vec::new();
    for _ in 0..2 {
        let Reply::AllocateProducers(Ok(ids)) = world.event(Event::AllocateProducers(ask)) else { panic!("answered") };
        ends.push((ids.first.get(), ids.end.get()));
    }
    assert_eq!(ends, [(0, 1000), (1000, 2000)]);
}

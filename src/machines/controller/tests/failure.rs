//! Brokers that die, hang, or seem to.

use super::*;

#[test]
fn a_silent_broker_is_fenced_after_its_session_and_its_partitions_get_leaders_at_once() {
    let mut world = World::with_topic();
    world.live(1999, &[2, 3]);
    assert!(world.tick().is_empty());
    world.pass(1);
    assert_eq!(world.tick(), ["fenced 1", "0 leader 2 isr [2,3] elr [] epoch 1"]);
}

#[test]
fn a_closed_connection_and_a_refused_dial_mean_dead() {
    let mut world = World::with_topic();
    world.connect(1);
    world.tick();
    world.close(1);
    assert!(world.soft.next_deadline(world.now) <= world.now.instant);
    assert!(world.tick().is_empty());
    assert_eq!(world.effects, [Effect::Dial { node: NodeId::new(1), boot: BootNumber::new(1) }]);
    world.dialed(1, DialOutcome::Refused);
    assert_eq!(world.tick(), ["fenced 1", "0 leader 2 isr [2,3] elr [] epoch 1"]);
}

#[test]
fn a_closed_connection_has_its_grace_to_come_back() {
    let mut world = World::with_topic();
    world.connect(1);
    world.close(1);
    world.tick();
    world.dialed(1, DialOutcome::Answered);
    world.pass(140);
    assert!(world.tick().is_empty());
    world.connect(1);
    world.pass(1000);
    world.all_serve(&[1, 2, 3]);
    assert!(world.tick().is_empty());
    world.close(1);
    world.tick();
    let deadline = world.soft.next_deadline(world.now);
    assert_eq!(deadline, world.now.instant.plus(Duration::from_millis(150)));
    world.pass(150);
    assert_eq!(world.tick()[0], "fenced 1");
}

#[test]
fn a_broker_that_lost_its_connection_serves_again_when_it_is_back() {
    let mut world = World::with_topic();
    world.connect(1);
    world.close(1);
    world.tick();
    world.pass(150);
    assert_eq!(world.tick()[0], "fenced 1");
    world.serve(1);
    assert!(world.image.broker(NodeId::new(1)).unwrap().is_fenced(), "it is still cut off");
    world.connect(1);
    world.serve(1);
    assert!(world.image.broker(NodeId::new(1)).unwrap().is_active());
}

#[test]
fn the_close_of_an_old_connection_does_not_hurt_the_new_one() {
    let mut world = World::with_topic();
    world.connect(1);
    world.connect(1);
    world.close(1);
    world.pass(500);
    assert!(world.tick().is_empty());
}

#[test]
fn the_close_of_an_earlier_start_fences_nobody() {
    let mut world = World::with_topic();
    world.connect(1);
    let again = restart(&world, 1, 2);
    world.event(Event::Register(again));
    world.serve(1);
    world.soft.closed(world.now, NodeId::new(1), BootNumber::new(1));
    world.dialed(1, DialOutcome::Refused);
    world.pass(500);
    assert!(world.tick().is_empty());
}

#[test]
fn a_new_controller_gives_everybody_a_full_session() {
    let mut world = World::with_topic();
    world.pass(60_000);
    world.soft.begin(&world.image, world.now);
    assert!(world.tick().is_empty());
    world.pass(1999);
    assert!(world.tick().is_empty());
}

#[test]
fn a_new_controller_does_not_judge_by_an_earlier_term_of_its_own() {
    let mut world = World::with_topic();
    world.tick();
    // Another led meanwhile, and broker 1 has spoken to that one.
    world.pass(60_000);
    world.all_serve(&[2, 3]);
    world.soft.begin(&world.image, world.now);
    assert!(world.tick().is_empty());
}

#[test]
fn only_a_connection_that_this_process_held_can_close() {
    let mut world = World::with_topic();
    world.close(1);
    world.pass(500);
    assert!(world.tick().is_empty());
    assert!(world.effects.is_empty());
}

#[test]
fn a_new_controller_knows_which_connections_closed_before_it_began() {
    let mut world = World::with_topic();
    world.connect(1);
    world.close(1);
    world.soft.begin(&world.image, world.now);
    world.tick();
    world.pass(150);
    assert_eq!(world.tick()[0], "fenced 1");
}

#[test]
fn a_controller_that_slept_blames_nobody() {
    let mut world = World::with_topic();
    world.tick();
    world.pass(10_000);
    assert!(world.tick().is_empty());
    world.live(1999, &[1, 3]);
    world.pass(1);
    assert_eq!(world.tick()[0], "fenced 2");
}

#[test]
fn most_connections_closing_together_is_doubted_until_one_read_barrier() {
    let mut world = World::with_topic();
    for node in [1, 2, 3] {
        world.connect(node);
    }
    world.tick();
    world.close(1);
    world.close(2);
    world.pass(150);
    assert!(world.tick().is_empty());
    let barrier = Effect::ReadBarrier { asked: world.now.instant };
    assert!(world.effects.contains(&barrier));
    let asked = world.now.instant;
    world.pass(1);
    world.soft.barrier_passed(asked);
    let told = world.tick();
    assert_eq!(told, ["fenced 1", "fenced 2", "0 leader 3 isr [3] elr [1,2] epoch 1"]);
}

#[test]
fn one_of_two_closing_is_no_reason_for_doubt() {
    let mut world = World::with_brokers(2);
    world.connect(1);
    world.connect(2);
    world.close(1);
    world.tick();
    world.pass(150);
    assert_eq!(world.tick(), ["fenced 1"]);
}

#[test]
fn who_cannot_dial_hands_over() {
    let mut world = World::with_topic();
    for node in [1, 2, 3] {
        world.connect(node);
        world.close(node);
    }
    world.tick();
    for node in [1, 2, 3] {
        world.dialed(node, DialOutcome::Unable);
    }
    world.pass(500);
    assert!(world.tick().is_empty());
    assert!(world.effects.contains(&Effect::HandOver));
}

fn hang(world: &mut World, node: i32) {
    let mut heartbeat = world.heartbeat(node, Wish::Serve);
    heartbeat.progress.oldest_flush = Duration::from_secs(4);
    world.event(Event::Heartbeat(heartbeat));
}

#[test]
fn a_broker_whose_disk_hangs_is_fenced_though_it_talks() {
    let mut world = World::with_topic();
    hang(&mut world, 1);
    assert_eq!(world.tick(), ["fenced 1", "0 leader 2 isr [2,3] elr [] epoch 1"]);
    hang(&mut world, 1);
    assert!(world.image.broker(NodeId::new(1)).unwrap().is_fenced());
    world.serve(1);
    assert!(world.image.broker(NodeId::new(1)).unwrap().is_active());
}

#[test]
fn nobody_is_fenced_for_a_hang_that_all_share() {
    let mut world = World::with_topic();
    for node in [1, 2, 3] {
        hang(&mut world, node);
    }
    assert!(world.tick().is_empty());
}

#[test]
fn a_broker_that_no_longer_applies_metadata_is_fenced() {
    let mut world = World::with_topic();
    let stuck = Heartbeat { progress: Progress::default(), ..world.heartbeat(1, Wish::Serve) };
    world.tick();
    for _ in 0..12 {
        world.event(Event::Heartbeat(stuck.clone()));
        world.all_serve(&[2, 3]);
        assert!(world.tick().is_empty());
        world.pass(250);
    }
    world.event(Event::Heartbeat(stuck));
    world.all_serve(&[2, 3]);
    assert_eq!(world.tick()[0], "fenced 1");
}

#[test]
fn a_sign_of_life_counts_from_its_arrival_and_for_its_own_life_only() {
    let mut world = World::with_topic();
    world.tick();
    let arrived = world.now.instant;
    let sign = world.heartbeat(1, Wish::Serve).sign();
    let earlier = SignOfLife { broker_epoch: BrokerEpoch::new(0), ..sign };
    world.live(1_750, &[2, 3]);
    world.soft.alive(&world.image, arrived.plus(Duration::from_millis(1_000)), &sign);
    world.soft.alive(&world.image, world.now.instant, &earlier);
    world.live(1_000, &[2, 3]);
    world.all_serve(&[2, 3]);
    assert!(world.tick().is_empty(), "2.75 s have passed, of which the session has counted 1.75");
    world.live(250, &[2, 3]);
    assert_eq!(world.tick()[0], "fenced 1");
}

#[test]
fn a_sign_of_life_shows_a_disk_that_hangs() {
    let mut world = World::with_topic();
    let mut sign = world.heartbeat(1, Wish::Serve).sign();
    sign.progress.oldest_flush = Duration::from_secs(4);
    world.soft.alive(&world.image, world.now.instant, &sign);
    assert_eq!(world.tick()[0], "fenced 1");
}

#[test]
fn what_a_broker_has_applied_is_not_taken_back_by_an_older_message() {
    let mut world = World::with_topic();
    let older = Heartbeat { progress: Progress::default(), ..world.heartbeat(1, Wish::Serve) };
    for _ in 0..16 {
        let sign = world.heartbeat(1, Wish::Serve).sign();
        world.soft.alive(&world.image, world.now.instant, &sign);
        world.event(Event::Heartbeat(older.clone()));
        world.all_serve(&[2, 3]);
        assert!(world.tick().is_empty());
        world.pass(250);
    }
}

fn name(world: &mut World, namer: i32, leader: i32) {
    let unfetchable = nodes(&[leader]);
    let heartbeat = Heartbeat { unfetchable, ..world.heartbeat(namer, Wish::Serve) };
    world.event(Event::Heartbeat(heartbeat));
}

#[test]
fn a_leader_that_its_followers_cannot_reach_is_replaced_by_one_of_them() {
    let mut world = World::with_topic();
    name(&mut world, 2, 1);
    assert!(world.tick().is_empty(), "one is fewer than the minimum of two");
    name(&mut world, 3, 1);
    assert_eq!(world.tick(), ["0 leader 2 isr [2,3] elr [] epoch 1"]);
}

#[test]
fn a_leader_that_enough_can_reach_to_acknowledge_stays() {
    let mut world = World::with_brokers(5);
    world.create("wide", &[&[1, 2, 3, 4, 5]]);
    name(&mut world, 2, 1);
    name(&mut world, 3, 1);
    assert!(world.tick().is_empty(), "4 and 5 follow it still");
    name(&mut world, 4, 1);
    assert!(world.tick().is_empty(), "with 5 there are two in sync");
    name(&mut world, 5, 1);
    assert_eq!(world.tick(), ["0 leader 2 isr [2,3,4,5] elr [] epoch 1"]);
}

#[test]
fn an_unreachable_leader_alone_in_its_isr_is_replaced_from_the_elr() {
    let mut world = World::with_topic();
    let (id, partition) = world.partition("t", 0);
    let state = Partition { isr: nodes(&[1]), elr: nodes(&[2, 3]), ..partition };
    let records = vec![Record::PartitionChanged { partition: id, state }];
    world.accept(Decision::new(records, Reply::Nothing));
    name(&mut world, 2, 1);
    name(&mut world, 3, 1);
    assert_eq!(world.tick(), ["0 leader 2 isr [2] elr [1,3] epoch 1"]);
}

#[test]
fn where_nobody_reaches_anybody_leadership_does_not_go_in_circles() {
    let mut world = World::with_topic();
    let cut = |world: &mut World| {
        for node in [1, 2, 3] {
            let others: Vec<i32> = [1, 2, 3].into_iter().filter(|other| *other != node).collect();
            let heartbeat = Heartbeat { unfetchable: nodes(&others), ..world.heartbeat(node, Wish::Serve) };
            world.event(Event::Heartbeat(heartbeat));
        }
    };
    cut(&mut world);
    assert_eq!(world.tick().len(), 1);
    for _ in 0..8 {
        world.pass(250);
        cut(&mut world);
        assert!(world.tick().is_empty());
    }
}

#[test]
fn a_fence_too_large_for_one_proposal_is_finished_by_the_next_controller() {
    let mut world = World::with_brokers(3);
    let assignment: Vec<&[i32]> = vec![&[1, 2, 3]; 3000];
    world.create("large", &assignment);
    assert_eq!(world.image.topics().partition_count(), 3000);
    world.live(1999, &[2, 3]);
    world.pass(1);
    let first = world.tick();
    assert_eq!(first[0], "fenced 1");
    assert!(first.len() < 1500, "{} records", first.len());
    // The controller dies here; its successor knows nothing but the image (rule S10).
    world.soft = Soft::new(Options::default());
    world.soft.begin(&world.image, world.now);
    world.settle();
    assert_eq!(world.image.topics().led_by(NodeId::new(2)).count(), 3000);
    assert_eq!(world.image.topics().in_isr_of(NodeId::new(1)).count(), 0);
}

#[test]
fn a_broker_with_too_many_suspects_for_one_proposal_is_unfenced_with_the_last_of_them() {
    let mut world = World::with_brokers(1);
    let assignment: Vec<&[i32]> = vec![&[1]; 3000];
    world.create("large", &assignment);
    let again = restart(&world, 1, 2);
    world.event(Event::Register(again));
    world.settle();
    let claims = |world: &World| world.image.topics().in_elr_of(NodeId::new(1)).count();
    assert_eq!(claims(&world), 3000);
    let suspects: Vec<PartitionId> = world.image.topics().in_elr_of(NodeId::new(1)).map(|(id, _)| id).collect();
    let mut shown = Vec::new();
    while world.image.broker(NodeId::new(1)).unwrap().is_fenced() {
        shown.push(claims(&world));
        let lost = Heartbeat { suspects: suspects.clone(), ..world.heartbeat(1, Wish::Serve) };
        world.event(Event::Heartbeat(lost));
    }
    assert!(shown.len() > 2 && claims(&world) == 0, "{shown:?}, then {}", claims(&world));
}

#[test]
fn a_claim_too_large_for_one_proposal_is_given_up_before_the_registration() {
    let mut world = World::with_brokers(3);
    let assignment: Vec<&[i32]> = vec![&[1, 2, 3]; 3000];
    world.create("large", &assignment);
    let before = world.log.len();
    let mut wiped = registration(1, 2);
    wiped.directories[0].previous_epoch = None;
    assert!(matches!(world.event(Event::Register(wiped)), Reply::Register(Ok(_))));
    assert!(world.log.len() - before >= 3);
    assert_eq!(world.image.topics().in_isr_of(NodeId::new(1)).count(), 0);
    assert_eq!(world.image.topics().in_elr_of(NodeId::new(1)).count(), 0);
}

#[test]
fn leadership_returns_to_the_preferred_replica_once_that_has_been_well_for_a_minute() {
    let mut world = World::with_topic();
    let again = restart(&world, 1, 2);
    world.event(Event::Register(again));
    world.serve(1);
    let (id, partition) = world.partition("t", 0);
    assert_eq!(partition.leader, Some(NodeId::new(2)));
    world.live(61_000, &[1, 2, 3]);
    assert!(world.tick().is_empty(), "it is not in the isr");
    let member = |node| IsrMember { node: NodeId::new(node), broker_epoch: world.epoch(node) };
    let change = IsrChange {
        partition: id,
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        isr: [1, 2, 3].map(member).to_vec(),
        recovery: Recovery::Recovered,
    };
    let request = AlterIsr { node: NodeId::new(2), broker_epoch: world.epoch(2), changes: vec![change] };
    world.event(Event::AlterIsr(request));
    let mut told = Vec::new();
    for _ in 0..21 {
        told.extend(world.tick());
        world.pass(250);
        world.all_serve(&[1, 2, 3]);
    }
    assert_eq!(told, ["0 leader 1 isr [1,2,3] elr [] epoch 2"]);
}

//! Changes of an in-sync set (rule R9).

use super::*;

/// What leader 1 asks of partition 0 of "t": this ISR, on the present state.
fn change(world: &World, isr: &[i32]) -> IsrChange {
    let (partition, state) = world.partition("t", 0);
    let member = |node: &i32| IsrMember { node: NodeId::new(*node), broker_epoch: world.epoch(*node) };
    IsrChange {
        partition,
        leader_epoch: state.leader_epoch,
        partition_epoch: state.partition_epoch,
        isr: isr.iter().map(member).collect(),
        recovery: Recovery::Recovered,
    }
}

fn ask(world: &mut World, node: i32, change: IsrChange) -> Result<Partition, IsrRefusal> {
    let request = AlterIsr { node: NodeId::new(node), broker_epoch: world.epoch(node), changes: vec![change] };
    let Reply::AlterIsr(Ok(mut answers)) = world.event(Event::AlterIsr(request)) else { panic!("it is answered") };
    answers.remove(0).outcome
}

fn refused(sender: i32, edit: impl FnOnce(&World, &mut IsrChange)) -> IsrRefusal {
    let mut world = World::with_topic();
    let mut change = change(&world, &[1, 2]);
    edit(&world, &mut change);
    ask(&mut world, sender, change).expect_err("the test's change is refused")
}

#[test]
fn a_shrink_below_the_minimum_keeps_who_left_eligible() {
    let mut world = World::with_topic();
    let two = change(&world, &[1, 2]);
    assert_eq!(show(&ask(&mut world, 1, two).unwrap()), "leader 1 isr [1,2] elr [] epoch 0");
    let one = change(&world, &[1]);
    assert_eq!(show(&ask(&mut world, 1, one).unwrap()), "leader 1 isr [1] elr [2] epoch 0");
    let back = change(&world, &[1, 3]);
    let state = ask(&mut world, 1, back).unwrap();
    assert_eq!(show(&state), "leader 1 isr [1,3] elr [] epoch 0");
    assert_eq!(state.partition_epoch, crate::model::PartitionEpoch::new(3));
}

#[test]
fn the_same_set_again_outdates_every_earlier_request() {
    let mut world = World::with_topic();
    let earlier = change(&world, &[2, 1]);
    let same = change(&world, &[3, 2, 1]);
    let after = ask(&mut world, 1, same).expect("the set stands");
    assert_eq!(after.isr.len(), 3);
    let refused = ask(&mut world, 1, earlier).expect_err("it is outdated");
    assert_eq!(refused, IsrRefusal::InvalidUpdateVersion { partition_epoch: after.partition_epoch });
}

#[test]
fn a_change_is_refused_for_kafkas_reasons_in_kafkas_order() {
    use crate::model::{LeaderEpoch, PartitionEpoch};
    assert_eq!(refused(1, |_, c| c.partition.topic = TopicId::ZERO), IsrRefusal::UnknownTopic);
    assert_eq!(refused(1, |_, c| c.partition.index = PartitionIndex::new(9)), IsrRefusal::UnknownPartition);
    assert_eq!(refused(2, |_, c| c.leader_epoch = LeaderEpoch::new(1)), IsrRefusal::NotController);
    assert_eq!(refused(2, |_, c| c.partition_epoch = PartitionEpoch::new(1)), IsrRefusal::NotController);
    let old = refused(2, |_, c| c.leader_epoch = LeaderEpoch::new(-1));
    assert_eq!(old, IsrRefusal::FencedLeaderEpoch { leader_epoch: LeaderEpoch::new(0) });
    assert_eq!(refused(2, |_, _| {}), IsrRefusal::Invalid(IsrFlaw::NotLeader));
    let old = refused(1, |_, c| c.partition_epoch = PartitionEpoch::new(-1));
    assert_eq!(old, IsrRefusal::InvalidUpdateVersion { partition_epoch: PartitionEpoch::new(0) });
    let stranger = IsrMember { node: NodeId::new(9), broker_epoch: BrokerEpoch::new(1) };
    assert_eq!(refused(1, |_, c| c.isr.push(stranger)), IsrRefusal::Invalid(IsrFlaw::NotReplica));
    assert_eq!(refused(1, |_, c| c.isr.push(c.isr[0])), IsrRefusal::Invalid(IsrFlaw::NotReplica));
    assert_eq!(refused(1, |_, c| c.isr = c.isr.split_off(1)), IsrRefusal::Invalid(IsrFlaw::LacksLeader));
    assert_eq!(refused(1, |_, c| c.recovery = Recovery::Recovering), IsrRefusal::Invalid(IsrFlaw::Recovery));
}

#[test]
fn a_member_in_another_life_or_fenced_may_not_join() {
    let other_life = refused(1, |_, c| c.isr[1].broker_epoch = BrokerEpoch::new(1));
    assert_eq!(other_life, IsrRefusal::IneligibleReplica { node: NodeId::new(2) });
    let mut world = World::with_topic();
    let again = restart(&world, 2, 2);
    world.event(Event::Register(again));
    let joins = change(&world, &[1, 2, 3]);
    assert_eq!(ask(&mut world, 1, joins), Err(IsrRefusal::IneligibleReplica { node: NodeId::new(2) }));
}

/// Brokers 1 and 3 go, one after the other. Who may lead then?
fn without_1_and_3(world: &mut World) -> String {
    for node in [1, 3] {
        let farewell = world.heartbeat(node, Wish::StayFenced);
        world.event(Event::Heartbeat(farewell));
    }
    show(&world.partition("t", 0).1)
}

#[test]
fn a_late_wish_for_a_member_whose_disk_was_replaced_since_makes_it_no_leader() {
    let mut world = World::with_topic();
    let without = change(&world, &[1, 3]);
    ask(&mut world, 1, without).expect("2 lags");
    let late = change(&world, &[1, 2, 3]);
    world.event(Event::Register(registration(2, 2)));
    world.serve(2);
    let answer = ask(&mut world, 1, late);
    assert_eq!(without_1_and_3(&mut world), "leader none isr [] elr [1,3] epoch 2", "2 holds nothing");
    assert_eq!(answer, Err(IsrRefusal::IneligibleReplica { node: NodeId::new(2) }));
}

#[test]
fn a_late_wish_puts_nobody_back_who_was_taken_out_since() {
    let mut world = World::with_topic();
    let late = change(&world, &[1, 2, 3]);
    let without = change(&world, &[1, 3]);
    ask(&mut world, 1, without).expect("2 lags");
    let answer = ask(&mut world, 1, late);
    assert_eq!(without_1_and_3(&mut world), "leader none isr [] elr [1,3] epoch 2", "2 lacks what they acknowledged");
    assert!(matches!(answer, Err(IsrRefusal::InvalidUpdateVersion { .. })), "{answer:?}");
}

/// Until this broker is fenced for its silence, with these records: the others speak.
fn falls_silent(world: &mut World, others: &[i32], told: &[&str]) {
    world.live(2000, others);
    assert_eq!(world.tick(), told);
}

#[test]
fn a_late_wish_of_an_earlier_leadership_puts_nobody_back_who_lagged_in_the_present_one() {
    let mut world = World::with_topic();
    let late = change(&world, &[1, 2, 3]);
    falls_silent(&mut world, &[2, 3], &["fenced 1", "0 leader 2 isr [2,3] elr [] epoch 1"]);
    world.serve(1);
    let all = change(&world, &[1, 2, 3]);
    ask(&mut world, 2, all).expect("1 has caught up");
    falls_silent(&mut world, &[1, 3], &["fenced 2", "0 leader 1 isr [1,3] elr [] epoch 2"]);
    world.serve(2);
    // It is the leader's own, of the same life, and each member's life is the present one.
    let answer = ask(&mut world, 1, late);
    assert_eq!(without_1_and_3(&mut world), "leader none isr [] elr [1,3] epoch 4", "2 lacks what they acknowledged");
    assert!(matches!(answer, Err(IsrRefusal::FencedLeaderEpoch { .. })), "{answer:?}");
}

#[test]
fn a_stale_sender_is_told_so() {
    let mut world = World::with_topic();
    let changes = vec![change(&world, &[1, 2])];
    let request = AlterIsr { node: NodeId::new(1), broker_epoch: BrokerEpoch::new(0), changes };
    assert!(matches!(world.event(Event::AlterIsr(request)), Reply::AlterIsr(Err(_))));
}

#[test]
fn what_one_proposal_does_not_hold_is_not_attempted() {
    let mut world = World::with_brokers(3);
    let assignment: Vec<&[i32]> = vec![&[1, 2, 3]; 2000];
    world.create("t", &assignment);
    let one = change(&world, &[1, 2]);
    let changes =
        world.image.topics().led_by(NodeId::new(1)).map(|(partition, _)| IsrChange { partition, ..one.clone() });
    let request = AlterIsr { node: NodeId::new(1), broker_epoch: world.epoch(1), changes: changes.collect() };
    let Reply::AlterIsr(Ok(answers)) = world.event(Event::AlterIsr(request)) else { panic!("it is answered") };
    let done = answers.iter().filter(|answer| answer.outcome.is_ok()).count();
    assert!((500..2000).contains(&done), "{done} were done");
    assert!(answers[done..].iter().all(|answer| answer.outcome == Err(IsrRefusal::NotAttempted)));
}

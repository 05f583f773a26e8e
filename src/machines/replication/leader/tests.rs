//! What a leader promises, as conversations; see `talk.rs` for the words.

mod talk;

use talk::talk;

#[test]
fn the_high_watermark_is_the_least_flushed_end_of_the_isr() {
    talk(
        "> lead isr=1,2,3 end=10 flushed=10 hw=5
         > fetch 2 10
         > fetch 3 8
         hw 8
         > append 20 all 1
         > fetch 3 10
         hw 10
         > fetch 2 20
         > fetch 3 20
         > flush 15
         hw 15
         > flush 20
         hw 20
         done 1",
    );
}

#[test]
fn acks_all_waits_for_every_in_sync_follower_and_acks_1_for_the_own_flush() {
    talk(
        "> lead isr=1,2,3
         > append 5 leader 1
         > append 10 all 2
         > fetch 2 10
         > flush 10
         done 1
         > fetch 3 5
         hw 5
         > fetch 3 10
         hw 10
         done 2",
    );
}

#[test]
fn a_lone_replica_commits_by_its_own_flush() {
    talk(
        "> lead isr=1 replicas=1 min=1 end=10 flushed=4 hw=2
         hw 4
         > latest
         not available, hw 4
         > flush 10
         hw 10
         > latest
         known, hw 10",
    );
}

#[test]
fn only_fetches_of_this_epoch_count() {
    talk(
        "> lead isr=1,2 end=10 flushed=10 hw=3
         > latest
         not available, hw 3
         > fetch 2 7
         hw 7
         > latest
         not available, hw 7
         > fetch 2 10
         hw 10
         > latest
         known, hw 10",
    );
}

#[test]
fn the_high_watermark_never_falls() {
    talk(
        "> lead isr=1,2 end=10 flushed=10
         > fetch 2 10
         hw 10
         > fetch 2 4
         > append 12 all 1
         > flush 12
         > latest
         known, hw 10
         > fetch 2 12
         hw 12
         done 1",
    );
}

#[test]
fn below_min_isr_nothing_is_committed_nor_accepted_with_acks_all() {
    talk(
        "> lead isr=1,2 end=10 flushed=10
         > fetch 2 10
         hw 10
         > append 20 all 1
         > order p=2 isr=1
         > may append
         1 replicas in sync, 2 needed
         > append 30 leader 2
         > flush 30
         done 2
         > fetch 2 30
         propose e=1 p=2 isr=1@10,2@20
         > accepted p=3 isr=1,2
         hw 30
         done 1
         > may append
         yes",
    );
}

#[test]
fn a_duplicate_waits_for_the_original() {
    talk(
        "> lead isr=1,2
         > append 10 all 1
         > duplicate 10 all 2
         > flush 10
         > fetch 2 10
         hw 10
         done 1
         done 2
         > duplicate 10 all 3
         done 3
         > order p=2 isr=1
         > duplicate 10 all 4
         too few 4",
    );
}

#[test]
fn a_produce_ends_at_its_deadline_or_with_the_leadership() {
    talk(
        "> lead isr=1,2 min=1
         > append 10 all 1
         > wait 3000
         > append 20 leader 2
         > append 30 all 3
         > wait 27000
         timed out 1
         propose e=1 p=1 isr=1@10
         > resign
         not leader 2
         not leader 3",
    );
}

#[test]
fn a_laggard_leaves_after_the_lag_and_counts_until_the_controller_has_committed_it() {
    talk(
        "> lead isr=1,2,3
         > append 10 all 1
         > flush 10
         > fetch 2 10
         > wait 5000
         > wait 1
         propose e=1 p=1 isr=1@10,2@20
         > wait 1000
         > fetch 2 10
         > accepted p=2 isr=1,2
         hw 10
         done 1",
    );
}

#[test]
fn a_follower_at_the_end_is_no_laggard_however_long_nothing_is_written() {
    talk(
        "> lead isr=1,2,3 end=10 flushed=10
         > fetch 2 10
         > fetch 3 10
         hw 10
         > wait 3600000
         > append 20 all 1
         > wait 1
         propose e=1 p=1 isr=1@10",
    );
}

#[test]
fn a_follower_that_keeps_pace_is_caught_up_as_of_its_previous_fetch() {
    talk(
        "> lead isr=1,2 min=1
         > append 10 all 1
         > fetch 2 0
         > wait 2000
         > append 20 all 2
         > fetch 2 10
         > wait 2000
         > append 30 all 3
         > fetch 2 20
         > wait 2000
         > fetch 2 20
         > wait 1001
         propose e=1 p=1 isr=1@10",
    );
}

#[test]
fn a_follower_joins_when_it_holds_all_that_may_be_committed() {
    talk(
        "> lead isr=1,2 replicas=1,2,3 end=10 flushed=10 hw=4
         > fetch 2 6
         hw 6
         > fetch 3 6
         > fetch 3 9
         > fetch 3 10
         propose e=1 p=1 isr=1@10,2@20,3@30
         > fetch 2 10
         hw 10
         > append 12 all 1
         > flush 12
         > fetch 2 12
         > accepted p=2 isr=1,2,3
         > fetch 3 12
         hw 12
         done 1",
    );
}

#[test]
fn a_follower_whose_fetch_is_parked_joins_as_soon_as_it_is_unfenced() {
    talk(
        "> lead isr=1,2 fenced=3
         > fetch 3 0
         > wait 200
         > order fenced=
         propose e=1 p=1 isr=1@10,2@20,3@30",
    );
}

#[test]
fn a_member_that_the_controller_removed_joins_only_by_another_fetch() {
    talk(
        "> lead isr=1,2
         > fetch 2 0
         > order p=2 isr=1
         > wait 1000
         > order p=2 isr=1
         > fetch 2 0
         propose e=1 p=2 isr=1@10,2@20",
    );
}

#[test]
fn two_followers_join_in_one_proposal_but_not_one_that_is_silent() {
    talk(
        "> lead isr=1 fenced=2,3 replicas=1,2,3,4
         > fetch 4 0
         propose e=1 p=1 isr=1@10,4@40
         > accepted p=2 isr=1
         propose e=1 p=2 isr=1@10,4@40
         > ineligible
         > wait 5001
         > fetch 2 0
         > fetch 3 0
         > order p=2 fenced=
         propose e=1 p=2 isr=1@10,2@20,3@30",
    );
}

#[test]
fn a_fenced_follower_or_one_of_another_life_does_not_join() {
    talk(
        "> lead isr=1,2 fenced=3
         > fetch 3 0
         > order fenced=
         propose e=1 p=1 isr=1@10,2@20,3@30
         > fetch 3 0 life=29
         another registration than the image's
         > fetch 4 0
         no replica of this partition
         > ineligible
         > order lives=3:31
         > wait 50
         > fetch 3 0
         another registration than the image's
         > fetch 3 0 life=31
         propose e=1 p=1 isr=1@10,2@20,3@31",
    );
}

#[test]
fn what_a_follower_had_flushed_in_an_earlier_life_does_not_count() {
    talk(
        "> lead isr=1,2
         > append 10 all 1
         > fetch 2 10
         > order lives=2:21
         > flush 10
         > fetch 2 4 life=21
         hw 4
         > fetch 2 10 life=21
         hw 10
         done 1",
    );
}

#[test]
fn a_late_fetch_of_a_brokers_former_life_acknowledges_nothing() {
    talk(
        "> lead isr=1,2
         > append 10 all 1
         > flush 10
         > order lives=2:21
         > fetch 2 10 life=20
         another registration than the image's
         > fetch 2 4 life=21
         hw 4",
    );
}

#[test]
fn a_late_answer_to_an_earlier_proposal_does_not_settle_the_present_one() {
    // The controller may yet take node 3 in, which holds nothing: until it is settled, node 3 counts.
    talk(
        "> lead isr=1,2 min=1
         > fetch 3 0
         propose e=1 p=1 isr=1@10,2@20,3@30
         > order p=2
         propose e=1 p=2 isr=1@10,2@20,3@30
         > append 10 all 1
         > flush 10
         > fetch 2 10
         > ineligible base=1
         > wait 5001
         > accepted p=3 isr=1,2,3
         > fetch 3 10
         hw 10
         done 1",
    );
}

#[test]
fn one_proposal_is_in_flight_and_pending_until_the_metadata_says() {
    talk(
        "> lead isr=1
         > fetch 2 0
         propose e=1 p=1 isr=1@10,2@20
         > fetch 3 0
         > stale
         > wait 60000
         > fetch 3 0
         > order p=2 isr=1,3
         > fetch 2 0
         propose e=1 p=2 isr=1@10,2@20,3@30
         > accepted base=1 p=9 isr=1
         > order p=1 isr=1
         > accepted p=3 isr=1,2,3
         > may append
         yes",
    );
}

/// Whether a member that fetches stays in sync is in the controller's hand while it is asked for another ISR.
#[test]
fn a_leader_gives_its_copy_up_for_members_that_fetch_and_for_nobody_while_an_isr_is_asked_for() {
    talk(
        "> lead isr=1,2
         > replaceable
         no
         > fetch 2 0
         > replaceable
         yes
         > fetch 3 0
         propose e=1 p=1 isr=1@10,2@20,3@30
         > replaceable
         no
         > accepted p=2 isr=1,2,3
         > order p=2 isr=1,2,3
         > replaceable
         yes
         > wait 2001
         > replaceable
         no",
    );
}

/// Below the minimum nobody may be in sync but the leader, and others hold all that is committed (rule R11).
#[test]
fn a_leader_gives_its_copy_up_for_who_is_eligible_and_fetches() {
    talk(
        "> lead isr=1 elr=3 fenced=2,3
         > replaceable
         no
         > fetch 2 0
         > replaceable
         no
         > fetch 3 0
         > replaceable
         yes
         > order p=2 isr=1 elr= fenced=2,3
         > replaceable
         no",
    );
}

#[test]
fn an_unknown_outcome_is_asked_again_and_then_made_impossible_before_it_is_forgotten() {
    talk(
        "> lead isr=1,2 min=1
         > fetch 3 0
         propose e=1 p=1 isr=1@10,2@20,3@30
         > retry
         > wait 49
         > wait 1
         propose e=1 p=1 isr=1@10,2@20,3@30
         > ineligible
         > append 10 all 1
         > flush 10
         > fetch 2 10
         > wait 50
         propose e=1 p=1 isr=1@10,2@20
         > wait 5000
         > accepted p=2 isr=1,2
         hw 10
         done 1",
    );
}

#[test]
fn whom_a_lost_answer_may_have_admitted_counts_though_the_second_sending_was_refused() {
    // The first sending was accepted, as the image tells at last; node 3 holds nothing until then.
    talk(
        "> lead isr=1,2 min=1
         > fetch 3 0
         propose e=1 p=1 isr=1@10,2@20,3@30
         > retry
         > wait 50
         propose e=1 p=1 isr=1@10,2@20,3@30
         > order fenced=3
         > ineligible
         > append 10 all 1
         > flush 10
         > fetch 2 10
         > wait 50
         propose e=1 p=1 isr=1@10,2@20
         > order p=2 isr=1,2,3 fenced=
         > fetch 3 10
         hw 10
         done 1",
    );
}

#[test]
fn a_refused_proposal_leaves_the_committed_isr() {
    talk(
        "> lead isr=1,2
         > fetch 3 0
         propose e=1 p=1 isr=1@10,2@20,3@30
         > ineligible
         > order fenced=3
         > append 10 all 1
         > flush 10
         > fetch 2 10
         hw 10
         done 1",
    );
}

#[test]
fn a_new_partition_epoch_or_leader_epoch_of_the_same_leader_keeps_waiters() {
    talk(
        "> lead isr=1,2,3
         > append 10 all 1
         > flush 10
         > fetch 2 10
         > order p=2 isr=1,2
         hw 10
         done 1
         > append 20 all 2
         > order e=2 p=3
         > flush 20
         > latest
         not available, hw 10
         > fetch 2 20
         hw 20
         done 2",
    );
}

#[test]
fn the_isr_stays_known_over_consecutive_epochs_and_not_over_a_gap() {
    talk(
        "> lead isr=1,2 min=1
         > append 10 all 1
         > fetch 2 10
         > order e=2 p=2
         > flush 10
         hw 10
         done 1
         > append 20 all 2
         > fetch 2 20
         > order e=4 p=3
         > flush 20
         > fetch 2 20
         hw 20
         done 2",
    );
}

#[test]
fn lower_orders_are_ignored() {
    talk(
        "> lead e=3 p=7 isr=1,2
         > order e=3 p=6 isr=1
         > may append
         yes
         > order e=2 p=8 isr=1
         > may append
         yes",
    );
}

#[test]
fn an_unclean_leader_declares_itself_recovered_before_the_isr_grows() {
    talk(
        "> lead isr=1 recovering=yes
         propose e=1 p=1 isr=1@10 recovered
         > fetch 2 0
         > accepted p=2 isr=1
         propose e=1 p=2 isr=1@10,2@20
         > fetch 2 0",
    );
}

#[test]
fn lowering_min_isr_commits_what_is_already_flushed() {
    talk(
        "> lead isr=1 min=2
         > append 10 all 1
         > flush 10
         > min 1
         hw 10
         done 1",
    );
}

#[test]
fn a_proposed_member_counts_though_it_has_fallen_behind() {
    talk(
        "> lead isr=1 min=1 end=10 flushed=10
         hw 10
         > fetch 2 10
         propose e=1 p=1 isr=1@10,2@20
         > append 20 all 1
         > wait 5001
         > flush 20
         > fetch 2 20
         hw 20
         done 1",
    );
}

#[test]
fn who_is_about_to_join_is_waited_for() {
    talk(
        "> lead isr=1 min=1 end=10 flushed=10
         hw 10
         > fetch 2 4
         > append 20 all 1
         > fetch 2 10
         propose e=1 p=1 isr=1@10,2@20
         > ineligible
         > flush 20
         > wait 5001
         hw 20
         done 1",
    );
}

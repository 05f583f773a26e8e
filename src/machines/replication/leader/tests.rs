//! Conversations with a leader: lines that begin with '>' are told, the others are what it answered.
//!
//! Node 1 leads; node n is registered as n0. `lead` and `order` keep what they do not name from the line before.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::machines::replication::{
    Acks, Ending, FollowerFetch, IsrOutcome, Leader, LeaderEffect, Leadership, LogEnds, ReplicaState, Ticket,
};
use crate::model::{BrokerEpoch, Instant, LeaderEpoch, NodeId, Offset, PartitionEpoch};

struct Talk {
    leader: Option<Leader>,
    now: Instant,
    words: BTreeMap<String, String>,
}

fn talk(conversation: &str) {
    let lines: Vec<&str> = conversation.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut talk = Talk { leader: None, now: Instant::from_nanos(1), words: BTreeMap::new() };
    let mut heard = String::new();
    for line in lines.iter().filter_map(|line| line.strip_prefix("> ")) {
        writeln!(heard, "> {line}").expect("a string takes all");
        for effect in talk.tell(line) {
            writeln!(heard, "{}", shown(&effect)).expect("a string takes all");
        }
        heard.push_str(&talk.facts(line));
    }
    assert_eq!(heard.lines().collect::<Vec<_>>(), lines, "heard:\n{heard}");
}

fn shown(effect: &LeaderEffect) -> String {
    match effect {
        LeaderEffect::HighWatermark(offset) => format!("hw {offset}"),
        LeaderEffect::Complete(ticket, ending) => {
            let ending = match ending {
                Ending::Done => "done",
                Ending::NotEnoughReplicas => "too few",
                Ending::TimedOut => "timed out",
                Ending::NotLeader => "not leader",
                Ending::Offline => "offline",
            };
            format!("{ending} {}", ticket.0)
        }
        LeaderEffect::Propose(p) => {
            let isr: Vec<String> = p.isr.iter().map(|m| format!("{}@{}", m.node, m.broker_epoch)).collect();
            let recovered = if p.recovered { " recovered" } else { "" };
            format!("propose e={} p={} isr={}{recovered}", p.leader_epoch, p.partition_epoch, isr.join(","))
        }
    }
}

impl Talk {
    fn tell(&mut self, line: &str) -> Vec<LeaderEffect> {
        let mut words = line.split(' ');
        let verb = words.next().expect("a line has a verb");
        let rest: Vec<&str> = words.collect();
        let named: BTreeMap<&str, &str> = rest.iter().filter_map(|word| word.split_once('=')).collect();
        let number = |at: usize| rest[at].parse::<i64>().expect("a number");
        let mut effects = Vec::new();
        let out = &mut effects;
        match verb {
            "lead" => {
                self.note(&named);
                let log = LogEnds { end: self.offset("end"), flushed_end: self.offset("flushed") };
                let lag = Duration::from_millis(5000);
                let hw = self.offset("hw");
                self.leader = Some(Leader::take_over(node(1), lag, &self.leadership(), log, hw, self.now, out));
                return effects;
            }
            "order" => self.note(&named),
            "wait" => self.now = self.now.plus(Duration::from_millis(u64::try_from(number(0)).expect("a span"))),
            _ => {}
        }
        let (now, order) = (self.now, self.leadership());
        let leader = self.leader.as_mut().expect("a leader was told to lead");
        match verb {
            "order" => leader.on_order(&order, now, out),
            "wait" => leader.on_tick(now, out),
            // A produce: its end, its acks, its ticket.
            "append" | "duplicate" => {
                let (end, ticket) = (Offset::new(number(0)), Ticket(number(2).unsigned_abs()));
                if verb == "append" {
                    leader.on_append(end);
                }
                let acks = if rest[1] == "all" { Acks::All } else { Acks::Leader };
                leader.park(ticket, acks, end, now.plus(Duration::from_millis(30_000)), out);
            }
            "flush" => leader.on_flushed(Offset::new(number(0)), now, out),
            "fetch" => {
                let follower = i32::try_from(number(0)).expect("a node");
                let life = named.get("life").map_or(i64::from(follower) * 10, |life| life.parse().expect("an epoch"));
                let fetch = FollowerFetch {
                    node: node(follower),
                    broker_epoch: Some(BrokerEpoch::new(life)),
                    offset: Offset::new(number(1)),
                };
                if leader.check_fetch(&fetch).is_ok() {
                    leader.on_fetch(&fetch, now, out);
                }
            }
            "accepted" | "ineligible" | "stale" | "retry" => {
                let outcome = match verb {
                    "accepted" => IsrOutcome::Accepted {
                        partition_epoch: PartitionEpoch::new(named["p"].parse().expect("an epoch")),
                        isr: nodes(named["isr"]),
                    },
                    "ineligible" => IsrOutcome::Ineligible,
                    "stale" => IsrOutcome::Stale,
                    _ => IsrOutcome::Retry,
                };
                let base = named
                    .get("base")
                    .map_or(leader.partition_epoch(), |base| PartitionEpoch::new(base.parse().expect("an epoch")));
                leader.on_isr_answer((leader.epoch(), base), outcome, now, out);
            }
            "resign" => leader.resign(Ending::NotLeader, out),
            "min" => leader.set_isr_min(usize::try_from(number(0)).expect("a count"), now, out),
            "may" | "latest" | "check" => {}
            _ => panic!("unknown verb {verb}"),
        }
        effects
    }

    /// What is not an effect: answers to questions.
    fn facts(&self, line: &str) -> String {
        let leader = self.leader.as_ref().expect("a leader was told to lead");
        if line == "may append" {
            return match leader.may_append(Acks::All) {
                Ok(()) => "yes\n".to_owned(),
                Err(fault) => format!("{fault}\n"),
            };
        }
        if line == "latest" {
            let known = if leader.knows_committed() { "known" } else { "not available" };
            return format!("{known}, hw {}\n", leader.high_watermark());
        }
        let Some(rest) = line.strip_prefix("fetch ") else { return String::new() };
        let mut words = rest.split(' ');
        let follower: i32 = words.next().expect("a node").parse().expect("a node");
        let life = words
            .find_map(|word| word.strip_prefix("life="))
            .map_or(i64::from(follower) * 10, |life| life.parse().expect("an epoch"));
        let fetch =
            FollowerFetch { node: node(follower), broker_epoch: Some(BrokerEpoch::new(life)), offset: Offset::ZERO };
        leader.check_fetch(&fetch).map_or_else(|fault| format!("{fault}\n"), |()| String::new())
    }

    fn note(&mut self, named: &BTreeMap<&str, &str>) {
        for (&key, &value) in named {
            self.words.insert(key.to_owned(), value.to_owned());
        }
    }

    fn word(&self, key: &str, default: &'static str) -> &str {
        self.words.get(key).map_or(default, String::as_str)
    }

    fn offset(&self, key: &str) -> Offset {
        Offset::new(self.word(key, "0").parse().expect("an offset"))
    }

    fn leadership(&self) -> Leadership {
        let fenced = nodes(self.word("fenced", ""));
        let lives: BTreeMap<NodeId, i64> = self
            .word("lives", "")
            .split(',')
            .filter_map(|word| word.split_once(':'))
            .map(|(who, life)| (node(who.parse().expect("a node")), life.parse().expect("an epoch")))
            .collect();
        let replica = |node: NodeId| ReplicaState {
            node,
            broker_epoch: Some(BrokerEpoch::new(
                lives.get(&node).copied().unwrap_or_else(|| i64::from(node.get()) * 10),
            )),
            may_join: !fenced.contains(&node),
        };
        Leadership {
            leader_epoch: LeaderEpoch::new(self.word("e", "1").parse().expect("an epoch")),
            partition_epoch: PartitionEpoch::new(self.word("p", "1").parse().expect("an epoch")),
            isr: nodes(self.word("isr", "1")),
            replicas: nodes(self.word("replicas", "1,2,3")).into_iter().map(replica).collect(),
            isr_min: self.word("min", "2").parse().expect("a count"),
            recovering: self.word("recovering", "no") == "yes",
        }
    }
}

fn node(number: i32) -> NodeId {
    NodeId::new(number)
}

fn nodes(text: &str) -> Vec<NodeId> {
    text.split(',').filter(|word| !word.is_empty()).map(|word| node(word.parse().expect("a node"))).collect()
}

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
fn a_fenced_follower_or_one_of_another_life_does_not_join() {
    talk(
        "> lead isr=1,2 fenced=3
         > fetch 3 0
         > order fenced=
         > fetch 3 0 life=29
         another registration than the image's
         > fetch 4 0
         no replica of this partition
         > fetch 3 0
         propose e=1 p=1 isr=1@10,2@20,3@30
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
         > accepted p=2 isr=1,2
         > wait 5000
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
         > fetch 2 0
         propose e=1 p=2 isr=1@10,2@20",
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

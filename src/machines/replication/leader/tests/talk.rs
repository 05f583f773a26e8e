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

pub(super) fn talk(conversation: &str) {
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
        LeaderEffect::Ask(asked) => {
            let members: Vec<String> = asked.members.iter().map(ToString::to_string).collect();
            format!("ask round={} of={}", asked.round, members.join(","))
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
                    last_crc: None,
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
            "may" | "latest" | "check" | "replaceable" => {}
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
        if line == "replaceable" {
            return (if leader.is_replaceable(self.now) { "yes\n" } else { "no\n" }).to_owned();
        }
        let Some(rest) = line.strip_prefix("fetch ") else { return String::new() };
        let mut words = rest.split(' ');
        let follower: i32 = words.next().expect("a node").parse().expect("a node");
        let life = words
            .find_map(|word| word.strip_prefix("life="))
            .map_or(i64::from(follower) * 10, |life| life.parse().expect("an epoch"));
        let broker_epoch = Some(BrokerEpoch::new(life));
        let fetch = FollowerFetch { node: node(follower), broker_epoch, offset: Offset::ZERO, last_crc: None };
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
        let (fenced, eligible) = (nodes(self.word("fenced", "")), nodes(self.word("elr", "")));
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
            is_eligible: eligible.contains(&node),
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

//! Members of KIP-848 that do anything at any time: no partition is ever read by two of them, and a group that is left
//! alone has everything read.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::consumers::{full, quiet};
use super::*;
use crate::model::PartitionId;

const CLIENTS: usize = 4;
const TOPICS: [&str; 2] = ["t", "u"];

#[derive(Clone, Debug)]
enum Step {
    /// A client says that it lives, or joins; whether it says everything, and whether the answer reaches it.
    Beat {
        at: usize,
        full: bool,
        is_lost: bool,
    },
    /// It gives back what it is to give back, and says so with its next heartbeat.
    Release(usize),
    Subscribe {
        at: usize,
        topics: usize,
    },
    Leave(usize),
    Grow(usize),
    Pass(u64),
    FailOver,
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    prop_oneof![
        8 => (client.clone(), any::<bool>(), prop::bool::weighted(0.15))
            .prop_map(|(at, full, is_lost)| Step::Beat { at, full, is_lost }),
        5 => client.clone().prop_map(Step::Release),
        1 => (client.clone(), 1..4_usize).prop_map(|(at, topics)| Step::Subscribe { at, topics }),
        1 => client.prop_map(Step::Leave),
        1 => (0..TOPICS.len()).prop_map(Step::Grow),
        3 => (0..20_000_u64).prop_map(Step::Pass),
        1 => Just(Step::FailOver),
    ]
}

/// A client, as far as it knows.
#[derive(Clone, Debug, Default)]
struct Client {
    epoch: i32,
    /// What it may read until it says otherwise.
    owned: BTreeSet<PartitionId>,
    /// What it was told to have.
    assigned: BTreeSet<PartitionId>,
    topics: Vec<&'static str>,
    /// It is to say everything: its last answer was lost.
    is_unsure: bool,
    /// What it owns has changed since it last said so.
    is_changed: bool,
}

struct Players {
    bench: Bench,
    clients: Vec<Client>,
}

fn name(at: usize) -> String {
    format!("m{at}")
}

impl Players {
    fn new() -> Self {
        let mut bench = Bench::new();
        TOPICS.iter().for_each(|topic| bench.make_topic(topic, 3));
        let client = Client { topics: vec!["t"], ..Client::default() };
        Self { bench, clients: vec![client; CLIENTS] }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Beat { at, full, is_lost } => self.beat(*at, *full, *is_lost),
            Step::Release(at) => {
                let client = &mut self.clients[*at];
                client.is_changed |= client.owned != client.assigned;
                client.owned.clone_from(&client.assigned);
            }
            Step::Subscribe { at, topics } => {
                let client = &mut self.clients[*at];
                let chosen = TOPICS.iter().enumerate().filter(|(bit, _)| topics & (1 << bit) != 0);
                client.topics = chosen.map(|(_, topic)| *topic).collect();
                client.is_unsure = true;
            }
            Step::Leave(at) => {
                let client = &mut self.clients[*at];
                *client = Client { topics: client.topics.clone(), ..Client::default() };
                _ = self.bench.beat(quiet(&name(*at), -1));
            }
            Step::Grow(topic) => self.bench.grow_topic(TOPICS[*topic], 1),
            Step::Pass(ms) => self.bench.pass(Duration::from_millis(*ms)),
            Step::FailOver => {
                self.bench.fail_over();
                self.bench.pass(Duration::ZERO);
            }
        }
        self.check();
    }

    fn beat(&mut self, at: usize, says_all: bool, is_lost: bool) {
        let client = &mut self.clients[at];
        let beat = if client.epoch == 0 || says_all || client.is_unsure {
            full(&name(at), client.epoch, &client.topics, &client.owned)
        } else {
            let owned = client.is_changed.then(|| client.owned.clone());
            Beat { owned, ..quiet(&name(at), client.epoch) }
        };
        let outcome = self.bench.beat(beat);
        let client = &mut self.clients[at];
        if is_lost {
            client.is_unsure = true;
            return;
        }
        (client.is_unsure, client.is_changed) = (false, false);
        match outcome {
            Ok(told) => {
                client.epoch = told.epoch.get();
                if let Some(assignment) = told.assignment {
                    // What is new is read at once; what is to go is read until it is released.
                    client.owned.extend(&assignment);
                    client.is_changed = true;
                    client.assigned = assignment;
                }
            }
            Err(_) => *client = Client { topics: client.topics.clone(), ..Client::default() },
        }
    }

    /// Nobody reads what another member reads. Whoever is no member any more has lost its session, or its time to give back.
    fn check(&mut self) {
        let Some(group) = self.bench.groups.get(&group()).and_then(|group| group.consumer.clone()) else { return };
        let mut read = BTreeSet::new();
        for (at, client) in self.clients.iter().enumerate() {
            if client.epoch == 0 || !group.members().contains_key(&id(&name(at))) {
                continue;
            }
            for partition in &client.owned {
                assert!(read.insert(*partition), "{partition:?} is read twice, by {} too", name(at));
            }
        }
    }

    fn settle(&mut self) {
        for _ in 0..12 {
            for at in 0..CLIENTS {
                self.run(&Step::Beat { at, full: false, is_lost: false });
                self.run(&Step::Release(at));
            }
            self.bench.pass(Duration::from_millis(500));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_group_of_consumers_that_is_left_alone_reads_everything_once(steps in prop::collection::vec(step(), 0..120)) {
        let mut players = Players::new();
        for step in &steps {
            players.run(step);
        }
        players.settle();
        let described = players.bench.consumers();
        prop_assert_eq!((described.state, described.members.len()), (GroupState::Stable, CLIENTS));
        let read: BTreeSet<PartitionId> = players.clients.iter().flat_map(|client| client.owned.clone()).collect();
        let topics = TOPICS.iter().filter(|topic| players.clients.iter().any(|client| client.topics.contains(topic)));
        let counts = topics.map(|topic| players.bench.image.topic_named(topic).unwrap().partition_count);
        prop_assert_eq!(i32::try_from(read.len()).unwrap(), counts.sum::<i32>());
    }
}

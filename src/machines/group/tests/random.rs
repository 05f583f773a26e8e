//! Members that do anything at any time: whatever they do, the facts and the answers stay those of one group.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// What one of a few clients does.
#[derive(Clone, Debug)]
enum Step {
    Join(usize),
    Sync(usize),
    Heartbeat(usize),
    Commit(usize),
    Leave(usize),
    Pass(u64),
    FailOver,
}

const CLIENTS: usize = 5;

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    prop_oneof![
        4 => client.clone().prop_map(Step::Join),
        4 => client.clone().prop_map(Step::Sync),
        3 => client.clone().prop_map(Step::Heartbeat),
        3 => client.clone().prop_map(Step::Commit),
        1 => client.prop_map(Step::Leave),
        3 => (0..12_000_u64).prop_map(Step::Pass),
        1 => Just(Step::FailOver),
    ]
}

/// A client, as far as it knows.
#[derive(Clone, Debug, Default)]
struct Client {
    id: String,
    generation: i32,
    leads: Vec<String>,
    waits: Option<Waiter>,
}

struct Players {
    bench: Bench,
    clients: Vec<Client>,
    minted: usize,
    /// Which members each generation was told to have.
    rolls: BTreeMap<i32, Vec<String>>,
    leaders: BTreeMap<i32, String>,
}

impl Players {
    fn new() -> Self {
        let clients = vec![Client::default(); CLIENTS];
        Self { bench: Bench::new(), clients, minted: 0, rolls: BTreeMap::new(), leaders: BTreeMap::new() }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Join(at) if self.clients[*at].waits.is_none() => self.join(*at),
            Step::Sync(at) if self.clients[*at].waits.is_none() => self.sync(*at),
            Step::Heartbeat(at) => {
                let client = &self.clients[*at];
                let (member, generation) = (client.id.clone(), client.generation);
                _ = self.bench.heartbeat(&member, generation);
            }
            Step::Commit(at) => {
                let client = &self.clients[*at];
                _ = self.bench.call(commit(&client.id, client.generation, 1));
            }
            Step::Leave(at) => {
                let members = vec![(id(&self.clients[*at].id), None)];
                self.bench.call(Call::Leave(Leave { group: group(), members }));
            }
            Step::Pass(ms) => self.bench.pass(Duration::from_millis(*ms)),
            Step::FailOver => {
                let waiting = std::mem::take(&mut self.bench.soft).abandon();
                let parked: Vec<Waiter> = self.clients.iter().filter_map(|client| client.waits).collect();
                assert_eq!(waiting.len(), parked.len(), "whoever waits is known, and nobody else");
                self.clients.iter_mut().for_each(|client| client.waits = None);
                self.bench.fail_over();
            }
            Step::Join(_) | Step::Sync(_) => {}
        }
        self.collect();
    }

    fn join(&mut self, at: usize) {
        self.minted += 1;
        let fresh = id(&format!("m{}", self.minted));
        let waiter = self.bench.call(Call::Join(Join { fresh, ..join(&self.clients[at].id) }));
        self.clients[at].waits = Some(waiter);
    }

    fn sync(&mut self, at: usize) {
        let client = &self.clients[at];
        let given: Vec<(&str, &'static [u8])> = client.leads.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
        let waiter = self.bench.call(sync(&client.id, client.generation, &given));
        self.clients[at].waits = Some(waiter);
    }

    /// Takes the answers that have come.
    fn collect(&mut self) {
        for at in 0..CLIENTS {
            let Some(waiter) = self.clients[at].waits else { continue };
            let Some(reply) = self.bench.answer(waiter) else { continue };
            self.clients[at].waits = None;
            match &reply {
                Reply::Join(Ok(joined)) => self.has_joined(at, joined),
                Reply::Join(Err(Refusal::MemberIdRequired(fresh))) => self.clients[at].id = fresh.to_string(),
                Reply::Join(Err(Refusal::UnknownMember)) | Reply::Sync(Err(Refusal::UnknownMember)) => {
                    self.clients[at] = Client::default();
                }
                Reply::Join(Err(_)) | Reply::Sync(_) => {}
                Reply::Heartbeat(_)
                | Reply::Leave(_)
                | Reply::Beat(_)
                | Reply::Commit(_)
                | Reply::Fetch(_)
                | Reply::Forget(_)
                | Reply::Describe(_)
                | Reply::DescribeConsumers(_)
                | Reply::List(_)
                | Reply::Survey(_)
                | Reply::Delete(_) => panic!("a join or a sync is answered by {reply:?}"),
            }
        }
    }

    fn has_joined(&mut self, at: usize, joined: &Joined) {
        let generation = joined.generation.get();
        let leader = self.leaders.entry(generation).or_insert_with(|| joined.leader.to_string());
        assert_eq!(*leader, joined.leader.as_str(), "a generation has one leader");
        let names: Vec<String> = joined.members.iter().map(|member| member.member.to_string()).collect();
        if joined.leader == joined.member {
            let roll = self.rolls.entry(generation).or_insert_with(|| names.clone());
            assert_eq!(*roll, names, "a generation has the same members for ever");
        }
        let client = &mut self.clients[at];
        assert!(generation >= client.generation, "generations rise");
        (client.generation, client.leads) = (generation, names);
    }

    /// Those who live join and sync until the group stands.
    fn settle(&mut self) {
        for _ in 0..40 {
            for at in 0..CLIENTS {
                let client = self.clients[at].clone();
                if client.waits.is_some() {
                    continue;
                }
                if client.generation == 0 || self.bench.heartbeat(&client.id, client.generation).is_err() {
                    self.join(at);
                } else {
                    self.sync(at);
                }
                self.collect();
            }
            self.bench.pass(Duration::from_secs(2));
            self.collect();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_group_that_is_left_alone_stands(steps in prop::collection::vec(step(), 0..80)) {
        let mut players = Players::new();
        for step in &steps {
            players.run(step);
        }
        players.settle();
        prop_assert_eq!(players.bench.state(), GroupState::Stable);
        let described = players.bench.ask(Call::Describe(group())).describe().expect("it is there");
        prop_assert_eq!(described.members.len(), CLIENTS);
        let generations: Vec<i32> = players.clients.iter().map(|client| client.generation).collect();
        prop_assert!(generations.windows(2).all(|pair| pair[0] == pair[1]), "{:?}", generations);
    }
}

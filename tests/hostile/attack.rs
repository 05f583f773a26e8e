//! The attacks and how often each comes.
//!
//! Invariant: an attack follows from its seed, its number and the world alone.

use bytes::{Buf, Bytes};
use ottla::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::protocol::{ApiKey, Request, encode_request};

use crate::apis::{self, Api};
use crate::draft::{Draft, PREFIX};
use crate::random::Random;
use crate::tame::tame;
use crate::world::{PARTITIONS, World};
use crate::{lies, mutate, streams};

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) enum Attack {
    /// Whole frames on a connection that reads its answers.
    Frames {
        frames: Vec<Vec<u8>>,
        /// The error codes with which a Produce must be answered; empty for any.
        codes: &'static [i16],
    },
    /// Bytes on a connection that is not used again.
    Stream { bytes: Vec<u8>, then: Then },
    /// Bytes for the listeners of nodes and of HTTP.
    Elsewhere { bytes: Vec<u8> },
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Cut with a reset.
    Reset,
    /// Closed.
    Close,
    /// Closed for writing; the node must end the rest.
    HalfClose,
    /// Left open, with a byte now and then, until others need its place.
    Park,
    /// The node must end it, without a word.
    MustEnd,
}

impl Attack {
    /// How many requests it counts for.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Frames { frames, .. } => frames.len(),
            Self::Stream { .. } | Self::Elsewhere { .. } => 1,
        }
    }
}

/// An attack by name.
struct Recipe {
    kind: &'static str,
    /// How often it comes, of the sum of all.
    weight: usize,
    make: fn(&Kitchen, &mut Random) -> Attack,
}

const fn recipe(kind: &'static str, weight: usize, make: fn(&Kitchen, &mut Random) -> Attack) -> Recipe {
    Recipe { kind, weight, make }
}

const RECIPES: &[Recipe] = &[
    recipe("mutated request", 500, mutated),
    recipe("sound request", 50, sound),
    recipe("lying batch", 150, lying),
    recipe("lying batch without acks", 10, lying_without_acks),
    recipe("costly batch", 1, costly),
    recipe("pipeline", 5, pipeline),
    recipe("fetch sessions", 3, fetch_sessions),
    recipe("huge fetch", 5, huge_fetch),
    recipe("abandoned long poll", 8, abandoned_poll),
    recipe("stream: impossible size", 15, streams::impossible_size),
    recipe("stream: other protocol", 10, streams::other_protocol),
    recipe("stream: random bytes", 15, streams::random_bytes),
    recipe("stream: claim beyond", 20, streams::claim_beyond),
    recipe("stream: partial", 20, streams::partial),
    recipe("stream: unread", 10, streams::unread),
    recipe("stream: large claim", 2, streams::large_claim),
    recipe("stream: out of step", 10, streams::out_of_step),
    recipe("another listener", 10, streams::elsewhere),
];

/// Makes attacks.
pub(crate) struct Kitchen {
    pub(crate) apis: Vec<Api>,
    world: World,
}

impl Kitchen {
    pub(crate) fn new(world: World) -> Self {
        Self { apis: apis::all(), world }
    }

    /// The next attack and its name.
    pub(crate) fn attack(&self, random: &mut Random) -> (&'static str, Attack) {
        let mut rest = random.below(RECIPES.iter().map(|recipe| recipe.weight).sum());
        for recipe in RECIPES {
            if rest < recipe.weight {
                return (recipe.kind, (recipe.make)(self, random));
            }
            rest -= recipe.weight;
        }
        unreachable!("the rest is below the sum")
    }

    /// A sound request of any API and version, tamed.
    pub(crate) fn valid(&self, random: &mut Random) -> Draft {
        let api = random.pick(&self.apis);
        let versions = usize::try_from(api.versions.max - api.versions.min + 1).expect("a table has versions");
        let version = api.versions.min + i16::try_from(random.below(versions)).expect("few versions");
        let mut draft = Draft::valid(api, version, &self.world, random);
        let before = draft.bytes.len();
        tame(&mut draft.bytes, &self.world);
        if draft.bytes.len() != before {
            draft.spans.clear();
            draft.body = draft.body.min(draft.bytes.len());
        }
        draft
    }

    /// A sound request that changes nothing, whatever it is mistaken for.
    pub(crate) fn valid_harmless(&self, random: &mut Random) -> Vec<u8> {
        loop {
            let draft = self.valid(random);
            if [ApiKey::ApiVersions, ApiKey::ListOffsets, ApiKey::DescribeCluster].contains(&draft.key) {
                return draft.bytes;
            }
        }
    }

    /// A request after one to three mutations, tamed.
    pub(crate) fn tamed_mutant(&self, random: &mut Random) -> Vec<u8> {
        let mut draft = self.valid(random);
        let other = self.valid(random);
        for _ in 0..=[0, 0, 0, 1, 2][random.below(5)] {
            let (_, mutation) = random.pick(mutate::ALL);
            mutation(&mut draft, &other, random);
        }
        if draft.bytes.len() <= PREFIX {
            draft.bytes.push(0);
        }
        draft.set_prefix();
        tame(&mut draft.bytes, &self.world);
        draft.bytes
    }

    /// A Produce of one batch to a topic with Kafka's defaults.
    fn produce(&self, records: Bytes, acks: i16, random: &mut Random) -> Vec<u8> {
        let topic = &self.world.standing[0];
        let index = i32::try_from(random.below(usize::try_from(PARTITIONS).expect("few"))).expect("few");
        let partition = PartitionProduceData { index, records: Some(records) };
        let data = TopicProduceData { name: topic.name.clone(), topic_id: topic.id, partition_data: vec![partition] };
        let request = ProduceRequest { acks, timeout_ms: 1_000, topic_data: vec![data], ..Default::default() };
        // From 7 on every codec is known.
        let version = 7 + i16::try_from(random.below(7)).expect("few versions");
        encoded(version, &request, random)
    }
}

fn encoded<R: Request>(version: i16, request: &R, random: &mut Random) -> Vec<u8> {
    let correlation_id = i32::try_from(random.below(1 << 20)).expect("small");
    let mut frame = encode_request(version, correlation_id, "hostile", request);
    frame.copy_to_bytes(frame.remaining()).to_vec()
}

fn frames(frames: Vec<Vec<u8>>) -> Attack {
    Attack::Frames { frames, codes: &[] }
}

fn mutated(kitchen: &Kitchen, random: &mut Random) -> Attack {
    frames(vec![kitchen.tamed_mutant(random)])
}

fn sound(kitchen: &Kitchen, random: &mut Random) -> Attack {
    frames(vec![kitchen.valid(random).bytes])
}

fn lying(kitchen: &Kitchen, random: &mut Random) -> Attack {
    let lie = (random.pick(lies::ALL).make)(random);
    let acks = *random.pick(&[-1, 1]);
    Attack::Frames { frames: vec![kitchen.produce(lie.records, acks, random)], codes: lie.codes }
}

fn lying_without_acks(kitchen: &Kitchen, random: &mut Random) -> Attack {
    let lie = (random.pick(lies::ALL).make)(random);
    frames(vec![kitchen.produce(lie.records, 0, random)])
}

fn costly(kitchen: &Kitchen, random: &mut Random) -> Attack {
    let lie = (random.pick(lies::COSTLY).make)(random);
    Attack::Frames { frames: vec![kitchen.produce(lie.records, -1, random)], codes: lie.codes }
}

/// Many requests before the first answer is read.
fn pipeline(kitchen: &Kitchen, random: &mut Random) -> Attack {
    let count = 2 + random.below(60);
    let bulk = if random.chance(2) { kitchen.valid(random).bytes } else { kitchen.valid_harmless(random) };
    let mut all = vec![bulk; count];
    if random.chance(3) {
        all.push(kitchen.tamed_mutant(random));
    }
    frames(all)
}

/// Sessions upon sessions, each of them left behind.
fn fetch_sessions(kitchen: &Kitchen, random: &mut Random) -> Attack {
    let count = 10 + random.below(20);
    let session = |random: &mut Random| FetchRequest {
        session_id: if random.chance(4) { i32::try_from(random.below(1 << 30)).expect("small") } else { 0 },
        session_epoch: *random.pick(&[0, 0, 0, 1, i32::MAX, -1, -2]),
        ..kitchen.fetch(1 + random.below(3), 1 << 10)
    };
    frames(
        (0..count)
            .map(|_| encoded(7 + i16::try_from(random.below(6)).expect("few"), &session(random), random))
            .collect(),
    )
}

/// All there is, of all there is.
fn huge_fetch(kitchen: &Kitchen, random: &mut Random) -> Attack {
    let request = kitchen.fetch(8, i32::MAX);
    let frame = encoded(4 + i16::try_from(random.below(9)).expect("few"), &request, random);
    if random.chance(3) {
        let then = *random.pick(&[Then::Park, Then::Reset]);
        return Attack::Stream { bytes: frame.repeat(1 + random.below(3)), then };
    }
    frames(vec![frame])
}

/// A wait for what never comes, by somebody who leaves.
fn abandoned_poll(kitchen: &Kitchen, random: &mut Random) -> Attack {
    let partition = FetchPartition { partition_max_bytes: 1 << 10, ..FetchPartition::default() };
    let topic =
        FetchTopic { topic: kitchen.world.quiet.name.clone(), partitions: vec![partition], ..FetchTopic::default() };
    let max_wait_ms = *random.pick(&[1_000, 60_000, i32::MAX]);
    let request = FetchRequest { max_wait_ms, min_bytes: 1, topics: vec![topic], ..FetchRequest::default() };
    let bytes = encoded(4 + i16::try_from(random.below(9)).expect("few"), &request, random);
    Attack::Stream { bytes, then: *random.pick(&[Then::Reset, Then::Close, Then::Park]) }
}

impl Kitchen {
    fn fetch(&self, topics: usize, bytes_max: i32) -> FetchRequest {
        let partition =
            |partition: i32| FetchPartition { partition, partition_max_bytes: bytes_max, ..FetchPartition::default() };
        let known = self.world.standing.iter().chain([&self.world.good]).take(topics);
        let topic = |topic: &crate::world::Topic| FetchTopic {
            topic: topic.name.clone(),
            topic_id: topic.id,
            partitions: (0..PARTITIONS).map(partition).collect(),
        };
        FetchRequest { max_wait_ms: 0, min_bytes: 0, topics: known.map(topic).collect(), ..FetchRequest::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use ottla::model::{Timestamp, TopicName};
    use ottla::protocol::messages::create_topics::CreateTopicsRequest;
    use ottla::protocol::{decode_request, split_request};
    use ottla::records::{ProduceRules, check_produced};

    use super::*;
    use crate::batches::MADE_AT;
    use crate::expect::{self, Outcome};

    const ATTACKS: usize = 30_000;

    fn attacks(seed: u64) -> impl Iterator<Item = (&'static str, Attack)> {
        let kitchen = Kitchen::new(World::imagined());
        let mut random = Random::new(seed);
        (0..ATTACKS).map(move |_| kitchen.attack(&mut random))
    }

    fn all_frames(seed: u64) -> impl Iterator<Item = Vec<u8>> {
        attacks(seed).flat_map(|(_, attack)| match attack {
            Attack::Frames { frames, .. } => frames,
            Attack::Stream { .. } | Attack::Elsewhere { .. } => Vec::new(),
        })
    }

    #[test]
    fn the_same_seed_gives_the_same_attacks() {
        let text = |seed| attacks(seed).take(300).map(|attack| format!("{attack:?}")).collect::<Vec<_>>();
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
    }

    #[test]
    fn every_kind_of_attack_and_every_outcome_comes_up() {
        let kinds: BTreeSet<&str> = attacks(2).map(|(kind, _)| kind).collect();
        assert_eq!(kinds.len(), RECIPES.len());
        let apis = apis::all();
        let mut answered: BTreeMap<(i16, i16), usize> = BTreeMap::new();
        let mut ended = 0;
        for frame in all_frames(2) {
            match expect::outcome(&apis, &frame) {
                Outcome::Answer(answer) => *answered.entry((answer.key.number(), answer.version)).or_default() += 1,
                Outcome::End => ended += 1,
                Outcome::SilenceOrEnd => {}
            }
        }
        let versions: i16 = apis.iter().map(|api| api.versions.max - api.versions.min + 1).sum();
        assert_eq!(answered.len(), usize::try_from(versions).expect("few"), "every API in every version");
        let answered: usize = answered.values().sum();
        assert!(ended > ATTACKS / 10 && answered > ATTACKS / 5, "{ended} {answered}");
    }

    #[test]
    fn no_attack_creates_a_topic_outside_the_set() {
        for frame in all_frames(3) {
            let Ok((header, body)) = split_request(Bytes::from(frame).slice(PREFIX..)) else { continue };
            if header.api_key != ApiKey::CreateTopics {
                continue;
            }
            let Ok(request) = decode_request::<CreateTopicsRequest>(header.api_version, body) else { continue };
            for topic in request.topics {
                assert!(TopicName::new(&topic.name).is_err() || World::may_exist(&topic.name), "{}", topic.name);
            }
        }
    }

    /// The same bytes as the live run sends, against the decoders alone.
    #[test]
    fn no_attack_panics_a_decoder() {
        let (apis, rules) = (apis::all(), ProduceRules::default());
        for frame in all_frames(4) {
            let _ = expect::outcome(&apis, &frame);
            let Ok((header, body)) = split_request(Bytes::from(frame).slice(PREFIX..)) else { continue };
            if header.api_key != ApiKey::Produce {
                continue;
            }
            let Ok(request) = decode_request::<ProduceRequest>(header.api_version, body) else { continue };
            for data in request.topic_data.into_iter().flat_map(|topic| topic.partition_data) {
                let records = data.records.unwrap_or_default();
                if records.len() < 10_000 {
                    let _ = check_produced(records, &rules, Timestamp::new(MADE_AT));
                }
            }
        }
    }
}

//! What differs from run to run: sizes, timeouts, delays. Rare branches become common with extreme ones.

use std::time::Duration;

use crate::broker::controller::round::RECORD_BYTES_MAX;
use crate::testing::Chance;

/// How one run's cluster is set up.
#[derive(Clone, Debug)]
pub struct Knobs {
    /// Nodes; each is voter and broker.
    pub nodes: usize,
    /// The topics, and of each its partitions and replicas.
    pub topics: Vec<(String, i32, i16)>,
    /// `min.insync.replicas`.
    pub isr_min: usize,
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// What one partition gives to one fetch of a follower.
    pub partition_bytes_max: usize,
    /// How long a fetch waits at its leader.
    pub fetch_wait: Duration,
    /// `replica.lag.time.max.ms`.
    pub lag_max: Duration,
    /// `broker.session.timeout.ms`.
    pub session_timeout: Duration,
    /// `broker.heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// The quorum's election timeout.
    pub election_timeout: Duration,
    /// How long a message takes: least and most.
    pub delay: (Duration, Duration),
    /// How long a group flush takes: least and most.
    pub flush: (Duration, Duration),
    /// How late a node applies what the quorum has committed: least and most.
    pub apply: (Duration, Duration),
    /// How long a killed process stays away: least and most.
    pub down: (Duration, Duration),
    /// Producers with a session.
    pub idempotent_producers: usize,
    /// Producers without one.
    pub plain_producers: usize,
    /// Batches that a producer has under way for one partition.
    pub in_flight_max: usize,
    /// Between two sends of one producer: least and most.
    pub send_interval: (Duration, Duration),
    /// The first sequence of a producer with a session: near the largest one it wraps within the run.
    pub first_sequence: i32,
    /// Consumers.
    pub consumers: usize,
    /// Clients that commit offsets; with some, there is a topic that keeps groups.
    pub committers: usize,
    /// Members of groups, four in each.
    pub members: usize,
    /// Between two polls of one consumer.
    pub poll_interval: Duration,
    /// Size of the padding of a value.
    pub padding_max: usize,
    /// Whether an administrator makes and deletes topics, and deletes records.
    pub administers: bool,
    /// Whether the consumers read from followers too.
    pub reads_followers: bool,
    /// Within what time all nodes are started.
    pub start_spread: Duration,
    /// How long the controller waits for a proposal.
    pub proposal_timeout: Duration,
    /// What one proposal to the quorum holds.
    pub proposal_bytes_max: usize,
    /// `retention.ms` of the topics, if it is not the default.
    pub retention: Option<Duration>,
    /// How the topics are compacted, if they are. Then each record has a key.
    pub compaction: Option<CompactionKnobs>,
    /// Whether the topics are acknowledged from the page cache (`flush.mode`).
    pub is_volatile: bool,
}

/// How the topics of a run are compacted.
#[derive(Clone, Debug)]
pub struct CompactionKnobs {
    /// Keys of each partition: with few there is much to be taken out.
    pub keys: usize,
    /// Tombstones among a hundred records.
    pub tombstones: usize,
    /// `delete.retention.ms`, if it is not the default.
    pub delete_retention: Option<Duration>,
    /// `min.cleanable.dirty.ratio`: the more, the longer the rounds, and the fewer.
    pub dirty_ratio: &'static str,
    /// `max.compaction.lag.ms`, if there is a bound.
    pub lag_max: Option<Duration>,
    /// How often a shard looks for what is dirty.
    pub interval: Duration,
    /// How long the thread takes for a piece: least and most.
    pub piece: (Duration, Duration),
}

impl CompactionKnobs {
    pub(super) fn of(mut chance: Chance) -> Self {
        let ms = Duration::from_millis;
        Self {
            keys: *chance.pick(&[2, 8, 30, 100]),
            tombstones: *chance.pick(&[5, 20, 50]),
            delete_retention: *chance.pick(&[None, Some(ms(4_000)), Some(ms(4_000)), Some(ms(20_000))]),
            dirty_ratio: if chance.one_in(3) { "0.5" } else { "0" },
            lag_max: *chance.pick(&[None, Some(ms(1_000)), Some(ms(5_000))]),
            interval: *chance.pick(&[ms(100), ms(500), ms(2_000)]),
            piece: *chance.pick(&[(ms(0), ms(0)), (ms(0), ms(5)), (ms(10), ms(400))]),
        }
    }
}

impl Knobs {
    /// The set-up of a seed.
    #[must_use]
    pub fn of(chance: &mut Chance) -> Self {
        let ms = Duration::from_millis;
        let us = Duration::from_micros;
        let nodes = *chance.pick(&[3, 3, 3, 3, 4, 5]);
        let factor = *chance.pick(&[3, 3, 3, 2]);
        let count = 1 + chance.below(2);
        let topics = (0..count).map(|number| {
            let partitions = i32::try_from(1 + chance.below(3)).expect("a small number");
            (format!("topic-{number}"), partitions, factor)
        });
        let topics = topics.collect();
        // Followers that fetch little at a time keep up with little only.
        let is_slow = chance.one_in(3);
        let send_interval = if is_slow {
            (ms(100), ms(500))
        } else {
            *chance.pick(&[(ms(5), ms(40)), (ms(20), ms(150)), (ms(1), ms(200))])
        };
        let compaction = {
            let mut other = chance.clone();
            other.number();
            other.one_in(4).then(|| CompactionKnobs::of(other.fork()))
        };
        let compacts = compaction.is_some();
        let first_sequence = if chance.clone().one_in(8) { i32::MAX - 40 } else { 0 };
        let partition_bytes_max = if is_slow { *chance.pick(&[1, 300]) } else { *chance.pick(&[2000, 1 << 20]) };
        Self {
            nodes,
            topics,
            isr_min: 2,
            segment_bytes: *chance.pick(&[512, 2 << 10, 16 << 10, 1 << 20]),
            index_interval_bytes: *chance.pick(&[1, 256, 4096]),
            partition_bytes_max,
            fetch_wait: ms(*chance.pick(&[50, 200, 500])),
            lag_max: ms(*chance.pick(&[50, 500, 2000, 5000])),
            session_timeout: ms(*chance.pick(&[600, 2000, 2000, 4000])),
            heartbeat_interval: ms(*chance.pick(&[100, 250, 250])),
            election_timeout: ms(*chance.pick(&[200, 400, 800])),
            delay: *chance.pick(&[(us(50), us(300)), (us(100), ms(2)), (us(100), ms(20))]),
            flush: *chance.pick(&[(us(100), us(500)), (us(300), ms(4)), (ms(1), ms(40))]),
            apply: *chance.pick(&[(us(50), ms(1)), (us(50), ms(10)), (ms(1), ms(100))]),
            down: *chance.pick(&[(ms(5), ms(50)), (ms(100), ms(3000)), (ms(1000), ms(8000))]),
            idempotent_producers: 1 + chance.below(2),
            // What is written without a promise may be lost: the judge would not know what it had replaced.
            plain_producers: chance.below(2) * usize::from(!compacts),
            in_flight_max: *chance.pick(&[1, 2, 5]),
            send_interval,
            first_sequence,
            consumers: 1 + chance.below(2),
            committers: 0,
            members: 0,
            poll_interval: ms(*chance.pick(&[30, 100, 300])),
            // Keys take room in the smallest segments, too.
            padding_max: *chance.pick(&[0, 100, 700]) * usize::from(!compacts),
            administers: chance.one_in(3),
            reads_followers: chance.one_in(2),
            start_spread: ms(*chance.pick(&[30, 30, 30, 3000])),
            proposal_timeout: ms(*chance.pick(&[200, 1000, 5000])),
            proposal_bytes_max: RECORD_BYTES_MAX,
            retention: None,
            compaction,
            is_volatile: false,
        }
    }
}

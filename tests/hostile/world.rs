//! What the attackers know of the cluster, and the names they may use.
//!
//! Invariant: the names that could become topics are few. A topic that was created lawfully costs memory, and this
//! test is about memory that nobody was entitled to.

use ottla::model::TopicId;

use crate::random::Random;

/// The topic of the good client. Attackers may read it; they may neither write to it nor delete it, because without
/// an authorizer they would be within their rights.
pub(crate) const GOOD_TOPIC: &str = "good-client-records";
/// A topic that nobody may write to: a poll of it waits for as long as it asked to.
pub(crate) const QUIET_TOPIC: &str = "quiet-for-long-polls";
/// Topics that exist from the start, each with its settings.
pub(crate) const STANDING: [(&str, &[(&str, &str)]); 4] = [
    ("hostile-plain", &[]),
    ("hostile-zstd", &[("compression.type", "zstd")]),
    ("hostile-stamped", &[("message.timestamp.type", "LogAppendTime")]),
    ("hostile-compact", &[("cleanup.policy", "compact")]),
];
/// Topics that attackers create and delete over and over.
pub(crate) const COMING_AND_GOING: [&str; 4] = ["hostile-a", "hostile-b", "hostile.c", "hostile_c"];
/// Partitions of each standing topic.
pub(crate) const PARTITIONS: i32 = 2;
/// The group for which the good client commits. Without an authorizer whoever asks may commit for it or delete it, so
/// attackers only read what it committed.
pub(crate) const GOOD_GROUP: &str = "good-client-group";
/// The groups of attackers: each costs what it commits.
pub(crate) const GROUPS: [&str; 4] =
    ["hostile-group-a", "hostile-group-b", "hostile group \u{202e}", "\u{6f22}\u{5b57}"];
/// The static members of their groups.
pub(crate) const INSTANCES: [&str; 3] = ["", "instance-a", "instance-b"];
/// What their members call themselves; nothing, when the coordinator is to name them.
pub(crate) const MEMBERS: [&str; 5] = ["", "", "member", "other", "instance-a-0"];
/// Producer ids that attackers use: each costs the log some memory, as it must.
pub(crate) const PRODUCER_IDS: u64 = 64;

/// Names that no topic may have.
const NO_TOPICS: [&str; 11] = [
    "",
    ".",
    "..",
    "../../etc/passwd",
    "a/b",
    "nul\0nul",
    "\u{202e}txet",
    "漢字",
    "%s%n{}\"\\\n",
    "__cluster_metadata",
    "tab\tand\r\nline",
];

/// A topic that exists.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: TopicId,
}

/// What the attackers know.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) good: Topic,
    pub(crate) quiet: Topic,
    pub(crate) standing: Vec<Topic>,
}

impl World {
    /// A world for tests without a node.
    pub(crate) fn imagined() -> Self {
        let id = |number: u8| TopicId::new([number; 16]);
        let standing = STANDING.iter().zip(1..).map(|((name, _), n)| Topic { name: (*name).to_owned(), id: id(n) });
        let good = Topic { name: GOOD_TOPIC.to_owned(), id: id(99) };
        let quiet = Topic { name: QUIET_TOPIC.to_owned(), id: id(98) };
        Self { good, quiet, standing: standing.collect() }
    }

    /// The name of a topic that exists, might exist, or cannot.
    pub(crate) fn name(&self, random: &mut Random) -> String {
        match random.below(16) {
            0 => [&self.good, &self.quiet][random.below(2)].name.clone(),
            1 | 2 => (*random.pick(&COMING_AND_GOING)).to_owned(),
            3 => (*random.pick(&NO_TOPICS)).to_owned(),
            4 => [longest_name(), "o".repeat(250), "p".repeat(32_767)][random.below(3)].clone(),
            _ => random.pick(&self.standing).name.clone(),
        }
    }

    /// The id of a topic that exists or does not.
    pub(crate) fn id(&self, random: &mut Random) -> [u8; 16] {
        match random.below(10) {
            0 => [0; 16],
            1 => random.bytes(16).try_into().expect("sixteen bytes"),
            2 => self.good.id.get(),
            3 => [0xff; 16],
            _ => random.pick(&self.standing).id.get(),
        }
    }

    /// Whether a topic is to be neither written to nor deleted.
    pub(crate) fn is_protected(&self, name: &str, id: TopicId) -> bool {
        [&self.good, &self.quiet].into_iter().any(|topic| topic.name == name || topic.id == id)
    }

    /// Whether a topic of that name may be created.
    pub(crate) fn may_exist(name: &str) -> bool {
        let is_standing = STANDING.iter().any(|(standing, _)| *standing == name);
        is_standing
            || COMING_AND_GOING.contains(&name)
            || [GOOD_TOPIC, QUIET_TOPIC].contains(&name)
            || name == longest_name()
    }
}

/// As long as a name may be.
fn longest_name() -> String {
    "n".repeat(249)
}

//! Named scenarios: each needs one guard, and without it a named invariant falls.
//!
//! Beside what a scenario does, the clients of every run write and read, and are judged at the end.

use std::time::Duration;

use ottla::probe::Mutant;
use ottla::verify::{Invariant, Violation};

use crate::cluster::Cluster;
use crate::desk::{Answer, Order};
use crate::stage::{Stage, Stop};

/// A plan of a person's.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// The guard that it needs.
    pub(crate) mutant: Mutant,
    /// What falls without it.
    pub(crate) falls: Invariant,
    /// Nothing is done to the nodes, and no partition takes longer than this to acknowledge a write.
    pub(crate) unavailable_max: Option<Duration>,
    play: fn(&mut Stage) -> Result<(), Stop>,
}

impl Scenario {
    /// All of them.
    pub(crate) const ALL: &[Self] = &[
        Self {
            name: "followers_fetch_in_sessions",
            mutant: Mutant::SessionKeepsPosition,
            falls: Invariant::F1,
            unavailable_max: Some(Duration::from_millis(800)),
            play: followers_fetch_in_sessions,
        },
        Self {
            name: "a_controller_is_cut_off_while_it_makes_a_topic",
            mutant: Mutant::UnsettledAnswered,
            falls: Invariant::E7,
            unavailable_max: None,
            play: a_controller_is_cut_off_while_it_makes_a_topic,
        },
        Self {
            name: "a_topic_is_made_again_at_once",
            mutant: Mutant::NameFreeAtOnce,
            falls: Invariant::F4,
            unavailable_max: None,
            play: a_topic_is_made_again_at_once,
        },
        Self {
            name: "logs_are_opened_late",
            mutant: Mutant::RegistersUnrecovered,
            falls: Invariant::E12,
            unavailable_max: None,
            play: logs_are_opened_late,
        },
    ];

    /// The scenario of that name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|scenario| scenario.name == name)
    }

    /// Does it, up to the healing.
    pub(crate) fn play(&self, stage: &mut Stage) -> Result<(), Stop> {
        (self.play)(stage)
    }
}

/// Nothing happens but that followers fetch, each in one session per leader.
fn followers_fetch_in_sessions(stage: &mut Stage) -> Result<(), Stop> {
    stage.run_for(Duration::from_secs(5))
}

/// Each node in turn is cut off from the others, and asked for a topic just then; one of them is the controller. What it
/// proposes is overwritten by the others' when it is back.
fn a_controller_is_cut_off_while_it_makes_a_topic(stage: &mut Stage) -> Result<(), Stop> {
    let others = |node: i32| Cluster::nodes().filter(move |other| *other != node);
    for node in Cluster::nodes() {
        others(node).for_each(|other| stage.cluster.cut(node, other));
        let name = format!("made-by-{node}");
        stage.order(Order::Create { name, node: Some(node), within: Duration::from_secs(8) });
        stage.run_for(Duration::from_millis(2_500))?;
        others(node).for_each(|other| stage.cluster.mend(node, other));
        // What was promised, the judge compares with the metadata at the end.
        stage.answer()?;
        stage.run_for(Duration::from_secs(2))?;
    }
    Ok(())
}

/// A topic is written to, deleted and made again while one of node 1's two shards hangs. That may be the old topic's,
/// which then writes what it was given before; the new one's is the other, or not: that is up to its id.
fn a_topic_is_made_again_at_once(stage: &mut Stage) -> Result<(), Stop> {
    let name = || "again".to_owned();
    // Node 1 answers only when its shards have let go of the old one.
    let create = || Order::Create { name: name(), node: Some(2), within: Duration::from_secs(3) };
    stage.insist(&create())?;
    for _ in 0..12 {
        write_everywhere(stage, "again")?;
        stage.cluster.hang_threads(1, "shard-0", true);
        stage.insist(&Order::Try { name: name(), within: Duration::from_millis(150) })?;
        stage.insist(&Order::Delete { name: name() })?;
        stage.insist(&create())?;
        stage.run_for(Duration::from_millis(200))?;
        stage.cluster.hang_threads(1, "shard-0", false);
    }
    Ok(())
}

/// Writes to a topic's partition 0, and sees that every node holds it a moment later.
fn write_everywhere(stage: &mut Stage, name: &str) -> Result<(), Stop> {
    let Answer::Wrote(offsets) = stage.insist(&Order::Write { name: name.to_owned() })? else {
        unreachable!("a write is answered with what was written")
    };
    // Time enough for every follower, and for a shard that is late.
    stage.run_for(Duration::from_millis(500))?;
    for node in Cluster::nodes() {
        let held = stage.cluster.records(node, name, 0);
        let end = held.iter().flatten().map(|seen| seen.offset.plus(1)).max();
        if end < Some(offsets.end) {
            let message = format!("{offsets:?} was acknowledged in {name}; node {node} holds {held:?}");
            return Err(Violation { invariant: Invariant::A2, message }.into());
        }
    }
    Ok(())
}

/// A node comes back, and what it has is slow to open.
fn logs_are_opened_late(stage: &mut Stage) -> Result<(), Stop> {
    const LATE: i32 = 2;
    // Clients are shown who has died for a while longer.
    const GONE_MAX: Duration = Duration::from_secs(60);
    stage.run_for(Duration::from_secs(1))?;
    stage.cluster.kill(LATE);
    let gone_by = stage.cluster.sim.elapsed() + GONE_MAX;
    while stage.counts_in(1, LATE)? {
        if stage.cluster.sim.elapsed() > gone_by {
            return Err(stage.stuck("a node that was killed is still counted in").into());
        }
        stage.run_for(Duration::from_millis(50))?;
    }
    stage.cluster.hang_threads(LATE, "shard", true);
    stage.cluster.start(LATE);
    for _ in 0..20 {
        stage.run_for(Duration::from_millis(50))?;
        if stage.counts_in(1, LATE)? {
            let message = format!("node {LATE} is counted in, and may be told to lead, with none of its logs open");
            return Err(Violation { invariant: Invariant::E12, message }.into());
        }
    }
    stage.cluster.hang_threads(LATE, "shard", false);
    stage.run_for(Duration::from_secs(1))
}

//! A classic group while it lives: its members, what they can do, and who of them waits for what.
//!
//! Used by the other files of this folder. Invariant: the counts and the map of static members say what the members say;
//! a member that is parked for a join or a sync is told exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::super::call::{DescribedMember, Description, GroupState, JoinedMember, Refusal, Reply, Waiter};
use super::super::state::{ClassicGroup, Client, StoredMember};
use crate::model::{Generation, GroupId, InstanceId, Instant, MemberId, Timestamp};
use crate::probe::{Mutant, planted};

/// A group of the classic protocol.
#[derive(Clone, Debug)]
pub(in super::super) struct Live {
    pub(super) id: GroupId,
    pub(super) phase: Phase,
    pub(super) generation: Generation,
    pub(super) protocol_type: Option<Arc<str>>,
    /// What the members of this generation chose.
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<MemberId>,
    pub(super) members: BTreeMap<MemberId, Member>,
    pub(super) statics: BTreeMap<InstanceId, MemberId>,
    /// Who was told an id and has not joined with it yet, and until when that is awaited.
    pub(super) pending: BTreeMap<MemberId, Option<Instant>>,
    /// Who has not asked for its assignment in this generation.
    pub(super) unsynced: BTreeSet<MemberId>,
    /// How many members know each protocol.
    supported: BTreeMap<Arc<str>, usize>,
    /// How many members wait for the next generation.
    joining: usize,
    /// What all members say and were given, in bytes.
    pub(super) bytes: usize,
    pub(super) join_due: Option<Instant>,
    pub(super) sync_due: Option<Instant>,
}

/// The rest of a member in a record: numbers, lengths, and what is random in its id.
const MEMBER_BYTES: usize = 64;

/// Where it stands between two generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Empty,
    /// Members join; with `first`, it was empty before and waits a while for more.
    Preparing {
        first: Option<First>,
    },
    /// The leader assigns.
    Completing,
    Stable,
}

/// The first rebalance of a group that was empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First {
    /// By how much it may still wait longer.
    pub(super) left: Duration,
    /// Whether a member came since it last looked.
    pub(super) grew: bool,
}

/// A member.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) instance: Option<InstanceId>,
    pub(super) client: Client,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// What it can do, best first, each once.
    pub(super) protocols: Vec<(Arc<str>, Bytes)>,
    pub(super) assignment: Bytes,
    /// Who waits for its next generation.
    pub(super) join: Option<Waiter>,
    /// Who waits for its assignment.
    pub(super) sync: Option<Waiter>,
    /// Whether it was in no generation yet: then its session can end while it waits.
    pub(super) is_new: bool,
    /// When its session ends.
    pub(super) session_end: Instant,
    /// When that is looked at: not after it ends.
    pub(super) looked_at: Option<Instant>,
}

impl Member {
    /// What it says with a protocol.
    pub(super) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| Some(&**name) == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// How long a rebalance waits for it.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        millis(self.rebalance_timeout_ms)
    }

    /// As `said`, of what it says now.
    pub(super) fn said(&self) -> usize {
        said(&self.client, self.instance.as_ref(), &self.protocols)
    }

    fn bytes(&self) -> usize {
        self.said() + self.assignment.len()
    }
}

/// A client's milliseconds; none below zero.
pub(super) fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// What a record takes for a member at most, in bytes, but for its assignment: its id has its instance or its client's
/// name in it.
pub(super) fn said(client: &Client, instance: Option<&InstanceId>, protocols: &[(Arc<str>, Bytes)]) -> usize {
    let names = client.id.len() + instance.map_or(0, |instance| instance.as_str().len());
    let protocols: usize = protocols.iter().map(|(name, metadata)| name.len() + metadata.len()).sum();
    2 * names + client.host.len() + protocols + MEMBER_BYTES
}

impl Live {
    /// A group without members, as far as its facts go.
    pub(in super::super) fn empty(id: &GroupId, stored: Option<&ClassicGroup>) -> Self {
        Self {
            id: id.clone(),
            phase: Phase::Empty,
            generation: stored.map_or(Generation::NONE, |stored| stored.generation),
            protocol_type: stored.map(|stored| Arc::clone(&stored.protocol_type)),
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeMap::new(),
            unsynced: BTreeSet::new(),
            supported: BTreeMap::new(),
            joining: 0,
            bytes: 0,
            join_due: None,
            sync_due: None,
        }
    }

    /// A group as its facts say, for a coordinator that has just read them. A generation in which nobody has an assignment
    /// is still to be assigned.
    pub(in super::super) fn restored(id: &GroupId, stored: &ClassicGroup) -> Self {
        let mut live = Self::empty(id, Some(stored));
        live.protocol.clone_from(&stored.protocol);
        for (member, facts) in &stored.members {
            live.insert(member.clone(), restored_member(facts, stored.protocol.as_ref()));
        }
        if live.members.is_empty() {
            return live;
        }
        live.leader.clone_from(&stored.leader);
        live.phase = Phase::Stable;
        if stored.is_unassigned() {
            live.phase = Phase::Completing;
            live.unsynced = live.members.keys().cloned().collect();
        }
        live
    }

    /// Whether nothing is known of it beyond its facts.
    pub(in super::super) fn is_idle(&self) -> bool {
        self.phase == Phase::Empty && self.pending.is_empty()
    }

    /// How many members it has.
    pub(in super::super) fn size(&self) -> usize {
        self.members.len()
    }

    /// Everybody who waits, each with the kind of answer that is waited for.
    pub(in super::super) fn waiters(self) -> Vec<(Waiter, Reply)> {
        let refusal = || Refusal::NotCoordinator;
        let parked = |member: Member| {
            let join = member.join.map(|waiter| (waiter, Reply::Join(Err(refusal()))));
            let sync = member.sync.map(|waiter| (waiter, Reply::Sync(Err(refusal()))));
            join.into_iter().chain(sync)
        };
        self.members.into_values().flat_map(parked).collect()
    }

    /// What it does, for people.
    pub(in super::super) fn state(&self) -> GroupState {
        match self.phase {
            Phase::Empty => GroupState::Empty,
            Phase::Preparing { .. } => GroupState::PreparingRebalance,
            Phase::Completing => GroupState::CompletingRebalance,
            Phase::Stable => GroupState::Stable,
        }
    }

    /// Its name.
    pub(in super::super) fn id(&self) -> &GroupId {
        &self.id
    }

    /// Whether its members know what they have.
    pub(in super::super) fn is_stable(&self) -> bool {
        self.phase == Phase::Stable
    }

    /// What kind of members it has or had.
    pub(in super::super) fn kind(&self) -> Option<Arc<str>> {
        self.protocol_type.clone()
    }

    /// It, as people see it. What members say is shown when it stands; what they have, also while they rebalance.
    pub(in super::super) fn describe(&self) -> Description {
        let is_settled = self.phase == Phase::Stable;
        let described = |(id, member): (&MemberId, &Member)| DescribedMember {
            member: id.clone(),
            instance: member.instance.clone(),
            client: member.client.clone(),
            metadata: if is_settled { member.metadata(self.protocol.as_deref()) } else { Bytes::new() },
            assignment: member.assignment.clone(),
        };
        Description {
            state: self.state(),
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            protocol: self.protocol.clone().filter(|_| is_settled).unwrap_or_else(|| "".into()),
            members: self.members.iter().map(described).collect(),
        }
    }

    /// The fact that it is now.
    pub(super) fn stored(&self, since: Timestamp) -> ClassicGroup {
        let member = |(id, member): (&MemberId, &Member)| {
            let stored = StoredMember {
                instance: member.instance.clone(),
                client: member.client.clone(),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout_ms,
                subscription: member.metadata(self.protocol.as_deref()),
                assignment: member.assignment.clone(),
            };
            (id.clone(), stored)
        };
        ClassicGroup {
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            since,
            members: self.members.iter().map(member).collect(),
        }
    }

    /// Adds a member that is not in it.
    pub(super) fn insert(&mut self, id: MemberId, member: Member) {
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        self.count(&member.protocols);
        self.joining += usize::from(member.join.is_some());
        self.bytes += member.bytes();
        self.pending.remove(&id);
        if self.leader.is_none() {
            self.leader = Some(id.clone());
        }
        let before = self.members.insert(id, member);
        assert!(before.is_none(), "a member is added once");
    }

    /// Takes a member out; whoever waits on it is the caller's.
    pub(super) fn remove(&mut self, id: &MemberId) -> Option<Member> {
        let member = self.members.remove(id)?;
        if let Some(instance) = &member.instance {
            self.statics.remove(instance);
        }
        self.uncount(&member.protocols);
        self.joining -= usize::from(member.join.is_some());
        self.bytes -= member.bytes();
        self.unsynced.remove(id);
        if self.leader.as_ref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Changes a member, and what is counted of it.
    pub(super) fn change<T>(&mut self, id: &MemberId, change: impl FnOnce(&mut Member) -> T) -> Option<T> {
        let mut member = self.members.remove(id)?;
        self.uncount(&member.protocols);
        self.joining -= usize::from(member.join.is_some());
        self.bytes -= member.bytes();
        let value = change(&mut member);
        self.count(&member.protocols);
        self.joining += usize::from(member.join.is_some());
        self.bytes += member.bytes();
        self.members.insert(id.clone(), member);
        Some(value)
    }

    /// Whether every member waits for the next generation, and nobody else is expected.
    pub(super) fn all_joined(&self) -> bool {
        self.joining == self.members.len() && self.pending.is_empty()
    }

    /// How many members wait for the next generation.
    pub(super) fn joining(&self) -> usize {
        self.joining
    }

    /// How long a rebalance waits: as long as the most patient member.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(Member::rebalance_timeout).max().unwrap_or_default()
    }

    /// Whether somebody who knows `protocols` can be in it.
    pub(super) fn suits(&self, protocol_type: &str, protocols: &[(Arc<str>, Bytes)]) -> bool {
        if self.phase == Phase::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let is_common = |name: &Arc<str>| self.supported.get(name).copied().unwrap_or(0) == self.members.len();
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(|(name, _)| is_common(name))
    }

    /// The protocol of the next generation: each member votes for the first of its own that all know.
    pub(super) fn elect_protocol(&self) -> Option<Arc<str>> {
        let is_common = |name: &Arc<str>| self.supported.get(name).copied() == Some(self.members.len());
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| is_common(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| Arc::clone(name))
    }

    /// Whether a member is who it says it is.
    ///
    /// # Errors
    /// It is unknown, or another has its instance.
    pub(super) fn check(&self, member: &MemberId, instance: Option<&InstanceId>) -> Result<(), Refusal> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(Refusal::UnknownMember),
                Some(holder) if holder != member && !planted(Mutant::InstanceUnfenced) => {
                    return Err(Refusal::FencedInstance);
                }
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(Refusal::UnknownMember) }
    }

    /// What the leader is told of the members.
    pub(super) fn roll(&self) -> Vec<JoinedMember> {
        let told = |(id, member): (&MemberId, &Member)| JoinedMember {
            member: id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(self.protocol.as_deref()),
        };
        self.members.iter().map(told).collect()
    }

    fn count(&mut self, protocols: &[(Arc<str>, Bytes)]) {
        for (name, _) in protocols {
            *self.supported.entry(Arc::clone(name)).or_default() += 1;
        }
    }

    fn uncount(&mut self, protocols: &[(Arc<str>, Bytes)]) {
        for (name, _) in protocols {
            let count = self.supported.get_mut(name).expect("what a member knows is counted");
            *count -= 1;
            if *count == 0 {
                self.supported.remove(name);
            }
        }
    }
}

/// A member as its facts say: of what it can do, only the chosen protocol is known.
fn restored_member(facts: &StoredMember, protocol: Option<&Arc<str>>) -> Member {
    let protocols = protocol.map(|name| (Arc::clone(name), facts.subscription.clone()));
    Member {
        instance: facts.instance.clone(),
        client: facts.client.clone(),
        rebalance_timeout_ms: facts.rebalance_timeout_ms,
        session_timeout_ms: facts.session_timeout_ms,
        protocols: protocols.into_iter().collect(),
        assignment: facts.assignment.clone(),
        join: None,
        sync: None,
        is_new: false,
        session_end: Instant::ZERO,
        looked_at: None,
    }
}

//! C1, committed offset is no register: broken by a history of the commits and fetches of one group and partition in which
//! no order of them, each at one moment between its invocation and its return, explains what was told. A commit of
//! which nobody knows may take effect at any time after its invocation, or never.
//!
//! Source: Gibbons and Korach, *Testing shared memories* (1997), for registers whose every value is written once: a value and
//! those who were told it are a cluster; with `f` the first return and `i` the last invocation in it, the cluster has a
//! forward zone `[f, i]` if `f < i`, else a backward zone `[i, f]`. A register is broken where two forward zones overlap, where
//! a backward zone lies within a forward one, and where a value is told before it was committed. Rules S6 and R18 keep it.
//! Not judged in a run that allowed loss.

use std::collections::BTreeMap;

use crate::model::Instant;
use crate::verify::Invariant;
use crate::verify::history::{Class, CommitSent, CommittedRead, RegisterId};
use crate::verify::index::Index;
use crate::verify::report::Findings;

/// Judges every register.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.loss_is_allowed() {
        return;
    }
    let mut registers: BTreeMap<RegisterId, Register<'_>> = BTreeMap::new();
    for commit in &index.history.commits {
        registers.entry(commit.register).or_default().commits.push(commit);
    }
    for read in &index.history.committed_reads {
        registers.entry(read.register).or_default().reads.push(read);
    }
    for (id, register) in registers {
        for message in register.faults() {
            findings.add(Invariant::C1, || format!("register {}: {message}", id.0));
        }
    }
}

/// The history of one register.
#[derive(Debug, Default)]
struct Register<'h> {
    commits: Vec<&'h CommitSent>,
    reads: Vec<&'h CommittedRead>,
}

/// A value, and everybody who wrote it or was told it.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    /// `None` is that nothing is committed.
    value: Option<u64>,
    first_return: Instant,
    last_invocation: Instant,
}

/// The time in which a cluster's value was certainly that of the register, or a moment in which it may have been.
#[derive(Clone, Copy, Debug)]
struct Zone {
    cluster: Cluster,
    begin: Instant,
    end: Instant,
}

impl Register<'_> {
    fn faults(&self) -> Vec<String> {
        let mut faults = self.phantoms();
        let clusters = self.clusters();
        let zone = |cluster: &Cluster, begin, end| Zone { cluster: *cluster, begin, end };
        let is_forward = |cluster: &&Cluster| cluster.first_return < cluster.last_invocation;
        let forward = clusters.iter().filter(is_forward).map(|c| zone(c, c.first_return, c.last_invocation));
        let mut forward: Vec<Zone> = forward.collect();
        forward.sort_by_key(|zone| zone.begin);
        for pair in forward.windows(2).filter(|pair| pair[0].end > pair[1].begin) {
            faults.push(format!("{} and {}, one within the other", shown(&pair[0]), shown(&pair[1])));
        }
        let backward = clusters.iter().filter(|cluster| !is_forward(cluster));
        for within in backward.map(|c| zone(c, c.last_invocation, c.first_return)) {
            let holds = |around: &&Zone| around.begin < within.begin && within.end < around.end;
            if let Some(around) = forward.iter().find(holds) {
                faults.push(format!("{} while {}", shown(&within), shown(around)));
            }
        }
        faults
    }

    /// What was told and never committed, or told before.
    fn phantoms(&self) -> Vec<String> {
        let told = self.reads.iter().filter_map(|read| Some((read, read.value?)));
        let phantom = |(read, value): (&&CommittedRead, u64)| {
            let commit = self.commits.iter().find(|commit| commit.value == value && commit.class != Class::Fail);
            let is_sound = commit.is_some_and(|commit| commit.invoked < read.returned);
            (!is_sound).then(|| format!("{value} was told at {} and not committed before", read.returned))
        };
        told.filter_map(phantom).collect()
    }

    fn clusters(&self) -> Vec<Cluster> {
        // At first nothing is committed.
        let nothing = Cluster { value: None, first_return: Instant::ZERO, last_invocation: Instant::ZERO };
        let mut clusters = BTreeMap::from([(None, nothing)]);
        for commit in self.commits.iter().filter(|commit| commit.class != Class::Fail) {
            let returned = commit.returned.filter(|_| commit.class == Class::Ok);
            let cluster = Cluster {
                value: Some(commit.value),
                first_return: returned.unwrap_or(Instant::from_nanos(u64::MAX)),
                last_invocation: commit.invoked,
            };
            clusters.insert(Some(commit.value), cluster);
        }
        for read in &self.reads {
            if let Some(cluster) = clusters.get_mut(&read.value) {
                cluster.first_return = cluster.first_return.min(read.returned);
                cluster.last_invocation = cluster.last_invocation.max(read.invoked);
            }
        }
        // Of what nobody knows and nobody was told, nothing follows.
        clusters.into_values().filter(|cluster| cluster.first_return < Instant::from_nanos(u64::MAX)).collect()
    }
}

fn shown(zone: &Zone) -> String {
    let value = zone.cluster.value.map_or("nothing".to_owned(), |value| value.to_string());
    format!("{value} from {} to {}", zone.begin, zone.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn commit(value: u64, invoked: u64, returned: Option<u64>) -> CommitSent {
        let class = if returned.is_some() { Class::Ok } else { Class::Info };
        CommitSent { register: RegisterId(0), value, invoked: at(invoked), returned: returned.map(at), class }
    }

    fn read(value: Option<u64>, invoked: u64, returned: u64) -> CommittedRead {
        CommittedRead { register: RegisterId(0), value, invoked: at(invoked), returned: at(returned) }
    }

    fn faults(commits: &[CommitSent], reads: &[CommittedRead]) -> usize {
        Register { commits: commits.iter().collect(), reads: reads.iter().collect() }.faults().len()
    }

    #[test]
    fn what_one_order_explains_is_sound() {
        let commits = [commit(1, 10, Some(20)), commit(2, 30, Some(50)), commit(3, 60, None)];
        let reads = [
            read(None, 1, 5),
            read(None, 8, 15),
            read(Some(1), 21, 25),
            // While 2 is under way either is right.
            read(Some(2), 31, 40),
            read(Some(2), 51, 70),
            // Nobody knows of 3: it may take effect much later.
            read(Some(2), 80, 90),
            read(Some(3), 100, 110),
        ];
        assert_eq!(faults(&commits, &reads), 0);
    }

    #[test]
    fn a_commit_that_nobody_knows_of_may_overtake_a_later_one() {
        let commits = [commit(1, 10, None), commit(2, 20, Some(30))];
        assert_eq!(faults(&commits, &[read(Some(2), 31, 35), read(Some(1), 40, 45)]), 0);
        // But it does not go and come.
        assert!(faults(&commits, &[read(Some(1), 31, 35), read(Some(2), 40, 45), read(Some(1), 50, 55)]) > 0);
    }

    #[test]
    fn less_than_was_acknowledged_is_no_answer() {
        let commits = [commit(1, 10, Some(20)), commit(2, 30, Some(40))];
        assert!(faults(&commits, &[read(Some(1), 41, 45)]) > 0);
        assert!(faults(&commits, &[read(None, 21, 25)]) > 0);
        assert_eq!(faults(&commits, &[read(Some(2), 41, 45)]), 0);
    }

    #[test]
    fn what_was_told_once_is_not_taken_back() {
        let commits = [commit(1, 10, Some(20)), commit(2, 30, Some(90))];
        assert!(faults(&commits, &[read(Some(2), 40, 50), read(Some(1), 60, 70)]) > 0);
    }

    #[test]
    fn what_was_never_committed_is_a_phantom() {
        let mut refused = commit(1, 10, Some(20));
        refused.class = Class::Fail;
        assert!(faults(&[refused], &[read(Some(1), 30, 40)]) > 0);
        assert!(faults(&[commit(1, 50, Some(60))], &[read(Some(1), 30, 40)]) > 0);
        assert!(faults(&[], &[read(Some(9), 30, 40)]) > 0);
    }
}

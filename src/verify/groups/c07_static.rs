//! C7, static fencing: broken by a request of a static member that is taken, though it was sent after a later process had
//! joined with the same `group.instance.id` and been told so.
//!
//! Source: KIP-345, FENCED_INSTANCE_ID. A process is later if it asked for its member id after the earlier one had been told
//! its own. A sign of life may be as late as a coordinator's session (`no_older_than`). Not judged in a run that allowed loss.

use std::collections::{BTreeMap, BTreeSet};

use super::told::{by_group, known_as, no_older_than};
use crate::model::{InstanceId, Instant, MemberId};
use crate::verify::Invariant;
use crate::verify::history::{MemberAnswer, MemberCall, MemberRequest};
use crate::verify::index::Index;
use crate::verify::report::Findings;

/// Judges every instance of every group.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.loss_is_allowed() {
        return;
    }
    for (group, calls) in by_group(index) {
        let mut instances: BTreeMap<&InstanceId, Vec<&MemberCall>> = BTreeMap::new();
        for call in calls {
            if let Some(instance) = &call.instance {
                instances.entry(instance).or_default().push(call);
            }
        }
        for (instance, calls) in instances {
            let holders = holders(&calls);
            for call in calls.into_iter().filter(|call| call.is_ok() && names_itself(call)) {
                let Some(fenced) = fenced_at(&holders, call) else { continue };
                if fenced < no_older_than(index, call) {
                    let (member, invoked) = (known_as(call), call.invoked);
                    findings.add(Invariant::C7, || {
                        format!("{group}: {member} was obeyed at {invoked}, and another had {instance} since {fenced}")
                    });
                }
            }
        }
    }
}

/// Whoever asks what is committed says nothing of itself in the classic protocol.
fn names_itself(call: &MemberCall) -> bool {
    call.request != MemberRequest::Fetch
}

/// A process that came to have an instance: when it asked for that, and when it was told.
#[derive(Clone, Copy, Debug)]
struct Holder<'h> {
    member: &'h MemberId,
    invoked: Instant,
    returned: Instant,
    /// When somebody who asks behind it had been told, at the earliest.
    succeeded: Option<Instant>,
}

/// In the order of their members and moments. Of the classic protocol a process has its id once; one of KIP-848 that was
/// taken out joins again with the same.
fn holders<'h>(calls: &[&'h MemberCall]) -> Vec<Holder<'h>> {
    let mut holders: Vec<Holder<'_>> = Vec::new();
    let mut known = BTreeSet::new();
    for call in calls {
        let joins = match (&call.request, &call.answer) {
            (MemberRequest::Join { .. }, MemberAnswer::Joined { member, .. }) => known.insert(member),
            (MemberRequest::Beat { .. }, MemberAnswer::Told { .. }) => call.generation == 0,
            (_, _) => false,
        };
        let (true, Some(returned)) = (joins, call.returned) else { continue };
        holders.push(Holder { member: known_as(call), invoked: call.invoked, returned, succeeded: None });
    }
    holders.sort_by_key(|holder| holder.invoked);
    // The earliest return of all that were invoked later, from the back.
    let mut earliest: Vec<Option<Instant>> = vec![None; holders.len() + 1];
    for at in (0..holders.len()).rev() {
        let own = holders[at].returned;
        earliest[at] = Some(earliest[at + 1].map_or(own, |later| later.min(own)));
    }
    for at in 0..holders.len() {
        let behind = holders.partition_point(|other| other.invoked <= holders[at].returned);
        holders[at].succeeded = earliest[behind];
    }
    holders.sort_by_key(|holder| (holder.member, holder.invoked));
    holders
}

/// When whoever sent a request had a successor.
fn fenced_at(holders: &[Holder<'_>], call: &MemberCall) -> Option<Instant> {
    let key = (known_as(call), call.invoked);
    let count = holders.partition_point(|holder| (holder.member, holder.invoked) <= key);
    holders.get(count.checked_sub(1)?).filter(|holder| holder.member == key.0)?.succeeded
}

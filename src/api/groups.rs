//! What the APIs of groups share: who asks, as the coordinator sees it.
//!
//! Invariant: nothing of a request is changed on the way but its types.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt as _};

use super::call::Caller;
use super::context::Context;
use crate::machines::group::{Client, Identity};
use crate::model::{Generation, GroupId, InstanceId, MemberId, PartitionIndex, TopicName};

/// What `authorized operations` say without an authorizer: all that a group has.
pub(super) const GROUP_OPERATIONS: i32 = 3_400;

/// How many groups of one request are asked for at once.
const ASKED_AT_ONCE_MAX: usize = 64;

/// Who speaks, for which group.
pub(super) fn identity(group: &str, member: &str, instance: Option<&str>, generation: i32) -> Identity {
    Identity {
        group: GroupId::new(group),
        member: MemberId::new(member),
        instance: instance.map(InstanceId::new),
        generation: Generation::new(generation),
    }
}

/// The client behind a connection, its address as Java prints one.
pub(super) fn client(caller: &Caller) -> Client {
    Client::new(caller.client_id.as_deref().unwrap_or(""), &format!("/{}", caller.address))
}

/// An id that no member has had.
pub(super) fn fresh_member(context: &Context, caller: &Caller, instance: Option<&str>) -> MemberId {
    let name = instance.or(caller.client_id.as_deref()).unwrap_or("");
    MemberId::new(&format!("{name}-{}", hyphenated(context.cluster().seed.uuid())))
}

/// A UUID as people know it.
fn hyphenated(uuid: [u8; 16]) -> String {
    let digits =
        |range: std::ops::Range<usize>| uuid[range].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    [digits(0..4), digits(4..6), digits(6..8), digits(8..10), digits(10..16)].join("-")
}

/// Partitions by their numbers, for a topic that can exist.
pub(super) fn named(name: &str, partitions: &[i32]) -> Option<(TopicName, Vec<PartitionIndex>)> {
    let topic = TopicName::new(name).ok()?;
    Some((topic, partitions.iter().copied().map(PartitionIndex::new).collect()))
}

/// Asks for each of the groups that a request names, a few at a time: one request neither fills the inboxes of the shards
/// nor waits for one proof of leadership after the other.
pub(super) async fn in_turn<T, A, F: Future<Output = A>>(groups: Vec<T>, ask: impl Fn(T) -> F) -> Vec<A> {
    stream::iter(groups).map(ask).buffered(ASKED_AT_ONCE_MAX).collect().await
}

/// Each group that a request names, once: the answer to a small request that names a large group again and again could be
/// of any size.
pub(super) fn distinct<T>(mut groups: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
    let mut seen = BTreeSet::new();
    groups.retain(|group| seen.insert(name(group).to_owned()));
    groups
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn groups_of_one_request_are_asked_for_a_few_at_a_time_and_answered_in_their_order() {
        let (under_way, most) = (Cell::new(0), Cell::new(0));
        let ask = |number: usize| {
            let (under_way, most) = (&under_way, &most);
            async move {
                under_way.set(under_way.get() + 1);
                most.set(most.get().max(under_way.get()));
                for _ in 0..number % 3 {
                    tokio::task::yield_now().await;
                }
                under_way.set(under_way.get() - 1);
                number
            }
        };
        let asked: Vec<usize> = (0..1_000).collect();
        assert_eq!(in_turn(asked.clone(), ask).await, asked);
        assert!(most.get() > 1 && most.get() <= ASKED_AT_ONCE_MAX, "{}", most.get());
    }

    #[test]
    fn a_group_that_is_named_twice_is_answered_once() {
        assert_eq!(distinct(vec!["b", "a", "b", "a"], |name| name), ["b", "a"]);
    }

    #[test]
    fn a_uuid_is_written_as_java_writes_it() {
        let bytes = std::array::from_fn(|at| u8::try_from(at * 17).expect("small"));
        assert_eq!(hyphenated(bytes), "00112233-4455-6677-8899-aabbccddeeff");
    }
}

//! Groups of consumers and what they have committed: the facts in `__consumer_offsets` and the state that they make.
//!
//! Contract: the leader of a partition of that topic replays its records, in the order of the log, into [`Groups`];
//! [`Groups::replay`] is the only thing that changes them, and whoever replays the same records holds the same groups. A
//! [`Record`] is a fact, never a command, in Kafka's own bytes.
//!
//! A [`Call`] and the groups come in, a [`Decision`] goes out. Its records are replayed at once and written; its replies
//! leave when all that was written before and with them is committed, so that nobody is told what could be lost. A join
//! or a sync may be answered by the decision on another call, or by [`tick`], which is called until it has nothing to do
//! when [`Soft::next_deadline`] has come. When topics change, [`topics_changed`] says so before the next tick. [`Soft`] is who waits and whose session ends when: a new coordinator begins
//! without it and loses nothing but time. No safety rests on a clock.

mod record;
mod state;
mod call;
mod options;
mod timers;
mod decide;
mod classic;
mod offsets;
mod subscription;
mod view;
mod assignor;
mod consumer;

pub use assignor::{Assignor, Reader, Share};
pub use call::{
    Call, Commit, CommitOf, DescribedMember, Description, Fetch, Forget, GroupState, Identity, Join, Joined,
    JoinedMember, Leave, Listed, Protocol, Refusal, Reply, Survey, Surveyed, SurveyedGroup, Sync, Synced, Waiter,
};
pub use consumer::{
    Beat, ClassicWords, ConsumerDescription, ConsumerGroup, Current, DescribedConsumer, MemberState, Resolved,
    Subscriber, Told,
};
pub use decide::{Decision, Present, Soft, decide, tick, topics_changed};
pub use offsets::forget_gone;
pub use options::Options;
pub use record::{ConsumerFact, Encoded, Record, RecordFault, TOPIC_ID_HEADER};
pub use state::{CONSUMER_PROTOCOL, ClassicGroup, Client, Committed, Group, Groups, Offsets, StoredMember};
pub use subscription::assigned;

#[cfg(test)]
mod tests;

//! One partition's life on this broker, and the shard that owns many of them. Synchronous.
//!
//! Called by `broker`, which gives every shard a thread: it puts events in, hands effects out, and runs the flush of a
//! data directory and the reading of a plan elsewhere. `event.rs` and `effect.rs` are the whole interface.
//!
//! Invariant: no lock, no channel, no clock, no async; what one shard owns, no other thread touches.

mod event;
mod effect;
mod shard;
mod replica;
mod append;
mod parked;
mod coordinator;
mod follow;
mod read;
mod damage;
mod compact;
mod lookup;
mod watches;

pub use compact::{CompactionJob, CompactionOutcome};
pub use effect::{
    AbortedTransaction, Acked, AppendRefusal, Breakage, BrokenPartition, ContradictedFollower, Effect, FatalCause,
    FetchFault, FetchPosition, FollowersAsked, ListRefusal, OpenedPartition, PartitionDescription, PartitionProposal,
    ReadAnswer, ReadRefusal, ReadReply, Reply, RoleDescription, TrimRefusal, UnservedRecords, UnusableFetch, Watching,
};
pub use event::{
    ConsumerIsolation, Event, FetchedOutcome, FetchedPartition, FlushMode, FollowOrder, LeadOrder, OffsetQuery,
    ReadEvent, ReadRequest, Reader, WatchId,
};
pub use lookup::{FoundOffset, LookupError, OffsetAnswer, OffsetLookup};
pub use shard::{Shard, ShardOptions};

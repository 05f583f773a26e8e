//! Leader and follower of one partition: when a record is committed, who is in sync, where a log is cut.
//!
//! The contract, in the manner of etcd's raft: the owner (`partition/replica.rs`) performs I/O, tells the machine what
//! happened, and carries out the effects *in the order in which they were pushed*.
//!
//! ```text
//! events in                                   effects out
//! Leader::take_over, on_order   (an order)    Complete(ticket, ending)     a parked produce ends
//! on_append, park               (appended)    HighWatermark(offset)        consumers may read up to here
//! on_flushed                    (fsynced)     Propose(proposal)            ask the controller for another ISR
//! on_fetch                      (a follower's fetch, which is its durability ack)
//! on_isr_answer, on_tick, resign              Ask(round)                   ask members whether they follow
//! confirm, on_vouched (a read is to be proven; a member follows)
//! ```
//!
//! * An append is told to the machine after the bytes are written and before anybody can read them; its flush is told
//!   by `on_flushed`, never before the sync returned.
//! * `HighWatermark` is pushed before the `Complete`s that it causes: who hears an acknowledgement can read the record.
//! * `Propose` may be sent at any time after its turn; it is answered by `on_isr_answer` exactly once per sending, or
//!   overtaken by an order with a higher partition epoch. Until then the proposed members count as in sync (rule R9).
//! * A follower is asked for a step (`judge`), which the owner performs on the log and then reports (`on_appended`,
//!   `on_truncated`, `on_reset`, `on_flushed`); `position` is where to fetch next, once all of it is flushed (rule S1).
//! * No effect undoes another, and an effect lost with the process is made again by the next order or tick.
//!
//! What rules R1-R23 and S1-S18 of the design ask of a leader or a follower stands at the line that obeys it.
//!
//! Invariant: the high watermark is at most the flushed end of every member of the maximal ISR, and never falls.

mod effect;
mod leader;
mod follower;
mod progress;
mod waiters;
mod proof;

pub use effect::{
    Acks, BatchMark, Ending, EpochEnd, FetchFault, FollowerFetch, FollowerState, IsrMember, IsrOutcome, IsrProposal,
    LeaderEffect, Leadership, LogEnds, NotEnough, ProofRound, ReplicaState, Ticket,
};
pub use follower::{Answer, Follower, FollowerStep};
pub use leader::Leader;

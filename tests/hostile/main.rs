//! A live node under a million mutated requests, with a good client beside them.
//!
//! * `draft`, `vocabulary`, `mutate`: requests of every API and version, and what a mutation does to them.
//! * `batches`, `lies`, `bombs`: what stands in a Produce.
//! * `streams`: attacks on the connection rather than on a request.
//! * `attack`: how often each comes; `tame` takes out what would be lawful.
//! * `expect`: what must follow each frame, judged by the node's own decoder.
//! * `node`, `good`, `attacker`, `live`: the run itself; `unread`, `large`, `large_groups` and `idle`: what a
//!   run of small requests cannot show.
//!
//! A quick run is part of every `cargo test`. The full one:
//!
//! ```text
//! HOSTILE_REQUESTS=1000000 cargo test --release --test hostile live -- --nocapture
//! ```
//!
//! Each run prints its seed and the command that sends the same attacks again.

mod random;
mod apis;
mod world;
mod vocabulary;
mod batches;
mod bombs;
mod lies;
mod draft;
mod mutate;
mod tame;
mod expect;
mod streams;
mod attack;
mod wire;
mod node;
mod good;
mod tally;
mod attacker;
mod live;
mod unread;
mod large;
mod large_groups;
mod idle;

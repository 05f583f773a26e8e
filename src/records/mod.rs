//! Record batches v2: reads, builds and checks them, without copying payloads.
//!
//! Called by `api` (what producers sent), `storage` (headers, stamping, look-ups by time), `client` and the
//! coordinators (building, iterating). Invariant: nothing here allocates by a length that the bytes merely claim,
//! and nothing here panics on any input.

mod header;
mod batch;
mod check;
mod intact;
mod recode;
mod walk;
mod lookup;
mod iter;
mod build;
mod control;
mod thin;
mod digest;
mod compress;
mod varint;
mod error;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod interop;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod golden;

pub use batch::{Batch, Split, Stamped, split};
pub use build::{Builder, Draft, Producer};
pub use check::{Checked, CompressionRule, ProduceRules, check_produced};
pub use compress::{Codec, Compression, OUTPUT_BYTES_MAX};
pub use control::{Control, Marker, MarkerKind, marker_batch, read_control};
pub use digest::KeyDigest;
pub use error::{
    BatchError, BuildError, ControlError, DecompressError, RecordError, RecordFailure, RecordFault, Refusal,
};
pub use header::{Header, TimestampType};
pub use intact::{Damage, Expected, IntactCheck};
pub use iter::{Record, RecordHeader, Records};
pub use lookup::RecordAt;
pub use thin::{KeyedRecord, Thinned, Thinning};

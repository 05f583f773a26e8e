//! Who is alive, as far as this process can tell.

use serde::{Deserialize, Serialize};

/// What came of dialing a broker whose connection had closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DialOutcome {
    /// The host answers that nobody listens: the process is gone.
    Refused,
    /// Somebody listens.
    Answered,
    /// No answer in time, no route, or the name does not resolve.
    Unreachable,
    /// This process could not even try: it is out of descriptors or memory (rule S16).
    Unable,
}

//! Frames over sockets: server, connection, client, peers, liveness.
//!
//! Called by `node` (which starts servers), `broker`, `quorum` and `client`. Nothing here knows what a request means:
//! a `RequestHandler` gets frames and gives chunks, a `PeerService` gets payloads and gives payloads.
//!
//! Invariants: responses leave a connection in the order of its requests; every buffer, queue and wait has a named
//! bound; a name is resolved again at every dial; only `tcp` names tokio's network types, so that a simulated network
//! can take their place.

mod address;
mod budget;
mod client;
mod connection;
mod handler;
mod liveness;
mod peer_frame;
mod peer_gate;
mod peers;
mod receive;
mod send;
mod server;
mod socket;
#[cfg(not(feature = "sim"))]
mod tcp;
#[cfg(feature = "sim")]
#[path = "simulated_tcp.rs"]
mod tcp;
mod throttled_log;

pub use address::{HostPort, HostPortError};
pub use budget::Budget;
pub use client::{ClientConnection, ClientError, ClientOptions, RequestSender, ResponseReceiver};
pub use handler::{Answer, Chunk, FileRange, Handled, PendingAnswer, RangeCheck, RequestContext, RequestHandler};
pub use liveness::{
    BeatSource, CloseReason, Hello, Liveness, LivenessError, LivenessEvent, LivenessOptions, Probe, VoterEvents, probe,
};
pub use peer_frame::Service;
pub use peer_gate::{PeerRoute, PeerService};
pub use peers::{CallError, Peers, PeersOptions};
pub use server::{Server, ServerOptions};
pub use socket::{DialError, Dialer, ListenError, Listener, Socket};
#[cfg(feature = "sim")]
pub use tcp::SimulatedNetwork;
pub use throttled_log::OncePerMinute;

//! One request on its way to its handler, and its response on the way back.
//!
//! Invariant: a response is encoded in the version of its request and carries its correlation id.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::future::{BoxFuture, FutureExt};

use super::context::Context;
use crate::codec::{DecodeError, Piece};
use crate::protocol::frame::PREFIX_SIZE;
use crate::protocol::{Request, Response, decode_request, encode_response, encode_response_pieces};
use crate::transport::{Answer, Chunk};

/// The rest of the work on a request.
pub(super) type Answering = BoxFuture<'static, Answer>;

/// A request that was decoded.
pub(super) enum Started {
    /// What must keep the order of its connection is done.
    Now(Answering),
    /// That takes long and is done in here; until then the connection's next request is not looked at.
    Later(BoxFuture<'static, Started>),
}

impl Started {
    pub(super) fn answer(self) -> Answering {
        match self {
            Self::Now(answering) => answering,
            Self::Later(start) => start.then(Self::answer).boxed(),
        }
    }
}

/// Who asks, and how.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// The version of the API; one that its row serves.
    pub(super) version: i16,
    /// The listener that the request came in on.
    pub(super) listener: Arc<str>,
    /// What the client calls itself; not fit for a log.
    pub(super) client_id: Option<String>,
    /// Where the client is.
    pub(super) address: IpAddr,
    /// How large the request's body is.
    pub(super) body_size: usize,
}

/// A request, cut into header and body.
pub(super) struct Call {
    pub(super) context: Context,
    pub(super) caller: Caller,
    pub(super) correlation_id: i32,
    pub(super) body: Bytes,
}

impl Call {
    /// Reads the body and hands it to a handler that always answers.
    pub(super) fn serve<R, F, Fut>(self, handler: F) -> Result<Started, DecodeError>
    where
        R: Request,
        F: FnOnce(Context, Caller, R) -> Fut,
        Fut: Future<Output = R::Response> + Send + 'static,
    {
        let version = self.caller.version;
        let request = decode_request::<R>(version, self.body)?;
        let response = handler(self.context, self.caller, request);
        let correlation_id = self.correlation_id;
        Ok(Started::Now(Box::pin(async move { answer(version, correlation_id, &response.await) })))
    }
}

/// Encodes a response some of whose payloads are elsewhere: `elsewhere` has them, in their order.
pub(super) fn answer_with<R: Response>(
    version: i16,
    correlation_id: i32,
    response: &R,
    elsewhere: Vec<Chunk>,
) -> Answer {
    let mut elsewhere = elsewhere.into_iter();
    let mut chunks = Vec::new();
    for piece in encode_response_pieces(version, correlation_id, response) {
        match piece {
            Piece::Bytes(bytes) => chunks.push(Chunk::Bytes(bytes)),
            Piece::Gap { size } => fill(size, &mut elsewhere, &mut chunks),
        }
    }
    assert!(elsewhere.next().is_none(), "every chunk that is elsewhere has its gap");
    Answer::send_chunks(chunks)
}

/// Moves the chunks that fill one gap.
fn fill(size: usize, elsewhere: &mut impl Iterator<Item = Chunk>, chunks: &mut Vec<Chunk>) {
    let mut missing = size;
    while missing > 0 {
        let chunk = elsewhere.next().expect("every gap has its chunks");
        assert!(chunk.size() <= missing, "a chunk stands in one gap");
        missing -= chunk.size();
        chunks.push(chunk);
    }
}

/// Encodes a response.
pub(super) fn answer<R: Response>(version: i16, correlation_id: i32, response: &R) -> Answer {
    let mut frame = encode_response(version, correlation_id, response);
    // The transport writes the size itself.
    frame.advance(PREFIX_SIZE);
    Answer::send(frame.chunks().cloned().collect())
}

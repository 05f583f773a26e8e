//! The bytes of the protocol that nodes speak among themselves on the CONTROLLER listener.
//!
//! A connection begins with a preface from the dialler and a welcome in return; then both send frames. A connection
//! carries one service. All integers are big endian.
//!
//! ```text
//! preface  "OTTL" version:u8 service:u8 0:u16 from:i32 to:i32
//! welcome  "OTTL" version:u8 verdict:u8 0:u16 node:i32 0:i32
//! frame    length:u32 { id:u64 service:u8 kind:u8 payload }
//! ```
//!
//! Invariant: a node that was dialled by mistake (addresses are swapped when containers restart in another order) is
//! found out before any payload is sent.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::model::{NodeId, number};

use super::socket::Socket;

number! {
    /// What a connection between nodes is for.
    Service(u8)
}

impl Service {
    /// The metadata quorum's calls.
    pub const QUORUM: Self = Self::new(0);
    /// Calls to the active controller.
    pub const CONTROLLER: Self = Self::new(1);
    /// Liveness connections; served by `liveness` itself.
    pub const LIVENESS: Self = Self::new(2);
    /// Calls between brokers.
    pub const BROKER: Self = Self::new(3);
}

/// The largest payload of a frame. Snapshots come in pieces, proposals are at most 128 KiB (rule S14).
pub(super) const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The part of a frame before its payload, without the length.
const HEAD_BYTES: usize = 10;
/// The largest frame, without the length.
pub(super) const FRAME_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + HEAD_BYTES;

const MAGIC: [u8; 4] = *b"OTTL";
const VERSION: u8 = 1;
const GREETING_BYTES: usize = 16;

/// What the dialler says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Preface {
    pub(super) service: Service,
    pub(super) from: NodeId,
    /// Whom the dialler believes to reach.
    pub(super) to: NodeId,
}

/// What the dialled node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Welcome {
    pub(super) verdict: Verdict,
    pub(super) node: NodeId,
}

/// Whether a connection is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    WrongNode,
    NoService,
}

/// Why there was no greeting.
#[derive(Debug)]
pub(super) enum GreetingError {
    /// The other side does not speak this protocol, or not this version.
    Foreign,
    /// The connection ended.
    Closed,
}

impl Preface {
    /// Sends it.
    pub(super) async fn send(self, socket: &mut Socket) -> Result<(), GreetingError> {
        send_greeting(socket, self.service.get(), self.from, self.to).await
    }

    /// Reads one.
    pub(super) async fn receive(socket: &mut Socket) -> Result<Self, GreetingError> {
        let (service, from, to) = receive_greeting(socket).await?;
        Ok(Self { service: Service::new(service), from, to })
    }
}

impl Welcome {
    /// Sends it.
    pub(super) async fn send(self, socket: &mut Socket) -> Result<(), GreetingError> {
        let verdict = match self.verdict {
            Verdict::Accepted => 0,
            Verdict::WrongNode => 1,
            Verdict::NoService => 2,
        };
        send_greeting(socket, verdict, self.node, NodeId::new(0)).await
    }

    /// Reads one.
    pub(super) async fn receive(socket: &mut Socket) -> Result<Self, GreetingError> {
        let (verdict, node, _) = receive_greeting(socket).await?;
        let verdict = match verdict {
            0 => Verdict::Accepted,
            1 => Verdict::WrongNode,
            2 => Verdict::NoService,
            _ => return Err(GreetingError::Foreign),
        };
        Ok(Self { verdict, node })
    }
}

async fn send_greeting(socket: &mut Socket, code: u8, first: NodeId, second: NodeId) -> Result<(), GreetingError> {
    let mut greeting = BytesMut::with_capacity(GREETING_BYTES);
    greeting.put_slice(&MAGIC);
    greeting.put_u8(VERSION);
    greeting.put_u8(code);
    greeting.put_u16(0);
    greeting.put_i32(first.get());
    greeting.put_i32(second.get());
    socket.stream_mut().write_all(&greeting).await.map_err(|_| GreetingError::Closed)
}

async fn receive_greeting(socket: &mut Socket) -> Result<(u8, NodeId, NodeId), GreetingError> {
    let mut greeting = [0; GREETING_BYTES];
    socket.stream_mut().read_exact(&mut greeting).await.map_err(|_| GreetingError::Closed)?;
    let mut rest = greeting.as_slice();
    let mut magic = [0; MAGIC.len()];
    rest.copy_to_slice(&mut magic);
    if magic != MAGIC || rest.get_u8() != VERSION {
        return Err(GreetingError::Foreign);
    }
    let code = rest.get_u8();
    rest.advance(2);
    Ok((code, NodeId::new(rest.get_i32()), NodeId::new(rest.get_i32())))
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Wants a response or an error of the same id.
    Request,
    /// Answers a request.
    Response,
    /// The request was refused; the payload is empty.
    Error,
    /// Wants no answer.
    OneWay,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) id: u64,
    pub(super) service: Service,
    pub(super) kind: Kind,
    pub(super) payload: Bytes,
}

impl Frame {
    /// From the bytes behind the length. `None` when they are no frame.
    pub(super) fn parse(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() < HEAD_BYTES {
            return None;
        }
        let id = bytes.get_u64();
        let service = Service::new(bytes.get_u8());
        let kind = match bytes.get_u8() {
            0 => Kind::Request,
            1 => Kind::Response,
            2 => Kind::Error,
            3 => Kind::OneWay,
            _ => return None,
        };
        Some(Self { id, service, kind, payload: bytes })
    }

    /// The chunks behind the length.
    pub(super) fn chunks(self) -> Vec<Bytes> {
        let mut head = BytesMut::with_capacity(HEAD_BYTES);
        head.put_u64(self.id);
        head.put_u8(self.service.get());
        head.put_u8(match self.kind {
            Kind::Request => 0,
            Kind::Response => 1,
            Kind::Error => 2,
            Kind::OneWay => 3,
        });
        vec![head.freeze(), self.payload]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_what_was_sent() {
        for kind in [Kind::Request, Kind::Response, Kind::Error, Kind::OneWay] {
            let frame =
                Frame { id: u64::MAX - 1, service: Service::CONTROLLER, kind, payload: Bytes::from_static(b"abc") };
            let bytes: Vec<u8> = frame.clone().chunks().concat();
            assert_eq!(Frame::parse(Bytes::from(bytes)), Some(frame));
        }
        assert_eq!(Frame::parse(Bytes::from_static(b"short")), None);
        assert_eq!(Frame::parse(Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 1, 0, 9])), None);
    }
}

//! The messages on a liveness connection, inside the frames of `peer_frame`.
//!
//! ```text
//! from the broker, one-way   1 hello  node:i32 boot:u64 broker_epoch:i64 (-1: none yet)
//!                            2 farewell  0: it stops, 1: it dials anew
//! from the broker, request   3 beat  the payload, opaque here
//! from the voter, response   (empty) acknowledges the beat of that id
//! ```

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::model::{BootNumber, BrokerEpoch, NodeId};
use crate::transport::peer_frame::{Frame, Kind, Service};

use super::Hello;

/// The largest beat.
pub(super) const BEAT_BYTES_MAX: usize = 1024;
/// The largest frame, without its length.
pub(super) const FRAME_BYTES_MAX: usize = BEAT_BYTES_MAX + 32;

const HELLO: u8 = 1;
const FAREWELL: u8 = 2;
const BEAT: u8 = 3;
const HELLO_BYTES: usize = 20;

/// What a broker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Hello(Hello),
    Farewell { redials: bool },
    Beat { id: u64, payload: Bytes },
}

impl Message {
    /// Its frame's chunks.
    pub(super) fn chunks(self) -> Vec<Bytes> {
        let mut payload = BytesMut::new();
        let (id, kind, rest) = match self {
            Self::Hello(hello) => {
                payload.put_u8(HELLO);
                payload.put_i32(hello.node.get());
                payload.put_u64(hello.boot.get());
                payload.put_i64(hello.broker_epoch.map_or(-1, BrokerEpoch::get));
                (0, Kind::OneWay, Bytes::new())
            }
            Self::Farewell { redials } => {
                payload.put_u8(FAREWELL);
                payload.put_u8(u8::from(redials));
                (0, Kind::OneWay, Bytes::new())
            }
            Self::Beat { id, payload: beat } => {
                payload.put_u8(BEAT);
                (id, Kind::Request, beat)
            }
        };
        let mut chunks = Frame { id, service: Service::LIVENESS, kind, payload: payload.freeze() }.chunks();
        chunks.push(rest);
        chunks
    }

    /// From a frame. `None` when it is no message of a broker.
    pub(super) fn parse(frame: Bytes) -> Option<Self> {
        let Frame { id, service, kind, mut payload } = Frame::parse(frame)?;
        if service != Service::LIVENESS || payload.is_empty() {
            return None;
        }
        match (payload.get_u8(), kind) {
            (HELLO, Kind::OneWay) if payload.len() == HELLO_BYTES => {
                let node = NodeId::new(payload.get_i32());
                let boot = BootNumber::new(payload.get_u64());
                let epoch = payload.get_i64();
                let broker_epoch = (epoch >= 0).then(|| BrokerEpoch::new(epoch));
                Some(Self::Hello(Hello { node, boot, broker_epoch }))
            }
            (FAREWELL, Kind::OneWay) if payload.len() == 1 => Some(Self::Farewell { redials: payload.get_u8() == 1 }),
            (BEAT, Kind::Request) => Some(Self::Beat { id, payload }),
            _ => None,
        }
    }
}

/// The voter's acknowledgement of a beat, as chunks.
pub(super) fn acknowledgement(id: u64) -> Vec<Bytes> {
    Frame { id, service: Service::LIVENESS, kind: Kind::Response, payload: Bytes::new() }.chunks()
}

/// The id of the beat that a frame acknowledges.
pub(super) fn acknowledged(frame: Bytes) -> Option<u64> {
    let frame = Frame::parse(frame)?;
    (frame.kind == Kind::Response).then_some(frame.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_what_was_sent() {
        let hello = |epoch: Option<i64>| {
            let broker_epoch = epoch.map(BrokerEpoch::new);
            Message::Hello(Hello { node: NodeId::new(3), boot: BootNumber::new(9), broker_epoch })
        };
        for message in [
            hello(None),
            hello(Some(0)),
            hello(Some(77)),
            Message::Farewell { redials: true },
            Message::Farewell { redials: false },
            Message::Beat { id: 5, payload: Bytes::from_static(b"progress") },
        ] {
            let bytes: Vec<u8> = message.clone().chunks().concat();
            assert_eq!(Message::parse(Bytes::from(bytes)), Some(message));
        }
        assert_eq!(acknowledged(Bytes::from(acknowledgement(8).concat())), Some(8));
    }
}

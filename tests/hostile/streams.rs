//! Attacks on the connection rather than on a request: lies about sizes, other protocols, half of anything.

use crate::attack::{Attack, Kitchen, Then};
use crate::draft::PREFIX;
use crate::random::Random;

fn stream(bytes: Vec<u8>, then: Then) -> Attack {
    Attack::Stream { bytes, then }
}

/// Sizes that no frame has, or that no node takes (`socket.request.max.bytes`).
pub(crate) fn impossible_size(kitchen: &Kitchen, random: &mut Random) -> Attack {
    let size: i32 = *random.pick(&[0, -1, i32::MIN, i32::MAX, 0x0640_0001, 0x1603_0100, -2, 0x7f00_0000]);
    let mut bytes = kitchen.valid(random).bytes;
    bytes[..PREFIX].copy_from_slice(&size.to_be_bytes());
    stream(bytes, Then::MustEnd)
}

/// Those who came to the wrong door.
pub(crate) fn other_protocol(_: &Kitchen, random: &mut Random) -> Attack {
    let hello: [&[u8]; 7] = [
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /v1/topics HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"OTTL\0\0\0\x01",
        b"OPTIONS sip:nm SIP/2.0\r\n\r\n",
    ];
    stream(random.piece(&hello).to_vec(), Then::MustEnd)
}

/// Bytes without any sense. Most claim an impossible size; the rest wait for more.
pub(crate) fn random_bytes(_: &Kitchen, random: &mut Random) -> Attack {
    let count = 1 + random.below(200);
    let then = *random.pick(&[Then::Reset, Then::Close, Then::HalfClose]);
    stream(random.bytes(count), then)
}

/// A size beyond what follows; the rest never comes.
pub(crate) fn claim_beyond(kitchen: &Kitchen, random: &mut Random) -> Attack {
    let mut bytes = kitchen.tamed_mutant(random);
    let size = u32::try_from(bytes.len() - PREFIX).expect("small");
    let more = *random.pick(&[1, 100, 1 << 20, 50 << 20, (100 << 20) - (1 << 17)]);
    bytes[..PREFIX].copy_from_slice(&(size + more).to_be_bytes());
    let then = *random.pick(&[Then::Reset, Then::Close, Then::HalfClose, Then::Park]);
    stream(bytes, then)
}

/// The front of a sound request; the rest comes byte by byte, or never.
pub(crate) fn partial(kitchen: &Kitchen, random: &mut Random) -> Attack {
    let mut bytes = kitchen.valid(random).bytes;
    bytes.truncate(random.below(bytes.len()));
    let then = *random.pick(&[Then::Reset, Then::Close, Then::HalfClose, Then::Park, Then::Park]);
    stream(bytes, then)
}

/// Many requests, then gone without reading an answer.
pub(crate) fn unread(kitchen: &Kitchen, random: &mut Random) -> Attack {
    let count = 1 + random.below(20);
    let bytes = (0..count).flat_map(|_| kitchen.tamed_mutant(random)).collect();
    let then = *random.pick(&[Then::Reset, Then::Close, Then::Park]);
    stream(bytes, then)
}

/// A claim, then many bytes: the node must hold what it received, and not a byte more.
pub(crate) fn large_claim(_: &Kitchen, random: &mut Random) -> Attack {
    let mut bytes = (90_u32 << 20).to_be_bytes().to_vec();
    bytes.resize(PREFIX + (64 << 10) + random.below(64 << 10), 0);
    stream(bytes, *random.pick(&[Then::Reset, Then::Park]))
}

/// Sound frames with one size that is a little off, so that the rest is read out of step.
pub(crate) fn out_of_step(kitchen: &Kitchen, random: &mut Random) -> Attack {
    let mut frames: Vec<Vec<u8>> = (0..4).map(|_| kitchen.valid_harmless(random)).collect();
    let off = random.below(frames.len());
    let size = u32::try_from(frames[off].len() - PREFIX).expect("small");
    let wrong = size.wrapping_add_signed(*random.pick(&[1, -1, 4, -4, 8]));
    frames[off][..PREFIX].copy_from_slice(&wrong.to_be_bytes());
    stream(frames.concat(), *random.pick(&[Then::Reset, Then::Close, Then::HalfClose]))
}

/// Bytes for listeners that speak something else: HTTP with lies inside, frames of nodes, noise.
pub(crate) fn elsewhere(kitchen: &Kitchen, random: &mut Random) -> Attack {
    let known: [&[u8]; 7] = [
        b"GET /v1/topics/%00%2e%2e%2f HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/topics HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{",
        b"POST /v1/topics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        b"DELETE /v1/topics/.. HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: \r\n\r\nGET / HTTP/1.1\r\n",
        b"OTTL\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff\0\0\0\0\0\0\0\x01\0",
    ];
    let bytes = match random.below(4) {
        0 => kitchen.valid_harmless(random),
        1 => {
            let count = 1 + random.below(300);
            random.bytes(count)
        }
        2 => {
            let header = format!("X-Long: {}\r\n", "h".repeat(1 << random.below(17)));
            format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{}\r\n", header.repeat(1 + random.below(4))).into_bytes()
        }
        _ => random.piece(&known).to_vec(),
    };
    Attack::Elsewhere { bytes }
}

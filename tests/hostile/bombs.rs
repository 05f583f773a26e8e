//! Small inputs that claim or become large outputs.
//!
//! Each was made once from the codec's own output, because a repeated member of a stream costs nothing to make.

use std::io::Write as _;
use std::sync::OnceLock;

/// What the bombs would become: more than a node lets one batch become, with Kafka's `max.message.bytes`.
const OUTPUT_BYTES: usize = 160 << 20;
/// What one repeated part becomes.
const PART_BYTES: usize = 4 << 20;

/// The `records` of a batch, compressed by the codec with these bits.
pub(crate) struct Bomb {
    pub(crate) codec_bits: u8,
    pub(crate) payload: Vec<u8>,
}

/// All bombs.
pub(crate) fn all() -> &'static [Bomb] {
    static BOMBS: OnceLock<Vec<Bomb>> = OnceLock::new();
    BOMBS.get_or_init(|| {
        let mut bombs = vec![
            Bomb { codec_bits: 1, payload: gzip() },
            Bomb { codec_bits: 3, payload: lz4() },
            Bomb { codec_bits: 4, payload: zstd() },
        ];
        bombs.extend(claims().into_iter().map(|(codec_bits, payload)| Bomb { codec_bits, payload }));
        bombs
    })
}

/// The front of a record whose value claims a gigabyte; zeros may follow.
fn front() -> Vec<u8> {
    // Length 2^30, no attributes, deltas of 0, a null key, a value of 2^30 - 16.
    vec![0x80, 0x80, 0x80, 0x80, 0x08, 0, 0, 0, 1, 0xe0, 0xff, 0xff, 0xff, 0x07]
}

fn gzip() -> Vec<u8> {
    let member = |input: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(input).and_then(|()| encoder.finish()).expect("compressing into memory does not fail")
    };
    [member(&front()), member(&vec![0; PART_BYTES]).repeat(OUTPUT_BYTES / PART_BYTES)].concat()
}

fn zstd() -> Vec<u8> {
    let frame = |input: &[u8]| zstd::bulk::compress(input, 1).expect("compressing into memory does not fail");
    [frame(&front()), frame(&vec![0; PART_BYTES]).repeat(OUTPUT_BYTES / PART_BYTES)].concat()
}

/// One frame whose second block stands there many times.
fn lz4() -> Vec<u8> {
    const HEADER: usize = 7;
    const END: usize = 4;
    let info = lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max4MB);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(&front()).and_then(|()| encoder.flush()).expect("compressing into memory does not fail");
    let first = encoder.get_ref().len();
    encoder.write_all(&vec![0; PART_BYTES]).expect("compressing into memory does not fail");
    let frame = encoder.finish().expect("compressing into memory does not fail");
    assert!(first > HEADER, "the first block was written by the flush");
    let (head, rest) = frame.split_at(first);
    let (block, end) = rest.split_at(rest.len() - END);
    [head, &block.repeat(OUTPUT_BYTES / PART_BYTES), end].concat()
}

/// Streams that claim what they do not hold, or ask for memory to hold it.
fn claims() -> Vec<(u8, Vec<u8>)> {
    let xerial = |chunks: &[u8]| [b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01", chunks].concat();
    let zstd = |rest: &[u8]| [&[0x28, 0xb5, 0x2f, 0xfd], rest].concat();
    vec![
        // Raw snappy that claims 4 GiB, and more than 2^32.
        (2, b"\xff\xff\xff\xff\x0f\0a".to_vec()),
        (2, b"\xff\xff\xff\xff\x7f\0a".to_vec()),
        // Chunks of -1, of 2^31 - 1, of 0 and of a lie within the chunk (CVE-2023-34455).
        (2, xerial(&[0xff, 0xff, 0xff, 0xff])),
        (2, xerial(&[0x7f, 0xff, 0xff, 0xff, 1, 2, 3])),
        (2, xerial(&[0; 64])),
        (2, xerial(&[0, 0, 0, 6, 0xff, 0xff, 0xff, 0xff, 0x0f, 0])),
        // A zstd window of 2 GiB; one of 2^41; a dictionary; a content size of 2^64 - 1.
        (4, zstd(&[0x00, 0xa8, 0x01, 0, 0])),
        (4, zstd(&[0x00, 0xf8, 0x01, 0, 0])),
        (4, zstd(&[0x01, 0x58, 0x07, 0x01, 0, 0])),
        (4, zstd(&[0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0, 0])),
        // A zstd frame of 16 MiB of nothing but run-length blocks.
        (4, zstd(&[&[0x00, 0x58][..], &[0x02, 0x00, 0x10, 0].repeat(128)].concat())),
        // A skippable zstd frame that claims 4 GiB.
        (4, b"\x50\x2a\x4d\x18\xff\xff\xff\xff".to_vec()),
        // An lz4 block of 2^31 - 1; of 0; gzip with an endless name.
        (3, b"\x04\x22\x4d\x18\x60\x70\x73\x7f\xff\xff\x7f".to_vec()),
        (3, b"\x04\x22\x4d\x18\x60\x70\x73\0\0\0\0".to_vec()),
        (1, [b"\x1f\x8b\x08\x08\0\0\0\0\0\0".as_slice(), &[b'n'; 60_000]].concat()),
    ]
}

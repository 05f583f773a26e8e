//! Round trips, forms that other writers use, bombs and broken streams.

use proptest::prelude::*;

use super::super::sample;
use super::*;

const OUTPUT_MAX: usize = 1 << 20;

fn undone(compression: Compression, input: &[u8]) -> Result<Vec<u8>, DecompressError> {
    decompress(compression, input, OUTPUT_MAX)
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(any::<u8>(), 1..70_000);
    let text = ("[a-c]{1,40}", 1..4_000usize).prop_map(|(line, count)| line.repeat(count).into_bytes());
    prop_oneof![noise, text]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_compressed_is_decompressed_again(input in payload(), codec in sample::codecs()) {
        prop_assert_eq!(undone(codec.compression(), &compress(codec, &input)), Ok(input));
    }

    #[test]
    fn the_sizes_of_writes_do_not_matter(input in payload(), codec in sample::codecs(), size in 1..50_000usize) {
        let mut compressor = Compressor::new(codec, Vec::new(), None).expect("a known codec");
        input.chunks(size).for_each(|piece| compressor.write_all(piece).expect("memory takes all"));
        let compressed = compressor.finish().expect("memory takes all");
        prop_assert_eq!(undone(codec.compression(), &compressed), Ok(input));
    }

    #[test]
    fn noise_is_refused_or_bounded(
        input in prop::collection::vec(any::<u8>(), 0..300),
        compression in prop::sample::select(Compression::ALL.to_vec()),
    ) {
        if let Ok(output) = undone(compression, &input) {
            prop_assert!(output.len() <= OUTPUT_MAX);
        }
    }
}

#[test]
fn every_level_is_read_again() {
    let input = b"a line of a log\n".repeat(500);
    let levels = |make: fn(i32) -> Codec, levels: &[i32]| levels.iter().map(|l| make(*l)).collect::<Vec<_>>();
    let mut codecs = levels(|level| Codec::Gzip { level }, &[-1, 1, 9, 0, 99]);
    codecs.extend(levels(|level| Codec::Zstd { level }, &[-131_072, -1, 0, 1, 19, 20, 22]));
    for codec in codecs {
        assert_eq!(undone(codec.compression(), &compress(codec, &input)), Ok(input.clone()), "{codec:?}");
    }
}

#[test]
fn a_bomb_ends_at_the_bound_and_fills_no_memory() {
    let zeros = vec![0u8; 64 << 20];
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let bomb = compress(compression.codec(), &zeros);
        let mut stream = Decompressor::new(compression, &bomb, OUTPUT_MAX).expect("a sound header");
        let mut chunk = Vec::new();
        let (mut total, mut capacity_max) = (0, 0);
        let error = loop {
            match stream.next_chunk(&mut chunk) {
                Ok(()) => total += chunk.len(),
                Err(error) => break error,
            }
            capacity_max = capacity_max.max(chunk.capacity());
        };
        assert_eq!(error, DecompressError::TooLarge { output_bytes_max: OUTPUT_MAX }, "{compression:?}");
        assert!(total <= OUTPUT_MAX && capacity_max <= 1 << 20, "{compression:?}: {total} {capacity_max}");
    }
}

#[test]
fn output_of_exactly_the_bound_is_taken() {
    for compression in Compression::ALL {
        let input = vec![1; OUTPUT_MAX];
        assert_eq!(undone(compression, &compress(compression.codec(), &input)), Ok(input), "{compression:?}");
    }
}

#[test]
fn a_stream_cut_short_is_refused() {
    let input = b"some text that repeats, some text that repeats. ".repeat(3);
    for compression in [Compression::Gzip, Compression::Lz4, Compression::Zstd] {
        let whole = compress(compression.codec(), &input);
        for end in 0..whole.len() {
            let cut = undone(compression, &whole[..end]);
            assert!(cut.is_err() || cut == Ok(Vec::new()), "{compression:?} cut at {end}");
            assert!(end == 0 || cut.is_err(), "{compression:?} cut at {end}");
        }
    }
    let raw = snap::raw::Encoder::new().compress_vec(&input).expect("small");
    assert!((1..raw.len()).all(|end| undone(Compression::Snappy, &raw[..end]).is_err()));
}

#[test]
fn a_framed_snappy_stream_cut_inside_a_block_is_refused() {
    let whole = compress(Codec::Snappy, &sample::batch(3).payload().repeat(300));
    for end in [1, 7, 15, 17, 19, 21, whole.len() / 2, whole.len() - 1] {
        assert!(undone(Compression::Snappy, &whole[..end]).is_err(), "cut at {end}");
    }
}

mod snappy {
    use super::*;

    #[test]
    fn a_raw_block_is_read() {
        let input = b"raw snappy, as librdkafka writes it ".repeat(2_000);
        let raw = snap::raw::Encoder::new().compress_vec(&input).expect("small");
        assert_eq!(undone(Compression::Snappy, &raw), Ok(input));
    }

    #[test]
    fn the_framing_is_that_of_snappy_java() {
        let framed = compress(Codec::Snappy, &[7; 40_000]);
        assert_eq!(framed[..16], *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
        let first = usize::try_from(i32::from_be_bytes(framed[16..20].try_into().expect("four bytes")));
        let first = first.expect("a length");
        assert_eq!(snap::raw::decompress_len(&framed[20..20 + first]), Ok(32 << 10));
    }

    #[test]
    fn framed_streams_may_follow_each_other() {
        let two = [compress(Codec::Snappy, b"one "), compress(Codec::Snappy, b"two")].concat();
        assert_eq!(undone(Compression::Snappy, &two), Ok(b"one two".to_vec()));
    }

    #[test]
    fn a_negative_or_long_block_is_refused() {
        for size in [-1i32, i32::MIN, i32::MAX, 100] {
            let input = [b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".as_ref(), &size.to_be_bytes(), b"abc"].concat();
            assert_eq!(undone(Compression::Snappy, &input), Err(broken("snappy")));
        }
    }

    #[test]
    fn a_claim_that_the_input_cannot_keep_is_refused() {
        // Claims 2^32-1 bytes in a block of eight.
        let input = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0];
        assert_eq!(undone(Compression::Snappy, &input), Err(broken("snappy")));
    }
}

mod gzip {
    use super::*;

    #[test]
    fn members_may_follow_each_other() {
        let gzip = Codec::Gzip { level: 6 };
        let two = [compress(gzip, b"one "), compress(gzip, b"two")].concat();
        assert_eq!(undone(Compression::Gzip, &two), Ok(b"one two".to_vec()));
    }

    #[test]
    fn a_wrong_checksum_is_refused() {
        let mut input = compress(Codec::Gzip { level: 6 }, b"some text");
        let at = input.len() - 6;
        input[at] ^= 1;
        assert_eq!(undone(Compression::Gzip, &input), Err(broken("gzip")));
    }
}

#[test]
fn tiny_frames_fill_one_chunk() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let frames = compress(compression.codec(), b"x").repeat(1_000);
        let mut stream = Decompressor::new(compression, &frames, OUTPUT_MAX).expect("a known codec");
        let mut chunk = Vec::new();
        stream.next_chunk(&mut chunk).expect("sound frames");
        assert_eq!(chunk, [b'x'; 1_000]);
        stream.next_chunk(&mut chunk).expect("sound frames");
        assert!(chunk.is_empty());
    }
}

mod zstd_frames {
    use super::*;

    /// A frame that states this window and no content size, with one empty block.
    fn frame(window: u8) -> Vec<u8> {
        vec![0x28, 0xb5, 0x2f, 0xfd, 0, window, 1, 0, 0]
    }

    #[test]
    fn a_window_of_128_mib_is_taken_and_no_larger_one() {
        assert_eq!(undone(Compression::Zstd, &frame(17 << 3)), Ok(Vec::new()));
        assert_eq!(undone(Compression::Zstd, &frame(17 << 3 | 1)), Err(broken("zstd")));
        assert_eq!(undone(Compression::Zstd, &frame(21 << 3)), Err(broken("zstd")));
    }

    #[test]
    fn what_the_highest_level_makes_of_an_unknown_size_is_read() {
        let input = b"the quick brown fox ".repeat(20_000);
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 22).expect("a level");
        encoder.write_all(&input).expect("memory takes all");
        assert_eq!(undone(Compression::Zstd, &encoder.finish().expect("memory takes all")), Ok(input));
    }

    #[test]
    fn frames_may_follow_each_other() {
        let zstd = Codec::Zstd { level: 3 };
        let two = [compress(zstd, b"one "), compress(zstd, b"two")].concat();
        assert_eq!(undone(Compression::Zstd, &two), Ok(b"one two".to_vec()));
    }

    #[test]
    fn a_dictionary_is_refused() {
        // Descriptor with a dictionary id of one byte.
        let input = [0x28, 0xb5, 0x2f, 0xfd, 1, 0x40, 9, 1, 0, 0];
        assert_eq!(undone(Compression::Zstd, &input), Err(broken("zstd")));
    }
}

mod lz4_frames {
    use super::*;
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

    fn frame(info: FrameInfo, input: &[u8]) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(input).expect("memory takes all");
        encoder.finish().expect("memory takes all")
    }

    #[test]
    fn all_block_sizes_and_checksums_are_read() {
        let input = b"the quick brown fox ".repeat(20_000);
        for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
            let size_stated = u64::try_from(input.len()).expect("small");
            let info = FrameInfo::new()
                .block_size(size)
                .block_checksums(true)
                .content_checksum(true)
                .content_size(Some(size_stated));
            assert_eq!(undone(Compression::Lz4, &frame(info, &input)), Ok(input.clone()));
        }
    }

    #[test]
    fn every_changed_byte_is_seen_where_all_is_checked() {
        let info = FrameInfo::new().block_checksums(true).content_checksum(true).block_size(BlockSize::Max64KB);
        let whole = frame(info, b"some text, some text, some text");
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x20;
            assert!(undone(Compression::Lz4, &changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn the_header_is_that_of_the_java_client() {
        assert_eq!(compress(Codec::Lz4, b"x")[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
    }

    #[test]
    fn what_the_java_client_cannot_read_is_refused() {
        let linked = frame(FrameInfo::new().block_mode(BlockMode::Linked), b"text");
        assert_eq!(undone(Compression::Lz4, &linked), Err(broken("lz4 linked blocks")));
        let legacy = [0x02, 0x21, 0x4c, 0x18, 0, 0, 0, 0];
        assert_eq!(undone(Compression::Lz4, &legacy), Err(broken("no lz4 frame")));
        let two = frame(FrameInfo::new(), b"text").repeat(2);
        assert_eq!(undone(Compression::Lz4, &two), Err(broken("bytes after the lz4 frame")));
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];
        assert_eq!(undone(Compression::Lz4, &skippable), Err(broken("no lz4 frame")));
    }
}

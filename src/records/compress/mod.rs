//! Compression codecs: bounded streaming decompression, and compression in the forms that Kafka's clients read.
//!
//! Invariant (rule B8): decompression holds one chunk at a time, gives at most the bytes that the caller allows, and
//! never takes more memory than a codec could make of the input that is really there.

mod lz4;
mod snappy;
mod xxhash;

use std::io::{self, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use zstd::stream::raw::{CParameter, DParameter};

use super::error::DecompressError;

/// The most that the records of one batch may decompress to, whatever the caller allows.
pub const OUTPUT_BYTES_MAX: usize = 256 << 20;

/// The largest zstd window taken, as a power of two: 128 MiB, which the Java client's level 22 states whatever it holds.
/// The decoder reserves as much, but memory is taken only for what is decompressed.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// The largest that we use, 8 MiB: with larger ones an encoder takes hundreds of megabytes.
const ZSTD_OWN_WINDOW_LOG_MAX: u32 = 23;
/// The zstd levels above this one use larger windows unless told otherwise.
const ZSTD_LEVEL_OF_LARGEST_WINDOW: i32 = 19;
/// How much gzip and zstd give at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// The codec of a batch, as its attributes name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not compressed.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Raw or with snappy-java's ("xerial") framing.
    Snappy,
    /// The LZ4 frame format with independent blocks.
    Lz4,
    /// RFC 8878.
    Zstd,
}

/// A codec with what it needs to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Codec {
    /// Not compressed.
    #[default]
    None,
    /// `compression.gzip.level`: 1 to 9, or -1 for the codec's default.
    Gzip {
        /// The level.
        level: i32,
    },
    /// It has no level.
    Snappy,
    /// The fast compressor at every `compression.lz4.level`.
    Lz4,
    /// `compression.zstd.level`: -131072 to 22.
    Zstd {
        /// The level.
        level: i32,
    },
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec of this number, if there is one.
    #[must_use]
    pub fn from_bits(bits: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.bits() == bits)
    }

    /// Its number in a batch's attributes.
    #[must_use]
    pub fn bits(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Its name in Kafka's configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The codec at Kafka's default level.
    #[must_use]
    pub fn codec(self) -> Codec {
        match self {
            Self::None => Codec::None,
            Self::Gzip => Codec::Gzip { level: -1 },
            Self::Snappy => Codec::Snappy,
            Self::Lz4 => Codec::Lz4,
            Self::Zstd => Codec::Zstd { level: 3 },
        }
    }
}

impl Codec {
    /// Which codec it is.
    #[must_use]
    pub fn compression(self) -> Compression {
        match self {
            Self::None => Compression::None,
            Self::Gzip { .. } => Compression::Gzip,
            Self::Snappy => Compression::Snappy,
            Self::Lz4 => Compression::Lz4,
            Self::Zstd { .. } => Compression::Zstd,
        }
    }
}

/// Gives the records of a compressed batch chunk by chunk.
pub(super) struct Decompressor<'a> {
    stream: Stream<'a>,
    output_bytes: usize,
    output_bytes_max: usize,
}

enum Stream<'a> {
    Whole(&'a [u8]),
    Gzip(MultiGzDecoder<&'a [u8]>),
    Snappy(snappy::Blocks<'a>),
    Lz4(lz4::Blocks<'a>),
    Zstd(Box<zstd::stream::read::Decoder<'static, &'a [u8]>>),
}

impl<'a> Decompressor<'a> {
    /// Over `input`, which `compression` made; gives at most `output_bytes_max`.
    pub(super) fn new(
        compression: Compression,
        input: &'a [u8],
        output_bytes_max: usize,
    ) -> Result<Self, DecompressError> {
        let stream = match compression {
            Compression::None => Stream::Whole(input),
            Compression::Gzip => Stream::Gzip(MultiGzDecoder::new(input)),
            Compression::Snappy => Stream::Snappy(snappy::Blocks::new(input)),
            Compression::Lz4 => Stream::Lz4(lz4::Blocks::new(input)?),
            Compression::Zstd => Stream::Zstd(Box::new(zstd_decoder(input).map_err(|_| broken("zstd"))?)),
        };
        Ok(Self { stream, output_bytes: 0, output_bytes_max: output_bytes_max.min(OUTPUT_BYTES_MAX) })
    }

    /// Replaces what `chunk` holds by the next bytes; it is left empty at the end. The end is reported only when the
    /// compressed bytes are whole and used up.
    pub(super) fn next_chunk(&mut self, chunk: &mut Vec<u8>) -> Result<(), DecompressError> {
        let room = self.output_bytes_max - self.output_bytes;
        match &mut self.stream {
            Stream::Whole(input) => {
                chunk.clear();
                chunk.extend_from_slice(std::mem::take(input));
            }
            Stream::Gzip(decoder) => read_chunk(decoder, chunk).map_err(|_| broken("gzip"))?,
            Stream::Zstd(decoder) => read_chunk(decoder, chunk).map_err(|_| broken("zstd"))?,
            Stream::Snappy(blocks) => blocks.next_block(chunk, room).map_err(|e| self.located(e))?,
            Stream::Lz4(blocks) => blocks.next_block(chunk)?,
        }
        if chunk.len() > room {
            return Err(self.too_large());
        }
        self.output_bytes += chunk.len();
        Ok(())
    }

    fn located(&self, error: snappy::BlockError) -> DecompressError {
        match error {
            snappy::BlockError::Broken => broken("snappy"),
            snappy::BlockError::TooLarge => self.too_large(),
        }
    }

    fn too_large(&self) -> DecompressError {
        DecompressError::TooLarge { output_bytes_max: self.output_bytes_max }
    }
}

/// The whole output at once, for readers that hand out the records.
pub(super) fn decompress(
    compression: Compression,
    input: &[u8],
    output_bytes_max: usize,
) -> Result<Vec<u8>, DecompressError> {
    let mut stream = Decompressor::new(compression, input, output_bytes_max)?;
    let (mut out, mut chunk) = (Vec::new(), Vec::new());
    loop {
        stream.next_chunk(&mut chunk)?;
        if chunk.is_empty() {
            return Ok(out);
        }
        out.append(&mut chunk);
    }
}

fn broken(codec: &'static str) -> DecompressError {
    DecompressError::Broken { reason: codec }
}

fn zstd_decoder(input: &[u8]) -> io::Result<zstd::stream::read::Decoder<'static, &[u8]>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
    Ok(decoder)
}

/// Fills the chunk as far as there is output: a stream of tiny frames must not clear a whole chunk for each.
fn read_chunk(reader: &mut impl io::Read, chunk: &mut Vec<u8>) -> io::Result<()> {
    chunk.resize(CHUNK_BYTES, 0);
    let mut filled = 0;
    while filled < CHUNK_BYTES {
        match reader.read(&mut chunk[filled..])? {
            0 => break,
            size => filled += size,
        }
    }
    chunk.truncate(filled);
    Ok(())
}

/// Compresses what is written to it into `out`.
pub(super) enum Compressor<W: Write> {
    Whole(W),
    Gzip(Box<GzEncoder<W>>),
    Snappy(Box<snappy::Writer<W>>),
    Lz4(Box<lz4_flex::frame::FrameEncoder<W>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, W>>),
}

impl<W: Write> Compressor<W> {
    /// `input_bytes` is how much will be written, if that is known.
    pub(super) fn new(codec: Codec, out: W, input_bytes: Option<usize>) -> io::Result<Self> {
        Ok(match codec {
            Codec::None => Self::Whole(out),
            Codec::Gzip { level } => Self::Gzip(Box::new(GzEncoder::new(out, gzip_level(level)))),
            Codec::Snappy => Self::Snappy(Box::new(snappy::Writer::new(out)?)),
            Codec::Lz4 => Self::Lz4(Box::new(lz4::encoder(out))),
            Codec::Zstd { level } => {
                let mut encoder = zstd::stream::write::Encoder::new(out, level)?;
                if level > ZSTD_LEVEL_OF_LARGEST_WINDOW {
                    encoder.set_parameter(CParameter::WindowLog(ZSTD_OWN_WINDOW_LOG_MAX))?;
                }
                encoder.set_pledged_src_size(input_bytes.map(|n| u64::try_from(n).expect("a size fits in 64 bits")))?;
                Self::Zstd(Box::new(encoder))
            }
        })
    }

    /// Writes the end.
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::Whole(out) => Ok(out),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Snappy(writer) => writer.finish(),
            Self::Lz4(encoder) => encoder.finish().map_err(io::Error::from),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Whole(out) => out.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Snappy(writer) => writer.write(bytes),
            Self::Lz4(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    /// Does nothing: only the end is worth a flush.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The compressed form of `input`.
pub(super) fn compress(codec: Codec, input: &[u8]) -> Vec<u8> {
    Compressor::new(codec, Vec::new(), Some(input.len()))
        .and_then(|mut compressor| compressor.write_all(input).map(|()| compressor))
        .and_then(Compressor::finish)
        .expect("compressing into memory does not fail")
}

fn gzip_level(level: i32) -> flate2::Compression {
    match u32::try_from(level) {
        Ok(level) => flate2::Compression::new(level.clamp(1, 9)),
        Err(_) => flate2::Compression::default(),
    }
}

#[cfg(test)]
mod tests;

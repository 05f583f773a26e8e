//! Writes the records of a batch anew: with another codec, or with offset deltas that count from 0.
//!
//! Invariant: input and output are streams, so that memory is bounded by the topic's `max.message.bytes` and one
//! chunk, however much the records decompress to.

use std::io::{self, Write};

use super::batch::Batch;
use super::compress::{Codec, Compression, Compressor};
use super::error::RecordError;
use super::header::Header;
use super::varint::{put_i32, put_i64, size_i64};
use super::walk::{CopyError, Slice, Source, Streamed, read_front};

/// What to write anew, and how. The records have been walked over once and are sound.
pub(super) struct Recoding<'a> {
    /// The header to be; its codec, length and CRC are set here.
    pub(super) header: Header,
    /// The codec of the payload.
    pub(super) compression: Compression,
    pub(super) payload: &'a [u8],
    /// The size of the records without compression.
    pub(super) records_bytes: u64,
    /// The codec to be.
    pub(super) codec: Codec,
    pub(super) output_bytes_max: usize,
    pub(super) max_message_bytes: usize,
}

/// Why it could not be done.
pub(super) enum RecodeError {
    Read(RecordError),
    /// More than `max_message_bytes`.
    TooLarge,
}

impl From<CopyError> for RecodeError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Read(error) => Self::Read(error),
            CopyError::Write(error) => error.into(),
        }
    }
}

impl From<RecordError> for RecodeError {
    fn from(error: RecordError) -> Self {
        Self::Read(error)
    }
}

impl From<io::Error> for RecodeError {
    /// The only failing writer is the bounded one.
    fn from(_: io::Error) -> Self {
        Self::TooLarge
    }
}

/// Makes the new batch; `renumbered` counts the offset deltas from 0.
pub(super) fn recode(recoding: &Recoding<'_>, renumbered: bool) -> Result<Batch, RecodeError> {
    let room = recoding.max_message_bytes.saturating_sub(Header::SIZE);
    let input_bytes = if renumbered { None } else { usize::try_from(recoding.records_bytes).ok() };
    let mut out = Compressor::new(recoding.codec, Bounded { bytes: Vec::new(), room }, input_bytes)?;
    if recoding.compression == Compression::None {
        write(recoding, renumbered, &mut Slice::new(recoding.payload), &mut out)?;
    } else {
        let source = Streamed::new(recoding.compression, recoding.payload, recoding.output_bytes_max);
        write(recoding, renumbered, &mut source.map_err(RecordError::from)?, &mut out)?;
    }
    let payload = out.finish()?.bytes;
    let mut header = recoding.header;
    header.set_compression(recoding.codec.compression());
    Batch::assemble(header, &payload).map_err(|_| RecodeError::TooLarge)
}

fn write(
    recoding: &Recoding<'_>,
    renumbered: bool,
    source: &mut impl Source,
    out: &mut dyn Write,
) -> Result<(), RecodeError> {
    if !renumbered {
        return Ok(source.copy(recoding.records_bytes, out)?);
    }
    let mut front_bytes = Vec::new();
    for index in 0..recoding.header.record_count {
        let front = read_front(source)?;
        let body = front.end.checked_sub(source.position()).ok_or(RecordError::Unfilled)?;
        let fields = 1 + size_i64(front.timestamp_delta) + size_i64(i64::from(index));
        let length = u64::try_from(fields).expect("some twenty bytes") + body;
        front_bytes.clear();
        put_i64(&mut front_bytes, i64::try_from(length).expect("the bound on output is far smaller"));
        front_bytes.push(front.attributes);
        put_i64(&mut front_bytes, front.timestamp_delta);
        put_i32(&mut front_bytes, index);
        out.write_all(&front_bytes)?;
        source.copy(body, out)?;
    }
    Ok(())
}

/// Collects bytes up to a bound.
struct Bounded {
    bytes: Vec<u8>,
    room: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.room {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.room -= bytes.len();
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

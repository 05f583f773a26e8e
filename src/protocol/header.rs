//! Headers of requests (versions 1 and 2) and of responses (0 and 1).
//!
//! Invariant: which header a version has is read from `ApiKey` and nowhere else.

use bytes::Bytes;

use super::ApiKey;
use crate::codec::{DecodeError, Form, Reader, TagReader, Wire, Writer};

/// Texts of a header have their old form in every version, so that a broker can read the header of any version.
const OLD: Form = Form { version: 1, flexible: false };

/// What stands before the body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API.
    pub api_key: ApiKey,
    /// The version of the API, not yet compared with what is supported.
    pub api_version: i16,
    /// Chosen by the client and given back to it.
    pub correlation_id: i32,
    /// What the client calls itself; not yet fit for a log or a metric's label.
    pub client_id: Option<String>,
}

/// Why a frame does not begin with a header. The connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// No API has this number.
    #[error("no api has the key {key}")]
    UnknownApi {
        /// The number as read.
        key: i16,
    },
    /// A version below zero.
    #[error("the version {version} is negative")]
    NegativeVersion {
        /// The version as read.
        version: i16,
    },
    /// The rest of the header is malformed.
    #[error("a request header is malformed: {0}")]
    Malformed(#[from] DecodeError),
}

/// Cuts a request into its header and its body. The version may be one that is not supported: the body is not read.
///
/// # Errors
/// When there is no header to read.
pub fn split_request(frame: Bytes) -> Result<(RequestHeader, Bytes), HeaderError> {
    let mut reader = Reader::new(frame);
    let key = reader.i16()?;
    let api_version = reader.i16()?;
    let correlation_id = reader.i32()?;
    let api_key = ApiKey::from_number(key).ok_or(HeaderError::UnknownApi { key })?;
    if api_version < 0 {
        return Err(HeaderError::NegativeVersion { version: api_version });
    }
    let client_id = Option::<String>::decode(&mut reader, OLD)?;
    if api_key.is_flexible(api_version) {
        TagReader::skip_all(&mut reader)?;
    }
    let body = reader.take(reader.remaining())?;
    Ok((RequestHeader { api_key, api_version, correlation_id, client_id }, body))
}

/// The correlation id of a response, which tells whose answer it is and so in which version it is.
///
/// # Errors
/// When the frame is too short.
pub fn correlation_id(frame: &Bytes) -> Result<i32, DecodeError> {
    Reader::new(frame.clone()).i32()
}

impl RequestHeader {
    /// Writes the header.
    pub(super) fn put(&self, writer: &mut Writer) {
        writer.put_i16(self.api_key.number());
        writer.put_i16(self.api_version);
        writer.put_i32(self.correlation_id);
        self.client_id.encode(writer, OLD);
        if self.api_key.is_flexible(self.api_version) {
            writer.put_unsigned_varint(0);
        }
    }
}

/// Writes the header of a response.
pub(super) fn put_response(writer: &mut Writer, api_key: ApiKey, version: i16, correlation_id: i32) {
    writer.put_i32(correlation_id);
    if api_key.response_header_version(version) == 1 {
        writer.put_unsigned_varint(0);
    }
}

/// Reads past the header of a response.
pub(super) fn skip_response(reader: &mut Reader, api_key: ApiKey, version: i16) -> Result<(), DecodeError> {
    reader.i32()?;
    if api_key.response_header_version(version) == 1 {
        TagReader::skip_all(reader)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(bytes: &'static [u8]) -> Result<(RequestHeader, Bytes), HeaderError> {
        split_request(Bytes::from_static(bytes))
    }

    #[test]
    fn the_client_id_keeps_its_old_form_in_a_flexible_header() {
        let (header, body) = split(b"\0\x12\0\x03\0\0\0\x05\0\x02me\0body").unwrap();
        assert_eq!((header.api_key, header.api_version), (ApiKey::ApiVersions, 3));
        assert_eq!((header.correlation_id, header.client_id.as_deref()), (5, Some("me")));
        assert_eq!(&body[..], b"body");
    }

    #[test]
    fn a_header_without_client_id_and_with_unknown_tags_is_read() {
        let (header, body) = split(b"\0\x12\0\x63\0\0\0\x05\xff\xff\x01\x09\x01xbody").unwrap();
        assert_eq!((header.api_version, header.client_id), (99, None));
        assert_eq!(&body[..], b"body");
        let (_, body) = split(b"\0\x12\0\0\0\0\0\x05\xff\xff").unwrap();
        assert!(body.is_empty());
    }

    #[test]
    fn a_frame_without_a_header_is_refused() {
        assert_eq!(split(b"\x7f\xff\0\0\0\0\0\0\xff\xff").unwrap_err(), HeaderError::UnknownApi { key: 0x7fff });
        assert_eq!(split(b"\0\x04\0\0\0\0\0\0\xff\xff").unwrap_err(), HeaderError::UnknownApi { key: 4 });
        assert_eq!(split(b"\0\x12\xff\xff\0\0\0\0").unwrap_err(), HeaderError::NegativeVersion { version: -1 });
        let short = DecodeError::Short { needed: 4, remaining: 2 };
        assert_eq!(split(b"\0\0\0\0\0\0").unwrap_err(), HeaderError::Malformed(short));
        let length = DecodeError::NegativeLength { length: -2 };
        assert_eq!(split(b"\0\0\0\0\0\0\0\0\xff\xfe").unwrap_err(), HeaderError::Malformed(length));
        assert_eq!(split(b"\0\0\0\0\0\0\0\0\0\x01\xff").unwrap_err(), HeaderError::Malformed(DecodeError::Utf8));
    }
}

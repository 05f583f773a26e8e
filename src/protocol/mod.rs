//! Kafka frames, headers and messages, for every supported version.
//!
//! `transport` cuts frames with `frame`; `api` reads a request with `split_request` and `decode_request` and answers
//! with `encode_response`; `client` and the broker's peer fetcher go the other way with `encode_request`,
//! `correlation_id` and `decode_response`. The messages stand in `messages`, one file per API; a field has the name
//! that Kafka gives it.
//!
//! Invariant: this module decides nothing. A frame either begins with one message of its version or is refused.

pub mod api_key;
pub mod error_code;
pub mod frame;
pub mod header;
pub mod messages;

use bytes::Bytes;

pub use api_key::ApiKey;
pub use error_code::ErrorCode;
pub use frame::{Frame, FrameError};
pub use header::{HeaderError, RequestHeader, correlation_id, split_request};

use crate::codec::{DecodeError, Message, Piece, Reader, Writer};

/// The body of a request.
pub trait Request: Message {
    /// Its API.
    const KEY: ApiKey;
    /// What answers it.
    type Response: Response;
}

/// The body of a response.
pub trait Response: Message {
    /// Its API.
    const KEY: ApiKey;
}

/// Reads the body of a request, as `split_request` left it. Bytes behind it are passed over, as Kafka does: librdkafka
/// 2.16 sends three of them with Metadata 13.
///
/// # Errors
/// When its table lacks the version or the bytes do not begin with a body: the connection must be closed.
pub fn decode_request<R: Request>(version: i16, body: Bytes) -> Result<R, DecodeError> {
    R::decode_front(version, body)
}

/// Writes a response as a whole frame. Record batches in it are shared, not copied.
///
/// # Panics
/// When `version` is not in the message's table, or the frame would reach 2 GiB.
#[must_use]
pub fn encode_response<R: Response>(version: i16, correlation_id: i32, response: &R) -> Frame {
    let mut writer = frame::start();
    header::put_response(&mut writer, R::KEY, version, correlation_id);
    response.encode_body(version, &mut writer);
    frame::finish(writer)
}

/// Writes a response without the size in front of it; where a payload is elsewhere, a piece is a gap.
///
/// # Panics
/// When `version` is not in the message's table.
#[must_use]
pub fn encode_response_pieces<R: Response>(version: i16, correlation_id: i32, response: &R) -> Vec<Piece> {
    let mut writer = Writer::new();
    header::put_response(&mut writer, R::KEY, version, correlation_id);
    response.encode_body(version, &mut writer);
    writer.into_pieces()
}

/// Writes a request as a whole frame.
///
/// # Panics
/// When `version` is not in the message's table, or the frame would reach 2 GiB.
#[must_use]
pub fn encode_request<R: Request>(version: i16, correlation_id: i32, client_id: &str, request: &R) -> Frame {
    let header =
        RequestHeader { api_key: R::KEY, api_version: version, correlation_id, client_id: Some(client_id.to_owned()) };
    let mut writer = frame::start();
    header.put(&mut writer);
    request.encode_body(version, &mut writer);
    frame::finish(writer)
}

/// Reads a response to a request of the same version. Its arrays are bounded by its bytes alone: whole clusters are
/// listed in one, and it comes from a broker that we chose.
///
/// # Errors
/// When its table lacks the version or the bytes are not exactly one response.
pub fn decode_response<R: Response>(version: i16, frame: Bytes) -> Result<R, DecodeError> {
    let mut reader = Reader::new(frame);
    header::skip_response(&mut reader, R::KEY, version)?;
    let body = reader.take(reader.remaining())?;
    R::decode_bounded(version, body, usize::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::messages::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
    use super::messages::fetch::{self, FetchResponse};
    use super::*;

    fn bytes(mut frame: Frame) -> Bytes {
        frame.copy_to_bytes(frame.remaining())
    }

    #[test]
    fn a_request_travels_as_one_frame() {
        let request = ApiVersionsRequest { client_software_name: "ottla".to_owned(), ..Default::default() };
        let mut all = bytes(encode_request(4, 7, "me", &request));
        assert_eq!(all.get_i32(), i32::try_from(all.len()).unwrap());
        let (header, body) = split_request(all).unwrap();
        assert_eq!((header.api_key, header.api_version, header.correlation_id), (ApiKey::ApiVersions, 4, 7));
        assert_eq!(header.client_id.as_deref(), Some("me"));
        assert_eq!(decode_request(4, body), Ok(request));
    }

    #[test]
    fn bytes_behind_a_request_are_passed_over_but_not_behind_a_response() {
        let mut body = crate::codec::Writer::new();
        ApiVersionsRequest::default().encode_body(3, &mut body);
        body.put_slice(&[0, 0, 0]);
        assert_eq!(decode_request(3, body.into_bytes()), Ok(ApiVersionsRequest::default()));
        let mut all = bytes(encode_response(0, 1, &ApiVersionsResponse::default())).to_vec();
        all.push(0);
        assert!(decode_response::<ApiVersionsResponse>(0, Bytes::from(all).split_off(4)).is_err());
    }

    #[test]
    fn an_api_versions_response_has_the_oldest_header_in_every_version() {
        let response = ApiVersionsResponse { api_keys: vec![ApiVersion::default()], ..Default::default() };
        let mut all = bytes(encode_response(4, 9, &response));
        assert_eq!(&all[..9], b"\0\0\0\x13\0\0\0\x09\0");
        all.advance(4);
        assert_eq!(correlation_id(&all), Ok(9));
        assert_eq!(decode_response(4, all), Ok(response));
    }

    #[test]
    fn the_records_of_a_fetch_response_are_not_copied() {
        let records = Bytes::from(vec![1; 10_000]);
        let partition = fetch::PartitionData { records: Some(records.clone().into()), ..Default::default() };
        let topic = fetch::FetchableTopicResponse { partitions: vec![partition], ..Default::default() };
        let response = FetchResponse { responses: vec![topic], ..Default::default() };
        let frame = encode_response(17, 1, &response);
        assert!(frame.chunks().any(|chunk| chunk.as_ptr() == records.as_ptr()));
        let mut all = bytes(frame);
        all.advance(4);
        let decoded: FetchResponse = decode_response(17, all.clone()).unwrap();
        assert_eq!(decoded, response);
        let shared = decoded.responses[0].partitions[0].records.clone().unwrap().into_bytes();
        assert!(all.as_ptr_range().contains(&shared.as_ptr()));
    }
}

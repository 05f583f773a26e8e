//! What a node must do with a frame: judged by the same decoder, so that every answer of the run is checked.
//!
//! A frame that is no request closes the connection; one that is gets its answer, in its version, with its correlation
//! id.

use bytes::Bytes;
use ottla::protocol::messages::api_versions::ApiVersionsResponse;
use ottla::protocol::messages::produce::{ProduceRequest, ProduceResponse};
use ottla::protocol::{ApiKey, ErrorCode, decode_request, decode_response, split_request};

use crate::apis::Api;
use crate::draft::PREFIX;

/// What must follow a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An answer.
    Answer(Answer),
    /// Nothing, or the end: a Produce that wants no answer, by whether it failed.
    SilenceOrEnd,
    /// The end of the connection, without a word.
    End,
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) key: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    /// Whether it must say that the version is unsupported.
    pub(crate) is_refusal: bool,
}

/// What must follow a frame, given with its size in front.
pub(crate) fn outcome(apis: &[Api], frame: &[u8]) -> Outcome {
    let Ok((header, body)) = split_request(Bytes::copy_from_slice(&frame[PREFIX..])) else { return Outcome::End };
    let (key, version) = (header.api_key, header.api_version);
    let answer = Answer { key, version, correlation_id: header.correlation_id, is_refusal: false };
    let Some(api) = apis.iter().find(|api| api.key == key && api.versions.contains(version)) else {
        let is_told = key == ApiKey::ApiVersions;
        // The list of what there is comes in version 0, because the asker knows no other.
        return if is_told { Outcome::Answer(Answer { version: 0, is_refusal: true, ..answer }) } else { Outcome::End };
    };
    if (api.decode)(version, body.clone()).is_err() {
        return Outcome::End;
    }
    if key == ApiKey::Produce && decode_request::<ProduceRequest>(version, body).is_ok_and(|r| r.acks == 0) {
        return Outcome::SilenceOrEnd;
    }
    Outcome::Answer(answer)
}

/// What is wrong with an answer, if anything is.
pub(crate) fn fault(apis: &[Api], expected: Answer, frame: &Bytes, codes: &[i16]) -> Option<String> {
    let Answer { key, version, correlation_id, is_refusal } = expected;
    match ottla::protocol::correlation_id(frame) {
        Ok(found) if found == correlation_id => {}
        found => return Some(format!("the answer has the correlation id {found:?}, not {correlation_id}")),
    }
    let api = apis.iter().find(|api| api.key == key).expect("answers are expected of known APIs only");
    if let Err(error) = (api.decode_response)(version, frame.clone()) {
        return Some(format!("the answer to {key} {version} cannot be read: {error}"));
    }
    if key == ApiKey::ApiVersions && is_refusal != is_unsupported(version, frame) {
        return Some(format!("version {version} was wrongly told to be supported or not"));
    }
    if key == ApiKey::Produce && !codes.is_empty() {
        return wrong_codes(version, frame, codes);
    }
    None
}

fn wrong_codes(version: i16, frame: &Bytes, codes: &[i16]) -> Option<String> {
    let response: ProduceResponse = decode_response(version, frame.clone()).expect("it was read before");
    let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let found: Vec<i16> = partitions.map(|partition| partition.error_code.number()).collect();
    let is_right = !found.is_empty() && found.iter().all(|code| codes.contains(code));
    (!is_right).then(|| format!("a lie was answered with {found:?}, not with one of {codes:?}"))
}

/// Whether an ApiVersions response says that the version was unsupported.
fn is_unsupported(version: i16, frame: &Bytes) -> bool {
    decode_response::<ApiVersionsResponse>(version, frame.clone())
        .is_ok_and(|response| response.error_code == ErrorCode::UnsupportedVersion)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apis;

    fn of(frame: &[u8]) -> Outcome {
        outcome(&apis::all(), frame)
    }

    #[test]
    fn a_request_is_answered_and_what_is_none_ends_the_connection() {
        let answer = Answer { key: ApiKey::ApiVersions, version: 0, correlation_id: 5, is_refusal: false };
        assert_eq!(of(b"\0\0\0\x0a\0\x12\0\0\0\0\0\x05\xff\xff"), Outcome::Answer(answer));
        assert_eq!(of(b"\0\0\0\x0b\0\x12\0\0\0\0\0\x05\xff\xff\0"), Outcome::Answer(answer));
        assert_eq!(of(b"\0\0\0\x02\0\x12"), Outcome::End);
    }

    #[test]
    fn only_an_unknown_version_of_api_versions_is_answered() {
        let answer = Answer { key: ApiKey::ApiVersions, version: 0, correlation_id: 5, is_refusal: true };
        assert_eq!(of(b"\0\0\0\x0b\0\x12\0\x63\0\0\0\x05\xff\xff\0"), Outcome::Answer(answer));
        assert_eq!(of(b"\0\0\0\x0b\0\x03\0\x63\0\0\0\x05\xff\xff\0"), Outcome::End);
    }
}

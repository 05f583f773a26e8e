//! DeleteTopics: by name, or from version 6 on by id.

use crate::codec::message;
use crate::model::TopicId;
use crate::protocol::ErrorCode;

message! {
    /// The topics to delete.
    DeleteTopicsRequest, versions 1..=6, flexible from 4 {
        topics: Vec<DeleteTopicState>, in 6..;
        topic_names: Vec<String>, in ..=5;
        timeout_ms: i32;
    }

    /// A topic by name or id.
    DeleteTopicState {
        name: Option<String>;
        topic_id: TopicId;
    }
}

message! {
    /// What became of each topic.
    DeleteTopicsResponse, versions 1..=6, flexible from 4 {
        throttle_time_ms: i32;
        responses: Vec<DeletableTopicResult>;
    }

    /// What became of one topic.
    DeletableTopicResult {
        name: Option<String>, null in 6..;
        topic_id: TopicId, in 6..;
        error_code: ErrorCode;
        error_message: Option<String>, in 5..;
    }
}

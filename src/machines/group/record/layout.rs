//! The layouts of keys and values in `__consumer_offsets`, as Kafka has them (its `group-coordinator` message tables).
//!
//! A key begins with the number of its kind, a value with its version; what follows is as below. Only `record/mod.rs`
//! uses them.

use bytes::Bytes;

use crate::codec::message;
use crate::model::TopicId;

message! {
    /// Kinds 0 and 1: a committed offset.
    OffsetKey, versions 0..=1, flexible from 32767 {
        group: String;
        topic: String;
        partition: i32;
    }
}

message! {
    /// A committed offset. The last version has a topic's id.
    OffsetValue, versions 0..=4, flexible from 4 {
        offset: i64;
        leader_epoch: i32 = -1, in 3..;
        metadata: String;
        commit_timestamp: i64;
        expire_timestamp: i64 = -1, in 1..=1;
        topic_id: TopicId, in 4.., tag 0;
    }
}

message! {
    /// Kind 2: a classic group.
    GroupKey, versions 2..=2, flexible from 32767 {
        group: String;
    }
}

message! {
    /// A classic group as of its last rebalance.
    GroupValue, versions 0..=4, flexible from 4 {
        protocol_type: String;
        generation: i32;
        protocol: Option<String>;
        leader: Option<String>;
        current_state_timestamp: i64 = -1, in 2..;
        members: Vec<MemberValue>;
    }

    /// One of its members.
    MemberValue {
        member_id: String;
        group_instance_id: Option<String>, in 3..;
        client_id: String;
        client_host: String;
        rebalance_timeout: i32 = -1, in 1..;
        session_timeout: i32;
        subscription: Bytes;
        assignment: Bytes;
    }
}

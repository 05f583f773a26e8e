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

message! {
    /// Kinds 3 and 6: a group of KIP-848 as a whole.
    ConsumerGroupKey, versions 3..=6, flexible from 32767 {
        group: String;
    }
}

message! {
    /// Kinds 5, 7 and 8: a member of it.
    ConsumerMemberKey, versions 5..=8, flexible from 32767 {
        group: String;
        member_id: String;
    }
}

message! {
    /// Kind 16: a regular expression that members of it subscribe to.
    ConsumerRegexKey, versions 16..=16, flexible from 32767 {
        group: String;
        regex: String;
    }
}

message! {
    /// Kind 3.
    ConsumerGroupValue, versions 0..=0, flexible from 0 {
        epoch: i32;
        metadata_hash: i64, tag 0;
    }
}

message! {
    /// Kind 5.
    ConsumerMemberValue, versions 0..=0, flexible from 0 {
        instance_id: Option<String>;
        rack_id: Option<String>;
        client_id: String;
        client_host: String;
        subscribed_topic_names: Vec<String>;
        subscribed_topic_regex: Option<String>;
        rebalance_timeout_ms: i32 = -1;
        server_assignor: Option<String>;
        classic_member_metadata: Option<ClassicValue>, tag 0;
    }

    /// Of a member of the classic protocol.
    ClassicValue {
        session_timeout_ms: i32;
        supported_protocols: Vec<ClassicProtocolValue>;
    }

    /// What it can do.
    ClassicProtocolValue {
        name: String;
        metadata: Bytes;
    }
}

message! {
    /// Kind 6.
    ConsumerTargetEpochValue, versions 0..=0, flexible from 0 {
        assignment_epoch: i32;
        assignment_timestamp: i64, tag 0;
    }
}

message! {
    /// Kind 7.
    ConsumerTargetValue, versions 0..=0, flexible from 0 {
        topic_partitions: Vec<TopicPartitionsValue>;
    }

    /// Partitions of a topic.
    TopicPartitionsValue {
        topic_id: TopicId;
        partitions: Vec<i32>;
    }
}

message! {
    /// Kind 8.
    ConsumerCurrentValue, versions 0..=0, flexible from 0 {
        member_epoch: i32;
        previous_member_epoch: i32;
        state: i8;
        assigned_partitions: Vec<EpochPartitionsValue>;
        partitions_pending_revocation: Vec<EpochPartitionsValue>;
    }

    /// Partitions of a topic, each with the epoch in which the member was given it.
    EpochPartitionsValue {
        topic_id: TopicId;
        partitions: Vec<i32>;
        assignment_epochs: Option<Vec<i32>>, tag 0;
    }
}

message! {
    /// Kind 16.
    ConsumerRegexValue, versions 0..=0, flexible from 0 {
        topics: Vec<String>;
        version: i64;
        timestamp: i64;
    }
}

//! ConsumerGroupDescribe: groups of KIP-848 and their members.

use crate::codec::message;
use crate::model::TopicId;
use crate::protocol::ErrorCode;

message! {
    /// The groups asked for.
    ConsumerGroupDescribeRequest, versions 0..=1, flexible from 0 {
        group_ids: Vec<String>;
        include_authorized_operations: bool;
    }
}

message! {
    /// The groups found.
    ConsumerGroupDescribeResponse, versions 0..=1, flexible from 0 {
        throttle_time_ms: i32;
        groups: Vec<DescribedGroup>;
    }

    /// A group.
    DescribedGroup {
        error_code: ErrorCode;
        error_message: Option<String>;
        group_id: String;
        group_state: String;
        group_epoch: i32;
        assignment_epoch: i32;
        assignor_name: String;
        members: Vec<Member>;
        authorized_operations: i32 = i32::MIN;
    }

    /// A member: what it has, and what it shall have.
    Member {
        member_id: String;
        instance_id: Option<String>;
        rack_id: Option<String>;
        member_epoch: i32;
        client_id: String;
        client_host: String;
        subscribed_topic_names: Vec<String>;
        subscribed_topic_regex: Option<String>;
        assignment: Assignment;
        target_assignment: Assignment;
        /// -1 unknown, 0 a classic member, 1 one of KIP-848.
        member_type: i8 = -1, in 1..;
    }

    /// Partitions of topics.
    Assignment {
        topic_partitions: Vec<TopicPartitions>;
    }

    /// Partitions of a topic.
    TopicPartitions {
        topic_id: TopicId;
        topic_name: String;
        partitions: Vec<i32>;
    }
}

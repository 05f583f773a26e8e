//! ConsumerGroupHeartbeat (KIP-848): a member joins, lives and leaves, and learns its assignment.

use crate::codec::message;
use crate::model::TopicId;
use crate::protocol::ErrorCode;

message! {
    /// What a member says of itself. Null, and -1 of the timeout, say that nothing has changed since its last heartbeat.
    ConsumerGroupHeartbeatRequest, versions 0..=1, flexible from 0 {
        group_id: String;
        member_id: String;
        /// 0 joins, -1 leaves, -2 leaves for a while as a static member.
        member_epoch: i32;
        instance_id: Option<String>;
        rack_id: Option<String>;
        rebalance_timeout_ms: i32 = -1;
        subscribed_topic_names: Option<Vec<String>>;
        subscribed_topic_regex: Option<String>, in 1..;
        server_assignor: Option<String>;
        /// What the member still holds.
        topic_partitions: Option<Vec<TopicPartitions>>;
    }

    /// Partitions of a topic.
    TopicPartitions {
        topic_id: TopicId;
        partitions: Vec<i32>;
    }
}

message! {
    /// The member's epoch, and its assignment when that has changed.
    ConsumerGroupHeartbeatResponse, versions 0..=1, flexible from 0 {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<String>;
        member_id: Option<String>;
        member_epoch: i32;
        heartbeat_interval_ms: i32;
        assignment: Option<Assignment>;
    }

    /// The partitions that the member shall have.
    Assignment {
        topic_partitions: Vec<TopicPartitions>;
    }
}

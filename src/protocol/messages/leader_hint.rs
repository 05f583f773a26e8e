//! Where the leader went (KIP-951): a part of Produce and Fetch responses, so that a client needs no Metadata.

use crate::codec::message;

message! {
    /// The leader of a partition that was sent to the wrong broker; -1 when not known.
    LeaderIdAndEpoch {
        leader_id: i32 = -1;
        leader_epoch: i32 = -1;
    }

    /// How to reach a leader named in the response.
    NodeEndpoint {
        node_id: i32;
        host: String;
        port: i32;
        rack: Option<String>;
    }
}

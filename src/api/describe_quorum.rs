//! DescribeQuorum: who keeps the metadata log, and how far each is.
//!
//! Only the leader of the quorum knows all members, so it is asked. Invariant: what is not known is -1, never guessed.

use super::call::Caller;
use super::context::Context;
use crate::broker::{MemberState, QuorumDescription};
use crate::model::{LogIndex, NodeId, Timestamp, TopicName};
use crate::protocol::ErrorCode;
use crate::protocol::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, Listener, Node, PartitionRequest, PartitionResponse, ReplicaState,
    TopicResponse,
};

/// Serves the request.
pub(super) async fn describe_quorum(
    context: Context,
    _: Caller,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let quorum = context.cluster().describe_quorum_by_leader().await;
    let topics = request.topics.into_iter().map(|topic| {
        let is_metadata = topic.topic_name == TopicName::METADATA;
        let partitions = topic.partitions.iter().map(|asked| partition(asked, &quorum, is_metadata)).collect();
        TopicResponse { topic_name: topic.topic_name, partitions }
    });
    let topics = topics.collect();
    let nodes = nodes(&quorum, &context.options().controller_listener);
    DescribeQuorumResponse { topics, nodes, ..DescribeQuorumResponse::default() }
}

fn partition(asked: &PartitionRequest, quorum: &QuorumDescription, is_metadata: bool) -> PartitionResponse {
    let partition_index = asked.partition_index;
    if !is_metadata || partition_index != 0 {
        let error_code = ErrorCode::UnknownTopicOrPartition;
        return PartitionResponse { partition_index, error_code, ..PartitionResponse::default() };
    }
    PartitionResponse {
        partition_index,
        leader_id: quorum.leader.map_or(-1, NodeId::get),
        leader_epoch: i32::try_from(quorum.term.get()).unwrap_or(i32::MAX),
        high_watermark: number(quorum.high_watermark),
        current_voters: quorum.voters.iter().map(replica).collect(),
        observers: quorum.observers.iter().map(replica).collect(),
        ..PartitionResponse::default()
    }
}

fn replica(member: &MemberState) -> ReplicaState {
    ReplicaState {
        replica_id: member.node.get(),
        replica_directory_id: member.directory,
        log_end_offset: member.log_end.map_or(-1, number),
        last_fetch_timestamp: member.last_fetch.map_or(-1, Timestamp::get),
        last_caught_up_timestamp: member.last_caught_up.map_or(-1, Timestamp::get),
    }
}

/// The voters and where the quorum speaks to them: the controller listener, whose name is the same on every node.
fn nodes(quorum: &QuorumDescription, listener: &str) -> Vec<Node> {
    let node = |member: &MemberState| {
        let (host, port) = member.address.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let listener = Listener { name: listener.to_owned(), host, port: port.parse().ok()? };
        Some(Node { node_id: member.node.get(), listeners: vec![listener] })
    };
    quorum.voters.iter().filter_map(node).collect()
}

fn number(index: LogIndex) -> i64 {
    i64::try_from(index.get()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DirectoryId, Term};

    fn quorum() -> QuorumDescription {
        let voter = MemberState {
            node: NodeId::new(1),
            directory: DirectoryId::new([3; 16]),
            address: "[::1]:9093".to_owned(),
            log_end: None,
            last_fetch: None,
            last_caught_up: Some(Timestamp::new(5)),
        };
        QuorumDescription {
            leader: None,
            term: Term::new(4),
            high_watermark: LogIndex::new(7),
            log_end: LogIndex::new(8),
            log_start: LogIndex::new(0),
            voters: vec![voter],
            observers: Vec::new(),
        }
    }

    #[test]
    fn only_the_one_partition_of_the_metadata_log_is_known() {
        let told = |index, is_metadata| partition(&PartitionRequest { partition_index: index }, &quorum(), is_metadata);
        assert_eq!(told(1, true).error_code, ErrorCode::UnknownTopicOrPartition);
        assert_eq!(told(0, false).error_code, ErrorCode::UnknownTopicOrPartition);
        let told = told(0, true);
        assert_eq!((told.leader_id, told.leader_epoch, told.high_watermark), (-1, 4, 7));
        assert_eq!((told.current_voters[0].log_end_offset, told.current_voters[0].last_caught_up_timestamp), (-1, 5));
    }

    #[test]
    fn a_voters_address_is_told_as_host_and_port_of_the_configured_listener() {
        let nodes = nodes(&quorum(), "RAFT");
        let listener = Listener { name: "RAFT".to_owned(), host: "::1".to_owned(), port: 9093 };
        assert_eq!(nodes[0].listeners, [listener]);
    }
}

//! Requests about groups, of as many elements as there may be.

use ottla::protocol::messages::delete_groups::DeleteGroupsRequest;
use ottla::protocol::messages::describe_groups::DescribeGroupsRequest;
use ottla::protocol::messages::find_coordinator::FindCoordinatorRequest;
use ottla::protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use ottla::protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use ottla::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchResponse,
};
use ottla::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla::protocol::{ErrorCode, Request};

use crate::large::{ELEMENTS, GROWTH_MAX, check, fresh, numbers};
use crate::node::Node;
use crate::wire::Client;
use crate::world::STANDING;

const GROUP: &str = "of-the-most-elements";

fn names() -> Vec<String> {
    numbers().map(|number| format!("many-{number}")).collect()
}

/// A node whose groups are ready.
async fn coordinator() -> (Node, Client, u64) {
    let (node, mut client, baseline) = fresh().await;
    let request = FindCoordinatorRequest { key: GROUP.to_owned(), ..FindCoordinatorRequest::default() };
    assert_eq!(client.call(3, &request).await.expect("an answer").error_code, ErrorCode::None);
    (node, client, baseline)
}

/// Sends a request to a node of its own and sees what becomes of its memory.
async fn send<R: Request>(version: i16, request: R, judge: impl FnOnce(R::Response)) {
    let (node, mut client, baseline) = coordinator().await;
    judge(client.call(version, &request).await.expect("an answer"));
    drop(request);
    check(node, baseline, &R::KEY.to_string(), GROWTH_MAX).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_groups_as_can_be_named_take_bounded_memory() {
    let find = FindCoordinatorRequest { coordinator_keys: names(), ..FindCoordinatorRequest::default() };
    send(4, find, |answer| assert_eq!(answer.coordinators.len(), ELEMENTS)).await;
    let describe = DescribeGroupsRequest { groups: names(), ..DescribeGroupsRequest::default() };
    send(6, describe, |answer| {
        assert_eq!(answer.groups.len(), ELEMENTS);
        assert!(answer.groups.iter().all(|group| group.error_code == ErrorCode::GroupIdNotFound));
    })
    .await;
    let delete = DeleteGroupsRequest { groups_names: names() };
    send(2, delete, |answer| {
        assert_eq!(answer.results.len(), ELEMENTS);
        assert!(answer.results.iter().all(|group| group.error_code == ErrorCode::GroupIdNotFound));
    })
    .await;
    let group = |group_id| OffsetFetchRequestGroup { group_id, topics: None, ..OffsetFetchRequestGroup::default() };
    let groups = names().into_iter().map(group).collect();
    send(9, OffsetFetchRequest { groups, ..OffsetFetchRequest::default() }, |answer| {
        assert_eq!(answer.groups.len(), ELEMENTS);
        assert!(answer.groups.iter().all(|group| group.error_code == ErrorCode::None));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_offsets_as_can_be_named_take_bounded_memory() {
    let partition = |index: i32| OffsetCommitRequestPartition {
        partition_index: index % 2,
        committed_offset: i64::from(index),
        committed_metadata: Some(String::new()),
        ..OffsetCommitRequestPartition::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: STANDING[0].0.to_owned(),
        partitions: numbers().map(partition).collect(),
        ..OffsetCommitRequestTopic::default()
    };
    let group_id = GROUP.to_owned();
    let commit = OffsetCommitRequest { group_id, topics: vec![topic], ..OffsetCommitRequest::default() };
    send(7, commit, |answer| {
        assert!(answer.topics[0].partitions.iter().all(|partition| partition.error_code == ErrorCode::None));
    })
    .await;
    let topic = OffsetFetchRequestTopic { name: STANDING[0].0.to_owned(), partition_indexes: numbers().collect() };
    let group_id = GROUP.to_owned();
    let fetch = OffsetFetchRequest { group_id, topics: Some(vec![topic]), ..OffsetFetchRequest::default() };
    send(7, fetch, |answer: OffsetFetchResponse| assert_eq!(answer.topics[0].partitions.len(), ELEMENTS)).await;
}

fn join(protocols: impl Iterator<Item = String>) -> JoinGroupRequest {
    let protocol = |name| JoinGroupRequestProtocol { name, ..JoinGroupRequestProtocol::default() };
    JoinGroupRequest {
        group_id: GROUP.to_owned(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        protocol_type: "consumer".to_owned(),
        protocols: protocols.map(protocol).collect(),
        ..JoinGroupRequest::default()
    }
}

fn assert_joined(answer: &JoinGroupResponse) {
    assert_eq!((answer.error_code, answer.generation_id), (ErrorCode::None, 1));
    assert_eq!((&answer.leader, answer.members.len()), (&answer.member_id, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_much_as_a_member_can_say_takes_bounded_memory() {
    send(3, join(names().into_iter()), |answer| assert_joined(&answer)).await;
    let (node, mut client, baseline) = coordinator().await;
    let joined = client.call(3, &join(["range".to_owned()].into_iter())).await.expect("an answer");
    assert_joined(&joined);
    let nobody = |member_id| SyncGroupRequestAssignment { member_id, ..SyncGroupRequestAssignment::default() };
    let sync = SyncGroupRequest {
        group_id: GROUP.to_owned(),
        generation_id: 1,
        member_id: joined.member_id.clone(),
        assignments: names().into_iter().map(nobody).collect(),
        ..SyncGroupRequest::default()
    };
    assert_eq!(client.call(3, &sync).await.expect("an answer").error_code, ErrorCode::None);
    let stranger = |member_id| MemberIdentity { member_id, ..MemberIdentity::default() };
    let members = names().into_iter().map(stranger).collect();
    let leave = LeaveGroupRequest { group_id: GROUP.to_owned(), members, ..LeaveGroupRequest::default() };
    let left = client.call(3, &leave).await.expect("an answer").members;
    assert_eq!(left.len(), ELEMENTS);
    assert!(left.iter().all(|member| member.error_code == ErrorCode::UnknownMemberId));
    check(node, baseline, "SyncGroup and LeaveGroup", GROWTH_MAX).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_group_that_is_named_again_and_again_is_told_once() {
    let (node, mut client, baseline) = coordinator().await;
    let mut large = join(["range".to_owned()].into_iter());
    large.protocols[0].metadata = vec![b'm'; 1 << 20].into();
    let joined = client.call(3, &large).await.expect("an answer");
    assert_joined(&joined);
    let sync = SyncGroupRequest {
        group_id: GROUP.to_owned(),
        generation_id: 1,
        member_id: joined.member_id,
        ..SyncGroupRequest::default()
    };
    assert_eq!(client.call(3, &sync).await.expect("an answer").error_code, ErrorCode::None);
    let groups = numbers().map(|_| GROUP.to_owned()).collect();
    let described = client.call(4, &DescribeGroupsRequest { groups, ..DescribeGroupsRequest::default() }).await;
    let described = described.expect("an answer").groups;
    assert_eq!((described.len(), described[0].members[0].member_metadata.len()), (1, 1 << 20));
    check(node, baseline, "DescribeGroups of one", GROWTH_MAX).await;
}

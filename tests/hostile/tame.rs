//! Takes from an attack what would be lawful: without an authorizer, whoever asks may create a thousand topics, delete
//! the good client's, configure it so that it takes no record, or commit in its name.
//!
//! Judged by the node's own decoder, so a mutation cannot hide from it. Only what would succeed is changed.

use bytes::{Buf, Bytes};
use ottla::model::{TopicId, TopicName};
use ottla::protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use ottla::protocol::messages::create_partitions::CreatePartitionsRequest;
use ottla::protocol::messages::create_topics::CreateTopicsRequest;
use ottla::protocol::messages::delete_groups::DeleteGroupsRequest;
use ottla::protocol::messages::delete_topics::DeleteTopicsRequest;
use ottla::protocol::messages::fetch::FetchRequest;
use ottla::protocol::messages::incremental_alter_configs::IncrementalAlterConfigsRequest;
use ottla::protocol::messages::join_group::JoinGroupRequest;
use ottla::protocol::messages::metadata::MetadataRequest;
use ottla::protocol::messages::offset_commit::OffsetCommitRequest;
use ottla::protocol::messages::offset_delete::OffsetDeleteRequest;
use ottla::protocol::messages::produce::ProduceRequest;
use ottla::protocol::{ApiKey, Request, RequestHeader, decode_request, encode_request, split_request};

use crate::draft::PREFIX;
use crate::world::{COMING_AND_GOING, GROUPS, INSTANCES, MEMBERS, STANDING, World};

/// The longest poll that an attacker waits out; those that it abandons are longer.
const WAIT_MS_MAX: i32 = 50;
/// The most partitions that an attacker's topic has, unless it asks for more than any node would make.
const PARTITIONS_MAX: i32 = 4;
/// A node refuses this many partitions at once.
const PARTITIONS_REFUSED: i32 = 100_000;

/// Changes a frame, its size in front, that would do what attackers may not.
pub(crate) fn tame(frame: &mut Vec<u8>, world: &World) {
    let whole = Bytes::copy_from_slice(&frame[PREFIX..]);
    let Ok((header, body)) = split_request(whole) else { return };
    #[expect(clippy::wildcard_enum_match_arm, reason = "few of the 89 APIs change or wait")]
    let tamed = match header.api_key {
        ApiKey::CreateTopics => rewrite(&header, body, create_topics),
        ApiKey::CreatePartitions => rewrite(&header, body, |request| create_partitions(request, world)),
        ApiKey::IncrementalAlterConfigs => rewrite(&header, body, |request| alter_configs(request, world)),
        ApiKey::Metadata => rewrite(&header, body, metadata),
        ApiKey::DeleteTopics => rewrite(&header, body, |request| delete_topics(request, world)),
        ApiKey::Produce => rewrite(&header, body, |request| produce(request, world)),
        ApiKey::Fetch => rewrite(&header, body, fetch),
        ApiKey::JoinGroup => rewrite(&header, body, join_group),
        ApiKey::OffsetCommit => {
            rewrite(&header, body, |request: &mut OffsetCommitRequest| group(&mut request.group_id))
        }
        ApiKey::OffsetDelete => {
            rewrite(&header, body, |request: &mut OffsetDeleteRequest| group(&mut request.group_id))
        }
        ApiKey::ConsumerGroupHeartbeat => rewrite(&header, body, heartbeat),
        ApiKey::DeleteGroups => rewrite(&header, body, delete_groups),
        _ => None,
    };
    if let Some(tamed) = tamed {
        *frame = tamed;
    }
}

fn rewrite<R: Request>(header: &RequestHeader, body: Bytes, change: impl FnOnce(&mut R) -> bool) -> Option<Vec<u8>> {
    let mut request = decode_request::<R>(header.api_version, body).ok()?;
    if !change(&mut request) {
        return None;
    }
    let mut frame = encode_request(header.api_version, header.correlation_id, "tamed", &request);
    Some(frame.copy_to_bytes(frame.remaining()).to_vec())
}

/// Whether a topic of that name could be made, and must not be.
fn is_foreign(name: &str) -> bool {
    TopicName::new(name).is_ok() && !World::may_exist(name)
}

/// One of the few names, the same one each time.
fn instead(name: &str) -> String {
    COMING_AND_GOING[name.len() % COMING_AND_GOING.len()].to_owned()
}

fn create_topics(request: &mut CreateTopicsRequest) -> bool {
    let mut changed = false;
    for topic in &mut request.topics {
        if is_foreign(&topic.name) {
            topic.name = instead(&topic.name);
            changed = true;
        }
        if topic.num_partitions > PARTITIONS_MAX && topic.num_partitions < PARTITIONS_REFUSED {
            topic.num_partitions %= PARTITIONS_MAX;
            changed = true;
        }
        if topic.assignments.len() > 16 {
            topic.assignments.truncate(16);
            changed = true;
        }
    }
    changed
}

fn metadata(request: &mut MetadataRequest) -> bool {
    let names = request.topics.iter_mut().flatten().filter_map(|topic| topic.name.as_mut());
    let mut changed = false;
    for name in names.filter(|name| is_foreign(name)) {
        *name = instead(name);
        changed = true;
    }
    changed
}

/// Whether others count on a topic of that name as it is.
fn is_kept(name: &str, world: &World) -> bool {
    world.is_protected(name, TopicId::ZERO) || STANDING.iter().any(|(standing, _)| *standing == name)
}

fn create_partitions(request: &mut CreatePartitionsRequest, world: &World) -> bool {
    let mut changed = false;
    for topic in &mut request.topics {
        if is_kept(&topic.name, world) {
            topic.name = instead(&topic.name);
            changed = true;
        }
        if topic.count > PARTITIONS_MAX && topic.count < PARTITIONS_REFUSED {
            topic.count %= PARTITIONS_MAX;
            changed = true;
        }
    }
    changed
}

fn alter_configs(request: &mut IncrementalAlterConfigsRequest, world: &World) -> bool {
    let mut changed = false;
    for resource in &mut request.resources {
        if is_kept(&resource.resource_name, world) {
            resource.resource_name = instead(&resource.resource_name);
            changed = true;
        }
        // The defaults of all brokers are the good topic's, too.
        if resource.resource_name.is_empty() {
            resource.resource_name = "1".to_owned();
            changed = true;
        }
    }
    changed
}

fn delete_topics(request: &mut DeleteTopicsRequest, world: &World) -> bool {
    let mut changed = false;
    for name in request.topic_names.iter_mut().filter(|name| is_kept(name, world)) {
        *name = instead(name);
        changed = true;
    }
    for topic in &mut request.topics {
        if let Some(name) = topic.name.as_mut().filter(|name| is_kept(name, world)) {
            *name = instead(name);
            changed = true;
        }
        let id = topic.topic_id;
        if world.is_protected("", id) || world.standing.iter().any(|topic| topic.id == id) {
            topic.topic_id = TopicId::new([1; 16]);
            changed = true;
        }
    }
    changed
}

fn produce(request: &mut ProduceRequest, world: &World) -> bool {
    let mut changed = false;
    for topic in &mut request.topic_data {
        if world.is_protected(&topic.name, topic.topic_id) {
            topic.name = instead("");
            topic.topic_id = TopicId::new([1; 16]);
            changed = true;
        }
    }
    changed
}

fn fetch(request: &mut FetchRequest) -> bool {
    let is_long = request.max_wait_ms > WAIT_MS_MAX;
    request.max_wait_ms = request.max_wait_ms.min(WAIT_MS_MAX);
    is_long
}

/// Makes a group one of the attackers' own; whether it was none.
fn group(name: &mut String) -> bool {
    let is_foreign = !name.is_empty() && !GROUPS.contains(&name.as_str());
    if is_foreign {
        *name = GROUPS[name.len() % GROUPS.len()].to_owned();
    }
    is_foreign
}

fn delete_groups(request: &mut DeleteGroupsRequest) -> bool {
    request.groups_names.iter_mut().map(group).filter(|changed| *changed).count() > 0
}

/// Members name themselves: each that never leaves stays for a session.
fn heartbeat(request: &mut ConsumerGroupHeartbeatRequest) -> bool {
    let mut changed = group(&mut request.group_id);
    if !MEMBERS.contains(&request.member_id.as_str()) {
        request.member_id = MEMBERS[request.member_id.len() % MEMBERS.len()].to_owned();
        changed = true;
    }
    if let Some(instance) = request.instance_id.as_mut().filter(|one| !INSTANCES.contains(&one.as_str())) {
        *instance = INSTANCES[instance.len() % INSTANCES.len()].to_owned();
        changed = true;
    }
    changed
}

/// Members that never speak again, of groups that wait for each of them, would keep the attackers waiting.
fn join_group(request: &mut JoinGroupRequest) -> bool {
    let mut changed = group(&mut request.group_id);
    if request.session_timeout_ms > WAIT_MS_MAX {
        request.session_timeout_ms = WAIT_MS_MAX;
        changed = true;
    }
    if request.rebalance_timeout_ms > WAIT_MS_MAX {
        request.rebalance_timeout_ms = WAIT_MS_MAX;
        changed = true;
    }
    if let Some(instance) = &mut request.group_instance_id
        && !INSTANCES.contains(&instance.as_str())
    {
        *instance = INSTANCES[instance.len() % INSTANCES.len()].to_owned();
        changed = true;
    }
    changed
}

#[cfg(test)]
mod tests {
    use ottla::protocol::messages::create_partitions::CreatePartitionsTopic;
    use ottla::protocol::messages::create_topics::CreatableTopic;
    use ottla::protocol::messages::delete_topics::DeleteTopicState;
    use ottla::protocol::messages::incremental_alter_configs::AlterConfigsResource;

    use super::*;
    use crate::world::{GOOD_GROUP, GOOD_TOPIC};

    fn tamed<R: Request>(version: i16, request: &R) -> R {
        let mut frame = encode_request(version, 1, "me", request);
        let mut frame = frame.copy_to_bytes(frame.remaining()).to_vec();
        tame(&mut frame, &World::imagined());
        let (_, body) = split_request(Bytes::from(frame[PREFIX..].to_vec())).expect("a request");
        decode_request(version, body).expect("a request")
    }

    #[test]
    fn a_topic_outside_the_set_is_renamed_and_an_invalid_name_is_left() {
        let topic = |name: &str| CreatableTopic { name: name.to_owned(), num_partitions: 9_999, ..Default::default() };
        let request = CreateTopicsRequest { topics: vec![topic("other"), topic("../x")], ..Default::default() };
        let topics = tamed(5, &request).topics;
        assert!(World::may_exist(&topics[0].name));
        assert_eq!(topics[1].name, "../x");
        assert!(topics[0].num_partitions <= PARTITIONS_MAX);
    }

    #[test]
    fn the_good_topic_cannot_be_deleted() {
        let world = World::imagined();
        let by_name = DeleteTopicState { name: Some(GOOD_TOPIC.to_owned()), topic_id: TopicId::ZERO };
        let by_id = DeleteTopicState { name: None, topic_id: world.good.id };
        let request = DeleteTopicsRequest { topics: vec![by_name, by_id], ..Default::default() };
        let topics = tamed(6, &request).topics;
        assert_ne!(topics[0].name.as_deref(), Some(GOOD_TOPIC));
        assert_ne!(topics[1].topic_id, world.good.id);
    }

    #[test]
    fn the_good_topic_neither_grows_nor_is_configured() {
        let topic = |name: &str| CreatePartitionsTopic { name: name.to_owned(), count: 9_999, assignments: None };
        let topics = vec![topic(GOOD_TOPIC), topic("hostile-a")];
        let topics = tamed(3, &CreatePartitionsRequest { topics, ..Default::default() }).topics;
        assert_ne!(topics[0].name, GOOD_TOPIC);
        assert!(topics.iter().all(|topic| topic.count <= PARTITIONS_MAX));
        let resource = |resource_type, name: &str| AlterConfigsResource {
            resource_type,
            resource_name: name.to_owned(),
            ..AlterConfigsResource::default()
        };
        let resources = vec![resource(2, GOOD_TOPIC), resource(4, "")];
        let request = IncrementalAlterConfigsRequest { resources, ..Default::default() };
        let resources = tamed(1, &request).resources;
        assert!(resources.iter().all(|resource| ![GOOD_TOPIC, ""].contains(&resource.resource_name.as_str())));
    }

    #[test]
    fn the_good_group_is_only_read_and_members_wait_a_moment() {
        let groups_names = vec![GOOD_GROUP.to_owned(), "other".to_owned(), String::new()];
        let groups = tamed(2, &DeleteGroupsRequest { groups_names }).groups_names;
        assert!(groups.iter().all(|name| name.is_empty() || GROUPS.contains(&name.as_str())), "{groups:?}");
        let commit = OffsetCommitRequest { group_id: GOOD_GROUP.to_owned(), ..OffsetCommitRequest::default() };
        assert!(GROUPS.contains(&tamed(8, &commit).group_id.as_str()));
        let forget = OffsetDeleteRequest { group_id: GOOD_GROUP.to_owned(), ..OffsetDeleteRequest::default() };
        assert!(GROUPS.contains(&tamed(0, &forget).group_id.as_str()));
        let join = JoinGroupRequest {
            group_id: GOOD_GROUP.to_owned(),
            session_timeout_ms: 6_000,
            rebalance_timeout_ms: i32::MAX,
            ..JoinGroupRequest::default()
        };
        let join = tamed(9, &join);
        assert!(GROUPS.contains(&join.group_id.as_str()));
        assert!(join.session_timeout_ms.max(join.rebalance_timeout_ms) <= WAIT_MS_MAX);
    }
}

//! `/v1/groups` and `/v1/groups/{group}`: groups of consumers, how far each is behind, and their end.
//!
//! Asked by operators and their tools. Invariant: a page never holds more than `PAGE_GROUPS_MAX` groups; what no coordinator
//! tells is named as missing or null, never shown as nothing.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::State;
use super::error::{Kind, Problem};
use super::extract::{DryRun, InPath, InQuery, NoParameter};
use crate::broker::{GroupPage, GroupReport, GroupSummary, GroupsError, MemberReport, OffsetReport};
use crate::model::{NodeId, Offset, PartitionIndex, Timestamp};

/// How many groups one page holds unless the request says otherwise.
const PAGE_GROUPS: usize = 100;
/// How many it holds at most.
const PAGE_GROUPS_MAX: usize = GroupPage::GROUPS_MAX;

/// Which part of the list is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    limit: Option<usize>,
    /// The last group of the page before.
    after: Option<String>,
}

/// A page of groups, by id.
#[derive(Debug, Serialize)]
pub(super) struct GroupsView {
    groups: Vec<GroupView>,
    /// What to pass as `after` for the next page; null on the last one.
    next: Option<String>,
    /// Partitions of `__consumer_offsets` whose groups are not told, because no coordinator answered for them.
    missing_partitions: Vec<PartitionIndex>,
}

/// A group in the list.
#[derive(Debug, Serialize)]
pub(super) struct GroupView {
    group: String,
    state: String,
    protocol_type: String,
    member_count: usize,
    committed_partition_count: usize,
    coordinator: NodeId,
}

/// A group with its members and offsets.
#[derive(Debug, Serialize)]
pub(super) struct GroupDetailView {
    group: String,
    state: String,
    protocol_type: String,
    /// The assignor that the members chose; null while that is open.
    protocol: Option<String>,
    coordinator: NodeId,
    members: Vec<MemberView>,
    offsets: Vec<OffsetView>,
    /// Over all partitions of which it is known.
    lag_records_sum: u64,
    lag_records_max: u64,
    lag_ms_max: u64,
}

/// A member.
#[derive(Debug, Serialize)]
struct MemberView {
    member_id: String,
    instance_id: Option<String>,
    client_id: String,
    host: String,
    /// By topic; null for members that are no consumers.
    assignment: Option<BTreeMap<String, Vec<PartitionIndex>>>,
}

/// A committed offset.
#[derive(Debug, Serialize)]
struct OffsetView {
    topic: String,
    partition: PartitionIndex,
    committed_offset: Offset,
    committed_at_ms: Timestamp,
    metadata: String,
    high_watermark: Option<Offset>,
    lag_records: Option<u64>,
    lag_ms: Option<u64>,
    /// Who has the partition; null when no consumer of the group says so.
    member_id: Option<String>,
}

/// A group that is gone, or would be.
#[derive(Debug, Serialize)]
pub(super) struct DeletedGroupView {
    group: String,
    dry_run: bool,
}

/// `GET /v1/groups`.
pub(super) async fn list(
    Shared(state): Shared<State>,
    InQuery(page): InQuery<Page>,
) -> Result<Json<GroupsView>, Problem> {
    let limit = page.limit.unwrap_or(PAGE_GROUPS);
    if limit == 0 || limit > PAGE_GROUPS_MAX {
        let detail = format!("limit is {limit}; it must be between 1 and {PAGE_GROUPS_MAX}");
        return Err(Problem::new(Kind::MalformedRequest, detail));
    }
    Ok(Json(page_view(state.groups().list(page.after.as_deref(), limit).await)))
}

/// `GET /v1/groups/{group}`.
pub(super) async fn describe(
    Shared(state): Shared<State>,
    InPath(group): InPath<String>,
    _: InQuery<NoParameter>,
) -> Result<Json<GroupDetailView>, Problem> {
    let told = state.groups().describe(&group).await.map_err(|cause| Problem::of_group(&group, cause))?;
    Ok(Json(detail(group, *told)))
}

/// `DELETE /v1/groups/{group}`.
pub(super) async fn delete(
    Shared(state): Shared<State>,
    InPath(group): InPath<String>,
    InQuery(DryRun { dry_run }): InQuery<DryRun>,
) -> Result<Json<DeletedGroupView>, Problem> {
    let refused = |cause| Problem::of_group(&group, cause);
    if dry_run {
        let told = state.groups().describe(&group).await.map_err(refused)?;
        if !told.members.is_empty() {
            return Err(refused(GroupsError::NotEmpty));
        }
    } else {
        state.groups().delete(&group).await.map_err(refused)?;
        info!(%group, "group deleted over http");
    }
    Ok(Json(DeletedGroupView { group, dry_run }))
}

fn page_view(page: GroupPage) -> GroupsView {
    let next = page.groups.last().filter(|_| !page.is_last).map(|last| last.group.clone());
    GroupsView { groups: page.groups.into_iter().map(summary).collect(), next, missing_partitions: page.missing }
}

fn summary(one: GroupSummary) -> GroupView {
    GroupView {
        group: one.group,
        state: one.state,
        protocol_type: one.protocol_type,
        member_count: one.members,
        committed_partition_count: one.committed_partitions,
        coordinator: one.coordinator,
    }
}

fn detail(group: String, told: GroupReport) -> GroupDetailView {
    let mut owners: BTreeMap<(&str, PartitionIndex), &str> = BTreeMap::new();
    for member in &told.members {
        let assigned = member.assignment.iter().flatten();
        let places = assigned.flat_map(|(topic, indexes)| indexes.iter().map(|index| (topic.as_str(), *index)));
        owners.extend(places.map(|place| (place, member.member.as_str())));
    }
    let lags = || told.offsets.iter().filter_map(|known| known.lag_records);
    GroupDetailView {
        group,
        state: told.state,
        protocol_type: told.protocol_type,
        protocol: Some(told.protocol).filter(|protocol| !protocol.is_empty()),
        coordinator: told.coordinator,
        lag_records_sum: lags().fold(0, u64::saturating_add),
        lag_records_max: lags().max().unwrap_or(0),
        lag_ms_max: told.offsets.iter().filter_map(|known| known.lag_ms).max().unwrap_or(0),
        offsets: told.offsets.iter().map(|known| offset(known, &owners)).collect(),
        members: told.members.iter().map(member).collect(),
    }
}

fn member(one: &MemberReport) -> MemberView {
    MemberView {
        member_id: one.member.clone(),
        instance_id: one.instance.clone(),
        client_id: one.client.clone(),
        host: one.host.clone(),
        assignment: one.assignment.as_ref().map(|assigned| assigned.iter().cloned().collect()),
    }
}

fn offset(known: &OffsetReport, owners: &BTreeMap<(&str, PartitionIndex), &str>) -> OffsetView {
    OffsetView {
        topic: known.topic.clone(),
        partition: known.partition,
        committed_offset: known.committed,
        committed_at_ms: known.committed_at,
        metadata: known.metadata.clone(),
        high_watermark: known.high_watermark,
        lag_records: known.lag_records,
        lag_ms: known.lag_ms,
        member_id: owners.get(&(known.topic.as_str(), known.partition)).map(|member| (*member).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn offset_of(partition: i32, lag: Option<(u64, u64)>) -> OffsetReport {
        OffsetReport {
            topic: "orders".to_owned(),
            partition: PartitionIndex::new(partition),
            committed: Offset::new(5),
            committed_at: Timestamp::new(1_000),
            metadata: "m".to_owned(),
            high_watermark: lag.map(|(records, _)| Offset::new(5).plus(i64::try_from(records).expect("few"))),
            lag_records: lag.map(|(records, _)| records),
            lag_ms: lag.map(|(_, ms)| ms),
        }
    }

    #[test]
    fn a_group_is_told_in_its_documented_shape() {
        let member = MemberReport {
            member: "c-1".to_owned(),
            instance: None,
            client: "c".to_owned(),
            host: "/10.0.0.7".to_owned(),
            assignment: Some(vec![("orders".to_owned(), vec![PartitionIndex::new(0)])]),
        };
        let told = GroupReport {
            state: "Stable".to_owned(),
            protocol_type: "consumer".to_owned(),
            protocol: "range".to_owned(),
            coordinator: NodeId::new(2),
            members: vec![member],
            offsets: vec![offset_of(0, Some((3, 1_500))), offset_of(1, Some((4, 20))), offset_of(2, None)],
        };
        let row = |partition: i32,
                   high: serde_json::Value,
                   lag: serde_json::Value,
                   ms: serde_json::Value,
                   member: Option<&str>| {
            json!({
                "topic": "orders", "partition": partition, "committed_offset": 5, "committed_at_ms": 1_000,
                "metadata": "m", "high_watermark": high, "lag_records": lag, "lag_ms": ms, "member_id": member,
            })
        };
        let expected = json!({
            "group": "g", "state": "Stable", "protocol_type": "consumer", "protocol": "range", "coordinator": 2,
            "members": [{
                "member_id": "c-1", "instance_id": null, "client_id": "c", "host": "/10.0.0.7",
                "assignment": { "orders": [0] },
            }],
            "offsets": [
                row(0, json!(8), json!(3), json!(1_500), Some("c-1")),
                row(1, json!(9), json!(4), json!(20), None),
                row(2, json!(null), json!(null), json!(null), None),
            ],
            "lag_records_sum": 7, "lag_records_max": 4, "lag_ms_max": 1_500,
        });
        assert_eq!(serde_json::to_value(detail("g".to_owned(), told)).expect("a view is JSON"), expected);
    }

    #[test]
    fn a_page_names_the_next_one_and_what_is_missing() {
        let group = GroupSummary {
            group: "g".to_owned(),
            state: "Empty".to_owned(),
            protocol_type: String::new(),
            members: 0,
            committed_partitions: 2,
            coordinator: NodeId::new(2),
        };
        let page = GroupPage { groups: vec![group], is_last: false, missing: vec![PartitionIndex::new(7)] };
        let expected = json!({
            "groups": [{
                "group": "g", "state": "Empty", "protocol_type": "", "member_count": 0,
                "committed_partition_count": 2, "coordinator": 2,
            }],
            "next": "g", "missing_partitions": [7],
        });
        assert_eq!(serde_json::to_value(page_view(page.clone())).expect("a view is JSON"), expected);
        assert_eq!(page_view(GroupPage { is_last: true, ..page }).next, None);
    }
}

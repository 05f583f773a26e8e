//! What this broker knows of the groups that it coordinates: their states, what they have committed, how far they lag.
//!
//! Set as a whole by whoever follows the groups, read at every scrape. Invariant: a scrape tells one sample; a group that is
//! not in the last one has no series.

use std::borrow::Cow;
use std::fmt::Error;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// All that is told of groups at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupsSample {
    /// How many groups are in each state.
    pub states: Vec<(&'static str, u64)>,
    /// The groups that have series of their own.
    pub groups: Vec<GroupSample>,
    /// Groups that have none, because there are too many or their name is too long.
    pub groups_left_out: u64,
    /// Partitions of groups that have none.
    pub partitions_left_out: u64,
    /// Partitions whose leader did not say how far it is.
    pub partitions_unmeasured: u64,
}

/// One group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupSample {
    /// `group.id`: whatever a client calls it.
    pub group: String,
    /// How many members it has.
    pub members: u64,
    /// What it has committed, and what of that is known.
    pub partitions: Vec<GroupPartitionSample>,
}

/// One partition of a group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupPartitionSample {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Where the group goes on.
    pub committed: i64,
    /// How many offsets it is behind; `None` when nobody knows.
    pub lag_records: Option<u64>,
    /// How old what it reads next is; `None` when nobody knows.
    pub lag_seconds: Option<f64>,
}

/// Handles for whoever follows groups.
#[derive(Clone, Debug, Default)]
pub struct GroupMetrics {
    /// Guards the last sample; held to put one in or to clone the pointer to it, never while anything is encoded.
    sample: Arc<Mutex<Arc<GroupsSample>>>,
}

impl GroupMetrics {
    /// Replaces all that was told before.
    pub fn set(&self, sample: GroupsSample) {
        *self.sample.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(sample);
    }

    /// What is told now.
    #[must_use]
    pub fn sample(&self) -> Arc<GroupsSample> {
        Arc::clone(&self.sample.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Names and values; derived label sets borrow nothing.
type Labels<'a, const N: usize> = [(&'static str, Cow<'a, str>); N];

fn of_group(group: &str) -> Labels<'_, 1> {
    [("group", Cow::Borrowed(group))]
}

fn of_partition<'a>(group: &'a str, known: &'a GroupPartitionSample) -> Labels<'a, 3> {
    let partition = Cow::Owned(known.partition.to_string());
    [("group", Cow::Borrowed(group)), ("topic", Cow::Borrowed(&known.topic)), ("partition", partition)]
}

/// Encodes the last sample.
#[derive(Debug)]
pub(super) struct GroupCollector(pub(super) GroupMetrics);

impl Collector for GroupCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let sample = self.0.sample();
        states(&mut encoder, &sample)?;
        groups(&mut encoder, &sample)?;
        partitions(&mut encoder, &sample)?;
        for (name, help, value) in [
            ("groups_left_out", "Groups coordinated here without series", sample.groups_left_out),
            ("group_lag_left_out_partitions", "Partitions of groups without series", sample.partitions_left_out),
            (
                "group_lag_unmeasured_partitions",
                "Partitions of groups whose leader did not answer in the last round",
                sample.partitions_unmeasured,
            ),
        ] {
            let gauge = ConstGauge::new(signed(value));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

fn states(encoder: &mut DescriptorEncoder<'_>, sample: &GroupsSample) -> Result<(), Error> {
    let rows = sample.states.iter().map(|(state, count)| ([("state", *state)], signed(*count)));
    family(encoder, "groups", "Groups coordinated by this broker, by state", None, rows)
}

fn groups(encoder: &mut DescriptorEncoder<'_>, sample: &GroupsSample) -> Result<(), Error> {
    let rows = || sample.groups.iter().map(|one| (of_group(&one.group), one));
    let members = rows().map(|(label, one)| (label, signed(one.members)));
    family(encoder, "group_members", "Members of a group", None, members)?;
    let sum = rows().map(|(label, one)| (label, signed(one.lags().fold(0, u64::saturating_add))));
    family(encoder, "group_lag_records_sum", "Records that a group has still to read", None, sum)?;
    let most = rows().map(|(label, one)| (label, signed(one.lags().max().unwrap_or(0))));
    family(encoder, "group_lag_records_max", "The same in the partition with the most", None, most)?;
    let oldest = rows().map(|(label, one)| (label, one.ages().fold(0.0, f64::max)));
    let help = "Seconds since the oldest record that a group has still to read was made";
    family(encoder, "group_lag_seconds_max", help, None, oldest)
}

fn partitions(encoder: &mut DescriptorEncoder<'_>, sample: &GroupsSample) -> Result<(), Error> {
    let rows = || {
        sample.groups.iter().flat_map(|GroupSample { group, partitions, .. }| {
            partitions.iter().map(move |known| (of_partition(group, known), known))
        })
    };
    let committed = rows().map(|(labels, known)| (labels, known.committed));
    family(encoder, "group_committed_offset", "Where a group goes on", None, committed)?;
    let records = rows().filter_map(|(labels, known)| Some((labels, signed(known.lag_records?))));
    family(encoder, "group_lag_records", "Records that a group has still to read", None, records)?;
    let seconds = rows().filter_map(|(labels, known)| Some((labels, known.lag_seconds?)));
    let help = "Since the next record that a group has to read was made; 0 when there is none";
    family(encoder, "group_lag", help, Some(&Unit::Seconds), seconds)
}

impl GroupSample {
    fn lags(&self) -> impl Iterator<Item = u64> {
        self.partitions.iter().filter_map(|known| known.lag_records)
    }

    fn ages(&self) -> impl Iterator<Item = f64> {
        self.partitions.iter().filter_map(|known| known.lag_seconds)
    }
}

/// One metric family; without a row it is left out.
fn family<L: EncodeLabelSet, N>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    rows: impl Iterator<Item = (L, N)>,
) -> Result<(), Error>
where
    ConstGauge<N>: EncodeMetric,
{
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    for (labels, value) in rows {
        ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    fn partition(topic: &str, partition: i32, lag: Option<(u64, f64)>) -> GroupPartitionSample {
        GroupPartitionSample {
            topic: topic.to_owned(),
            partition,
            committed: 5,
            lag_records: lag.map(|(records, _)| records),
            lag_seconds: lag.map(|(_, seconds)| seconds),
        }
    }

    #[test]
    fn a_group_is_told_by_partition_and_in_sum_and_goes_with_its_sample() {
        let metrics = Metrics::new();
        let partitions =
            vec![partition("t", 0, Some((3, 1.5))), partition("t", 1, Some((4, 0.0))), partition("u", 0, None)];
        let group = GroupSample { group: "a \"b\"\\\n{}".to_owned(), members: 2, partitions };
        metrics.groups.clone().set(GroupsSample {
            states: vec![("Stable", 1)],
            groups: vec![group],
            groups_left_out: 7,
            partitions_left_out: 8,
            partitions_unmeasured: 1,
        });
        let text = metrics.encode();
        let name = r#"group="a \"b\"\\\n{}""#;
        for line in [
            "ottla_groups{state=\"Stable\"} 1".to_owned(),
            format!("ottla_group_members{{{name}}} 2"),
            format!("ottla_group_lag_records_sum{{{name}}} 7"),
            format!("ottla_group_lag_records_max{{{name}}} 4"),
            format!("ottla_group_lag_seconds_max{{{name}}} 1.5"),
            format!("ottla_group_committed_offset{{{name},topic=\"u\",partition=\"0\"}} 5"),
            format!("ottla_group_lag_records{{{name},topic=\"t\",partition=\"1\"}} 4"),
            format!("ottla_group_lag_seconds{{{name},topic=\"t\",partition=\"0\"}} 1.5"),
            "ottla_groups_left_out 7".to_owned(),
            "ottla_group_lag_left_out_partitions 8".to_owned(),
            "ottla_group_lag_unmeasured_partitions 1".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
        }
        assert!(!text.contains("ottla_group_lag_records{group=\"a\",topic=\"u\""), "nobody knows it:\n{text}");
        metrics.groups.set(GroupsSample::default());
        assert!(!metrics.encode().contains("group=\""), "the group is gone");
    }
}

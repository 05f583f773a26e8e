//! The running broker: shards on threads, images followed, leaders fetched from, the controller hosted.
//!
//! `api` and `admin` call the façade in this file; `node` starts and stops it.
//! Invariant: parses no client request and names neither axum nor openraft; decides nothing that a machine decides.

mod beats;
mod brokers;
mod calls;
mod cluster;
pub(crate) mod controller;
mod controllers;
mod departed;
mod fetch_sessions;
pub(crate) mod fetcher;
mod flusher;
mod cleaner;
mod gauges;
mod groups;
mod inbox;
mod isr;
mod lag;
mod leaving;
mod lifecycle;
mod notices;
pub(crate) mod orders;
mod producer_ids;
pub(crate) mod proposals;
pub(crate) mod progress;
pub(crate) mod reach;
pub(crate) mod reads;
mod reconcile;
mod replies;
pub(crate) mod settings;
mod shards;
pub(crate) mod soundness;
pub(crate) mod standing;
mod start;
mod succession;
pub(crate) mod suspects;
mod upkeep;
mod vital;
mod vouching;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot, watch};

pub use crate::quorum::{Leadership, MemberState, QuorumDescription};
pub use beats::Beats;
pub use brokers::Brokers;
pub use cleaner::CleanerOptions;
pub use cluster::{AlteredConfigs, Cluster, CreatedTopics, DeletedTopics, GrownTopics};
pub use controller::{ControllerHandle, ControllerWorld, NotController};
pub use controllers::{Controllers, NoController, serve as serve_controller_request};
pub use fetch_sessions::{
    ClosedFetch, FetchSessions, OpenFetch, SessionError, SessionFetch, SessionPartition, SessionRequest, SessionTopic,
    Told,
};
pub use fetcher::{FetchOptions, REPLICA_CLIENT_ID};
pub use gauges::follow as follow_gauges;
pub use groups::{
    ClusterGroups, GroupPage, GroupReport, GroupSummary, GroupsError, GroupsTopic, GroupsTopicError, MemberReport,
    OffsetReport, PendingGroup, partition_of_group,
};
pub use lifecycle::BrokerLife;
pub use reads::{FetchPlan, Read, ReadOutcome};
pub use settings::topic_settings;
pub use start::{BrokerOptions, BrokerWorld, RunningBroker, StartError};

use crate::env::{Clock, Seed};
use crate::machines::controller::{AlterConfigs, CreatePartitions, CreateTopics, DeleteTopics};
use crate::machines::metadata::{Image, Listener};
use crate::machines::replication::{Acks, EpochEnd};
use crate::model::{
    BrokerEpoch, LeaderEpoch, NodeId, Now, PartitionId, ProducerId, TopicConfigs, TopicId, TopicSettings,
};
use crate::partition::{
    Acked, AppendRefusal, Event, FoundOffset, ListRefusal, OffsetAnswer, OffsetLookup, OffsetQuery, Reader, Reply,
};
use crate::records::Batch;
use crate::storage::DataDir;
use crate::telemetry::{BrokerMetrics, CleanerMetrics, GroupMetrics, PartitionMetrics, TransportMetrics};
use crate::threads;
use crate::transport::Liveness;
use progress::Progress;
use shards::Shards;

/// How much a batch that a look-up by timestamp unpacks may hold: a decompression bomb ends there.
const LOOKUP_BYTES_MAX: usize = 64 << 20;

/// The parts of the metrics that the broker counts in.
#[derive(Clone, Debug)]
pub struct MetricHandles {
    /// Leaders, replicas, elections.
    pub broker: BrokerMetrics,
    /// Appends, reads, flushes.
    pub partition: PartitionMetrics,
    /// Connections to leaders.
    pub transport: TransportMetrics,
    /// Compaction.
    pub cleaner: CleanerMetrics,
    /// Groups and their lag.
    pub groups: GroupMetrics,
}

/// The running broker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Broker {
    inner: Arc<Inner>,
}

/// What the tasks of a broker share. Everything in it is immutable or has its own single writer.
#[derive(Debug)]
pub(crate) struct Inner {
    node: NodeId,
    options: BrokerOptions,
    directory: Arc<DataDir>,
    /// The partitions found on disk at the start.
    found: Vec<PartitionId>,
    cluster: Cluster,
    shards: Arc<Shards>,
    controllers: Arc<Controllers>,
    images: watch::Receiver<Arc<Image>>,
    /// The last image whose orders have left; written by `reconcile`.
    reconciled: watch::Sender<Arc<Image>>,
    /// The epoch of this life's registration; written by `lifecycle`.
    epoch: watch::Sender<Option<BrokerEpoch>>,
    /// Written by `lifecycle`.
    life: watch::Sender<BrokerLife>,
    producer_ids: producer_ids::ProducerIdBlock,
    progress: Arc<Progress>,
    liveness: Arc<Liveness>,
    reach: reach::Reach,
    departed: departed::Departed,
    /// Who may wait for a disk to learn how old records are.
    lag_reads: Arc<Semaphore>,
    metrics: MetricHandles,
    clock: Arc<dyn Clock>,
}

impl Inner {
    fn image(&self) -> Arc<Image> {
        Arc::clone(&self.images.borrow())
    }

    fn broker_epoch(&self) -> Option<BrokerEpoch> {
        *self.epoch.borrow()
    }
}

/// Ends the process: what it holds can no longer be trusted, and others can take over (rule S11).
pub(crate) fn abort(why: &str) -> ! {
    threads::end_process(why);
}

/// What a produce waits for; resolved by the shard.
#[derive(Debug)]
pub struct PendingAppend {
    state: Pending,
    bytes: usize,
    metrics: PartitionMetrics,
}

#[derive(Debug)]
enum Pending {
    Waiting(oneshot::Receiver<Reply>),
    Refused(AppendRefusal),
}

impl PendingAppend {
    /// Waits until the append is as durable as asked, or has failed.
    ///
    /// # Errors
    /// Why it is refused, or what became of it.
    pub async fn outcome(self) -> Result<Acked, AppendRefusal> {
        let reply = match self.state {
            Pending::Waiting(reply) => reply,
            Pending::Refused(refusal) => return Err(refusal),
        };
        match reply.await {
            Ok(Reply::Append(outcome)) => {
                if outcome.is_ok() {
                    self.metrics.appended_batches.inc();
                    self.metrics.appended_bytes.inc_by(u64::try_from(self.bytes).unwrap_or(u64::MAX));
                }
                outcome
            }
            // The ticket was withdrawn: the shard has ended.
            Ok(_) | Err(_) => Err(AppendRefusal::NotLeader),
        }
    }
}

impl Broker {
    /// This node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    /// Its options.
    #[must_use]
    pub fn options(&self) -> &BrokerOptions {
        &self.inner.options
    }

    /// What this node knows of the cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Now {
        self.inner.clock.now()
    }

    /// Randomness for identifiers.
    #[must_use]
    pub fn seed(&self) -> &dyn Seed {
        &*self.inner.cluster.seed
    }

    /// The configuration in force for a topic.
    #[must_use]
    pub fn topic_settings(&self, image: &Image, topic: TopicId) -> TopicSettings {
        self.inner.cluster.topic_settings(image, topic)
    }

    /// What this node's own configuration sets of topic configurations.
    #[must_use]
    pub fn topic_defaults(&self) -> &TopicConfigs {
        &self.inner.cluster.defaults.topic
    }

    /// The cluster's metadata, as far as this broker's shards have their orders for it: whom it shows as the leader here
    /// leads here.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        Arc::clone(&self.inner.reconciled.borrow())
    }

    /// The epoch of this life's registration, once it is registered.
    #[must_use]
    pub fn epoch(&self) -> Option<BrokerEpoch> {
        self.inner.broker_epoch()
    }

    /// Whether this broker is unfenced, as it knows.
    #[must_use]
    pub fn life(&self) -> BrokerLife {
        *self.inner.life.borrow()
    }

    /// Whether a fenced broker is still to be named to clients.
    #[must_use]
    pub fn is_departing(&self, node: NodeId) -> bool {
        self.inner.departed.is_shown(node, self.now().instant)
    }

    /// Where a broker is reached on a listener.
    #[must_use]
    pub fn endpoint<'a>(&self, image: &'a Image, node: NodeId, listener: &str) -> Option<&'a Listener> {
        image.broker(node).filter(|broker| !broker.is_fenced())?.listener(listener)
    }

    /// Appends a checked batch. It is in the shard's inbox when this returns, so that two appends of one connection
    /// keep their order. A full inbox refuses it as busy; a broker that the controller may have given up refuses what
    /// only it would keep (rule R20).
    #[must_use]
    pub fn append(&self, partition: PartitionId, batch: Batch, acks: Acks, within: Duration) -> PendingAppend {
        let shards = &self.inner.shards;
        let now = self.now().instant;
        if acks != Acks::All && !self.inner.progress.has_session(now) {
            let state = Pending::Refused(AppendRefusal::NotLeader);
            return PendingAppend { state, bytes: 0, metrics: self.inner.metrics.partition.clone() };
        }
        let deadline = now.plus(within);
        let size = batch.size();
        let reply = shards.ask(shards.owner(partition), |ticket| Event::Append {
            ticket,
            partition,
            leader_epoch: None,
            batch,
            acks,
            deadline,
        });
        let state = reply.map_or(Pending::Refused(AppendRefusal::Busy), Pending::Waiting);
        PendingAppend { state, bytes: size, metrics: self.inner.metrics.partition.clone() }
    }

    /// ListOffsets for one partition.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn list_offset(
        &self,
        partition: PartitionId,
        leader_epoch: Option<LeaderEpoch>,
        reader: Reader,
        query: OffsetQuery,
    ) -> Result<Option<FoundOffset>, ListRefusal> {
        let event = |ticket| Event::ListOffset { ticket, partition, leader_epoch, reader, query };
        match self.ask_owner(partition, event).await {
            Some(Reply::ListOffset(Ok(OffsetAnswer::Found(found)))) => Ok(found),
            Some(Reply::ListOffset(Ok(OffsetAnswer::Look(lookup)))) => self.look_up(partition, lookup).await,
            Some(Reply::ListOffset(Err(refusal))) => Err(refusal),
            Some(_) | None => Err(ListRefusal::NotLeader),
        }
    }

    /// Looks into a batch on a thread that may wait for the disk.
    async fn look_up(&self, partition: PartitionId, lookup: OffsetLookup) -> Result<Option<FoundOffset>, ListRefusal> {
        let doubt = lookup.doubt(partition);
        match threads::blocking(move || lookup.resolve(LOOKUP_BYTES_MAX)).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(cause)) => {
                tracing::warn!(%partition, %cause, "a batch cannot be looked into");
                self.inner.shards.tell(partition, doubt);
                Err(ListRefusal::Offline)
            }
            Err(_) => Err(ListRefusal::Offline),
        }
    }

    /// OffsetForLeaderEpoch for one partition.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn epoch_end(
        &self,
        partition: PartitionId,
        leader_epoch: Option<LeaderEpoch>,
        epoch: LeaderEpoch,
    ) -> Result<Option<EpochEnd>, ListRefusal> {
        let event = |ticket| Event::EpochEnd { ticket, partition, leader_epoch, epoch };
        match self.ask_owner(partition, event).await {
            Some(Reply::EpochEnd(outcome)) => outcome,
            Some(_) | None => Err(ListRefusal::NotLeader),
        }
    }

    async fn ask_owner(
        &self,
        partition: PartitionId,
        event: impl FnOnce(crate::machines::replication::Ticket) -> Event,
    ) -> Option<Reply> {
        let shards = &self.inner.shards;
        shards.ask(shards.owner(partition), event).ok()?.await.ok()
    }

    /// Creates topics; each is made or refused by itself. Returns when this broker shows what was made.
    ///
    /// # Errors
    /// When no controller answers in time.
    pub async fn create_topics(&self, request: CreateTopics, within: Duration) -> Result<CreatedTopics, NoController> {
        let made = self.inner.cluster.create_topics(request, within).await?;
        self.show_applied(within).await;
        Ok(made)
    }

    /// Deletes topics. Returns when this broker shows it.
    ///
    /// # Errors
    /// When no controller answers in time.
    pub async fn delete_topics(&self, request: DeleteTopics, within: Duration) -> Result<DeletedTopics, NoController> {
        let gone = self.inner.cluster.delete_topics(request, within).await?;
        self.show_applied(within).await;
        Ok(gone)
    }

    /// Adds partitions to topics; each grows or is refused by itself. Returns when this broker shows what was made.
    ///
    /// # Errors
    /// When no controller answers in time.
    pub async fn create_partitions(
        &self,
        request: CreatePartitions,
        within: Duration,
    ) -> Result<GrownTopics, NoController> {
        let grown = self.inner.cluster.create_partitions(request, within).await?;
        self.show_applied(within).await;
        Ok(grown)
    }

    /// Alters configurations; each resource is changed or refused by itself. Returns when this broker shows it.
    ///
    /// # Errors
    /// When no controller answers in time.
    pub async fn alter_configs(&self, request: AlterConfigs, within: Duration) -> Result<AlteredConfigs, NoController> {
        let altered = self.inner.cluster.alter_configs(request, within).await?;
        self.show_applied(within).await;
        Ok(altered)
    }

    /// Waits until `image` shows all that this node has applied.
    async fn show_applied(&self, within: Duration) {
        let applied = self.inner.image().last_applied();
        let mut reconciled = self.inner.reconciled.subscribe();
        // A broker that is not registered reconciles nothing: its image stays as it is.
        let _ = tokio::time::timeout(within, reconciled.wait_for(|image| image.last_applied() >= applied)).await;
    }

    /// A producer id that nobody else has.
    ///
    /// # Errors
    /// When no controller gives a block.
    pub async fn next_producer_id(&self) -> Result<ProducerId, NoController> {
        self.inner.producer_ids.next(&self.inner).await
    }
}

//! Hands what the shards report to whom it concerns.
//!
//! Invariant: one task, so that the fetchers' table has one writer, and notices of one partition keep their order.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Inner;
use super::fetcher::Fetchers;
use super::shards::Notice;
use super::suspects::Recovered;
use crate::partition::{FollowersAsked, PartitionProposal};

/// Where notices go, but for the fetchers, which are here.
#[derive(Debug)]
pub(super) struct Ways {
    /// To the controller.
    pub(super) proposals: mpsc::UnboundedSender<PartitionProposal>,
    /// To the start of this broker's life.
    pub(super) recovered: mpsc::UnboundedSender<Recovered>,
    /// To other brokers.
    pub(super) asked: mpsc::UnboundedSender<FollowersAsked>,
}

/// Routes until the shards are gone.
pub(super) async fn route(inner: Arc<Inner>, mut notices: mpsc::UnboundedReceiver<Notice>, ways: Ways) {
    let Ways { proposals, recovered, asked } = ways;
    let mut fetchers = Fetchers::new(inner);
    while let Some(notice) = notices.recv().await {
        // The receivers go only while the broker stops; then nothing needs to arrive.
        match notice {
            Notice::FetchFrom(position) => fetchers.fetch_from(position),
            Notice::StopFetching(partition) => fetchers.stop(partition),
            Notice::ProposeIsr(proposal) => _ = proposals.send(proposal),
            Notice::AskFollowers(followers) => _ = asked.send(followers),
            Notice::Opened(opened) => _ = recovered.send(Recovered::Opened(opened)),
            Notice::Broken(broken) => _ = recovered.send(Recovered::Broken(broken)),
        }
    }
}

//! Hands what the shards report to whom it concerns.
//!
//! Invariant: one task, so that the fetchers' table has one writer, and notices of one partition keep their order.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Inner;
use super::fetcher::Fetchers;
use super::shards::Notice;
use super::suspects::Recovered;
use crate::partition::PartitionProposal;

/// Routes until the shards are gone.
pub(super) async fn route(
    inner: Arc<Inner>,
    mut notices: mpsc::UnboundedReceiver<Notice>,
    proposals: mpsc::UnboundedSender<PartitionProposal>,
    recovered: mpsc::UnboundedSender<Recovered>,
) {
    let mut fetchers = Fetchers::new(inner);
    while let Some(notice) = notices.recv().await {
        // The receivers go only while the broker stops; then nothing needs to arrive.
        match notice {
            Notice::FetchFrom(position) => fetchers.fetch_from(position),
            Notice::StopFetching(partition) => fetchers.stop(partition),
            Notice::ProposeIsr(proposal) => _ = proposals.send(proposal),
            Notice::Opened(opened) => _ = recovered.send(Recovered::Opened(opened)),
            Notice::Broken(broken) => _ = recovered.send(Recovered::Broken(broken)),
        }
    }
}

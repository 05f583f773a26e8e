//! The way from any node to the brokers, for questions about groups and of leaders to their followers.
//!
//! Called by the façade, by the round that follows groups and by `vouching`; the other end is `Broker::answer_broker`.
//! Invariant: a question changes nothing that its repetition would change again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing::debug;

use super::calls;
use super::groups::question::{Answer, Question};
use crate::machines::metadata::Image;
use crate::model::NodeId;
use crate::transport::{HostPort, Peers, Service};

/// Knows where brokers are asked.
#[derive(Debug)]
pub struct Brokers {
    /// The listener that nodes use among themselves.
    listener: String,
    peers: Arc<Peers>,
}

impl Brokers {
    /// `listener` is the name of the one that nodes use among themselves.
    #[must_use]
    pub fn new(listener: String, peers: Arc<Peers>) -> Self {
        Self { listener, peers }
    }

    /// What another broker answers; `None` when it does not.
    pub(super) async fn ask(
        &self,
        image: &Image,
        node: NodeId,
        question: &Question,
        within: Duration,
    ) -> Option<Answer> {
        let answer = self.call(image, node, calls::pack_group_question(question)?, within).await?;
        calls::unpack_group_answer(&answer)
    }

    /// What another broker answers to a packed question of any kind; `None` when it does not.
    pub(super) async fn call(&self, image: &Image, node: NodeId, question: Bytes, within: Duration) -> Option<Bytes> {
        let listener = image.broker(node)?.listener(&self.listener)?;
        let address = HostPort::new(listener.host.clone(), listener.port);
        match self.peers.call(node, &address, Service::BROKER, question, within).await {
            Ok(answer) => Some(answer),
            Err(cause) => {
                debug!(%node, %cause, "a broker did not answer");
                None
            }
        }
    }
}

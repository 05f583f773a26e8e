//! A client that does what a scenario orders, one thing at a time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ottla::threads;
use tokio::time::sleep;

use crate::client::{Client, TOPIC};
use crate::workload::Shared;

/// Between two looks whether there is an order.
const LOOK: Duration = Duration::from_millis(5);

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Make a topic of one partition, by this node or anyone.
    Create { name: String, node: Option<i32>, within: Duration },
    /// Delete it.
    Delete { name: String },
    /// Write a few values to its partition.
    Write { name: String },
    /// Send a few values to its partition, and wait no longer than this.
    Try { name: String, within: Duration },
    /// Ask this node whether it knows a topic.
    Look { name: String, node: i32 },
    /// Ask this node for the brokers that are counted in.
    Brokers { node: i32 },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Done,
    /// These values are acknowledged.
    Wrote(Vec<u64>),
    /// Whether the node knows the topic.
    Knows(bool),
    Counts(Vec<i32>),
    Failed(String),
}

/// Where orders and answers lie.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub(crate) order: Option<Order>,
    pub(crate) answer: Option<Answer>,
    next: u64,
}

pub(crate) type SharedDesk = Rc<RefCell<Desk>>;

/// Serves the desk until the healing.
pub(crate) async fn serve(desk: SharedDesk, board: Shared, seed: u64) -> turmoil::Result {
    threads::name_host("desk");
    while board.borrow().healed_at.is_none() {
        let order = desk.borrow_mut().order.take();
        match order {
            Some(order) => {
                let outcome = carry_out(&desk, order, seed).await;
                desk.borrow_mut().answer = Some(outcome.unwrap_or_else(Answer::Failed));
            }
            None => sleep(LOOK).await,
        }
    }
    Ok(())
}

async fn carry_out(desk: &SharedDesk, order: Order, seed: u64) -> Result<Answer, String> {
    match order {
        Order::Create { name, node, within } => {
            Client::of(&name, seed).create_topic(node, 1, within).await.map(|()| Answer::Done)
        }
        Order::Delete { name } => Client::of(&name, seed).delete_topic().await.map(|()| Answer::Done),
        Order::Write { name } => {
            let next = desk.borrow().next;
            desk.borrow_mut().next += 3;
            let values: Vec<u64> = (next..next + 3).collect();
            Client::of(&name, seed).produce(0, &values).await.map(|_| Answer::Wrote(values))
        }
        Order::Try { name, within } => {
            let mut client = Client::of(&name, seed);
            let sending = client.produce(0, &[u64::MAX]);
            // Nobody wants to know what came of it.
            let _ = tokio::time::timeout(within, sending).await;
            Ok(Answer::Done)
        }
        Order::Look { name, node } => {
            let metadata = Client::of(&name, seed).metadata(node).await?;
            let mut topics = metadata.topics.iter().filter(|topic| topic.name.as_deref() == Some(&name));
            Ok(Answer::Knows(topics.any(|topic| !topic.partitions.is_empty())))
        }
        Order::Brokers { node } => {
            let metadata = Client::of(TOPIC, seed).metadata(node).await?;
            Ok(Answer::Counts(metadata.brokers.iter().map(|broker| broker.node_id).collect()))
        }
    }
}

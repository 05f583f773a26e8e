//! A client that does what a scenario orders, one thing at a time.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use ottla::model::Offset;
use ottla::threads;
use ottla::verify::history::ClientId;
use tokio::time::sleep;

use crate::board::Shared;
use crate::client::{Client, TOPIC, Trouble};

/// Between two looks whether there is an order.
const LOOK: Duration = Duration::from_millis(5);

/// The desk's number among the clients.
const DESK: u32 = 20;
/// How many values it writes at once.
const VALUES: u32 = 3;

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
    /// Ask this node for the brokers that are counted in.
    Brokers { node: i32 },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Done,
    /// It is acknowledged at these offsets.
    Wrote(Range<Offset>),
    Counts(Vec<i32>),
    Failed(String),
}

/// Where orders and answers lie.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub(crate) order: Option<Order>,
    pub(crate) answer: Option<Answer>,
}

pub(crate) type SharedDesk = Rc<RefCell<Desk>>;

/// Serves the desk until the healing.
pub(crate) async fn serve(desk: SharedDesk, board: Shared, seed: u64) -> turmoil::Result {
    threads::name_host("desk");
    while board.borrow().healed_at.is_none() {
        let order = desk.borrow_mut().order.take();
        match order {
            Some(order) => {
                let outcome = carry_out(&board, order, seed).await;
                desk.borrow_mut().answer = Some(outcome.unwrap_or_else(|trouble| Answer::Failed(trouble.to_string())));
            }
            None => sleep(LOOK).await,
        }
    }
    Ok(())
}

async fn carry_out(board: &Shared, order: Order, seed: u64) -> Result<Answer, Trouble> {
    let client = |name: &str| Client::of(board, DESK, name, seed);
    match order {
        Order::Create { name, node, within } => {
            client(&name).create_topic(node, 1, within).await.map(|()| Answer::Done)
        }
        Order::Delete { name } => client(&name).delete_topic().await.map(|()| Answer::Done),
        Order::Write { name } => client(&name).produce(0, u64::from(VALUES)).await.map(wrote),
        Order::Try { name, within } => {
            let mut client = client(&name);
            // What came of it is written down, or that nobody waits any more.
            let _ = tokio::time::timeout(within, client.produce(0, 1)).await;
            board.borrow_mut().gave_up(ClientId(DESK));
            Ok(Answer::Done)
        }
        Order::Brokers { node } => {
            let metadata = client(TOPIC).metadata(node).await?;
            Ok(Answer::Counts(metadata.brokers.iter().map(|broker| broker.node_id).collect()))
        }
    }
}

fn wrote(base: Offset) -> Answer {
    Answer::Wrote(base..base.plus(i64::from(VALUES)))
}

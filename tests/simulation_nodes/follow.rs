//! What a node's member of the quorum says, written down for the judge.
//!
//! Invariant: changes nothing in the node, and ends with its host.

use std::sync::Arc;

use ottla::machines::metadata::Image;
use ottla::model::{LogIndex, Timestamp};
use ottla::quorum::Leadership;
use ottla::testing::evidence;
use ottla::verify::history::NodeEventKind;
use tokio::sync::watch::Receiver;

use crate::board::Shared;
use crate::world::elapsed;

/// Writes down which image a node holds, and when it acts as controller.
pub(crate) async fn follow(
    board: &Shared,
    node: i32,
    mut images: Receiver<Arc<Image>>,
    mut leadership: Receiver<Leadership>,
) {
    images.mark_changed();
    leadership.mark_changed();
    loop {
        tokio::select! {
            biased;
            Ok(()) = images.changed() => {
                let image = images.borrow_and_update().clone();
                let index = image.last_applied();
                if index > LogIndex::new(0) {
                    note(board, node, NodeEventKind::Applied { index, digest: digest(&image) });
                }
            }
            Ok(()) = leadership.changed() => {
                let said = *leadership.borrow_and_update();
                if said.active {
                    note(board, node, NodeEventKind::Controls { term: said.term });
                }
            }
            // It has stopped, and says no more.
            else => std::future::pending().await,
        }
    }
}

fn note(board: &Shared, node: i32, what: NodeEventKind) {
    board.borrow_mut().note(elapsed(), node, what);
}

/// A number for what an image is; equal ones print alike.
fn digest(image: &Image) -> u64 {
    evidence::digest(format!("{image:?}").as_bytes(), Timestamp::NONE)
}

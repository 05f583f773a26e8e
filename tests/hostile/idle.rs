//! Clients that connect and do nothing: however many, they leave descriptors for files (rule S16).

use std::net::Ipv4Addr;

use ottla::protocol::ErrorCode;
use tokio::net::TcpStream;

use crate::node::Node;
use crate::unread::store;
use crate::wire::Client;

const DESCRIPTORS: u32 = 512;
const CLIENTS: u32 = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_clients_leave_descriptors_for_files() {
    let node = Node::start_with_descriptors(DESCRIPTORS).await;
    let mut good = Client::connect(Ipv4Addr::LOCALHOST, node.port).await.expect("the node listens");
    let mut idle = Vec::new();
    for _ in 0..CLIENTS {
        // Those above the limit are closed at once, which is their affair.
        idle.extend(TcpStream::connect((Ipv4Addr::LOCALHOST, node.port)).await);
    }
    let request = crate::live::standing_topics();
    let made = good.call(7, &request).await.expect("an answer");
    assert!(made.topics.iter().all(|topic| topic.error_code == ErrorCode::None), "{made:?}");
    store(&mut good, 1).await;
    assert!(node.is_alive());
}

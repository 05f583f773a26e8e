//! What voters see of brokers, over loopback sockets.

use std::sync::atomic::{AtomicU64, Ordering};

use super::wire::Message;
use super::*;
use crate::env::SystemClock;
use crate::transport::peer_frame::{Preface, Service, Welcome};
use crate::transport::{Dialer, Socket};

const WITHIN: Duration = Duration::from_secs(20);
const VOTER: NodeId = NodeId::new(1);
const BROKER: NodeId = NodeId::new(4);

/// Says how often it was asked.
#[derive(Default)]
struct Counted(AtomicU64);

impl BeatSource for Counted {
    fn beat(&self) -> Bytes {
        Bytes::from(self.0.fetch_add(1, Ordering::SeqCst).to_string())
    }
}

fn start(node: NodeId, port: u16) -> (Liveness, VoterEvents, HostPort) {
    let listener = Listener::bind(&HostPort::new("127.0.0.1", port), 128).expect("a free port");
    let address = HostPort::new("127.0.0.1", listener.address().port());
    let options = LivenessOptions {
        interval: Duration::from_millis(10),
        silence_max: Duration::from_secs(10),
        connect_timeout: WITHIN,
        node,
    };
    let (clock, metrics) = (Arc::new(SystemClock::new()), TransportMetrics::unregistered());
    let started = Liveness::start(options, listener, Vec::new(), Arc::new(Counted::default()), clock, metrics);
    let (liveness, events) = started.expect("a thread");
    (liveness, events, address)
}

fn hello(boot: u64, epoch: Option<i64>) -> Hello {
    Hello { node: BROKER, boot: BootNumber::new(boot), broker_epoch: epoch.map(BrokerEpoch::new) }
}

async fn next(events: &mut VoterEvents) -> LivenessEvent {
    tokio::time::timeout(WITHIN, events.next()).await.expect("something happens").expect("liveness runs")
}

/// The next event that is no beat.
async fn next_change(events: &mut VoterEvents) -> LivenessEvent {
    loop {
        let event = next(events).await;
        if !matches!(event, LivenessEvent::Beat { .. }) {
            return event;
        }
    }
}

async fn expect_opened(events: &mut VoterEvents, wanted: Hello) {
    match next_change(events).await {
        LivenessEvent::Opened { hello, .. } => assert_eq!(hello, wanted),
        other @ (LivenessEvent::Beat { .. } | LivenessEvent::Closed { .. }) => panic!("{other:?}"),
    }
}

async fn expect_closed(events: &mut VoterEvents, boot: u64, wanted: CloseReason) {
    match next_change(events).await {
        LivenessEvent::Closed { node, boot: ended, reason, .. } => {
            assert_eq!((node, ended.get(), reason), (BROKER, boot, wanted));
        }
        other @ (LivenessEvent::Beat { .. } | LivenessEvent::Opened { .. }) => panic!("{other:?}"),
    }
}

/// A broker made by hand, to end as no well-behaved one does.
async fn raw_broker(address: &HostPort, hello: Hello) -> Socket {
    let mut socket = Dialer::new(address.clone()).dial(WITHIN).await.expect("the voter listens");
    let preface = Preface { service: Service::LIVENESS, from: hello.node, to: VOTER };
    preface.send(&mut socket).await.expect("sent");
    Welcome::receive(&mut socket).await.expect("greeted");
    let chunks = Message::Hello(hello).chunks();
    let mut frame = u32::try_from(chunks.concat().len()).expect("small").to_be_bytes().to_vec();
    frame.extend(chunks.concat());
    tokio::io::AsyncWriteExt::write_all(socket.stream_mut(), &frame).await.expect("sent");
    socket
}

#[tokio::test]
async fn a_broker_is_seen_by_every_voter_and_beats() {
    let (_one, mut seen_by_one, first) = start(VOTER, 0);
    let (_two, mut seen_by_two, second) = start(NodeId::new(2), 0);
    let (broker, _events, _) = start(BROKER, 0);
    broker.set_voters(vec![(VOTER, first), (NodeId::new(2), second)]);
    broker.set_hello(hello(7, None));
    for events in [&mut seen_by_one, &mut seen_by_two] {
        expect_opened(events, hello(7, None)).await;
        let LivenessEvent::Beat { node, boot, payload, at } = next(events).await else { panic!("beats follow") };
        assert_eq!((node, boot.get()), (BROKER, 7));
        let LivenessEvent::Beat { payload: later_payload, at: later, .. } = next(events).await else {
            panic!("beats follow")
        };
        assert!(later >= at && later_payload != payload);
    }
    broker.set_hello(hello(7, Some(42)));
    expect_opened(&mut seen_by_one, hello(7, Some(42))).await;
    expect_opened(&mut seen_by_two, hello(7, Some(42))).await;
    broker.stop();
    expect_closed(&mut seen_by_one, 7, CloseReason::Stopping).await;
    expect_closed(&mut seen_by_two, 7, CloseReason::Stopping).await;
}

#[tokio::test]
async fn a_process_that_dies_is_noticed_at_once() {
    let (_voter, mut events, address) = start(VOTER, 0);
    let socket = raw_broker(&address, hello(3, Some(9))).await;
    expect_opened(&mut events, hello(3, Some(9))).await;
    drop(socket);
    expect_closed(&mut events, 3, CloseReason::Ended).await;
}

#[tokio::test]
async fn what_an_earlier_start_says_late_is_dropped() {
    let (_voter, mut events, address) = start(VOTER, 0);
    let _newer = raw_broker(&address, hello(8, None)).await;
    expect_opened(&mut events, hello(8, None)).await;
    drop(raw_broker(&address, hello(7, None)).await);
    let other = Hello { node: NodeId::new(5), ..hello(1, None) };
    let _other = raw_broker(&address, other).await;
    // Had the earlier start been heard, its event would come first.
    expect_opened(&mut events, other).await;
}

#[tokio::test]
async fn the_end_of_a_replaced_connection_is_no_death() {
    let (_voter, mut events, address) = start(VOTER, 0);
    let old = raw_broker(&address, hello(3, None)).await;
    expect_opened(&mut events, hello(3, None)).await;
    let _new = raw_broker(&address, hello(3, None)).await;
    expect_opened(&mut events, hello(3, None)).await;
    drop(old);
    expect_closed(&mut events, 3, CloseReason::Replaced).await;
}

#[tokio::test]
async fn a_voter_that_comes_back_is_found_again() {
    let (voter, mut events, address) = start(VOTER, 0);
    let (broker, _events, _) = start(BROKER, 0);
    broker.set_voters(vec![(VOTER, address.clone())]);
    broker.set_hello(hello(2, Some(1)));
    expect_opened(&mut events, hello(2, Some(1))).await;
    // The voter's own end is no news about the broker (rule S16).
    voter.stop();
    loop {
        match tokio::time::timeout(WITHIN, events.next()).await.expect("it ends") {
            Some(LivenessEvent::Beat { .. }) => {}
            Some(event) => panic!("{event:?}"),
            None => break,
        }
    }
    let (_again, mut events, _) = start(VOTER, address.port);
    expect_opened(&mut events, hello(2, Some(1))).await;
}

#[tokio::test]
async fn a_broker_leaves_voters_that_it_is_no_longer_told_of() {
    let (_voter, mut events, address) = start(VOTER, 0);
    let (broker, _events, _) = start(BROKER, 0);
    broker.set_voters(vec![(VOTER, address)]);
    broker.set_hello(hello(2, None));
    expect_opened(&mut events, hello(2, None)).await;
    broker.set_voters(Vec::new());
    expect_closed(&mut events, 2, CloseReason::Ended).await;
}

#[tokio::test]
async fn a_probe_tells_a_dead_process_from_a_live_one() {
    let listener = Listener::bind(&HostPort::new("127.0.0.1", 0), 8).expect("a free port");
    let address = listener.address();
    assert_eq!(probe(address, WITHIN).await, Probe::Accepted);
    drop(listener);
    assert_eq!(probe(address, WITHIN).await, Probe::Refused);
}

#[tokio::test]
async fn a_probe_that_this_process_cannot_make_blames_nobody() {
    // The kernel lets no stream go to everybody: as with a lack of descriptors, nothing leaves this machine.
    let everybody = SocketAddr::from(([255, 255, 255, 255], 9));
    assert_eq!(probe(everybody, WITHIN).await, Probe::Unable);
}

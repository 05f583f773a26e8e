//! The broker's side: a connection to every voter, with a hello and beats.
//!
//! Invariant: one task for each voter; a voter that is slow, silent or gone delays no other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::model::NodeId;
use crate::transport::HostPort;
use crate::transport::budget::Share;
use crate::transport::connection::stopped;
use crate::transport::peer_frame::{Preface, Service, Verdict, Welcome};
use crate::transport::receive::FrameReader;
use crate::transport::send::FrameWriter;
use crate::transport::socket::{Dialer, Socket};
use crate::transport::throttled_log::OncePerMinute;

use super::wire::{BEAT_BYTES_MAX, FRAME_BYTES_MAX, Message, acknowledged};
use super::{BeatSource, Hello, LivenessOptions};

/// The pause between dials, from the first to the longest. Short, because the grace of a broker that cannot be reached is 150 ms.
const REDIAL_PAUSE_MIN: Duration = Duration::from_millis(20);
const REDIAL_PAUSE_MAX: Duration = Duration::from_millis(250);
/// How long a voter may take to greet.
const WELCOME_WAIT: Duration = Duration::from_millis(500);
/// How long a farewell may take to leave.
const FAREWELL_WAIT: Duration = Duration::from_millis(100);

/// What every voter is told.
#[derive(Clone)]
pub(super) struct Beats {
    pub(super) options: LivenessOptions,
    pub(super) source: Arc<dyn BeatSource>,
    pub(super) hello: watch::Receiver<Option<Hello>>,
    pub(super) stop: watch::Receiver<bool>,
}

/// Holds the connections that `voters` asks for, until told to stop.
pub(super) async fn run(mut beats: Beats, mut voters: watch::Receiver<Vec<(NodeId, HostPort)>>) {
    let mut tasks = JoinSet::new();
    let mut held = BTreeMap::new();
    loop {
        let wanted = voters.borrow_and_update().clone();
        held.retain(|voter, task: &mut tokio::task::AbortHandle| {
            let stays = wanted.contains(voter);
            if !stays {
                task.abort();
            }
            stays
        });
        for (node, address) in wanted {
            let beats = &beats;
            held.entry((node, address)).or_insert_with_key(|(node, address)| {
                tasks.spawn(hold(beats.clone(), *node, Dialer::new(address.clone())))
            });
        }
        tokio::select! {
            () = stopped(&mut beats.stop) => break,
            Ok(()) = voters.changed() => {}
            Some(_) = tasks.join_next() => {}
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Keeps up the connection to one voter.
async fn hold(mut beats: Beats, voter: NodeId, mut dialer: Dialer) {
    let mut stop = beats.stop.clone();
    let mut pause = REDIAL_PAUSE_MIN;
    let warnings = OncePerMinute::default();
    while !*stop.borrow() {
        let connected = tokio::select! {
            () = stopped(&mut stop) => return,
            connected = connect(&mut beats, voter, &mut dialer, &warnings) => connected,
        };
        if let Some((socket, hello)) = connected {
            let start = Instant::now();
            let why = beat(&mut beats, socket, hello).await;
            tracing::debug!(%voter, why, "liveness connection ended");
            if start.elapsed() > REDIAL_PAUSE_MAX {
                pause = REDIAL_PAUSE_MIN;
            }
        }
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = sleep(pause) => pause = (pause * 2).min(REDIAL_PAUSE_MAX),
        }
    }
}

async fn connect(
    beats: &mut Beats,
    voter: NodeId,
    dialer: &mut Dialer,
    warnings: &OncePerMinute,
) -> Option<(Socket, Hello)> {
    let hello = (*beats.hello.wait_for(Option::is_some).await.ok()?)?;
    let mut socket = dialer.dial(beats.options.connect_timeout).await.ok()?;
    socket.tune(beats.options.silence_max).ok()?;
    let greeting = async {
        Preface { service: Service::LIVENESS, from: beats.options.node, to: voter }.send(&mut socket).await?;
        Welcome::receive(&mut socket).await
    };
    let welcome = timeout(WELCOME_WAIT, greeting).await.ok()?.ok()?;
    if welcome.verdict == Verdict::Accepted {
        return Some((socket, hello));
    }
    if let Some(suppressed) = warnings.permit(Instant::now()) {
        let (address, found) = (dialer.target(), welcome.node);
        tracing::warn!(%voter, %found, %address, suppressed, "another node answers at a voter's address");
    }
    None
}

/// Says hello and beats until the connection ends; tells why it did.
async fn beat(beats: &mut Beats, socket: Socket, hello: Hello) -> &'static str {
    let (reader, writer) = socket.split();
    let mut reader = FrameReader::new(reader, FRAME_BYTES_MAX);
    let mut writer = FrameWriter::new(writer, beats.options.silence_max);
    writer.push(Message::Hello(hello).chunks());
    let mut share = Share::unbudgeted();
    let mut stop = beats.stop.clone();
    let mut ticks = interval(beats.options.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    let mut next_id = 0;
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => {
                farewell(&mut writer, false).await;
                return "stopping";
            }
            sent = writer.flush(), if !writer.is_empty() => {
                if sent.is_err() {
                    return "cannot send";
                }
            }
            frame = reader.frame(&mut share) => {
                if frame.ok().and_then(acknowledged).is_none() {
                    return "the voter closed";
                }
                heard = Instant::now();
            }
            _ = ticks.tick() => {
                if heard.elapsed() > beats.options.silence_max {
                    farewell(&mut writer, true).await;
                    return "the voter is silent";
                }
                // While the last beat has not left, a further one would only be older when it does.
                if writer.is_empty() {
                    let payload = beats.source.beat();
                    assert!(payload.len() <= BEAT_BYTES_MAX, "a beat is small");
                    writer.push(Message::Beat { id: next_id, payload }.chunks());
                    next_id += 1;
                }
            }
            Ok(()) = beats.hello.changed() => {
                let hello = *beats.hello.borrow_and_update();
                if let Some(hello) = hello {
                    writer.push(Message::Hello(hello).chunks());
                }
            }
        }
    }
}

async fn farewell(writer: &mut FrameWriter, redials: bool) {
    writer.push(Message::Farewell { redials }.chunks());
    // The connection closes in any case; without the farewell the voter finds out by dialling.
    let _ = timeout(FAREWELL_WAIT, writer.flush()).await;
}

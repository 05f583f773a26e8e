//! A client's connection that speaks Kafka's framing: requests out, responses in, in order.
//!
//! Called by the broker's fetchers and by `client`. Whoever calls encodes the request's header with the correlation id
//! that it is given; this file checks that the response carries the same one. Invariant: after an error, or a call
//! that was dropped half way, the connection is broken and says so; it never gives one request's response to another.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use crate::telemetry::TransportMetrics;

use super::budget::Share;
use super::receive::{FrameReader, LENGTH_BYTES, ReceiveError};
use super::send::{FrameWriter, SendError};
use super::socket::{DialError, Dialer};

/// The bounds of a client connection.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Name lookup and connecting together.
    pub connect_timeout: Duration,
    /// The largest response that is accepted.
    pub response_bytes_max: usize,
    /// Without the server reading what we send, and without its kernel acknowledging it.
    pub stall_deadline: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            response_bytes_max: 128 * 1024 * 1024,
            stall_deadline: Duration::from_secs(10),
        }
    }
}

/// Why a request has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The server closed the connection, or the network did.
    #[error("connection closed")]
    Closed,
    /// No response in time.
    #[error("no response in time")]
    TimedOut,
    /// The server sent what is no response to us.
    #[error("a response of no acceptable length, or to another request")]
    Malformed,
    /// An earlier request on this connection failed.
    #[error("the connection is broken since an earlier request")]
    Broken,
}

/// One connection. One request at a time by `call`; more by its two halves.
#[derive(Debug)]
pub struct ClientConnection {
    sender: RequestSender,
    receiver: ResponseReceiver,
    is_broken: bool,
}

impl ClientConnection {
    /// Dials.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn open(
        dialer: &mut Dialer,
        options: &ClientOptions,
        metrics: TransportMetrics,
    ) -> Result<Self, DialError> {
        let socket = dialer.dial(options.connect_timeout).await?;
        socket.tune(options.stall_deadline)?;
        let (reader, writer) = socket.split();
        let sender = RequestSender {
            writer: FrameWriter::new(writer, options.stall_deadline),
            next_correlation: 0,
            metrics: metrics.clone(),
        };
        let receiver = ResponseReceiver { reader: FrameReader::new(reader, options.response_bytes_max), metrics };
        Ok(Self { sender, receiver, is_broken: false })
    }

    /// Sends one request and waits for its response, which begins with the response header. `encode` gets the
    /// correlation id and gives the request's chunks, header first, without the length.
    ///
    /// # Errors
    /// After any of them the connection is broken: open another.
    pub async fn call(
        &mut self,
        encode: impl FnOnce(i32) -> Vec<Bytes>,
        within: Duration,
    ) -> Result<Bytes, ClientError> {
        if self.is_broken {
            return Err(ClientError::Broken);
        }
        // Whoever drops this call half way leaves the mark behind.
        self.is_broken = true;
        let deadline = Instant::now() + within;
        let correlation = timeout_at(deadline, self.sender.send(encode)).await.map_err(|_| ClientError::TimedOut)??;
        let response = timeout_at(deadline, self.receiver.receive()).await.map_err(|_| ClientError::TimedOut)??;
        if response.get(..4) != Some(correlation.to_be_bytes().as_slice()) {
            return Err(ClientError::Malformed);
        }
        self.is_broken = false;
        Ok(response)
    }

    /// Sends a request that has no response (Produce with acks=0).
    ///
    /// # Errors
    /// As `call`.
    pub async fn send(&mut self, encode: impl FnOnce(i32) -> Vec<Bytes>, within: Duration) -> Result<(), ClientError> {
        if self.is_broken {
            return Err(ClientError::Broken);
        }
        self.is_broken = true;
        timeout_at(Instant::now() + within, self.sender.send(encode)).await.map_err(|_| ClientError::TimedOut)??;
        self.is_broken = false;
        Ok(())
    }

    /// Whether it is of no more use.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// The two halves, for several requests in flight.
    #[must_use]
    pub fn split(self) -> (RequestSender, ResponseReceiver) {
        (self.sender, self.receiver)
    }
}

/// The half that sends.
#[derive(Debug)]
pub struct RequestSender {
    writer: FrameWriter,
    next_correlation: i32,
    metrics: TransportMetrics,
}

impl RequestSender {
    /// Sends one request; returns its correlation id. Not cancel-safe: drop the connection with the call.
    ///
    /// # Errors
    /// When the connection is gone or the server does not read.
    pub async fn send(&mut self, encode: impl FnOnce(i32) -> Vec<Bytes>) -> Result<i32, ClientError> {
        let correlation = self.next_correlation;
        self.next_correlation = correlation.wrapping_add(1);
        self.writer.push(encode(correlation));
        match self.writer.flush().await {
            Ok(sent) => {
                self.metrics.sent_bytes.inc_by(u64::try_from(sent).unwrap_or(u64::MAX));
                Ok(correlation)
            }
            Err(SendError::Stalled) => Err(ClientError::TimedOut),
            Err(SendError::Closed | SendError::Unreadable(_)) => Err(ClientError::Closed),
        }
    }
}

/// The half that receives.
#[derive(Debug)]
pub struct ResponseReceiver {
    reader: FrameReader,
    metrics: TransportMetrics,
}

impl ResponseReceiver {
    /// The next response, from its header on. Cancel-safe.
    ///
    /// # Errors
    /// When the connection is gone or the length is out of bounds.
    pub async fn receive(&mut self) -> Result<Bytes, ClientError> {
        // Responses are bounded by what was asked for and by the caller's requests in flight.
        match self.reader.frame(&mut Share::unbudgeted()).await {
            Ok(frame) => {
                let received = u64::try_from(frame.len() + LENGTH_BYTES).unwrap_or(u64::MAX);
                self.metrics.received_bytes.inc_by(received);
                Ok(frame)
            }
            Err(ReceiveError::BadLength(_)) => Err(ClientError::Malformed),
            Err(ReceiveError::Ended | ReceiveError::Cut | ReceiveError::Io(_)) => Err(ClientError::Closed),
        }
    }
}

//! Serves HTTP/1 on a listener: bounded in connections, headers and time, and stopped gracefully.
//!
//! Invariant: a slow, silent or hostile client costs at most its own connection, and a stop takes at most
//! `stop_timeout`.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tracing::{debug, error, warn};

use super::{State, routes};
use crate::telemetry::TransportMetrics;

/// The name of this listener among the metrics.
const LISTENER: &str = "HTTP";
/// How long to wait after a failed accept: descriptors may have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The bounds of a server.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections at one time; one more is closed at once.
    connections_max: usize,
    /// From the opening of a connection, or the end of a response, to the end of the next request's headers.
    header_timeout: Duration,
    /// The headers of one request; larger ones are refused with 431.
    header_bytes_max: usize,
    /// How long a stop waits for requests that are being answered.
    stop_timeout: Duration,
}

const LIMITS: Limits = Limits {
    connections_max: 256,
    header_timeout: Duration::from_secs(30),
    header_bytes_max: 64 << 10,
    stop_timeout: Duration::from_secs(2),
};

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Serves every route on `listener`, on the current runtime, until it is stopped or dropped.
    ///
    /// # Errors
    /// When the listener cannot be used.
    pub fn start(listener: std::net::TcpListener, state: State) -> io::Result<Self> {
        let metrics = state.metrics.transport.clone();
        Self::serve(listener, routes(state), metrics, LIMITS)
    }

    fn serve(
        listener: std::net::TcpListener,
        router: Router,
        metrics: TransportMetrics,
        limits: Limits,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let (stop, stopping) = watch::channel(false);
        let acceptor = Acceptor { listener, router, metrics, limits, stopping };
        Ok(Self { address, stop, accepting: tokio::spawn(acceptor.run()) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nobody else, lets requests that are being answered end, and closes what remains.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(cause) = self.accepting.await {
            error!(%cause, "the http server ended by a panic");
        }
    }
}

struct Acceptor {
    listener: TcpListener,
    router: Router,
    metrics: TransportMetrics,
    limits: Limits,
    stopping: watch::Receiver<bool>,
}

impl Acceptor {
    async fn run(mut self) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                _ = self.stopping.changed() => break,
                Some(ended) = connections.join_next() => note_end(&self.metrics, ended),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.take(stream, &mut connections),
                    Err(cause) => {
                        warn!(%cause, "cannot accept an http connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        let Self { listener, metrics, limits, .. } = self;
        drop(listener);
        let drained = async {
            while let Some(ended) = connections.join_next().await {
                note_end(&metrics, ended);
            }
        };
        // What is not answered by then is aborted with the set.
        let _ = tokio::time::timeout(limits.stop_timeout, drained).await;
    }

    fn take(&self, stream: TcpStream, connections: &mut JoinSet<()>) {
        if connections.len() >= self.limits.connections_max {
            self.metrics.count_refused("http-connections-max");
            return;
        }
        self.metrics.count_accepted(LISTENER);
        connections.spawn(converse(stream, self.router.clone(), self.limits, self.stopping.clone()));
    }
}

/// Answers the requests of one connection, one after the other.
async fn converse(stream: TcpStream, router: Router, limits: Limits, mut stopping: watch::Receiver<bool>) {
    if let Err(cause) = stream.set_nodelay(true) {
        debug!(%cause, "an http connection ended before its first request");
        return;
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_bytes_max)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(cause) = outcome {
        debug!(%cause, "an http connection ended early");
    }
}

fn note_end(metrics: &TransportMetrics, ended: Result<(), JoinError>) {
    if let Err(cause) = ended
        && cause.is_panic()
    {
        metrics.panics.inc();
        error!(%cause, "an http handler panicked");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use serde::Deserialize;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::admin::extract::{InBody, InPath, InQuery, NoParameter};
    use crate::admin::framed;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Count {
        count: u32,
    }

    /// Every extractor and the frame of all routes, without a cluster behind them.
    fn table() -> Router {
        framed(
            Router::new()
                .route("/path/{number}", get(|InPath(number): InPath<u32>| async move { number.to_string() }))
                .route("/query", get(|InQuery(Count { count }): InQuery<Count>| async move { count.to_string() }))
                .route("/bare", get(|_: InQuery<NoParameter>| async { "bare" }))
                .route("/body", post(|InBody(Count { count }): InBody<Count>| async move { count.to_string() }))
                .route("/panic", get(|| async { panic_now() })),
        )
    }

    fn panic_now() -> &'static str {
        panic!("a handler of the test panics")
    }

    fn start(limits: Limits) -> Server {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        Server::serve(listener, table(), TransportMetrics::unregistered(), limits).expect("the listener is usable")
    }

    async fn connect(server: &Server) -> TcpStream {
        TcpStream::connect(server.address()).await.expect("the server listens")
    }

    /// Sends `request` and reads until the server closes.
    async fn exchange(server: &Server, request: &str) -> String {
        let mut stream = connect(server).await;
        // The server may close before it has read all of a request that it refuses.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn asked(method: &str, path: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
        )
    }

    fn check(answer: &str, status: u16, problem: &str) {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("content-type: application/problem+json"), "{answer}");
        assert!(answer.contains(&format!("\"type\":\"urn:ottla:problem:{problem}\"")), "{answer}");
        assert!(answer.contains(&format!("\"status\":{status}")), "{answer}");
    }

    const JSON: &str = "content-type: application/json\r\n";

    #[tokio::test]
    async fn whatever_no_route_takes_is_refused_with_a_problem_document() {
        let server = start(LIMITS);
        check(&exchange(&server, &asked("GET", "/nowhere", "", "")).await, 404, "no-such-route");
        let wrong = exchange(&server, &asked("PUT", "/body", "", "")).await;
        check(&wrong, 405, "wrong-method");
        assert!(wrong.contains("allow: POST"), "{wrong}");
        check(&exchange(&server, &asked("GET", "/path/x", "", "")).await, 400, "malformed-request");
        check(&exchange(&server, &asked("GET", "/query?cuont=1", "", "")).await, 400, "malformed-request");
        check(&exchange(&server, &asked("GET", "/bare?x=1", "", "")).await, 400, "malformed-request");
        check(&exchange(&server, &asked("POST", "/body", JSON, "{\"count\":")).await, 400, "malformed-request");
        check(&exchange(&server, &asked("POST", "/body", JSON, "{\"count\":\"x\"}")).await, 400, "malformed-request");
        check(&exchange(&server, &asked("POST", "/body", "", "{\"count\":1}")).await, 415, "unsupported-media-type");
        let large = format!("{{\"count\":1{}}}", " ".repeat(crate::admin::BODY_BYTES_MAX));
        check(&exchange(&server, &asked("POST", "/body", JSON, &large)).await, 413, "body-too-large");
        server.stop().await;
    }

    /// As `docs/HTTP.md` says: no route is found for it, so nobody is there to write a document.
    #[tokio::test]
    async fn what_cannot_be_read_as_http_is_refused_with_an_empty_body() {
        let server = start(LIMITS);
        let long_path = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "p".repeat(65_535));
        let long_header = format!("GET /path/7 HTTP/1.1\r\nhost: {}\r\n\r\n", "h".repeat(256 << 10));
        for (request, status) in [
            ("what is this\r\n\r\n", 400),
            ("GET /path/7 HTTP/7.0\r\nhost: x\r\n\r\n", 400),
            ("GET /path/7 HTTP/1.1\r\nno colon\r\n\r\n", 400),
            (long_path.as_str(), 414),
            (long_header.as_str(), 431),
        ] {
            let answer = exchange(&server, request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.contains("content-length: 0") && answer.ends_with("\r\n\r\n"), "{answer}");
        }
        server.stop().await;
    }

    #[tokio::test]
    async fn what_is_well_said_is_answered() {
        let server = start(LIMITS);
        assert!(exchange(&server, &asked("GET", "/path/7", "", "")).await.ends_with("\r\n\r\n7"));
        assert!(exchange(&server, &asked("GET", "/query?count=8", "", "")).await.ends_with("\r\n\r\n8"));
        assert!(exchange(&server, &asked("GET", "/bare", "", "")).await.ends_with("\r\n\r\nbare"));
        assert!(exchange(&server, &asked("POST", "/body", JSON, "{\"count\":9}")).await.ends_with("\r\n\r\n9"));
        server.stop().await;
    }

    #[tokio::test]
    async fn a_panic_costs_its_own_connection_only() {
        let server = start(LIMITS);
        assert_eq!(exchange(&server, &asked("GET", "/panic", "", "")).await, "");
        assert!(exchange(&server, &asked("GET", "/path/7", "", "")).await.ends_with("\r\n\r\n7"));
        server.stop().await;
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_is_closed() {
        let server = start(Limits { header_timeout: Duration::from_millis(20), ..LIMITS });
        for request in ["", "GET /path/7 HTTP/1.1\r\n", "GET /path/7 HTTP/1.1\r\nhost: x\r\n\r\n"] {
            // The last one is answered; the connection that it leaves idle is closed as well.
            let _ = exchange(&server, request).await;
        }
        server.stop().await;
    }

    #[tokio::test]
    async fn one_connection_too_many_is_closed_at_once() {
        let server = start(Limits { connections_max: 1, ..LIMITS });
        let mut first = connect(&server).await;
        first.write_all(b"GET /path/7 HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it is open");
        assert!(first.read(&mut [0; 512]).await.expect("it is answered") > 0);
        assert_eq!(exchange(&server, "").await, "");
        server.stop().await;
    }

    #[tokio::test]
    async fn a_stop_closes_idle_connections_and_the_listener() {
        let server = start(LIMITS);
        let address = server.address();
        let mut idle = connect(&server).await;
        idle.write_all(b"GET /path/7 HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it is open");
        assert!(idle.read(&mut [0; 512]).await.expect("it is answered") > 0);
        server.stop().await;
        assert_eq!(idle.read(&mut [0; 512]).await.expect("it is closed"), 0);
        assert!(TcpStream::connect(address).await.is_err());
    }
}

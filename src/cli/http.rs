//! A few lines of HTTP client on hyper: one request, one JSON answer.

use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one request may take, connection included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Gets `path` from the node at `address`; the status and the body as JSON (`Null` when it is none).
///
/// # Errors
/// When the node does not answer in time or the answer is larger than the bound.
pub(super) async fn get(address: &str, path: &str) -> anyhow::Result<(u16, serde_json::Value)> {
    match timeout(REQUEST_TIMEOUT, exchange(address, path)).await {
        Ok(outcome) => outcome,
        Err(_) => bail!("{address} did not answer within {REQUEST_TIMEOUT:?}"),
    }
}

async fn exchange(address: &str, path: &str) -> anyhow::Result<(u16, serde_json::Value)> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::get(path).header("host", address).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    driver.abort();
    let body = body.map_err(|error| anyhow::anyhow!("the answer of {address}{path}: {error}"))?.to_bytes();
    Ok((status, serde_json::from_slice(&body).unwrap_or(serde_json::Value::Null)))
}

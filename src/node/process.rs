//! One node as a process: configuration in, signals out.
//!
//! Called by `cli/server.rs`. Invariant: a signal to stop is honoured at any time after the start has begun.

use std::path::Path;

use anyhow::Context as _;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::config::Config;
use super::descriptors::raise_descriptor_limit;
use super::options::Sources;
use super::running::Node;
use crate::telemetry;

/// Set by `ottla dev` for its nodes: the process number of the parent that they end with.
pub const PARENT_VARIABLE: &str = "OTTLA_DEV_PARENT";

/// Runs a node until SIGTERM or SIGINT.
///
/// # Errors
/// When the configuration is wrong or the node cannot start.
pub fn run(file: Option<&Path>, set: &[String]) -> anyhow::Result<()> {
    let config = Config::read(&sources(file, set)?)?;
    telemetry::start_log(&config.logging)?;
    follow_parent()?;
    let descriptors = raise_descriptor_limit();
    info!(node = %config.node, version = env!("CARGO_PKG_VERSION"), descriptors, "starting");
    for variable in config.settings.ignored_variables() {
        warn!(%variable, "an environment variable names no option");
    }
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.network_threads {
        builder.worker_threads(threads);
    }
    let runtime = builder.thread_name("net").enable_all().build().context("cannot start the network threads")?;
    runtime.block_on(live(config))
}

async fn live(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let node = Node::start(config).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("stopping");
    tokio::select! {
        () = node.stop() => info!("stopped"),
        // A second signal means: at once.
        _ = terminate.recv() => warn!("stopping at once: the next start will recover"),
        _ = interrupt.recv() => warn!("stopping at once: the next start will recover"),
    }
    Ok(())
}

fn sources(file: Option<&Path>, set: &[String]) -> anyhow::Result<Sources> {
    let file = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Some((path.display().to_string(), text))
        }
        None => None,
    };
    let environment = std::env::vars().filter(|(name, _)| name != PARENT_VARIABLE).collect();
    Ok(Sources { file, environment, command_line: set.to_vec() })
}

/// A node of `ottla dev` does not outlive it, not even when `dev` is killed.
fn follow_parent() -> anyhow::Result<()> {
    let Ok(parent) = std::env::var(PARENT_VARIABLE) else { return Ok(()) };
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let is_orphan = getppid().is_none_or(|pid| pid.as_raw_nonzero().to_string() != parent);
    anyhow::ensure!(!is_orphan, "the `ottla dev` that started this node is gone");
    Ok(())
}

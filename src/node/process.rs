//! One node as a process: configuration in, signals out.
//!
//! Called by `cli/server.rs`. Invariant: a signal to stop is honoured at any time after the start has begun.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Context as _;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::config::Config;
use super::descriptors::{client_connections_max, raise_descriptor_limit};
use super::options::{Sources, VARIABLE_PREFIX};
use super::running::{Node, NodeWorld};
use crate::telemetry;

/// Set by `ottla dev` for its nodes: the process number of the parent that they end with.
pub const PARENT_VARIABLE: &str = "OTTLA_DEV_PARENT";
/// Read by `ottla health`, which runs in the node's environment where it is a container's health check.
pub const HEALTH_VARIABLE: &str = "OTTLA_HEALTH_ADDRESS";

/// Runs a node until SIGTERM or SIGINT.
///
/// # Errors
/// When the configuration is wrong or the node cannot start.
pub fn run(file: Option<&Path>, set: &[String]) -> anyhow::Result<()> {
    let mut config = Config::read(&sources(file, set)?)?;
    telemetry::start_log(&config.logging)?;
    follow_parent()?;
    let descriptors = raise_descriptor_limit();
    info!(node = %config.node, version = env!("CARGO_PKG_VERSION"), descriptors, "starting");
    let asked = config.network.connections_max;
    let connections = client_connections_max(descriptors, config.listeners.client.len(), asked);
    if connections < asked {
        info!(
            asked,
            connections, descriptors, "max.connections is lowered: half of the descriptors are for files and peers"
        );
        config.network.connections_max = connections;
    }
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
    let node = Node::start(config, NodeWorld::default()).await?;
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
    Ok(Sources { file, environment: environment(std::env::vars_os())?, command_line: set.to_vec() })
}

/// Our own among the variables, but for those that set no option. Only they must be UTF-8: what else stands in the environment is not our business.
fn environment(variables: impl Iterator<Item = (OsString, OsString)>) -> anyhow::Result<Vec<(String, String)>> {
    let is_ours = |name: &OsString| name.as_encoded_bytes().starts_with(VARIABLE_PREFIX.as_bytes());
    let is_command = |name: &OsString| name == PARENT_VARIABLE || name == HEALTH_VARIABLE;
    let mut ours = Vec::new();
    for (name, value) in variables.filter(|(name, _)| is_ours(name) && !is_command(name)) {
        let name =
            name.into_string().map_err(|name| anyhow::anyhow!("the name of the variable {name:?} is not UTF-8"))?;
        let value =
            value.into_string().map_err(|value| anyhow::anyhow!("the variable {name} is not UTF-8: {value:?}"))?;
        ours.push((name, value));
    }
    Ok(ours)
}

/// A node of `ottla dev` does not outlive it, not even when `dev` is killed.
fn follow_parent() -> anyhow::Result<()> {
    let Ok(parent) = std::env::var(PARENT_VARIABLE) else { return Ok(()) };
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let is_orphan = getppid().is_none_or(|pid| pid.as_raw_nonzero().to_string() != parent);
    anyhow::ensure!(!is_orphan, "the `ottla dev` that started this node is gone");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn variable(name: &[u8], value: &[u8]) -> (OsString, OsString) {
        (OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec()))
    }

    #[test]
    fn only_our_own_variables_must_be_utf_8() {
        let foreign = [variable(b"FOO", b"a\xffb"), variable(b"B\xff", b""), variable(b"OTTLA_NODE_ID", b"3")];
        let ours = environment(foreign.into_iter()).expect("what is not UTF-8 is not ours");
        assert_eq!(ours, [("OTTLA_NODE_ID".to_owned(), "3".to_owned())]);
        for (name, value) in [(&b"OTTLA_BROKER_RACK"[..], &b"a\xffb"[..]), (b"OTTLA_\xff", b"1")] {
            let error = environment([variable(name, value)].into_iter()).expect_err("not UTF-8").to_string();
            assert!(error.contains("OTTLA_") && error.contains("not UTF-8"), "{error}");
        }
    }

    #[test]
    fn the_variables_of_the_commands_are_no_options() {
        let commands = [variable(b"OTTLA_DEV_PARENT", b"1"), variable(b"OTTLA_HEALTH_ADDRESS", b"127.0.0.1:1")];
        assert_eq!(environment(commands.into_iter()).expect("UTF-8"), []);
    }
}

//! The operator's commands, one file each. Called by `main.rs`; prints to the terminal and sets the exit code.
//!
//! Invariant: no logic here that a user of the library would need.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod dev;
mod dev_node;
mod health;
mod http;
mod server;
mod terminal;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// A clustered log broker that speaks the Apache Kafka protocol.
#[derive(Debug, Parser)]
#[command(name = "ottla", version, about, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one node: controller, broker or both, as its configuration says
    Server(ServerArgs),
    /// Run a whole cluster on this machine without any configuration
    Dev(DevArgs),
    /// Ask a node over HTTP whether it is ready; exit code 0 when it is
    Health(HealthArgs),
}

/// What `server` takes.
#[derive(Debug, Args)]
struct ServerArgs {
    /// The configuration file (TOML; every key: cluster-config/reference.toml)
    #[arg(long)]
    config: Option<PathBuf>,
    /// Set a key over file and environment; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// What `dev` takes.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
struct DevArgs {
    #[command(subcommand)]
    action: Option<DevAction>,
    #[command(flatten)]
    run: DevRunArgs,
}

#[derive(Debug, Args)]
struct DevRunArgs {
    /// How many nodes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: u16,
    /// Node i serves clients on this port + i - 1
    #[arg(long, default_value_t = 9092)]
    port: u16,
    /// Node i serves HTTP on this port + i - 1
    #[arg(long, default_value_t = 9644)]
    admin_port: u16,
    /// Where to keep the data; a temporary directory, removed at the end, when not given
    #[arg(long)]
    data: Option<PathBuf>,
    /// Set a configuration key on every node; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum DevAction {
    /// Ask the running `dev` to start a killed node again
    Restart {
        /// The node's number, from 1
        node: u16,
        /// The running `dev`'s data directory
        #[arg(long)]
        data: PathBuf,
    },
}

/// What `health` takes.
#[derive(Debug, Args)]
struct HealthArgs {
    /// The node's HTTP address
    #[arg(long, default_value = "127.0.0.1:9644", env = crate::node::HEALTH_VARIABLE)]
    address: String,
    /// Ask only whether the process lives, not whether it is ready
    #[arg(long)]
    live: bool,
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Server(args) => server::run(&args),
        Command::Dev(DevArgs { action: Some(DevAction::Restart { node, data }), .. }) => dev::restart(node, &data),
        Command::Dev(DevArgs { action: None, run }) => dev::run(&run),
        Command::Health(args) => health::run(&args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            terminal::complain(format_args!("ottla: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

//! `ottla server`: runs one node until a signal stops it.

use std::process::ExitCode;

use super::ServerArgs;
use crate::node;

/// Runs the node.
///
/// # Errors
/// When the configuration is wrong or the node cannot start.
pub(super) fn run(args: &ServerArgs) -> anyhow::Result<ExitCode> {
    node::run(args.config.as_deref(), &args.set)?;
    Ok(ExitCode::SUCCESS)
}

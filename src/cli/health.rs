//! `ottla health`: for health checks in containers, where there is no shell and no curl.

use std::process::ExitCode;

use super::terminal::say;
use super::{HealthArgs, http};

/// Asks once.
///
/// # Errors
/// When the node does not answer.
pub(super) fn run(args: &HealthArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let path = if args.live { "/health/live" } else { "/health/ready" };
    let (status, body) = runtime.block_on(http::get(&args.address, path))?;
    say(body);
    Ok(if status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

//! The operator's commands, one file each.

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}

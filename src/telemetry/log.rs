//! Log set-up: tracing events to standard error, for people or as JSON lines.
//!
//! Called once by `node`. Invariant: logs never go to standard output, which belongs to the commands.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line an event.
    Human,
    /// One JSON object an event.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Directives of tracing's filter, such as `info,ottla::quorum=debug`.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { filter: "info,openraft=error,openraft::replication=off".to_owned(), format: LogFormat::Human }
    }
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter's text is not understood.
    #[error("the log filter {filter:?} is not understood: {reason}")]
    Filter {
        /// The text.
        filter: String,
        /// What is wrong with it.
        reason: ParseError,
    },
    /// The process has a log already.
    #[error("the log is already set up: {0}")]
    AlreadyStarted(#[from] TryInitError),
}

/// Sends this process's log to standard error from now on.
///
/// # Errors
/// When the filter is not understood, or the log was set up before.
pub fn start_log(options: &LogOptions) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&options.filter)
        .map_err(|reason| LogError::Filter { filter: options.filter.clone(), reason })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match options.format {
        LogFormat::Human => lines.finish().try_init()?,
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_not_understood_is_refused_with_its_text() {
        let options = LogOptions { filter: "ottla=louder".to_owned(), format: LogFormat::Json };
        let error = start_log(&options).expect_err("there is no such level");
        assert!(error.to_string().contains("ottla=louder"), "{error}");
    }
}

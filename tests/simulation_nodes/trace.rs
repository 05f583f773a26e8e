//! One number for all that happened in a run: every segment on the network and every line that a node logged, in order.
//!
//! Invariant: nothing of the machine is in it, no address, no real time, no thread.

use std::fmt::{Debug, Write as _};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use ottla::threads;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::world::elapsed;

/// Where events are counted; clones share it.
#[derive(Clone)]
pub(crate) struct Trace {
    /// Held for one event.
    state: Arc<Mutex<State>>,
    /// Lines of nodes are printed too.
    is_told: bool,
}

struct State {
    hasher: DefaultHasher,
    events: u64,
    /// Every line, when they are kept to be compared.
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn new(keeps_lines: bool) -> Self {
        // With its fixed keys, not those of a `HashMap`.
        let hasher = DefaultHasher::new();
        let state = State { hasher, events: 0, lines: keeps_lines.then(Vec::new) };
        Self { state: Arc::new(Mutex::new(state)), is_told: std::env::var_os("OTTLA_TELL").is_some() }
    }

    /// The number, and of how many events.
    pub(crate) fn digest(&self) -> (u64, u64) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.hasher.finish(), state.events)
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.lines.take().unwrap_or_default()
    }

    fn is_traced(metadata: &Metadata<'_>) -> bool {
        match metadata.target() {
            "turmoil" => true,
            target => (target.starts_with("ottla") || target == "simulation") && *metadata.level() <= Level::DEBUG,
        }
    }
}

impl<S: Subscriber> Layer<S> for Trace {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_event() && Self::is_traced(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line { text: String::new() };
        // turmoil tells while it holds its world, where nobody may ask for the time.
        let at = elapsed();
        let _ = write!(line.text, "{:>9} {:<8} {}", at.as_micros(), threads::host_name(), event.metadata().target());
        event.record(&mut line);
        if self.is_told && event.metadata().target() != "turmoil" {
            println!("{}", line.text);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.hasher.write(line.text.as_bytes());
        state.events += 1;
        if let Some(lines) = &mut state.lines {
            lines.push(line.text);
        }
    }
}

struct Line {
    text: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.text, " {field}={value:?}");
    }
}

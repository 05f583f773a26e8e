//! Lets a log line through once a minute, so that hostile input cannot fill a disk with logs.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// The least time between two lines of one kind.
const LINE_INTERVAL: Duration = Duration::from_secs(60);

/// One kind of line.
#[derive(Debug, Default)]
pub struct OncePerMinute {
    /// Guards when the last line was written and how many were kept back since. Held for a few instructions.
    last: Mutex<(Option<Instant>, u64)>,
}

impl OncePerMinute {
    /// `Some(lines kept back since the last)` when a line may be written at `now`.
    pub fn permit(&self, now: Instant) -> Option<u64> {
        let mut guard = self.last.lock().expect("nothing panics while holding the lock");
        let (last, suppressed) = *guard;
        if last.is_some_and(|last| now.saturating_duration_since(last) < LINE_INTERVAL) {
            *guard = (last, suppressed.saturating_add(1));
            return None;
        }
        *guard = (Some(now), 0);
        Some(suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_line_waits_a_minute_and_tells_what_was_kept_back() {
        let line = OncePerMinute::default();
        let start = Instant::now();
        assert_eq!(line.permit(start), Some(0));
        assert_eq!(line.permit(start + Duration::from_secs(59)), None);
        assert_eq!(line.permit(start + Duration::from_secs(60)), Some(1));
    }
}

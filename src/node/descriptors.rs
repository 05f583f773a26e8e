//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open descriptors to the hard one, which needs no privilege; returns what it is then.
/// A container then needs no `ulimits`.
pub(super) fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    // No limit at all is reported as none.
    current.unwrap_or(u64::MAX)
}

/// How many connections each of `listeners` takes when the process may open `limit` descriptors: what was asked for, but
/// together no more than half. The other half is for files and for peers, which must find a descriptor when clients
/// have taken theirs (rule S16): a file that cannot be opened for writing ends the process.
pub(super) fn client_connections_max(limit: u64, listeners: usize, asked: usize) -> usize {
    let half = usize::try_from(limit / 2).unwrap_or(usize::MAX);
    asked.min(half / listeners.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        assert!(raise_descriptor_limit() >= 256);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }

    #[test]
    fn clients_never_take_more_than_half_of_the_descriptors() {
        assert_eq!(client_connections_max(20_000, 2, 8000), 5000);
        assert_eq!(client_connections_max(1_000_000, 2, 8000), 8000);
        assert_eq!(client_connections_max(u64::MAX, 1, 7), 7);
        assert_eq!(client_connections_max(0, 0, 7), 1);
    }
}

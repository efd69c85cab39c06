//! How many files the process may have open, and so how many connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files for everything but clients: listeners, the internal port, the runtimes, the log.
const RESERVED: u64 = 256;

/// Raises the limit as far as it goes without more rights, and returns it; `None` is no limit.
///
/// The soft limit is 1,024 on many systems for the sake of programs that use `select`; this one
/// does not.
pub fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    // A sandbox may forbid it: then the limit is what it was.
    if setrlimit(Resource::Nofile, raised).is_ok() { maximum } else { current }
}

/// The connections that fit: `max_connections`, or less where the limit on files is lower.
pub fn capacity(max_connections: u32, limit: Option<u64>) -> u32 {
    let fit = limit.map_or(u64::MAX, |limit| limit.saturating_sub(RESERVED));
    max_connections.min(u32::try_from(fit).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_is_the_lower_of_the_two() {
        assert_eq!(capacity(10_000, None), 10_000);
        assert_eq!(capacity(10_000, Some(1 << 20)), 10_000);
        assert_eq!(capacity(10_000, Some(1_024)), 768);
        assert_eq!(capacity(10_000, Some(100)), 0);
    }

    #[test]
    fn the_limit_is_raised_to_the_hard_one() {
        let limit = raise();

        assert_eq!(limit, getrlimit(Resource::Nofile).maximum);
        assert_eq!(limit, getrlimit(Resource::Nofile).current);
    }
}

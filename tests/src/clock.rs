//! A monotonic clock in nanoseconds, for threads that spin and own no runtime.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since some fixed point.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// The value that `share` (0 to 1) of the sorted samples do not exceed; 0 without samples.
pub fn percentile(sorted: &[u64], share: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).or(sorted.last()).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn a_percentile_is_a_sample() {
        let samples: Vec<u64> = (1..=100).collect();

        assert_eq!(percentile(&samples, 0.5), 50);
        assert_eq!(percentile(&samples, 0.99), 99);
        assert_eq!(percentile(&samples, 0.999), 100);
        assert_eq!(percentile(&[], 0.5), 0);
    }
}

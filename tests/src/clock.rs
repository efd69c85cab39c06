//! A monotonic clock in nanoseconds, for threads that spin and own no runtime.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since some fixed point.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Waits. Only where time itself is what is waited for.
pub fn pause_ms(ms: u64) {
    #[expect(clippy::disallowed_methods, reason = "there is no runtime here that it could block")]
    std::thread::sleep(std::time::Duration::from_millis(ms));
}

/// Sorted samples, in nanoseconds.
#[derive(Debug)]
pub struct Samples(Vec<u64>);

impl Samples {
    /// Sorts them.
    pub fn new(mut samples: Vec<u64>) -> Self {
        samples.sort_unstable();
        Self(samples)
    }

    /// The value that `share` (0 to 1) of the samples do not exceed, in milliseconds; 0 without any.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        let sample = self.0.get(rank.saturating_sub(1)).or(self.0.last());
        sample.map_or(0.0, |ns| *ns as f64 / 1e6)
    }

    /// p50, p99, p99.9 and the largest, in milliseconds.
    pub fn summary(&self) -> String {
        let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|share| self.percentile_ms(share));
        format!("p50 {p50:.2}, p99 {p99:.2}, p99.9 {p999:.2}, max {max:.2} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_sample() {
        let samples = Samples::new((1..=100).rev().map(|ms| ms * 1_000_000).collect());

        let ms = [0.5, 0.99, 0.999].map(|share| samples.percentile_ms(share));
        assert_eq!(format!("{ms:?}"), "[50.0, 99.0, 100.0]");
        assert_eq!(format!("{:?}", Samples::new(Vec::new()).percentile_ms(0.5)), "0.0");
    }
}

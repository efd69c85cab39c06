//! Token buckets.

/// A bucket that fills by itself. Its rate is an argument, since rates change live.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// What is in it, in thousandths.
    millis: u64,
    at_ms: u64,
}

impl Bucket {
    /// A full bucket.
    pub const fn full(burst: u64, now_ms: u64) -> Self {
        Self { millis: burst.saturating_mul(1_000), at_ms: now_ms }
    }

    /// Takes `count` if they are there; a rate of 0 has no bound.
    pub fn take(&mut self, now_ms: u64, per_second: u64, burst: u64, count: u64) -> bool {
        if per_second == 0 {
            return true;
        }
        self.fill(now_ms, per_second, burst);
        let wanted = count.saturating_mul(1_000);
        let is_there = self.millis >= wanted;
        if is_there {
            self.millis -= wanted;
        }
        is_there
    }

    /// Takes `count`, also from what is yet to come; returns how long that is, in milliseconds.
    pub fn take_ahead(&mut self, now_ms: u64, per_second: u64, burst: u64, count: u64) -> u64 {
        if per_second == 0 {
            return 0;
        }
        self.fill(now_ms, per_second, burst);
        let wanted = count.saturating_mul(1_000);
        if let Some(rest) = self.millis.checked_sub(wanted) {
            self.millis = rest;
            return 0;
        }
        // What was borrowed is paid back by a bucket that begins to fill later, and later still where
        // more is borrowed before that.
        self.at_ms = self.at_ms.saturating_add((wanted - self.millis).div_ceil(per_second));
        self.millis = 0;
        self.at_ms.saturating_sub(now_ms)
    }

    fn fill(&mut self, now_ms: u64, per_second: u64, burst: u64) {
        let passed = now_ms.saturating_sub(self.at_ms);
        self.millis = self
            .millis
            .saturating_add(passed.saturating_mul(per_second))
            .min(burst.saturating_mul(1_000));
        self.at_ms = self.at_ms.max(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate(rate in 1_u64..100, burst in 1_u64..50, pauses in prop::collection::vec(0_u64..300, 1..200)) {
            let mut bucket = Bucket::full(burst, 0);
            let (mut now, mut taken) = (0, 0);
            for pause in pauses {
                now += pause;
                taken += u64::from(bucket.take(now, rate, burst, 1));
                prop_assert!(taken * 1_000 <= burst * 1_000 + rate * now);
            }
        }

        #[test]
        fn borrowing_is_paid_back(
            rate in 1_u64..1_000,
            burst in 0_u64..1_000,
            steps in prop::collection::vec((0_u64..5_000, 0_u64..3_000, any::<bool>()), 1..50),
        ) {
            let mut bucket = Bucket::full(burst, 0);
            let (mut now, mut taken, mut paid) = (0, 0, 0);
            for (count, pause, is_ahead) in steps {
                now += pause;
                let wait = if is_ahead {
                    taken += count;
                    bucket.take_ahead(now, rate, burst, count)
                } else {
                    taken += u64::from(bucket.take(now, rate, burst, 1));
                    0
                };
                paid = paid.max(now + wait);
                prop_assert!(taken * 1_000 <= burst * 1_000 + rate * paid);
            }
        }

        #[test]
        fn odd_numbers_do_no_harm(calls in prop::collection::vec(any::<(u64, u64, u64, u64, bool)>(), 1..20)) {
            let mut bucket = Bucket::full(u64::MAX, 0);
            for (now, rate, burst, count, is_ahead) in calls {
                if is_ahead {
                    bucket.take_ahead(now, rate, burst, count);
                } else {
                    bucket.take(now, rate, burst, count);
                }
            }
        }
    }
}

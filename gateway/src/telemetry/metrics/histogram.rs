//! A histogram that many workers feed without meeting.
//!
//! The crate's own histogram takes one value at a time. A publication that goes to ten thousand
//! sockets is one value ten thousand times, so here an observation has a weight, and a worker's
//! observations stay in its own memory until it flushes.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus::{
    core::{Atomic as _, AtomicF64, Collector, Desc},
    proto,
};

/// The shared side: what all workers have flushed.
#[derive(Clone, Debug)]
pub struct Histogram {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    desc: Desc,
    bounds: &'static [f64],
    /// One more than `bounds`: the last counts what is above them all.
    counts: Box<[AtomicU64]>,
    sum: AtomicF64,
}

impl Histogram {
    /// An empty histogram; `bounds` rise strictly, and a value equal to a bound is within it.
    pub(super) fn new(desc: Desc, bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        let sum = AtomicF64::new(0.0);
        Self { inner: Arc::new(Inner { desc, bounds, counts, sum }) }
    }

    /// Counts one observation at once, for what happens rarely.
    pub fn observe(&self, value: f64) {
        let mut local = self.local();
        local.observe(value, 1);
        self.absorb(&mut local);
    }

    /// The side of one worker, empty.
    pub(super) fn local(&self) -> LocalHistogram {
        let bounds = self.inner.bounds;
        LocalHistogram {
            bounds,
            counts: vec![0; bounds.len() + 1].into(),
            sum: 0.0,
            changed: false,
        }
    }

    /// Moves one worker's observations here.
    pub(super) fn absorb(&self, local: &mut LocalHistogram) {
        if !mem::take(&mut local.changed) {
            return;
        }
        for (count, shared) in local.counts.iter_mut().zip(&self.inner.counts) {
            if *count > 0 {
                shared.fetch_add(mem::take(count), Ordering::Relaxed);
            }
        }
        self.inner.sum.inc_by(mem::take(&mut local.sum));
    }

    /// The mean of all observations; `None` while there are none.
    pub(super) fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum() / count as f64)
    }

    /// How many observations there were.
    pub(super) fn count(&self) -> u64 {
        self.inner.counts.iter().map(|it| it.load(Ordering::Relaxed)).sum()
    }

    /// The sum of all observations.
    pub(super) fn sum(&self) -> f64 {
        self.inner.sum.get()
    }
}

impl Collector for Histogram {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.inner.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut below = 0;
        let mut buckets = Vec::with_capacity(self.inner.bounds.len());
        for (index, count) in self.inner.counts.iter().enumerate() {
            below += count.load(Ordering::Relaxed);
            // What is above all bounds has no bucket here: the encoder writes `+Inf` itself.
            if let Some(bound) = self.inner.bounds.get(index) {
                let mut bucket = proto::Bucket::default();
                bucket.set_upper_bound(*bound);
                bucket.set_cumulative_count(below);
                buckets.push(bucket);
            }
        }

        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets);
        // The count is the sum of the buckets, so that they agree in every scrape.
        histogram.set_sample_count(below);
        histogram.set_sample_sum(self.inner.sum.get());

        let mut metric = proto::Metric::default();
        metric.set_histogram(histogram);
        let mut family = proto::MetricFamily::default();
        family.set_name(self.inner.desc.fq_name.clone());
        family.set_help(self.inner.desc.help.clone());
        family.set_field_type(proto::MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        vec![family]
    }
}

/// One worker's observations since its last flush.
#[derive(Debug)]
pub struct LocalHistogram {
    bounds: &'static [f64],
    counts: Box<[u64]>,
    sum: f64,
    changed: bool,
}

impl LocalHistogram {
    /// Counts `times` observations of `value`.
    pub fn observe(&mut self, value: f64, times: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += times;
            self.sum += value * times as f64;
            self.changed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    fn histogram() -> Histogram {
        let desc = Desc::new("h_seconds".into(), "help".into(), Vec::new(), [].into()).unwrap();
        Histogram::new(desc, &[0.1, 1.0])
    }

    fn rendered(observations: &[(f64, u64)]) -> String {
        let registry = Registry::new();
        let histogram = histogram();
        registry.register(Box::new(histogram.clone())).unwrap();
        let mut local = histogram.local();
        for (value, times) in observations {
            local.observe(*value, *times);
        }
        histogram.absorb(&mut local);
        histogram.absorb(&mut local);
        prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    #[test]
    fn observations_fall_into_the_bucket_that_bounds_them() {
        let text = rendered(&[(0.1, 2), (0.5, 1), (7.0, 3)]);

        assert_eq!(
            text,
            "# HELP h_seconds help\n\
             # TYPE h_seconds histogram\n\
             h_seconds_bucket{le=\"0.1\"} 2\n\
             h_seconds_bucket{le=\"1\"} 3\n\
             h_seconds_bucket{le=\"+Inf\"} 6\n\
             h_seconds_sum 21.7\n\
             h_seconds_count 6\n"
        );
    }

    #[test]
    fn no_observation_has_no_mean() {
        assert_eq!(histogram().mean(), None);
    }
}

//! How a metric comes into the registry: once, with a name that prometheus accepts.

use std::collections::HashMap;

use prometheus::{
    IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    core::{Collector, Desc},
};

use super::{family::Family, histogram::Histogram};

/// What every name begins with.
const PREFIX: &str = "realtime_gateway";

/// Names are constants: if one were wrong, no test would come past it.
const VALID: &str = "the names of metrics are valid";

/// A registry that is being filled.
pub(super) struct Register {
    registry: Registry,
}

impl Register {
    pub(super) fn new() -> Self {
        Self { registry: Registry::new_custom(Some(PREFIX.to_owned()), None).expect(VALID) }
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help).expect(VALID))
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help).expect(VALID))
    }

    /// A gauge with a label whose one value is given.
    pub(super) fn gauge_with(&self, name: &str, help: &str, label: (&str, &str)) -> IntGauge {
        let opts = Opts::new(name, help).const_label(label.0, label.1);
        self.add(IntGauge::with_opts(opts).expect(VALID))
    }

    /// The connections that are open now, in one of their two states.
    pub(super) fn active(&self, state: &str) -> IntGauge {
        self.gauge_with("active_connections", "WebSocket connections open now.", ("state", state))
    }

    pub(super) fn family(
        &self,
        name: &str,
        help: &str,
        label: &str,
        labels: &[&'static str],
    ) -> Family {
        let family = IntCounterVec::new(Opts::new(name, help), &[label]).expect(VALID);
        Family::new(&self.add(family), labels)
    }

    pub(super) fn histogram(&self, name: &str, help: &str, bounds: &'static [f64]) -> Histogram {
        let desc = Desc::new(name.to_owned(), help.to_owned(), Vec::new(), HashMap::new());
        self.add(Histogram::new(desc.expect(VALID), bounds))
    }

    /// The registry, filled.
    pub(super) fn done(self) -> Registry {
        self.registry
    }

    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        self.registry.register(Box::new(collector.clone())).expect("a name is registered once");
        collector
    }
}

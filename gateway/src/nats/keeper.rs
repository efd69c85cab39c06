//! Keeps the streams as the manifest wants them, and notices when one was made anew.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::warn;

use super::{
    echo::Echo,
    life::State,
    read::Reader,
    streams::{Bounds, Seen, Streams},
    wanted,
};
use crate::{broker::nats::link::Route, config::Config, telemetry::metrics::Metrics};

/// How often the streams are looked at, whether they still are what they were.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Looks after the streams.
#[derive(Debug)]
pub struct Keeper {
    pub config: watch::Receiver<Arc<Config>>,
    pub streams: Arc<Streams>,
    pub reader: Arc<Reader>,
    pub echo: Echo,
    pub state: watch::Receiver<State>,
    pub route: Route,
    pub metrics: Arc<Metrics>,
}

impl Keeper {
    /// Looks after them for as long as the process lives.
    pub async fn run(mut self) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (reader, streams) = (Arc::clone(&self.reader), Arc::clone(&self.streams));
        loop {
            tokio::select! {
                changed = self.config.changed() => if changed.is_err() { return },
                changed = self.state.changed() => if changed.is_err() { return },
                () = reader.missing.notified() => {}
                () = streams.noticed.notified() => {}
                _ = looks.tick() => self.measure().await,
            }
            self.look().await;
        }
    }

    /// Measures a round trip.
    async fn measure(&self) {
        let began = Instant::now();
        if self.is_connected() && self.echo.comes_back().await {
            self.metrics.broker_rtt_seconds.observe(began.elapsed().as_secs_f64());
        }
    }

    async fn look(&mut self) {
        if !self.is_connected() {
            return;
        }
        let config = &mut self.config;
        let wanted = || wanted(&config.borrow_and_update());
        if let Err(error) = self.streams.ensure(Bounds::Keep, wanted).await {
            warn!(event = "streams_unavailable", %error, "history is not to be had now");
        }
        self.streams.remove_unwanted().await;
        let seen = self.streams.take_seen();
        if seen == Seen::Anew {
            warn!(event = "history_new", "a stream was made anew: its history begins again");
        }
        // What is lost meanwhile asks for everything when it is back.
        if seen > Seen::Same && self.is_connected() {
            self.route.begin_anew(false);
        }
    }

    fn is_connected(&self) -> bool {
        *self.state.borrow() == State::Connected
    }
}

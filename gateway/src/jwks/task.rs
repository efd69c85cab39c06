//! Follows the configuration, fetches when the keeper says so, and publishes what follows.

use std::{
    future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, watch},
    time::{self, Instant},
};
use tracing::{info, warn};

use super::{
    State,
    fetch::{FetchError, Place, chain, fetch},
    keeper::Keeper,
};
use crate::{
    auth::token::{Key, KeySet, Verifier},
    config::Config,
};

type Fetching = Pin<Box<dyn Future<Output = Result<Vec<Key>, FetchError>> + Send>>;

/// The task that keeps the key set.
pub struct Task {
    changes: watch::Receiver<Arc<Config>>,
    config: Arc<Config>,
    asked: mpsc::Receiver<Box<str>>,
    verifier: watch::Sender<Arc<Verifier>>,
    state: watch::Sender<State>,
    /// The provider that the configuration names, if any.
    provider: Option<(Place, Keeper)>,
    /// The fetch under way.
    fetching: Option<Fetching>,
}

impl Task {
    pub(super) fn new(
        mut changes: watch::Receiver<Arc<Config>>,
        asked: mpsc::Receiver<Box<str>>,
        state: watch::Sender<State>,
    ) -> (Self, watch::Receiver<Arc<Verifier>>) {
        let config = Arc::clone(&changes.borrow_and_update());
        let (verifier, seen) = watch::channel(Arc::default());
        let mut task =
            Self { changes, config, asked, verifier, state, provider: None, fetching: None };
        task.configure();
        (task, seen)
    }

    /// Runs until the configuration is gone, which is when the process ends.
    pub async fn run(mut self) {
        loop {
            let next = self.turn(Instant::now());
            tokio::select! {
                // A change first: what else there is may no longer count.
                biased;
                changed = self.changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.config = Arc::clone(&self.changes.borrow_and_update());
                    self.configure();
                }
                fetched = done(&mut self.fetching) => self.finish(fetched),
                Some(name) = self.asked.recv() => self.ask(name),
                () = at(next) => {}
            }
        }
    }

    /// Follows the configuration. What has not changed goes on as it is, a fetch too.
    fn configure(&mut self) {
        let now = Instant::now();
        let old = self.provider.take();
        self.provider = match (wanted(&self.config), old) {
            (Some((place, period)), Some((old, keeper)))
                if place == old && period == keeper.period() =>
            {
                Some((place, keeper))
            }
            (wanted, old) => {
                self.fetching = None;
                wanted.map(|(place, period)| {
                    let keeper = follow(now, &place, period, old);
                    (place, keeper)
                })
            }
        };
        self.publish();
    }

    fn ask(&mut self, name: Box<str>) {
        if let Some((_, keeper)) = &mut self.provider {
            keeper.ask(name);
        }
    }

    /// Does what is due, and says when there is something next.
    fn turn(&mut self, now: Instant) -> Option<Instant> {
        let (place, keeper) = self.provider.as_mut()?;
        let has_expired = keeper.expire(now);
        if keeper.begin(now) {
            self.fetching = Some(Box::pin(fetch(place.clone())));
        }
        let next = keeper.next();
        if has_expired {
            warn!(event = "jwks_stale", "the key set is too old to be trusted");
            self.publish();
        }
        next
    }

    fn finish(&mut self, fetched: Result<Vec<Key>, FetchError>) {
        self.fetching = None;
        let Some((_, keeper)) = &mut self.provider else { return };
        let (now, chance) = (Instant::now(), fastrand::f64());
        match fetched {
            Ok(keys) => {
                let count = keys.len();
                let change = keeper.succeed(now, keys, chance);
                self.state.send_modify(|state| {
                    state.fetched += 1;
                    state.fetched_at = Some(SystemTime::now());
                    state.error = None;
                });
                if change.keys {
                    info!(event = "jwks_fetched", keys = count, "the key set is a new one");
                }
                if change.keys || change.absent {
                    self.publish();
                }
            }
            Err(error) => {
                keeper.fail(now, chance);
                let error = chain(&error);
                warn!(event = "jwks_failed", error, "the key set could not be fetched");
                self.state.send_modify(|state| {
                    state.failed += 1;
                    state.error = Some(error);
                });
            }
        }
    }

    /// Tells the workers what vouches for tokens now.
    fn publish(&self) {
        let set = self.provider.as_ref().map_or(KeySet::Unused, |(_, keeper)| keeper.set().clone());
        let keys = set.trusted().len();
        self.state.send_if_modified(|state| std::mem::replace(&mut state.keys, keys) != keys);
        self.verifier.send_replace(Arc::new(Verifier { set, ..self.config.verifier.clone() }));
    }
}

/// Where the configuration says that keys are, and how often to fetch them.
fn wanted(config: &Config) -> Option<(Place, Duration)> {
    let jwks = config.spec.auth.jwt.as_ref()?.jwks.as_ref()?;
    let place = Place { url: jwks.url.clone(), ca: config.jwks_ca.clone() };
    Some((place, jwks.refresh_period.get()))
}

/// The keeper of a new place. Keys from elsewhere verify no longer, but vouch for who is here until
/// the new ones have come.
fn follow(now: Instant, place: &Place, period: Duration, old: Option<(Place, Keeper)>) -> Keeper {
    match old {
        Some((old, mut keeper)) if old.url == place.url => {
            keeper.restart(now, period);
            keeper
        }
        old => {
            let former = old.map(|(_, keeper)| keeper.set().keys().into());
            Keeper::new(now, period, former.unwrap_or_default())
        }
    }
}

async fn done(fetching: &mut Option<Fetching>) -> Result<Vec<Key>, FetchError> {
    match fetching {
        Some(fetching) => fetching.await,
        None => future::pending().await,
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => time::sleep_until(when).await,
        None => future::pending().await,
    }
}

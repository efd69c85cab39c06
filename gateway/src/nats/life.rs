//! The life of the connection: what is done when it is there, and who is told when it is not.

use std::{mem, sync::Arc, time::Duration};

use async_nats::{Client, ClientError, ConnectErrorKind, Event, ServerError, connection};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tracing::{error, info, warn};

use super::{
    client::{Events, connects, is_clustered},
    echo::Echo,
    interest::{SETTLES, Wire},
    past::Past,
    refusal,
    streams::{Bounds, Streams},
    until, wanted,
};
use crate::{
    broker::nats::link::{Connected, Notice, Route},
    config::Config,
    telemetry::metrics::Metrics,
};

/// How long to wait before what could not be prepared is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// How often what the client says of the connection is compared with what its events said: of many at
/// once it may lose some.
const COMPARE_EVERY: Duration = Duration::from_secs(2);

/// What stands around a message when it goes over the wire: its line and its headers.
const AROUND_BYTES_MAX: u64 = 4 * 1024;

/// How the broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It was not reached yet.
    Connecting,
    /// It is there, and so is what it keeps.
    Connected,
    /// It was there.
    Lost,
    /// It is there and of no use; why.
    Refused(String),
}

/// Looks after the connection.
#[derive(Debug)]
pub struct Life {
    pub client: Client,
    pub config: watch::Receiver<Arc<Config>>,
    pub events: Events,
    pub streams: Arc<Streams>,
    pub echo: Echo,
    pub connected: Connected,
    pub wire: watch::Sender<Wire>,
    pub state: watch::Sender<State>,
    /// What the server complains of, while it does.
    pub complaint: watch::Sender<Option<String>>,
    pub route: Route,
    pub metrics: Arc<Metrics>,
    /// Told when something may not have come although the connection holds.
    pub missed: Arc<Notify>,
    /// What happened.
    pub past: Past,
}

impl Life {
    /// Looks after it for as long as the process lives.
    pub async fn run(mut self) {
        let missed = Arc::clone(&self.missed);
        let mut compares = interval(COMPARE_EVERY);
        compares.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.happened(event).await,
                    None => return,
                },
                _ = compares.tick() => self.compare().await,
                () = missed.notified() => {
                    self.past.break_soon(Instant::now());
                    // What the other servers want may be known only after what they tell.
                    self.past.breaks_again = is_clustered(&self.client);
                }
                () = until(self.past.breaks) => self.breaks(),
            }
        }
    }

    async fn happened(&mut self, event: Event) {
        match event {
            // It may have been noticed before.
            Event::Connected if self.is_greeted() => {}
            Event::Connected => self.greet().await,
            Event::Disconnected | Event::Closed => self.lost("the connection has ended"),
            Event::SlowConsumer(_) => {
                if self.past.breaks.is_none() {
                    warn!(event = "broker_overflow", "more came from NATS than could be taken");
                }
                self.past.break_soon(Instant::now());
            }
            Event::ServerError(error) => self.complain(&error),
            Event::ClientError(error) => {
                let unauthorized = ConnectErrorKind::AuthorizationViolation.to_string();
                let is_unauthorized =
                    matches!(&error, ClientError::Other(it) if it.starts_with(&unauthorized));
                // It tries for as long as it takes, and says so once for each reason.
                let error = error.to_string();
                if self.past.unreachable.as_ref() != Some(&error) {
                    warn!(
                        event = "broker_unreachable",
                        error, "NATS cannot be reached: trying again"
                    );
                    self.past.unreachable = Some(error);
                }
                let is = self.state.borrow().clone();
                if is_unauthorized && is != State::Connected {
                    let problem =
                        "NATS refuses the credentials of broker.nats.credentialsSecretName";
                    self.state.send_replace(State::Refused(problem.to_owned()));
                } else if matches!(is, State::Refused(_)) {
                    self.is_not_there();
                }
            }
            Event::LameDuckMode => {
                info!(
                    event = "broker_moves",
                    "this NATS server goes away: the next one is taken when it does"
                );
            }
            Event::Draining => {}
        }
    }

    /// Compares what the client says with what its events said.
    async fn compare(&mut self) {
        if self.past.is_content(Instant::now()) {
            self.complaint.send_replace(None);
        }
        if !self.events.is_empty() {
            return;
        }
        let is_up = self.client.connection_state() == connection::State::Connected;
        let is_greeted = self.is_greeted();
        if *self.state.borrow() == State::Connected && !(is_up && is_greeted) {
            self.lost("the connection has ended");
        }
        if is_up && !is_greeted {
            self.greet().await;
        }
    }

    /// Whether everybody was told of the last connection.
    fn is_greeted(&self) -> bool {
        *self.state.borrow() == State::Connected && connects(&self.client) == self.past.connects
    }

    /// The connection is new: makes sure of what is needed, and says that the broker is there.
    async fn greet(&mut self) {
        self.wire.send_replace(Wire::Up);
        self.past.connects = connects(&self.client);
        self.past.complaint = None;
        self.complaint.send_replace(None);
        while let Err(problem) = self.prepare().await {
            // What the server said meanwhile explains it.
            while let Ok(event) = self.events.try_recv() {
                if self.is_over(&event) {
                    return self.lost("the connection has ended");
                }
            }
            let complaint = self.past.complaint.as_ref().map(|it| it.1.clone());
            let problem = complaint.unwrap_or(problem);
            if *self.state.borrow() != State::Refused(problem.clone()) {
                error!(event = "broker_refused", problem, "NATS cannot be used as it is");
                self.state.send_replace(State::Refused(problem));
            }
            let again = sleep(TRY_AGAIN);
            tokio::pin!(again);
            // What happens meanwhile comes first.
            loop {
                tokio::select! {
                    () = &mut again => break,
                    event = self.events.recv() => if event.is_none_or(|it| self.is_over(&it)) {
                        return self.lost("the connection has ended");
                    },
                }
            }
        }
        self.connected.set(true);
        self.metrics.broker_connected.set(1);
        let is_first = !self.past.was_there;
        let server = self.client.server_info();
        info!(
            event = "broker_connected",
            server = server.server_name,
            version = server.version,
            is_first,
            "NATS is there"
        );
        // What comes first through another server may not have been sent here yet.
        let is_asked_again = !is_first && server.cluster.is_some();
        self.past.was_there = true;
        self.past.unreachable = None;
        self.past.broke = Some(Instant::now());
        self.past.breaks = is_asked_again.then(|| Instant::now() + SETTLES);
        self.state.send_replace(State::Connected);
        self.route.tell(Notice::Back { is_break: !is_first });
    }

    /// Whether an event ends a connection that is being greeted.
    fn is_over(&mut self, event: &Event) -> bool {
        if let Event::ServerError(error) = event {
            self.complain(error);
        }
        matches!(event, Event::Disconnected | Event::Closed)
    }

    async fn prepare(&self) -> Result<(), String> {
        let config = Arc::clone(&self.config.borrow());
        let payload_max = self.client.max_payload() as u64;
        let message_max = config.spec.max_message_size.bytes();
        if payload_max < message_max + AROUND_BYTES_MAX {
            return Err(format!(
                "the server's max_payload is {payload_max} bytes, must be at least maxMessageSize plus 4 KiB, {} bytes",
                message_max + AROUND_BYTES_MAX
            ));
        }
        if !self.echo.comes_back().await {
            return Err("it does not carry a message of ours back to us".to_owned());
        }
        // Also when it is back: a stream may be another one, and nobody may be told of a place in it
        // by the epoch of the old one.
        let bounds = if self.past.was_there { Bounds::Keep } else { Bounds::Change };
        let ensured = self.streams.ensure(bounds, || wanted(&self.config.borrow())).await;
        ensured.map_err(|error| self.explained(&error.to_string()))?;
        if !self.past.was_there {
            let wanted = wanted(&self.config.borrow());
            self.streams.remove_others(&wanted).await;
        }
        Ok(())
    }

    /// An error of the streams, with what is behind it where that is known.
    fn explained(&self, error: &str) -> String {
        if !self.client.server_info().jetstream {
            return format!(
                "{error}; this server has no JetStream (start it with -js, or with a jetstream block)"
            );
        }
        refusal::explained(error).map_or_else(|| error.to_owned(), |it| format!("{it} ({error})"))
    }

    fn lost(&mut self, why: &str) {
        self.connected.set(false);
        self.metrics.broker_connected.set(0);
        self.wire.send_replace(Wire::Down);
        (self.past.breaks, self.past.breaks_again) = (None, false);
        let is = self.state.borrow().clone();
        match is {
            State::Connected => {
                warn!(
                    event = "broker_lost",
                    why, "NATS is lost: clients stay, publishing has to wait"
                );
                self.state.send_replace(State::Lost);
                self.route.tell(Notice::Lost);
            }
            // What was wrong was wrong with that connection.
            State::Refused(_) => self.is_not_there(),
            State::Connecting | State::Lost => {}
        }
    }

    fn is_not_there(&self) {
        let was_there = self.past.was_there;
        self.state.send_replace(if was_there { State::Lost } else { State::Connecting });
    }

    /// Something that came was lost on the way, or may have been: everything is asked for again.
    fn breaks(&mut self) {
        let again = mem::take(&mut self.past.breaks_again);
        self.past.breaks = again.then(|| Instant::now() + SETTLES);
        if *self.state.borrow() == State::Connected {
            self.past.broke = Some(Instant::now());
            self.route.begin_anew(true);
        }
    }

    fn complain(&mut self, error: &ServerError) {
        if let Some(complaint) = self.past.complain(Instant::now(), &error.to_string()) {
            warn!(event = "broker_error", error = complaint, "NATS reports an error");
            self.complaint.send_replace(Some(complaint));
        }
    }
}

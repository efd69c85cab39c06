//! The life of the connection: what is done when it is there, and who is told when it is not.

use std::{sync::Arc, time::Duration};

use async_nats::{Client, Event, ServerError};
use tokio::{sync::watch, time::sleep};
use tracing::{error, info, warn};

use super::{
    client::Events,
    echo::Echo,
    interest::Wire,
    streams::{Bounds, Streams},
    wanted,
};
use crate::{
    broker::nats::link::{Connected, Notice, Route},
    config::Config,
    telemetry::metrics::Metrics,
};

/// How long to wait before what could not be prepared is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(500);

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
    pub route: Route,
    pub metrics: Arc<Metrics>,
    /// Whether the broker was there once.
    pub was_there: bool,
    /// Why the broker cannot be reached, as the log says already.
    pub told: Option<String>,
}

impl Life {
    /// Looks after it for as long as the process lives.
    pub async fn run(mut self) {
        while let Some(event) = self.events.recv().await {
            self.happened(event).await;
        }
    }

    async fn happened(&mut self, event: Event) {
        match event {
            Event::Connected => {
                self.wire.send_replace(Wire::Up);
                self.greet().await;
            }
            Event::Disconnected | Event::Closed => self.lost("the connection has ended"),
            Event::SlowConsumer(_) => {
                warn!(event = "broker_overflow", "more came from NATS than could be taken");
                self.breaks();
            }
            Event::ServerError(error) => complain(&error),
            Event::ClientError(error) => {
                // It tries for as long as it takes, and says so once for each reason.
                let error = error.to_string();
                if self.told.as_ref() != Some(&error) {
                    warn!(
                        event = "broker_unreachable",
                        error, "NATS cannot be reached: trying again"
                    );
                    self.told = Some(error.clone());
                }
                if error.contains("authorization") && *self.state.borrow() != State::Connected {
                    let problem =
                        "NATS refuses the credentials of broker.nats.credentialsSecretName";
                    self.state.send_replace(State::Refused(problem.to_owned()));
                }
            }
            Event::LameDuckMode => {
                info!(
                    event = "broker_moves",
                    "this NATS server goes away; the next one is looked for"
                );
            }
            Event::Draining => {}
        }
    }

    /// The connection is new: makes sure of what is needed, and says that the broker is there.
    async fn greet(&mut self) {
        loop {
            match self.prepare().await {
                Ok(()) => break,
                Err(problem) => {
                    let is_new = *self.state.borrow() != State::Refused(problem.clone());
                    if is_new {
                        error!(event = "broker_refused", problem, "NATS cannot be used as it is");
                        self.state.send_replace(State::Refused(problem));
                    }
                }
            }
            // What happens meanwhile comes first.
            tokio::select! {
                () = sleep(TRY_AGAIN) => {}
                event = self.events.recv() => match event {
                    Some(Event::Disconnected | Event::Closed) | None => {
                        return self.lost("the connection has ended");
                    }
                    Some(Event::ServerError(error)) => complain(&error),
                    Some(_) => {}
                },
            }
        }
        self.connected.set(true);
        self.metrics.broker_connected.set(1);
        let is_first = !self.was_there;
        self.was_there = true;
        let server = self.client.server_info();
        info!(
            event = "broker_connected",
            server = server.server_name,
            version = server.version,
            is_first,
            "NATS is there"
        );
        self.told = None;
        self.state.send_replace(State::Connected);
        self.route.tell(Notice::Back { is_break: !is_first });
    }

    async fn prepare(&self) -> Result<(), String> {
        let config = Arc::clone(&self.config.borrow());
        let payload_max = self.client.max_payload() as u64;
        let message_max = config.spec.max_message_size.bytes();
        if payload_max < message_max + AROUND_BYTES_MAX {
            return Err(format!(
                "the server's max_payload is {payload_max} bytes, must be at least maxMessageSize and 4 KiB, {} bytes",
                message_max + AROUND_BYTES_MAX
            ));
        }
        if !self.echo.comes_back("greet").await {
            return Err("it does not carry a message of ours back to us".to_owned());
        }
        // Also when it is back: a stream may be another one, and nobody may be told of a place in it
        // by the epoch of the old one.
        let wanted = wanted(&config);
        let bounds = if self.was_there { Bounds::Keep } else { Bounds::Change };
        let ensured = self.streams.ensure(&wanted, bounds).await;
        ensured.map_err(|error| self.explained(&error.to_string()))?;
        if !self.was_there {
            self.streams.remove_others(&wanted).await;
        }
        Ok(())
    }

    /// An error of the streams, with what is behind it where that is known.
    fn explained(&self, error: &str) -> String {
        if self.client.server_info().jetstream {
            error.to_owned()
        } else {
            format!(
                "{error}; this server has no JetStream (start it with -js, or with a jetstream block)"
            )
        }
    }

    fn lost(&self, why: &str) {
        self.connected.set(false);
        self.metrics.broker_connected.set(0);
        self.wire.send_replace(Wire::Down);
        if *self.state.borrow() == State::Connected {
            warn!(event = "broker_lost", why, "NATS is lost: clients stay, publishing has to wait");
            self.state.send_replace(State::Lost);
            self.route.tell(Notice::Lost);
        }
    }

    /// Something that came was lost on the way.
    fn breaks(&self) {
        if *self.state.borrow() == State::Connected {
            self.route.begin_anew(true);
        }
    }
}

fn complain(error: &ServerError) {
    warn!(event = "broker_error", %error, "NATS reports an error");
}

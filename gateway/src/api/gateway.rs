//! What the internal port asks of a gateway.
//!
//! The workers' handle implements it. Names, sizes and limits are checked before a call; whether
//! a rule matches, who is there and what is stored only the gateway knows.

use bytes::Bytes;
use http::HeaderValue;

use super::{
    error::ApiError,
    keys::ApiKeys,
    status::{Reason, Status},
    views::{Channels, Connections, Counted, HistoryPage, Presence, Stats},
};
use crate::protocol::{
    position::{ClientPosition, Position},
    topic::Topic,
};

/// A publication for one or more channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// 1 to 100 channels.
    pub channels: Vec<Topic>,
    /// JSON without insignificant white space, at most `spec.maxMessageSize`.
    pub data: Bytes,
    /// What makes a retry harmless, 1 to 64 bytes.
    pub key: Option<String>,
    /// The name of a connection that does not get it, 1 to 64 bytes.
    pub exclude: Option<String>,
    /// The request's header as it came, at most 128 bytes.
    pub traceparent: Option<HeaderValue>,
}

/// Something for everybody, for a user or for one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// JSON without insignificant white space, at most `spec.maxMessageSize`.
    pub data: Bytes,
    /// The request's header as it came, at most 128 bytes.
    pub traceparent: Option<HeaderValue>,
}

/// Which connections are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// All that a user has, 1 to 255 bytes.
    User(String),
    /// The one of this name, 1 to 64 bytes.
    Connection(String),
}

/// How connections are closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disconnect {
    /// The application's own close code, 4100 to 4199 or 4900 to 4999; `None` is 4500.
    pub code: Option<u16>,
    /// What the close frame says, at most 123 bytes (RFC 6455, section 5.5).
    pub reason: Option<String>,
}

/// What is no longer good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// A token or a user.
    pub revoked: Revoked,
    /// Until when to remember it, in seconds since 1970; by then its last token has expired.
    pub expires: u64,
}

/// Whom a revocation is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// The token of this `jti`, 1 to 255 bytes.
    Jti(String),
    /// Every token of this user, 1 to 255 bytes.
    User(String),
}

/// Whether an answer is about the gateway or about the pod that was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All pods of the gateway.
    #[default]
    Gateway,
    /// This one.
    Pod,
}

/// A part of a list. Lists are in the order of their names' bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only what comes after this name.
    pub after: Option<String>,
    /// 1 to 1,000.
    pub limit: usize,
    /// Where to look.
    pub scope: Scope,
}

/// A gateway as its internal port sees it.
///
/// Calls that wait are given up after [`ANSWER_TIMEOUT`](super::error::ANSWER_TIMEOUT); dropping
/// such a call must lose nothing but its answer.
pub trait Gateway: Send + Sync + 'static {
    /// Publishes to every channel; where one has no rule, to none. One position for each channel,
    /// in order, `None` without history.
    ///
    /// # Errors
    ///
    /// [`NoRule`](ApiError::NoRule); [`Unavailable`](ApiError::Unavailable) also where only some
    /// channels got it, so that a retry with the same key makes it whole.
    fn publish(
        &self,
        publish: Publish,
    ) -> impl Future<Output = Result<Vec<Option<Position>>, ApiError>> + Send;

    /// Sends to every connection; the position where `@all` has history.
    fn broadcast(
        &self,
        message: Message,
    ) -> impl Future<Output = Result<Option<Position>, ApiError>> + Send;

    /// Sends to a user or to one connection; the position where `@user` has history.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ApiError::NotFound) for a connection that is not there. A user without
    /// connections is no error.
    fn message(
        &self,
        to: Target,
        message: Message,
    ) -> impl Future<Output = Result<Option<Position>, ApiError>> + Send;

    /// Closes connections; how many.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ApiError::NotFound) for a connection that is not there.
    fn disconnect(
        &self,
        whom: Target,
        how: Disconnect,
    ) -> impl Future<Output = Result<Counted, ApiError>> + Send;

    /// Subscribes every connection of a user; how many there are.
    ///
    /// # Errors
    ///
    /// [`NoRule`](ApiError::NoRule).
    fn subscribe(
        &self,
        user: String,
        channel: Topic,
    ) -> impl Future<Output = Result<Counted, ApiError>> + Send;

    /// Ends the subscriptions of every connection of a user; how many there were.
    fn unsubscribe(
        &self,
        user: String,
        channel: Topic,
    ) -> impl Future<Output = Result<Counted, ApiError>> + Send;

    /// Refuses a token or a user from now on, and closes what they have; how many.
    ///
    /// # Errors
    ///
    /// [`Full`](ApiError::Full) where no more can be remembered.
    fn revoke(
        &self,
        revocation: Revocation,
    ) -> impl Future<Output = Result<Counted, ApiError>> + Send;

    /// The figures since the start.
    fn stats(&self, scope: Scope) -> impl Future<Output = Result<Stats, ApiError>> + Send;

    /// Connections by name.
    fn connections(&self, page: Page)
    -> impl Future<Output = Result<Connections, ApiError>> + Send;

    /// Channels with subscribers or history, by name. `@all` and `@user` are not among them.
    fn channels(&self, page: Page) -> impl Future<Output = Result<Channels, ApiError>> + Send;

    /// Who is in a channel, at most 1,000 members.
    ///
    /// # Errors
    ///
    /// [`NoRule`](ApiError::NoRule), [`no_presence`](ApiError::no_presence).
    fn presence(&self, channel: Topic) -> impl Future<Output = Result<Presence, ApiError>> + Send;

    /// What was published after `since`, or the newest; ascending, at most `limit` (1 to 100).
    ///
    /// # Errors
    ///
    /// [`NoRule`](ApiError::NoRule), [`no_history`](ApiError::no_history),
    /// [`EpochChanged`](ApiError::EpochChanged).
    fn history(
        &self,
        channel: Topic,
        since: Option<ClientPosition>,
        limit: usize,
    ) -> impl Future<Output = Result<HistoryPage, ApiError>> + Send;

    /// The state of this pod.
    fn status(&self) -> Status;

    /// Why the process should be restarted; nothing while it works. Must not wait for a worker.
    fn not_live(&self) -> Vec<Reason>;

    /// Why this pod should get no traffic; nothing while it may. Being full is no reason.
    fn not_ready(&self) -> Vec<Reason>;

    /// Every metric in the Prometheus text format 0.0.4.
    fn metrics(&self) -> String;

    /// The keys that count now.
    fn api_keys(&self) -> ApiKeys;

    /// `spec.maxMessageSize` as it is now.
    fn message_bytes_max(&self) -> usize;
}

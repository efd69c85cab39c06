//! What workers and the server API say to a worker.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::{
    auth::revocations::{Revocations, Revoked},
    broker::{
        memory::{Attached, Page, Publish},
        presence::{Member, Notice},
        publication::{ConnectionKey, Publication},
    },
    config::settings::Settings,
    protocol::{
        close::CloseReason,
        error::ErrorCode,
        position::{ClientPosition, Position},
        topic::Topic,
    },
};

/// Who waits for what became of a publication.
#[derive(Debug)]
pub enum Publisher {
    /// Nobody.
    Nobody,
    /// A client; its `id`.
    Client(ConnectionKey, Box<str>),
    /// The server API.
    Api(oneshot::Sender<Option<Position>>),
}

/// Who asked a topic's home.
#[derive(Debug)]
pub enum Asker<T> {
    /// A client; its `id`.
    Client(ConnectionKey, Option<Box<str>>),
    /// The server API.
    Api(oneshot::Sender<T>),
}

/// Which connections are meant.
#[derive(Clone, Debug)]
pub enum Target {
    /// One connection.
    Connection(ConnectionKey),
    /// All of a user's.
    User(Arc<str>),
}

/// Members, and how many there are.
pub type Members = (Vec<Member>, usize);

/// A connection as the server API shows it.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Its name.
    pub key: ConnectionKey,
    /// Its user.
    pub user: Option<Arc<str>>,
    /// Its subscriptions.
    pub subscriptions: usize,
    /// How long it lives, in milliseconds.
    pub age_ms: u64,
}

/// Something for a worker to do.
#[derive(Debug)]
pub enum Message {
    /// To a home: order, keep and hand on.
    Publish { publish: Publish, except: Option<ConnectionKey>, publisher: Publisher },
    /// To a home: a worker begins to listen, for a connection.
    Attach { topic: Topic, connection: ConnectionKey, recover: Option<ClientPosition>, member: Option<Member> },
    /// To a home: nobody on a worker listens any more.
    Detach { topic: Topic, worker: usize },
    /// To a home: a connection is no longer in a channel.
    Leave { topic: Topic, connection: ConnectionKey },
    /// To a home: what is kept?
    History { topic: Topic, since: Option<ClientPosition>, limit: usize, asker: Asker<Option<Result<Page, ErrorCode>>> },
    /// To a home: who is here?
    Presence { topic: Topic, asker: Asker<Members> },
    /// From a home: for everybody who listens.
    Deliver { publication: Arc<Publication>, except: Option<ConnectionKey> },
    /// From a home: about presence.
    Notice(Notice),
    /// From a home: an answer to `Attach`.
    Attached { topic: Topic, connection: ConnectionKey, recover: Option<ClientPosition>, attached: Attached },
    /// From a home: history began anew or ended.
    Gap { topic: Topic, position: Option<Position> },
    /// From a home: an envelope for one connection.
    Answer { connection: ConnectionKey, frame: bytes::Bytes },
    /// The configuration changed.
    Configure(Arc<Settings>),
    /// Close what is here, spread over so many milliseconds.
    Drain { period_ms: u64 },
    /// Close everything now.
    Stop,
    /// Close some connections; how many.
    Disconnect { target: Target, reason: CloseReason, done: oneshot::Sender<usize> },
    /// Send something to one connection; whether it is here.
    Send { connection: ConnectionKey, data: bytes::Bytes, done: oneshot::Sender<bool> },
    /// Subscribe or unsubscribe a user's connections; how many.
    Subscribe { user: Arc<str>, topic: Topic, is_on: bool, done: oneshot::Sender<usize> },
    /// Somebody is no longer welcome.
    Revoke { revoked: Revoked, all: Arc<Revocations>, done: oneshot::Sender<usize> },
    /// List connections.
    Connections(oneshot::Sender<Vec<ConnectionInfo>>),
    /// List topics and their subscribers.
    Channels(oneshot::Sender<Vec<(Topic, usize)>>),
}

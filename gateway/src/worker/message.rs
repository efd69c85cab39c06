//! What workers and the rest of the process say to a worker.

use std::{sync::Arc, time::Duration};

use ahash::AHashSet;
use tokio::sync::oneshot;

use super::{key::ConnectionKey, settings::Settings};
use crate::{
    auth::revocations::Revoked,
    broker::{
        Announcement, Attached, ClientPosition, HistoryError, HistoryPage, Member, Members,
        Position, PresenceMode, Publication, Publish, Reset,
        nats::{
            follow::{Found, Top},
            link::{Lost, Notice},
        },
    },
    protocol::{Dialect, close::CloseReason, encoded::Encoded, topic::Topic},
};

/// Something for a worker to do.
#[derive(Debug)]
pub enum Message {
    /// To a home: order, keep and hand on.
    Publish(Publish, Asker<Option<Position>>),
    /// To a home: this worker wants what is published, for a connection that may want to recover.
    Attach(Attach),
    /// To a home: a connection is in a channel.
    Join(Topic, Member, PresenceMode),
    /// To a home: a connection is no longer in a channel.
    Leave(Topic, Arc<str>),
    /// To a home: nobody on a worker listens any more.
    Detach(Topic, usize),
    /// To a home: what is kept?
    History(HistoryQuestion, Asker<Result<HistoryPage, HistoryError>>),
    /// To a home: what is to be replayed to a subscription next?
    Resume(SubscriptionKey, Position),
    /// To a home: who is here?
    Presence(Topic, Asker<Members>),
    /// From a home: for everybody who listens.
    Deliver(Arc<Publication>),
    /// From a home: the answer to [`Message::Attach`].
    Attached(SubscriptionKey, Attached),
    /// From a home: the answer to [`Message::Resume`].
    Resumed(SubscriptionKey, Result<HistoryPage, HistoryError>),
    /// From a home: about presence.
    Announce(Announcement),
    /// From a home: history was switched on or off.
    Reset(Reset),
    /// From a home: what is published does not come here, and whoever subscribes is to ask.
    Deaf(Reset),
    /// From a home: an envelope for one connection.
    Reply(ConnectionKey, Encoded),
    /// From a home: what a connection asked for, not yet in words: who does not read what was asked
    /// for before must not make us write more.
    Answer(ConnectionKey, Option<Box<str>>, Topic, Answered),
    /// From a home: a subscription could not begin; it may be tried again.
    Unattached(SubscriptionKey),
    /// From a home: what is at this position and before it, and did not come, is lost.
    Gap(Reset),
    /// From a home: what a connection asked for cannot be done now.
    Unavailable(ConnectionKey, Option<Box<str>>),
    /// To a home, or to all: what the broker between pods says.
    Heard(Heard),
    /// From everywhere else.
    Command(Command),
}

impl Message {
    /// About what a publication costs while it waits here.
    pub fn bytes(&self) -> usize {
        /// So that many small ones are not too many.
        const EACH: usize = 1_024;
        match self {
            Self::Publish(publish, _) => EACH + publish.data.len(),
            Self::Heard(Heard::Notice(Notice::Came(_, came))) => EACH + came.publish.data.len(),
            Self::Heard(
                Heard::Filled(.., Ok(found))
                | Heard::Recovered(_, Ok(found))
                | Heard::Resumed(_, Ok(found)),
            ) => {
                let bytes = |it: &Arc<Publication>| EACH + it.payload(Dialect::V1).len();
                found.messages.iter().map(bytes).sum()
            }
            Self::Deliver(publication) => EACH + publication.payload(Dialect::V1).len(),
            _ => 0,
        }
    }
}

/// What the broker between pods says, and what it answers.
#[derive(Debug)]
pub enum Heard {
    /// By itself.
    Notice(Notice),
    /// Where a topic stands; the answer to the question of this number.
    Opened(Topic, u64, Result<Top, Lost>),
    /// What is behind the place up to which a topic was delivered; the answer to the question of this
    /// number.
    Filled(Topic, u64, Result<Found, Lost>),
    /// What is behind the position of a client that comes back.
    Recovered(Box<Attach>, Result<Found, Lost>),
    /// What is to be replayed to a subscription next.
    Resumed(SubscriptionKey, Result<Found, Lost>),
}

/// A worker's wish for what is published to a topic.
#[derive(Debug)]
pub struct Attach {
    /// Which subscription needs it; the answer names it again.
    pub subscription: SubscriptionKey,
    /// Where the client stood when it was last here.
    pub recover: Option<ClientPosition>,
    /// Whether a session opens with it: it stays then, also where it cannot begin now.
    pub opens: bool,
    /// Who joins, where the channel has presence.
    pub member: Option<(Member, PresenceMode)>,
}

/// Tells a subscription from every other one, also from an earlier one of the same connection to the
/// same topic.
#[derive(Clone, Debug)]
pub struct SubscriptionKey {
    /// The topic.
    pub topic: Topic,
    /// The connection.
    pub connection: ConnectionKey,
    /// Another one for each subscription that begins on a worker.
    pub ticket: u32,
}

/// What a client asked a home for.
#[derive(Debug)]
pub enum Answered {
    /// It cannot be said now.
    Unavailable,
    /// A part of a history.
    History(Result<HistoryPage, HistoryError>),
    /// Who is in a channel.
    Presence(Members, IsComplete),
}

/// Whether everybody who was asked has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsComplete(pub bool);

/// What part of a topic's history is wanted.
#[derive(Debug)]
pub struct HistoryQuestion {
    /// Which topic.
    pub topic: Topic,
    /// Only what came after this.
    pub since: Option<ClientPosition>,
    /// How many at most.
    pub limit: usize,
}

/// Who asked a topic's home.
#[derive(Debug)]
pub enum Asker<T> {
    /// Nobody waits for the answer.
    Nobody,
    /// A client, with the `id` of its request.
    Client(ConnectionKey, Option<Box<str>>),
    /// The server API.
    Api(oneshot::Sender<T>),
}

/// What the rest of the process asks of each worker.
#[derive(Debug)]
pub enum Command {
    /// The configuration changed.
    Configure(Arc<Settings>),
    /// Close what is here, spread over this time.
    Drain(Duration),
    /// Close everything now, and end.
    Stop,
    /// Close some connections; how many.
    Disconnect(Target, Ending, oneshot::Sender<usize>),
    /// Send an envelope's data to one connection; whether it is here.
    Send(ConnectionKey, bytes::Bytes, oneshot::Sender<bool>),
    /// Subscribe a user's connections, or end their subscriptions; how many.
    Subscribe(Arc<str>, Topic, IsOn, oneshot::Sender<usize>),
    /// Close whom a revocation is about; how many.
    Revoke(Revoked, oneshot::Sender<usize>),
    /// The pod is full: the longest idle goes.
    MakeRoom,
    /// List connections.
    Connections(oneshot::Sender<Vec<ConnectionView>>),
    /// List channels.
    Channels(oneshot::Sender<Vec<ChannelView>>),
    /// Close whoever is revoked by now; how many.
    Expel(oneshot::Sender<usize>),
    /// Close the connections of users that began at these times: they are beyond the limit.
    Surplus(Arc<AHashSet<u64>>),
}

/// Whether something begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsOn {
    /// It begins.
    On,
    /// It ends.
    Off,
}

/// Which connections are meant.
#[derive(Clone, Debug)]
pub enum Target {
    /// One connection.
    Connection(ConnectionKey),
    /// All of a user's.
    User(Arc<str>),
}

/// How the server API ends a connection.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The reason, which has the code.
    pub reason: CloseReason,
    /// What the close frame says, where that is not the reason's own words.
    pub words: Option<Arc<str>>,
}

/// A connection as the server API shows it.
#[derive(Clone, Debug)]
pub struct ConnectionView {
    /// Its name.
    pub name: Arc<str>,
    /// Its user.
    pub user: Option<Arc<str>>,
    /// Its subscriptions, but for `@all` and `@user`.
    pub subscriptions: usize,
    /// How long it lives.
    pub age: Duration,
}

/// What one worker knows of a channel.
#[derive(Clone, Debug)]
pub struct ChannelView {
    /// Which one.
    pub topic: Topic,
    /// Connections of this worker that are subscribed.
    pub subscribers: usize,
    /// The newest publication, where this worker is the home and the channel has history.
    pub position: Option<Position>,
}

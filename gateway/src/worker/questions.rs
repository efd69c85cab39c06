//! What the server API asks of the workers: of a topic's home, or of all of them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ahash::AHashSet;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    message::{
        Asker, ChannelView, Command, ConnectionView, Ending, HistoryQuestion, IsOn, Message, Target,
    },
    pool::Pool,
};
use crate::{
    auth::revocations::{Full, Revoked},
    broker::{ClientPosition, HistoryError, HistoryPage, Members, Position, Publish},
    protocol::topic::Topic,
};

/// How often a publisher looks whether the workers have caught up.
const CATCH_UP_LOOK: Duration = Duration::from_millis(10);

/// There is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer: the broker is lost, or the gateway stops")]
pub struct Unavailable;

impl Pool {
    async fn ask_home<T>(
        &self,
        topic: &Topic,
        message: impl FnOnce(Asker<T>) -> Message,
    ) -> Result<T, Unavailable> {
        let (done, answer) = oneshot::channel();
        let home = self.shared.workers.get(self.shared.homes.of(topic)).ok_or(Unavailable)?;
        let message = message(Asker::Api(done));
        let room = home.mailbox.reserve().await.map_err(|_| Unavailable)?;
        // Nothing is awaited between the two, or who gives up waiting would be counted for ever.
        self.shared.waits(home, &message);
        room.send(message);
        answer.await.map_err(|_| Unavailable)
    }

    async fn ask_all<T>(
        &self,
        command: impl Fn(oneshot::Sender<T>) -> Command,
    ) -> Result<Vec<T>, Unavailable> {
        let mut answers = Vec::new();
        for side in &self.shared.workers {
            let (done, answer) = oneshot::channel();
            let message = Message::Command(command(done));
            side.mailbox.send(message).await.map_err(|_| Unavailable)?;
            answers.push(answer);
        }
        let mut all = Vec::new();
        for answer in answers {
            all.push(answer.await.map_err(|_| Unavailable)?);
        }
        Ok(all)
    }

    async fn count(
        &self,
        command: impl Fn(oneshot::Sender<usize>) -> Command,
    ) -> Result<usize, Unavailable> {
        Ok(self.ask_all(command).await?.iter().sum())
    }

    /// Publishes; back when it is handed to every worker, and kept where the topic has history.
    pub async fn publish(&self, publish: Publish) -> Result<Option<Position>, Unavailable> {
        while self.shared.is_behind() {
            tokio::time::sleep(CATCH_UP_LOOK).await;
        }
        let topic = publish.topic.clone();
        self.ask_home(&topic, |asker| Message::Publish(publish, asker)).await
    }

    /// A page of a topic's history.
    pub async fn history(
        &self,
        topic: Topic,
        since: Option<ClientPosition>,
        limit: usize,
    ) -> Result<Result<HistoryPage, HistoryError>, Unavailable> {
        let question = HistoryQuestion { topic: topic.clone(), since, limit };
        self.ask_home(&topic, |asker| Message::History(question, asker)).await
    }

    /// Who is in a channel.
    pub async fn presence(&self, topic: &Topic) -> Result<Members, Unavailable> {
        self.ask_home(topic, |asker| Message::Presence(topic.clone(), asker)).await
    }

    /// Closes connections; how many.
    pub async fn disconnect(&self, target: &Target, ending: &Ending) -> Result<usize, Unavailable> {
        self.count(|done| Command::Disconnect(target.clone(), ending.clone(), done)).await
    }

    /// Sends something to one connection; whether it is here.
    pub async fn send(&self, connection: &str, data: &Bytes) -> Result<bool, Unavailable> {
        let Some(key) = self.shared.names.key(connection) else { return Ok(false) };
        let all = self.ask_all(|done| Command::Send(key, data.clone(), done)).await?;
        Ok(all.contains(&true))
    }

    /// Subscribes the connections of a user, or ends their subscriptions; how many there are.
    pub async fn subscribe(
        &self,
        user: &Arc<str>,
        topic: &Topic,
        is_on: IsOn,
    ) -> Result<usize, Unavailable> {
        self.count(|done| Command::Subscribe(Arc::clone(user), topic.clone(), is_on, done)).await
    }

    /// Revokes a token or a user until `expires`; how many connections ended.
    pub async fn revoke(
        &self,
        revoked: &Revoked,
        expires: u64,
        now: u64,
    ) -> Result<Result<usize, Full>, Unavailable> {
        // Before those who are here go, so that none of them comes back in between.
        let added = self.shared.revocations.write().add(revoked.clone(), expires, now);
        if let Err(full) = added {
            return Ok(Err(full));
        }
        self.count(|done| Command::Revoke(revoked.clone(), done)).await.map(Ok)
    }

    /// Revokes many at once; how many connections ended.
    pub async fn revoke_all(
        &self,
        revoked: Vec<(Revoked, u64)>,
        now: u64,
    ) -> Result<Result<usize, Full>, Unavailable> {
        let added = {
            let mut revocations = self.shared.revocations.write();
            let is_good = |(_, expires): &(Revoked, u64)| *expires > now;
            let mut good = revoked.into_iter().filter(is_good);
            good.try_for_each(|(revoked, expires)| revocations.add(revoked, expires, now))
        };
        // Those that were added count, whatever became of the rest.
        let count = self.count(Command::Expel).await?;
        Ok(added.map(|()| count))
    }

    /// Closes the connections of users that began at these times.
    pub async fn close_surplus(&self, openings: AHashSet<u64>) {
        if !openings.is_empty() {
            let openings = Arc::new(openings);
            self.tell(|| Command::Surplus(Arc::clone(&openings))).await;
        }
    }

    /// Every connection, by name.
    pub async fn connections(&self) -> Result<Vec<ConnectionView>, Unavailable> {
        let mut all: Vec<_> =
            self.ask_all(Command::Connections).await?.into_iter().flatten().collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Every channel with subscribers or history, by name.
    pub async fn channels(&self) -> Result<Vec<ChannelView>, Unavailable> {
        let mut all = BTreeMap::<Topic, ChannelView>::new();
        for view in self.ask_all(Command::Channels).await?.into_iter().flatten() {
            match all.get_mut(&view.topic) {
                Some(known) => {
                    known.subscribers += view.subscribers;
                    known.position = known.position.or(view.position);
                }
                None => drop(all.insert(view.topic.clone(), view)),
            }
        }
        Ok(all.into_values().collect())
    }
}

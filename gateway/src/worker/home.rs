//! What a worker does for the topics whose home it is: order, keep, and say who is to have it.

use std::sync::Arc;

use super::{
    life::{Broker, Worker},
    message::{Answered, Asker, Attach, HistoryQuestion, IsComplete, Message, SubscriptionKey},
    shared::Shared,
};
use crate::{
    broker::{
        Announcement, HistoryError, HistoryPage, Member, Members, Outcome, Position, PresenceMode,
        Publication, Publish, WorkerSet,
    },
    protocol::{Dialect, encoded::Encoded, reply, topic::Topic},
};

/// What a `history` reply holds at most, in bytes, so that it fits beside what else waits; and what
/// of a replay is away from the history, where `historyBytes` bounds it.
pub const PAGE_BYTES_MAX: usize = 256 * 1024;

/// Publications of a replay that are asked for at a time.
pub const REPLAY_PAGE: usize = 64;

impl Worker {
    pub fn publish(&mut self, publish: Publish, asker: Asker<Option<Position>>) {
        let history = self.settings.history(&publish.topic);
        let topic = publish.topic.clone();
        let Broker::Memory(partition) = &mut self.broker else {
            return self.publish_to_all(publish, asker);
        };
        let position = match partition.publish(self.now, publish, history) {
            Outcome::Duplicate(position) => Some(position),
            Outcome::Published { publication, to } => {
                let position = publication.position;
                self.hand_on(&publication, to);
                position
            }
        };
        match asker {
            Asker::Nobody => {}
            // Who has given up waiting has no use for the answer.
            Asker::Api(done) => drop(done.send(position)),
            Asker::Client(connection, id) => {
                let offset = position.map(|it| it.offset);
                let reply = Encoded::text(96, |out| {
                    reply::published(out, id.as_deref(), topic.name(), offset);
                });
                self.shared.send(connection.worker(), Message::Reply(connection, reply));
            }
        }
    }

    /// Hands a publication to the workers with subscribers.
    pub fn hand_on(&self, publication: &Arc<Publication>, to: WorkerSet) {
        self.tell_workers(to, || Message::Deliver(Arc::clone(publication)));
    }

    pub fn attach_for(&mut self, attach: Attach) {
        let Broker::Memory(partition) = &mut self.broker else { return self.seat_attach(attach) };
        let Attach { subscription, recover, member, .. } = attach;
        let topic = subscription.topic.clone();
        let history = self.settings.history(&topic);
        let worker = subscription.connection.worker();
        let mut attached =
            partition.attach(self.now, &topic, worker, recover, history, REPLAY_PAGE);
        let fit = fitting(attached.missed.iter(), self.page_bytes_max());
        attached.more |= fit < attached.missed.len();
        attached.missed.truncate(fit);
        self.shared.send(worker, Message::Attached(subscription, attached));
        if let Some((member, mode)) = member {
            self.join_for(&topic, member, mode);
        }
    }

    pub fn join_for(&mut self, topic: &Topic, member: Member, mode: PresenceMode) {
        let Broker::Memory(partition) = &mut self.broker else {
            return self.seat_join(topic, member, mode);
        };
        let announcement = partition.join(self.now, topic, member, mode);
        self.have_announced(announcement);
    }

    pub fn leave_for(&mut self, topic: &Topic, connection: &str) {
        let Broker::Memory(partition) = &mut self.broker else {
            return self.seat_leave(topic, connection);
        };
        let announcement = partition.leave(self.now, topic, connection);
        self.have_announced(announcement);
    }

    pub fn detach_for(&mut self, topic: &Topic, worker: usize) {
        match &mut self.broker {
            Broker::Memory(partition) => partition.detach(self.now, topic, worker),
            Broker::Nats(_) => self.seat_detach(topic, worker),
        }
    }

    /// Gives a subscription the next part of its replay.
    pub fn resume_for(&mut self, subscription: SubscriptionKey, since: Position) {
        let Broker::Memory(partition) = &mut self.broker else {
            return self.seat_resume(subscription, since);
        };
        let topic = &subscription.topic;
        let history = self.settings.history(topic);
        let since = Some(since.into());
        let mut page = partition.history(self.now, topic, since, REPLAY_PAGE, history);
        if let Ok(page) = &mut page {
            shorten(page, true, self.page_bytes_max());
        }
        let worker = subscription.connection.worker();
        self.shared.send(worker, Message::Resumed(subscription, page));
    }

    /// Has every worker with subscribers tell them.
    pub fn have_announced(&self, announcement: impl IntoIterator<Item = Announcement>) {
        for announcement in announcement {
            self.tell_workers(announcement.to, || Message::Announce(announcement.clone()));
        }
    }

    /// Sends the same to each of some workers.
    pub fn tell_workers(&self, to: WorkerSet, message: impl Fn() -> Message) {
        for worker in to.iter() {
            self.shared.send(worker, message());
        }
    }

    pub fn history(
        &mut self,
        question: HistoryQuestion,
        asker: Asker<Result<HistoryPage, HistoryError>>,
    ) {
        let Broker::Memory(partition) = &mut self.broker else {
            return self.seat_history(question, asker);
        };
        let HistoryQuestion { topic, since, limit } = question;
        let history = self.settings.history(&topic);
        let mut page = partition.history(self.now, &topic, since, limit, history);
        if let Ok(page) = &mut page {
            shorten(page, since.is_some(), self.page_bytes_max());
        }
        self.answer_to(asker, topic, page, Answered::History);
    }

    pub fn presence(&mut self, topic: Topic, asker: Asker<Members>) {
        let members = match &self.broker {
            Broker::Memory(partition) => partition.presence(&topic),
            // A client wants to know of all pods; the rest of the process asks each pod for its own.
            Broker::Nats(_) if matches!(asker, Asker::Client(..)) => {
                return self.seat_presence(topic, asker);
            }
            Broker::Nats(seats) => seats.members(&topic),
        };
        let as_answer = |members| Answered::Presence(members, IsComplete(true));
        self.answer_to(asker, topic, members, as_answer);
    }

    /// Answers who asked what is kept or who is here; a client's own worker puts it in words.
    pub fn answer_to<T>(
        &self,
        asker: Asker<T>,
        topic: Topic,
        found: T,
        as_answer: fn(T) -> Answered,
    ) {
        self.shared.answer(asker, topic, found, as_answer);
    }
}

impl Shared {
    /// Answers who asked what is kept or who is here; a client's own worker puts it in words.
    pub fn answer<T>(&self, asker: Asker<T>, topic: Topic, found: T, as_answer: fn(T) -> Answered) {
        match asker {
            Asker::Nobody => {}
            // Who has given up waiting has no use for the answer.
            Asker::Api(done) => drop(done.send(found)),
            Asker::Client(connection, id) => {
                let answer = Message::Answer(connection, id, topic, as_answer(found));
                self.send(connection.worker(), answer);
            }
        }
    }
}

/// Keeps of a page what a client can take at once: the beginning of what came after a position, or
/// the end of what is newest.
pub fn shorten(page: &mut HistoryPage, is_after_position: bool, bytes_max: usize) {
    if is_after_position {
        let kept = fitting(page.messages.iter(), bytes_max);
        page.more |= kept < page.messages.len();
        page.messages.truncate(kept);
    } else {
        let kept = fitting(page.messages.iter().rev(), bytes_max);
        let dropped = page.messages.len().saturating_sub(kept);
        page.messages.drain(..dropped);
    }
}

/// How many of them fit into so many bytes, at least one.
pub fn fitting<'a>(
    publications: impl Iterator<Item = &'a Arc<Publication>>,
    bytes_max: usize,
) -> usize {
    let mut total = 0;
    let fit = publications.take_while(|it| {
        total += it.payload(Dialect::V1).len();
        total <= bytes_max
    });
    fit.count().max(1)
}

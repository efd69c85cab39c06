//! What a worker's mailbox brings, message by message: for the homes, from the homes, from elsewhere.

use super::{
    key::ConnectionKey,
    life::Worker,
    message::{Answered, Message},
};
use crate::{
    broker::{HistoryError, Position},
    protocol::{Dialect, error::ErrorCode, reply, topic::Topic},
};

impl Worker {
    /// Does what one message says.
    pub fn one(&mut self, message: Message) {
        match message {
            Message::Publish(publish, asker) => self.publish(publish, asker),
            Message::Attach(attach) => self.attach_for(attach),
            Message::Join(topic, member, mode) => self.join_for(&topic, member, mode),
            Message::Leave(topic, connection) => self.leave_for(&topic, &connection),
            Message::Detach(topic, worker) => self.detach_for(&topic, worker),
            Message::History(question, asker) => self.history(question, asker),
            Message::Resume(subscription, since) => self.resume_for(subscription, since),
            Message::Presence(topic, asker) => self.presence(topic, asker),
            Message::Deliver(publication) => self.deliver(&[publication]),
            Message::Attached(subscription, attached) => self.attached(&subscription, attached),
            Message::Resumed(subscription, page) => self.resumed(&subscription, page),
            Message::Announce(announcement) => self.announce(&announcement),
            Message::Reset(reset) => self.reset(&reset),
            Message::Deaf(reset) => self.deaf(&reset),
            Message::Reply(connection, encoded) => {
                if self.find(connection).is_some() {
                    self.send(connection.slot(), &encoded);
                }
            }
            Message::Answer(connection, id, topic, answered) => {
                if self.find(connection).is_some_and(|it| it.closing.is_none()) {
                    self.answer(connection, id.as_deref(), &topic, &answered);
                }
            }
            Message::Unattached(subscription) => self.unattached_from_home(&subscription),
            Message::Gap(gap) => self.gap(&gap),
            Message::Unavailable(connection, id) => {
                if self.find(connection).is_some_and(|it| it.closing.is_none()) {
                    let code = ErrorCode::Unavailable;
                    self.error(connection.slot(), id.as_deref(), code, code.words());
                }
            }
            Message::Heard(heard) => self.heard(heard),
            Message::Command(command) => self.command(command),
        }
    }

    /// Answers a client here with what a home elsewhere found.
    fn answer(
        &mut self,
        connection: ConnectionKey,
        id: Option<&str>,
        topic: &Topic,
        answered: &Answered,
    ) {
        let slot = connection.slot();
        let name = topic.name();
        match answered {
            Answered::History(Ok(page)) => {
                if let Some(gap) = page.gap {
                    // What was removed after the client's position is told first.
                    let at = Position { offset: gap.offset + 1, ..gap };
                    self.reply(slot, |out| reply::gap(out, name, Some(at)));
                }
                let dialect = self.find(connection).map_or(Dialect::V1, |it| it.dialect);
                self.reply(slot, |out| {
                    let messages = page.messages.iter().map(|it| it.payload(dialect));
                    reply::history(out, id, name, page.top, messages, page.more);
                });
            }
            Answered::History(Err(error)) => {
                let code = match error {
                    HistoryError::EpochChanged => ErrorCode::EpochChanged,
                    HistoryError::NoHistory => ErrorCode::Forbidden,
                    HistoryError::Unavailable => ErrorCode::Unavailable,
                };
                self.error(slot, id, code, &error.to_string());
            }
            Answered::Unavailable => {
                let code = ErrorCode::Unavailable;
                self.error(slot, id, code, code.words());
            }
            Answered::Presence(members, complete) => self.reply(slot, |out| {
                let shown = members.members.iter().map(|it| it.as_reply());
                reply::presence(out, id, name, shown, members.total, complete.0);
            }),
        }
    }
}

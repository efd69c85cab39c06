//! What is stored of a topic that pods share, for who asks and who replays.

use std::sync::Arc;

use super::Worker;
use crate::{
    broker::{
        ClientPosition, HistoryError, HistoryPage, Position,
        nats::{
            follow::{Found, is_of},
            link::{Done, Lost, Order, Read, What},
        },
    },
    worker::{
        home::{PAGE_BYTES_MAX, REPLAY_PAGE, shorten},
        message::{Answered, Asker, Heard, HistoryQuestion, Message, SubscriptionKey},
    },
};

impl Worker {
    /// What is stored of a topic, for who asked.
    pub fn seat_history(
        &mut self,
        question: HistoryQuestion,
        asker: Asker<Result<HistoryPage, HistoryError>>,
    ) {
        let HistoryQuestion { topic, since, limit } = question;
        let bytes_max = self.page_bytes_max();
        let Some(kept) = self.settings.kept(&topic) else {
            return self.answer_to(asker, topic, Err(HistoryError::NoHistory), Answered::History);
        };
        let shared = Arc::clone(&self.shared);
        let asked = topic.clone();
        let done = Done::new(move |found: Result<Found, Lost>| {
            let mut page = found
                .map_err(|Lost| HistoryError::Unavailable)
                .and_then(|found| page(found, since));
            if let Ok(page) = &mut page {
                shorten(page, since.is_some(), bytes_max);
            }
            shared.answer(asker, asked, page, Answered::History);
        });
        let what = match since {
            Some(since) => What::After { since, is_own: false, limit, done },
            None => What::Newest(limit, done),
        };
        self.order(Order::History(Read { topic, kept, what }));
    }

    /// Gives a subscription the next part of its replay.
    pub fn seat_resume(&mut self, subscription: SubscriptionKey, since: Position) {
        let topic = subscription.topic.clone();
        let Some(kept) = self.settings.kept(&topic) else {
            let worker = subscription.connection.worker();
            let page = Err(HistoryError::NoHistory);
            self.shared.send(worker, Message::Resumed(subscription, page));
            return;
        };
        let shared = Arc::clone(&self.shared);
        let asked = topic.clone();
        let done = Done::new(move |found| {
            shared.to_home(&asked, Message::Heard(Heard::Resumed(subscription, found)));
        });
        let what = What::After { since: since.into(), is_own: false, limit: REPLAY_PAGE, done };
        self.order(Order::Read(Read { topic, kept, what }));
    }

    pub(super) fn resumed_from_stream(
        &mut self,
        subscription: SubscriptionKey,
        found: Result<Found, Lost>,
    ) {
        let bytes_max = self.page_bytes_max();
        let position = self.seat(&subscription.topic).and_then(|it| it.position());
        let worker = subscription.connection.worker();
        let Ok(found) = found else {
            // It asks again when the broker is back.
            let page = Err(HistoryError::Unavailable);
            self.shared.send(worker, Message::Resumed(subscription, page));
            return;
        };
        let is_same = position.is_some_and(|it| it.epoch == found.top.position.epoch);
        let page = if is_same {
            page(found, None).map(|mut page| {
                shorten(&mut page, true, bytes_max);
                // What was delivered live was not held for it.
                let reached = page.messages.last().and_then(|it| it.position);
                page.more |= reached.zip(position).is_some_and(|(a, b)| a.offset < b.offset);
                page
            })
        } else {
            Err(HistoryError::EpochChanged)
        };
        self.shared.send(worker, Message::Resumed(subscription, page));
    }

    /// What a reply or a part of a replay holds at most, in bytes.
    pub fn page_bytes_max(&self) -> usize {
        PAGE_BYTES_MAX.min(self.settings.bounds.bytes_max / 2)
    }
}

/// What a stream had, as a page of a topic's history.
fn page(found: Found, since: Option<ClientPosition>) -> Result<HistoryPage, HistoryError> {
    let Found { top, messages, is_complete, more } = found;
    let top = top.position;
    if since.is_some_and(|it| !is_of(it, top.epoch, u64::MAX)) {
        return Err(HistoryError::EpochChanged);
    }
    let first = messages.first().and_then(|it| it.position);
    let lost = first.map_or(top.offset, |it| it.offset - 1);
    let gap = (!is_complete).then_some(Position { offset: lost, ..top });
    Ok(HistoryPage { top, messages, more, gap })
}

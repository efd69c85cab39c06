//! I3 to I7 in topics with history: a client is always at a place, and nothing behind it is left out.

use std::collections::HashMap;

use super::{
    Client, Event, Invariant, Page, Places, Position, PublicationId, Rules, Run, TopicId, Verdict,
    What,
};

/// Where a client stands in a topic.
#[derive(Clone, Debug, Default)]
struct Stand {
    at: Option<Position>,
    /// When it went on after a break.
    resumed: Option<u64>,
    /// It was told that something was lost just now, but not where.
    is_loose: bool,
    /// What the welcome passed over, until `history` has told it: from here to there.
    passed: Option<(Position, Position)>,
    asked: Vec<(u64, Option<PublicationId>, u64)>,
}

struct Walk<'a> {
    run: &'a Run,
    rules: &'a Rules,
    places: &'a Places,
    client: &'a Client,
    verdict: &'a mut Verdict,
}

/// Walks through all connections of a client.
pub fn check(run: &Run, rules: &Rules, places: &Places, client: &Client, verdict: &mut Verdict) {
    let mut walk = Walk { run, rules, places, client, verdict };
    let mut stands: HashMap<TopicId, Stand> = HashMap::new();
    for session in &client.sessions {
        for stand in stands.values_mut() {
            stand.passed = None;
            stand.asked.clear();
        }
        for event in session.events.iter().filter(|it| run.topic(it.topic).is_kept) {
            walk.step(stands.entry(event.topic).or_default(), event);
        }
    }
    let Some(session) = client.sessions.last().filter(|it| it.ended.is_none()) else { return };
    let end = session.events.last().map_or(session.opened, |it| it.at);
    for (topic, stand) in stands {
        let Some(at) = stand.at.filter(|_| !stand.is_loose) else { continue };
        for (offset, id) in places.after(topic, at) {
            let Some(publication) = run.publication(*id) else { continue };
            if publication.sent + rules.converge_ns < end && !run.closing.contains(id) {
                let what = format!("{offset} never came, and the client was at {}", at.offset);
                walk.verdict.summary.silent += 1;
                walk.verdict.add_for(run, Invariant::Ack, client, Some(topic), &what);
            }
        }
    }
}

impl Walk<'_> {
    fn step(&mut self, stand: &mut Stand, event: &Event) {
        match &event.what {
            What::Subscribed { asked, position, recovered } => {
                self.subscribed(stand, event, *asked, *position, *recovered);
            }
            What::Delivery { offset: Some(offset), publication, .. } => {
                self.delivered(stand, event, *offset, *publication);
            }
            What::Delivery { offset: None, .. } => {
                self.wrong(Invariant::Order, event, "no offset, although there is history");
            }
            What::Gap(Some(gap)) => {
                let told = Position { offset: gap.offset.saturating_sub(1), ..*gap };
                stand.at = match stand.at {
                    Some(at) if at.epoch == gap.epoch => Some(at.max(told)),
                    _ => Some(told),
                };
                self.not_ahead(stand, event);
            }
            What::Gap(None) => stand.is_loose = true,
            What::History(page) => self.history(stand, event, page),
            What::Unsubscribed => *stand = Stand::default(),
        }
    }

    fn subscribed(
        &mut self,
        stand: &mut Stand,
        event: &Event,
        asked: Option<Position>,
        position: Option<Position>,
        recovered: Option<bool>,
    ) {
        let Some(position) = position else {
            return self.wrong(Invariant::Resume, event, "no position, although there is history");
        };
        let before = stand.at.take();
        *stand = Stand { at: Some(position), resumed: Some(event.at), ..Stand::default() };
        match (asked, recovered) {
            (Some(asked), Some(true)) if asked == position => {}
            (Some(asked), Some(true)) => {
                let what = format!("recovered at {position:?}, and asked for {asked:?}");
                self.wrong(Invariant::Resume, event, &what);
                stand.at = Some(asked);
            }
            (Some(_), Some(false)) => self.not_ahead(stand, event),
            (Some(_), None) | (None, Some(_)) => {
                self.wrong(Invariant::Resume, event, "the reply does not fit the question");
            }
            (None, None) => {
                stand.passed = before
                    .filter(|it| it.epoch == position.epoch && it.offset < position.offset)
                    .map(|it| (it, position));
                self.not_ahead(stand, event);
            }
        }
    }

    /// A place that nobody had reached yet when it was told hides what comes until then.
    fn not_ahead(&mut self, stand: &Stand, event: &Event) {
        let Some(at) = stand.at else { return };
        let later =
            |id: &PublicationId| self.run.publication(*id).is_some_and(|it| it.sent > event.at);
        let hidden: Vec<_> = self.places.until(event.topic, at).take_while(later).collect();
        for id in hidden {
            let what = format!("{at:?} was told before publication {} was sent", id.0);
            self.verdict.summary.silent += 1;
            self.wrong(Invariant::Gap, event, &what);
        }
    }

    fn delivered(
        &mut self,
        stand: &mut Stand,
        event: &Event,
        offset: u64,
        publication: Option<PublicationId>,
    ) {
        let Some(at) = stand.at else { return };
        if offset <= at.offset {
            let is_known = publication.is_some_and(|it| self.had_before(event, it));
            let invariant = if is_known { Invariant::Once } else { Invariant::Order };
            let what = format!("{offset} came, and the client was at {} already", at.offset);
            return self.wrong(invariant, event, &what);
        }
        self.in_time(stand.resumed, event, publication);
        let is_told = std::mem::take(&mut stand.is_loose);
        let missing = self.places.after(event.topic, at);
        for (missing, id) in missing.iter().take_while(|it| it.0 < offset && !is_told) {
            self.missing(stand.resumed, event, *missing, *id, at);
        }
        stand.at = Some(Position { offset, ..at });
    }

    /// What was not lost came soon after it was sent, or could come: it waited for no other.
    fn in_time(&mut self, resumed: Option<u64>, event: &Event, id: Option<PublicationId>) {
        let Some(publication) = id.and_then(|it| self.run.publication(it)) else { return };
        let Rules { broken_until, told_ns, .. } = self.rules;
        let since = publication.sent.max(*broken_until).max(resumed.unwrap_or_default());
        if event.at > since + told_ns {
            let late = (event.at - since) / 1_000_000;
            self.wrong(Invariant::Ack, event, &format!("came {late} ms after it could have"));
        }
    }

    fn missing(
        &mut self,
        resumed: Option<u64>,
        event: &Event,
        offset: u64,
        id: PublicationId,
        at: Position,
    ) {
        let sent = self.run.publication(id).map_or(0, |it| it.sent);
        let invariant = if !self.places.is_seen(id) {
            Invariant::Ack
        } else if resumed.is_some_and(|it| sent < it) {
            Invariant::Resume
        } else {
            Invariant::Gap
        };
        self.verdict.summary.silent += 1;
        let what = format!("{offset} (publication {}) is missing after {}", id.0, at.offset);
        self.wrong(invariant, event, &what);
    }

    /// A page is everything from where it was asked for to its end, in order, and the pages together
    /// tell what the welcome passed over.
    fn history(&mut self, stand: &mut Stand, event: &Event, page: &Page) {
        let Page { since, top, more, messages } = page;
        if since.epoch != top.epoch {
            return self.wrong(Invariant::Resume, event, "a page of another epoch");
        }
        let mut at = since.offset;
        for (offset, ..) in messages {
            if *offset <= at {
                self.wrong(
                    Invariant::Order,
                    event,
                    &format!("{offset} comes after {at} in a page"),
                );
            }
            at = *offset;
        }
        let end = if *more { at } else { at.max(top.offset) };
        self.complete(stand.resumed, event, *since, end, messages);
        stand.asked.extend(messages.iter().copied());
        if let Some((from, to)) = stand.passed.filter(|_| !more) {
            let told = std::mem::take(&mut stand.asked);
            stand.passed = None;
            if end < to.offset {
                self.complete(
                    stand.resumed,
                    event,
                    Position { offset: end, ..from },
                    to.offset,
                    &told,
                );
            }
        }
    }

    fn complete(
        &mut self,
        resumed: Option<u64>,
        event: &Event,
        since: Position,
        end: u64,
        told: &[(u64, Option<PublicationId>, u64)],
    ) {
        let places = self.places;
        for (offset, id) in places.after(event.topic, since).iter().take_while(|it| it.0 <= end) {
            // Sorted, unless that was told of.
            if told.binary_search_by_key(offset, |it| it.0).is_err() {
                self.missing(resumed, event, *offset, *id, since);
            }
        }
    }

    fn had_before(&self, event: &Event, id: PublicationId) -> bool {
        let events = self.client.sessions.iter().flat_map(|it| &it.events);
        let mut before = events.take_while(|it| !std::ptr::eq(*it, event));
        before.any(
            |it| matches!(it.what, What::Delivery { publication: Some(other), .. } if other == id),
        )
    }

    fn wrong(&mut self, invariant: Invariant, event: &Event, what: &str) {
        self.verdict.add(self.run, invariant, self.client, event, what);
    }
}

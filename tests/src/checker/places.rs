//! Where each publication lies, from what publishers and clients were told together.

use std::collections::{HashMap, HashSet};

use super::{
    Epoch, Invariant, Outcome, Position, PublicationId, Run, TopicId, Verdict, Violation, What,
};

/// Where the publications of topics with history lie, and which publications anybody saw.
#[derive(Debug, Default)]
pub struct Places {
    /// The publications of a topic in one epoch, by offset.
    orders: HashMap<(TopicId, Epoch), Vec<(u64, PublicationId)>>,
    /// Those of a topic, by the time when they were sent.
    sent: HashMap<TopicId, Vec<PublicationId>>,
    seen: Vec<bool>,
    /// The epochs that anybody heard of.
    epochs: HashMap<TopicId, HashSet<Epoch>>,
}

/// A place and how many clients saw the publication there.
type Sightings = Vec<(Position, usize, usize)>;

impl Places {
    /// Places everything that can be, and tells of what lies at two places, or two at one.
    pub fn find(run: &Run, verdict: &mut Verdict) -> Self {
        let mut places = Self { seen: vec![false; run.publications.len()], ..Self::default() };
        let mut sightings = vec![Sightings::new(); run.publications.len()];
        for (number, client) in run.clients.iter().enumerate() {
            for session in &client.sessions {
                places.look(session, number, &mut sightings);
            }
        }
        let mut placed: Vec<Option<Position>> = run
            .publications
            .iter()
            .zip(&sightings)
            .map(|(publication, seen)| place(publication.outcome, seen))
            .collect();
        for (number, publication) in (0..).zip(&run.publications) {
            places.sent.entry(publication.topic).or_default().push(PublicationId(number));
        }
        for (topic, sent) in &mut places.sent {
            sent.sort_by_key(|it| run.publications[it.0 as usize].sent);
            if let Some(epochs) = places.epochs.get(topic) {
                verdict.summary.unplaced += place_by_time(run, sent, epochs, &mut placed);
            }
        }
        for ((number, place), seen) in (0..).zip(&placed).zip(&sightings) {
            let Some(place) = place else { continue };
            let topic = run.publications[number as usize].topic;
            let order = places.orders.entry((topic, place.epoch)).or_default();
            order.push((place.offset, PublicationId(number)));
            for (other, count, client) in seen.iter().filter(|(it, ..)| it != place) {
                verdict.push(Violation {
                    invariant: Invariant::Order,
                    client: run.clients[*client].name.clone(),
                    topic: run.topic(topic).name.clone(),
                    at: None,
                    what: format!(
                        "publication {number} lies at {place:?}, and {count} got it at {other:?}"
                    ),
                });
            }
        }
        for ((topic, _), order) in &mut places.orders {
            order.sort_unstable();
            in_order(run, *topic, order, verdict);
        }
        places
    }

    fn look(&mut self, session: &super::Session, client: usize, sightings: &mut [Sightings]) {
        let mut epochs: HashMap<TopicId, Epoch> = HashMap::new();
        let mut saw = |id: PublicationId, position: Option<Position>| {
            let Some(is_seen) = self.seen.get_mut(id.0 as usize) else { return };
            *is_seen = true;
            let Some(position) = position else { return };
            let sightings = &mut sightings[id.0 as usize];
            match sightings.iter_mut().find(|it| it.0 == position) {
                Some(sighting) => sighting.1 += 1,
                None => sightings.push((position, 1, client)),
            }
        };
        for event in &session.events {
            match &event.what {
                What::Subscribed { position: Some(position), .. } | What::Gap(Some(position)) => {
                    epochs.insert(event.topic, position.epoch);
                    self.epochs.entry(event.topic).or_default().insert(position.epoch);
                }
                What::Delivery { offset, publication: Some(id), .. } => {
                    let epoch = epochs.get(&event.topic).copied();
                    let position = epoch.zip(*offset);
                    saw(*id, position.map(|(epoch, offset)| Position { epoch, offset }));
                }
                What::History(page) => {
                    let epoch = page.top.epoch;
                    for (offset, id, _) in &page.messages {
                        let position = Position { epoch, offset: *offset };
                        if let Some(it) = id {
                            saw(*it, Some(position));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether anybody got it.
    pub fn is_seen(&self, id: PublicationId) -> bool {
        self.seen.get(id.0 as usize).copied().unwrap_or_default()
    }

    /// What lies behind a position, in order.
    pub fn after(&self, topic: TopicId, position: Position) -> &[(u64, PublicationId)] {
        let order = self.orders.get(&(topic, position.epoch)).map_or(&[][..], |it| it);
        let first = order.partition_point(|(offset, _)| *offset <= position.offset);
        order.get(first..).unwrap_or_default()
    }

    /// What lies at a position and before it, the newest first.
    pub fn until(
        &self,
        topic: TopicId,
        position: Position,
    ) -> impl Iterator<Item = PublicationId> + '_ {
        let order = self.orders.get(&(topic, position.epoch)).map_or(&[][..], |it| it);
        let last = order.partition_point(|(offset, _)| *offset <= position.offset);
        order.get(..last).unwrap_or_default().iter().rev().map(|it| it.1)
    }

    /// What was sent to a topic from then on, in the order in which it was.
    pub fn sent_since(&self, run: &Run, topic: TopicId, time: u64) -> &[PublicationId] {
        let sent = self.sent.get(&topic).map_or(&[][..], |it| it);
        let first = sent.partition_point(|it| run.publications[it.0 as usize].sent < time);
        sent.get(first..).unwrap_or_default()
    }
}

/// Where it says itself that it lies, else where most saw it.
fn place(outcome: Outcome, seen: &Sightings) -> Option<Position> {
    if let Outcome::Acked { epoch: Some(epoch), offset: Some(offset) } = outcome {
        return Some(Position { epoch, offset });
    }
    let agrees = |position: &Position| match outcome {
        Outcome::Acked { offset: Some(offset), .. } => offset == position.offset,
        _ => true,
    };
    let best = seen.iter().max_by_key(|(position, count, _)| (agrees(position), *count))?;
    match outcome {
        // The acknowledgement is believed; whoever saw it elsewhere is told of.
        Outcome::Acked { offset: Some(offset), .. } => Some(Position { offset, ..best.0 }),
        _ => Some(best.0),
    }
}

/// Places those that a client published and nobody saw: an acknowledgement to a client does not say
/// the epoch. One epoch follows another, so it is that of its neighbours in time if they agree, or
/// the only one there was. Says how many remain.
fn place_by_time(
    run: &Run,
    sent: &[PublicationId],
    epochs: &HashSet<Epoch>,
    placed: &mut [Option<Position>],
) -> usize {
    let only = epochs.iter().next().filter(|_| epochs.len() == 1).copied();
    let known: Vec<_> = sent.iter().map(|it| placed[it.0 as usize].map(|it| it.epoch)).collect();
    let mut after = vec![None; sent.len()];
    for i in (1..sent.len()).rev() {
        after[i - 1] = known[i].or(after[i]);
    }
    let (mut before, mut left) = (None, 0);
    for ((id, known), after) in sent.iter().zip(&known).zip(after) {
        before = known.or(before);
        let Outcome::Acked { offset: Some(offset), .. } = run.publications[id.0 as usize].outcome
        else {
            continue;
        };
        match only.or(before.filter(|it| after == Some(*it))) {
            _ if known.is_some() => {}
            Some(epoch) => placed[id.0 as usize] = Some(Position { epoch, offset }),
            None => left += 1,
        }
    }
    left
}

/// I3 for all together: an offset names one publication, and a publisher's order is kept.
fn in_order(run: &Run, topic: TopicId, order: &[(u64, PublicationId)], verdict: &mut Verdict) {
    let mut lanes: HashMap<u32, u32> = HashMap::new();
    let mut last = None;
    for (offset, id) in order {
        let publication = &run.publications[id.0 as usize];
        let mut wrong = |what: String| {
            verdict.push(Violation {
                invariant: Invariant::Order,
                client: format!("publisher {}", publication.lane),
                topic: run.topic(topic).name.clone(),
                at: Some(publication.sent),
                what,
            });
        };
        if last == Some(*offset) {
            wrong(format!("offset {offset} names two publications"));
        }
        last = Some(*offset);
        let before = lanes.insert(publication.lane, publication.seq);
        if before.is_some_and(|it| it >= publication.seq) {
            let seq = publication.seq;
            wrong(format!("{seq} lies after {before:?} at {offset}, and was sent before it"));
        }
    }
}

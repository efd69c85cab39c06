//! A history as it should be is clean; each way to spoil it is noticed, by the promise it breaks.

#![allow(clippy::cast_possible_truncation, reason = "every number here is small")]

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;
const CLIENTS: u32 = 6;

fn rules() -> Rules {
    Rules {
        broken_from: 0,
        broken_until: 0,
        told_ns: 20 * MS,
        cut_reach_ns: 20 * MS,
        settle_ns: 2 * MS,
        converge_ns: 50 * MS,
        alone: Vec::new(),
    }
}

/// Chance that can be had again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// What a client has of one topic.
#[derive(Clone, Copy, Default)]
struct Ear {
    position: Option<Position>,
    /// It misses what comes since then, and will be told.
    deaf: Option<u64>,
}

/// A gateway that keeps its promises, and everybody's diary.
struct World {
    run: Run,
    now: u64,
    dice: Dice,
    epochs: Vec<u32>,
    stored: Vec<Vec<(u64, u32)>>,
    ears: Vec<Vec<Ear>>,
}

const LIVE: u32 = 2;

impl World {
    fn new(seed: u64) -> Self {
        let topic =
            |name: &str, user, is_kept| Topic { tenant: 0, name: name.into(), user, is_kept };
        let mut topics = vec![
            topic("kept.0", None, true),
            topic("kept.1", None, true),
            topic("live.0", None, false),
            topic("live.1", None, false),
        ];
        topics.extend((0..CLIENTS).map(|it| topic("@user", Some(it), true)));
        let client = |it: u32| Client {
            name: format!("client {it}"),
            user: it,
            wants: (0..4).chain([4 + it]).map(TopicId).collect(),
            ..Client::default()
        };
        let count = topics.len();
        let run = Run { topics, clients: (0..CLIENTS).map(client).collect(), ..Run::default() };
        let ears = vec![vec![Ear::default(); count]; CLIENTS as usize];
        Self {
            run,
            now: MS,
            dice: Dice(seed),
            epochs: vec![0; count],
            stored: vec![Vec::new(); count],
            ears,
        }
    }

    fn clean(seed: u64) -> Run {
        let mut world = Self::new(seed);
        (0..CLIENTS as usize).for_each(|it| world.connect(it));
        for _ in 0..600 {
            world.now += MS;
            (0..CLIENTS as usize).for_each(|it| world.tell(it, world.now.saturating_sub(10 * MS)));
            let client = world.dice.below(CLIENTS.into()) as usize;
            match world.dice.below(60) {
                0..=1 => world.disconnect(client),
                2..=5 => world.connect(client),
                6..=8 => world.deafen(client),
                15 => world.empty(),
                _ => {
                    let topic = world.dice.below(world.stored.len() as u64) as u32;
                    world.publish(topic);
                }
            }
        }
        for client in 0..CLIENTS as usize {
            world.connect(client);
            world.tell(client, world.now);
        }
        world.now += 30 * MS;
        for topic in 0..world.stored.len() as u32 {
            while world.run.closing.len() <= topic as usize {
                let id = world.publish(topic);
                let outcome = world.run.publication(id).map(|it| it.outcome);
                world.run.closing.extend((outcome != Some(Outcome::Unknown)).then_some(id));
            }
        }
        world.now += 100 * MS;
        // So that everybody was there at the end of the run.
        for client in 0..CLIENTS as usize {
            world.note(client, LIVE, What::Gap(None));
        }
        world.run
    }

    fn is_here(&self, client: usize) -> bool {
        self.run.clients[client].sessions.last().is_some_and(|it| it.ended.is_none())
    }

    fn note(&mut self, client: usize, topic: u32, what: What) {
        let event = Event { at: self.now, topic: TopicId(topic), what };
        self.run.clients[client].sessions.last_mut().unwrap().events.push(event);
    }

    fn top(&self, topic: u32) -> Position {
        let offset = self.stored[topic as usize].last().map_or(0, |it| it.0);
        Position { epoch: Epoch(self.epochs[topic as usize]), offset }
    }

    fn publish(&mut self, topic: u32) -> PublicationId {
        let id = self.run.publications.len() as u32;
        let is_kept = self.run.topics[topic as usize].is_kept;
        let offset = self.top(topic).offset + 1 + self.dice.below(3);
        let tells_epoch = self.dice.below(2) == 0;
        let epoch = tells_epoch.then_some(Epoch(self.epochs[topic as usize]));
        let outcome = match self.dice.below(10) {
            0 => Outcome::Unknown,
            _ if is_kept => Outcome::Acked { epoch, offset: Some(offset) },
            _ => Outcome::Acked { epoch: None, offset: None },
        };
        let lane = self.dice.below(3) as u32;
        self.run.publications.push(Publication {
            topic: TopicId(topic),
            lane,
            seq: id,
            hash: hash(&id.to_be_bytes()),
            sent: self.now,
            gateway: 0,
            outcome,
        });
        if outcome == Outcome::Unknown && self.dice.below(2) == 0 {
            return PublicationId(id);
        }
        if is_kept {
            self.stored[topic as usize].push((offset, id));
        }
        for client in 0..CLIENTS as usize {
            let wants = self.run.clients[client].wants.contains(&TopicId(topic));
            if wants && self.is_here(client) && self.ears[client][topic as usize].deaf.is_none() {
                self.deliver(client, topic, is_kept.then_some(offset), id);
            }
        }
        PublicationId(id)
    }

    fn deliver(&mut self, client: usize, topic: u32, offset: Option<u64>, id: u32) {
        let hash = hash(&id.to_be_bytes());
        self.note(
            client,
            topic,
            What::Delivery { offset, publication: Some(PublicationId(id)), hash },
        );
        if let Some(offset) = offset {
            let epoch = Epoch(self.epochs[topic as usize]);
            self.ears[client][topic as usize].position = Some(Position { epoch, offset });
        }
    }

    fn deafen(&mut self, client: usize) {
        let topic = self.dice.below(4) as usize;
        let now = self.now;
        if self.is_here(client) {
            self.ears[client][topic].deaf.get_or_insert(now);
        }
    }

    /// Whoever missed something since then or longer is told what.
    fn tell(&mut self, client: usize, since: u64) {
        if !self.is_here(client) {
            return;
        }
        for topic in 0..4 {
            let deaf = &mut self.ears[client][topic as usize].deaf;
            if deaf.take_if(|it| *it <= since).is_none() {
                continue;
            }
            let is_kept = self.run.topics[topic as usize].is_kept;
            let top = self.top(topic);
            self.ears[client][topic as usize].position = is_kept.then_some(top);
            let at = Position { offset: top.offset + 1, ..top };
            self.note(client, topic, What::Gap(is_kept.then_some(at)));
        }
    }

    /// The store is lost: a new epoch, and everybody hears of it.
    fn empty(&mut self) {
        for topic in 0..self.stored.len() as u32 {
            if !self.run.topics[topic as usize].is_kept {
                continue;
            }
            self.epochs[topic as usize] += 1;
            self.stored[topic as usize].clear();
            for client in 0..CLIENTS as usize {
                let wants = self.run.clients[client].wants.contains(&TopicId(topic));
                if wants && self.is_here(client) {
                    let top = self.top(topic);
                    self.ears[client][topic as usize] = Ear { position: Some(top), deaf: None };
                    self.note(client, topic, What::Gap(Some(Position { offset: 1, ..top })));
                }
            }
        }
    }

    fn disconnect(&mut self, client: usize) {
        if self.is_here(client) {
            self.run.clients[client].sessions.last_mut().unwrap().ended = Some(self.now);
        }
    }

    fn connect(&mut self, client: usize) {
        if self.is_here(client) {
            return;
        }
        let session = Session { opened: self.now, ..Session::default() };
        self.run.clients[client].sessions.push(session);
        for TopicId(topic) in self.run.clients[client].wants.clone() {
            self.subscribe(client, topic);
        }
    }

    fn subscribe(&mut self, client: usize, topic: u32) {
        self.ears[client][topic as usize].deaf = None;
        let (asked, top) = (self.ears[client][topic as usize].position, self.top(topic));
        let stored = self.stored[topic as usize].clone();
        let is_kept = self.run.topics[topic as usize].is_kept;
        let missed = |asked: Position| stored.iter().copied().filter(move |it| it.0 > asked.offset);
        let position = is_kept.then_some(top);
        if self.run.topics[topic as usize].user.is_some() {
            self.note(client, topic, What::Subscribed { asked: None, position, recovered: None });
            if let Some(since) = asked.filter(|it| it.epoch == top.epoch) {
                let messages = missed(since)
                    .map(|(offset, id)| (offset, Some(PublicationId(id)), hash(&id.to_be_bytes())))
                    .collect();
                let page = Page { since, top, more: false, messages };
                self.note(client, topic, What::History(Box::new(page)));
            }
            self.ears[client][topic as usize].position = Some(top);
            return;
        }
        let is_near = asked.filter(|it| it.epoch == top.epoch && self.dice.below(4) > 0);
        let recovered = asked.map(|_| is_near.is_some());
        let position = is_kept.then_some(is_near.unwrap_or(top));
        self.note(client, topic, What::Subscribed { asked, position, recovered });
        self.ears[client][topic as usize].position = position;
        for (offset, id) in is_near.into_iter().flat_map(missed) {
            self.deliver(client, topic, Some(offset), id);
        }
    }
}

/// Every event of a run: client, session and place in it.
fn events(run: &Run) -> Vec<(usize, usize, usize)> {
    let sessions = run.clients.iter().enumerate().flat_map(|(client, it)| {
        it.sessions.iter().enumerate().map(move |(session, it)| (client, session, it.events.len()))
    });
    sessions
        .flat_map(|(client, session, count)| (0..count).map(move |it| (client, session, it)))
        .collect()
}

fn session(run: &mut Run, (client, session, _): (usize, usize, usize)) -> &mut Vec<Event> {
    &mut run.clients[client].sessions[session].events
}

/// Spoils a history at some place where that can be done; `None` where there is no such place.
type Spoil = fn(&mut Run, &mut Dice) -> Option<()>;

fn pick(
    run: &Run,
    dice: &mut Dice,
    fits: impl Fn(&Run, &[Event], usize) -> bool,
) -> Option<(usize, usize, usize)> {
    let found: Vec<_> = events(run)
        .into_iter()
        .filter(|(client, session, it)| {
            fits(run, &run.clients[*client].sessions[*session].events, *it)
        })
        .collect();
    (!found.is_empty()).then(|| found[dice.below(found.len() as u64) as usize])
}

fn delivered(event: &Event) -> Option<PublicationId> {
    match event.what {
        What::Delivery { publication, .. } => publication,
        _ => None,
    }
}

/// Both are deliveries of the topic, and nothing else is told of it between them.
fn next_of(events: &[Event], at: usize) -> Option<usize> {
    let topic = events[at].topic;
    let next = (at + 1..events.len()).find(|it| events[*it].topic == topic)?;
    delivered(&events[next]).map(|_| next)
}

fn is_kept(run: &Run, event: &Event) -> bool {
    run.topic(event.topic).is_kept
}

fn deliveries_to(run: &Run, id: PublicationId) -> usize {
    let sessions = run.clients.iter().flat_map(|it| &it.sessions);
    sessions.flat_map(|it| &it.events).filter(|it| delivered(it) == Some(id)).count()
}

/// A delivery between two others of a connection, that somebody else had too.
fn lost(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = pick(run, dice, |run, events, it| {
        let is_live_long_before = |it: &Event| {
            let seen = delivered(it).and_then(|id| run.publication(id));
            seen.is_some_and(|seen| seen.sent == it.at)
        };
        let Some(id) = delivered(&events[it]) else { return false };
        is_kept(run, &events[it])
            && is_live_long_before(&events[it])
            && next_of(events, it).is_some()
            && deliveries_to(run, id) > 1
    })?;
    session(run, place).remove(place.2);
    Some(())
}

/// The same where there is no history, far from every gap, and from the ends of the connection.
fn lost_live(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = pick(run, dice, |run, events, it| {
        let event = &events[it];
        let Some(id) = delivered(event) else { return false };
        let near =
            |other: &&Event| other.topic == event.topic && other.at.abs_diff(event.at) <= 25 * MS;
        !is_kept(run, event)
            && matches!(run.publication(id).unwrap().outcome, Outcome::Acked { .. })
            && !events.iter().filter(near).any(|it| !matches!(it.what, What::Delivery { .. }))
            && events.last().unwrap().at > event.at + 25 * MS
            && deliveries_to(run, id) > 1
    })?;
    session(run, place).remove(place.2);
    Some(())
}

/// With history, a delivery that was live, and everything after it in its connection, comes later.
fn late(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = pick(run, dice, |run, events, it| {
        let sent = delivered(&events[it]).and_then(|id| run.publication(id)).map(|it| it.sent);
        is_kept(run, &events[it]) && sent == Some(events[it].at)
    })?;
    session(run, place)[place.2..].iter_mut().for_each(|it| it.at += 25 * MS);
    Some(())
}

fn duplicated(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = pick(run, dice, |_, events, it| delivered(&events[it]).is_some())?;
    let events = session(run, place);
    let event = events[place.2].clone();
    events.insert(place.2 + 1, event);
    Some(())
}

fn reordered(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = pick(run, dice, |run, events, it| {
        let Some((first, next)) = delivered(&events[it]).zip(next_of(events, it)) else {
            return false;
        };
        let lane = |id| run.publication(id).unwrap().lane;
        let second = delivered(&events[next]).unwrap();
        is_kept(run, &events[it]) || lane(first) == lane(second)
    })?;
    let events = session(run, place);
    let next = next_of(events, place.2).unwrap();
    let what = events[place.2].what.clone();
    events[place.2].what = std::mem::replace(&mut events[next].what, what);
    Some(())
}

fn wrong_channel(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = pick(run, dice, |run, events, it| {
        delivered(&events[it]).is_some() && !is_kept(run, &events[it])
    })?;
    let event = &mut session(run, place)[place.2];
    event.topic.0 = if event.topic.0 == LIVE { LIVE + 1 } else { LIVE };
    Some(())
}

fn unsubscribed_channel(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = pick(run, dice, |_, events, it| {
        matches!(events[it].what, What::Subscribed { .. }) && next_of(events, it).is_some()
    })?;
    session(run, place).remove(place.2);
    Some(())
}

fn wrong_user(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = pick(run, dice, |run, events, it| {
        run.topic(events[it].topic).user.is_some() && delivered(&events[it]).is_some()
    })?;
    let other = (place.0 + 1) % CLIENTS as usize;
    let event = run.clients[place.0].sessions[place.1].events[place.2].clone();
    let topic = run.clients[other].wants[4];
    run.clients[other].sessions.last_mut().unwrap().events.push(Event { topic, ..event });
    Some(())
}

fn wrong_tenant(run: &mut Run, dice: &mut Dice) -> Option<()> {
    pick(run, dice, |_, events, it| delivered(&events[it]).is_some()).map(|place| {
        run.clients[place.0].tenant = 1;
    })
}

fn stale_epoch(run: &mut Run, dice: &mut Dice) -> Option<()> {
    // Somebody does not hear that the store was emptied, and sees the new order as the old one.
    let place = pick(run, dice, |run, events, it| {
        let What::Gap(Some(Position { epoch, offset: 1 })) = events[it].what else { return false };
        let id = next_of(events, it).and_then(|next| delivered(&events[next]));
        let is_known = id.is_some_and(|id| {
            deliveries_to(run, id) > 2
                || matches!(
                    run.publication(id).unwrap().outcome,
                    Outcome::Acked { epoch: Some(_), .. }
                )
        });
        is_kept(run, &events[it]) && epoch.0 > 0 && is_known
    })?;
    session(run, place).remove(place.2);
    Some(())
}

fn hidden_gap(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = pick(run, dice, |run, events, it| {
        let What::Gap(Some(gap)) = events[it].what else { return false };
        let topic = events[it].topic;
        // Something was lost by it that others had, and that lies in the order for sure.
        let before = events[..it].iter().rev().find(|it| it.topic == topic);
        let Some(Event { what: What::Delivery { offset: Some(offset), .. }, .. }) = before else {
            return false;
        };
        let is_lost = |it: &Publication| {
            it.topic == topic
                && matches!(it.outcome, Outcome::Acked { epoch: Some(epoch), offset: Some(at) }
                    if epoch == gap.epoch && (offset + 1..gap.offset).contains(&at))
        };
        run.publications.iter().any(is_lost) && next_of(events, it).is_some()
    })?;
    session(run, place).remove(place.2);
    Some(())
}

fn changed_bytes(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = pick(run, dice, |_, events, it| delivered(&events[it]).is_some())?;
    if let What::Delivery { hash, .. } = &mut session(run, place)[place.2].what {
        *hash ^= 1;
    }
    Some(())
}

fn invented(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = pick(run, dice, |_, events, it| delivered(&events[it]).is_some())?;
    if let What::Delivery { publication, .. } = &mut session(run, place)[place.2].what {
        *publication = None;
    }
    Some(())
}

fn not_converged(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let closing = run.closing.clone();
    let place = pick(run, dice, |_, events, it| {
        delivered(&events[it]).is_some_and(|id| closing.contains(&id))
    })?;
    session(run, place).remove(place.2);
    Some(())
}

fn not_back(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let client = dice.below(CLIENTS.into()) as usize;
    let session = run.clients[client].sessions.last_mut()?;
    session.ended = Some(session.events.last()?.at);
    Some(())
}

fn acked_and_lost(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = pick(run, dice, |run, events, it| {
        let Some(id) = delivered(&events[it]) else { return false };
        let publication = run.publication(id).unwrap();
        publication.topic.0 < LIVE
            && publication.sent == events[it].at
            && matches!(publication.outcome, Outcome::Acked { epoch: Some(_), .. })
            && next_of(events, it).is_some()
    })?;
    let id = delivered(&session(run, place)[place.2]);
    for session in run.clients.iter_mut().flat_map(|it| &mut it.sessions) {
        session.events.retain(|it| delivered(it) != id);
    }
    Some(())
}

/// A replay leaves something out.
fn inexact_replay(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = pick(run, dice, |run, events, it| {
        let Some(id) = delivered(&events[it]) else { return false };
        let is_replayed = run.publication(id).unwrap().sent < events[it].at;
        is_replayed && next_of(events, it).is_some() && deliveries_to(run, id) > 1
    })?;
    session(run, place).remove(place.2);
    Some(())
}

/// A page of `history` leaves something out.
fn inexact_page(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = pick(run, dice, |run, events, it| match &events[it].what {
        What::History(page) => page.messages.first().is_some_and(|(_, id, _)| {
            matches!(
                run.publication(id.unwrap()).unwrap().outcome,
                Outcome::Acked { epoch: Some(_), .. }
            )
        }),
        _ => false,
    })?;
    if let What::History(page) = &mut session(run, place)[place.2].what {
        page.messages.remove(0);
    }
    Some(())
}

/// Spoils many clean histories, and looks which promise the checker names.
fn check_spoilt(spoil: Spoil, any_of: &[Invariant]) {
    let mut spoilt = 0;
    for seed in 0..60 {
        let mut run = World::clean(seed);
        if spoil(&mut run, &mut Dice(seed ^ 0xabcd)).is_none() {
            continue;
        }
        spoilt += 1;

        let verdict = check(&run, &rules());
        assert!(
            any_of.iter().any(|it| verdict.counts.contains_key(it)),
            "seed {seed}: expected {any_of:?}, got {verdict}"
        );
    }
    assert!(spoilt >= 10, "only {spoilt} histories could be spoilt");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_history_as_it_should_be_is_clean(seed: u64) {
        let run = World::clean(seed);

        let verdict = check(&run, &rules());
        prop_assert!(verdict.is_clean(), "{verdict}");
        prop_assert!(verdict.summary.deliveries > 100, "{:?}", verdict.summary);
        prop_assert_eq!(verdict.summary.silent, 0);
    }
}

#[test]
fn a_clean_history_has_every_kind_of_event() {
    let summaries = (0..20).map(|seed| check(&World::clean(seed), &rules()).summary);
    let all = summaries.fold([0; 6], |sum, it| {
        let now = [it.recovered, it.not_recovered, it.gaps, it.pages, it.unknown, it.acked];
        std::array::from_fn(|i| sum[i] + now[i])
    });
    assert!(all.iter().all(|it| *it > 20), "{all:?}");
}

#[test]
fn lost_is_a_gap_that_was_not_told() {
    check_spoilt(lost, &[Invariant::Gap]);
    check_spoilt(lost_live, &[Invariant::Gap]);
}

#[test]
fn what_waits_for_another_is_late() {
    check_spoilt(late, &[Invariant::Ack]);
}

/// A publication without history that one client missed, and a `gap` so long after it.
fn missed(gap_after: u64) -> Run {
    let topic = TopicId(0);
    let at = |at, what| Event { at: at * MS, topic, what };
    let data = |id: u32| hash(&id.to_be_bytes());
    let publication = |id: u32, sent| Publication {
        topic,
        lane: 1,
        seq: id,
        hash: data(id),
        sent: sent * MS,
        gateway: 0,
        outcome: Outcome::Acked { epoch: None, offset: None },
    };
    let delivery =
        |id| What::Delivery { offset: None, publication: Some(PublicationId(id)), hash: data(id) };
    let events = vec![
        at(1, What::Subscribed { asked: None, position: None, recovered: None }),
        at(100 + gap_after, What::Gap(None)),
        at(1_000, delivery(1)),
    ];
    let client = Client {
        wants: vec![topic],
        sessions: vec![Session { opened: MS, events, ..Session::default() }],
        ..Client::default()
    };
    Run {
        topics: vec![Topic::of_all("live.0".into(), false)],
        publications: vec![publication(0, 100), publication(1, 1_000)],
        closing: vec![PublicationId(1)],
        clients: vec![client],
    }
}

#[test]
fn a_gap_excuses_what_was_lost_until_soon_after_all_is_whole() {
    let until = |broken_until| Rules { broken_until: broken_until * MS, ..rules() };
    let is_clean = |gap_after, rules| check(&missed(gap_after), &rules).is_clean();

    assert!(is_clean(20, until(0)));
    assert!(!is_clean(21, until(0)));
    assert!(is_clean(120, until(200)));
    assert!(!is_clean(121, until(200)));
    let nothing_broke = Rules { broken_from: u64::MAX, ..rules() };
    assert!(!is_clean(0, nothing_broke));
}

#[test]
fn duplicated_is_twice() {
    check_spoilt(duplicated, &[Invariant::Once]);
}

#[test]
fn reordered_is_out_of_order() {
    check_spoilt(reordered, &[Invariant::Order, Invariant::Once]);
}

#[test]
fn wrong_channel_is_noticed() {
    check_spoilt(wrong_channel, &[Invariant::Channel]);
    check_spoilt(unsubscribed_channel, &[Invariant::Channel]);
}

#[test]
fn wrong_user_or_tenant_is_noticed() {
    check_spoilt(wrong_user, &[Invariant::Tenant]);
    check_spoilt(wrong_tenant, &[Invariant::Tenant]);
}

#[test]
fn stale_epoch_is_out_of_order() {
    check_spoilt(stale_epoch, &[Invariant::Order]);
}

#[test]
fn hidden_gap_is_noticed() {
    check_spoilt(hidden_gap, &[Invariant::Gap, Invariant::Ack, Invariant::Resume]);
}

#[test]
fn changed_bytes_are_noticed() {
    check_spoilt(changed_bytes, &[Invariant::Bytes]);
    check_spoilt(invented, &[Invariant::Bytes]);
}

#[test]
fn no_convergence_is_noticed() {
    check_spoilt(not_converged, &[Invariant::Convergence]);
    check_spoilt(not_back, &[Invariant::Convergence]);
}

#[test]
fn acked_and_lost_is_noticed() {
    check_spoilt(acked_and_lost, &[Invariant::Ack]);
}

#[test]
fn replay_that_is_not_exact_is_noticed() {
    check_spoilt(inexact_replay, &[Invariant::Resume]);
    check_spoilt(inexact_page, &[Invariant::Resume, Invariant::Ack]);
}

#[test]
fn what_a_gateway_that_was_alone_published_may_be_missing() {
    let mut run = World::clean(1);
    lost_live(&mut run, &mut Dice(1)).unwrap();
    let alone = vec![Alone { gateway: 0, from: 0, until: u64::MAX }];

    assert!(!check(&run, &rules()).is_clean());
    assert!(check(&run, &Rules { alone, ..rules() }).is_clean());
}

#[test]
fn before_anything_is_broken_nothing_may_be_missing() {
    // Those who miss something of a live channel for a moment are told, which excuses it only from
    // when something was broken.
    let run = World::clean(0);
    let broken_from = run.publications.iter().map(|it| it.sent).max().unwrap();

    let verdict = check(&run, &Rules { broken_from, ..rules() });
    assert!(verdict.counts.contains_key(&Invariant::Gap), "{verdict}");
}

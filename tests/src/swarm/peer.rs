//! One client: it connects, subscribes, publishes if it is told to, and comes back when it is cut off.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
};

use super::{
    diary::Diary,
    ledger::Ledger,
    said::{Envelope, Said, envelopes},
    socket::{Came, Socket},
};
use crate::{
    checker::{Client, Outcome, Position, PublicationId, TopicId},
    clock::now_ns,
};

/// A gateway as clients see it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its public address.
    pub address: SocketAddr,
}

/// The longest and the first time that a client waits before it comes back.
const BACK_OFF_MAX_MS: u64 = 5_000;
const BACK_OFF_MS: u64 = 200;

/// How long after an `unavailable` a client asks again.
const AGAIN_NS: u64 = 1_000_000_000;

/// A connection that has not said welcome by then is given up.
const WELCOME_NS: u64 = 10_000_000_000;

/// Publications that may wait for their answer.
const PENDING_MAX: usize = 100;

/// What an `id` of an envelope stands for, in its upper half.
const SUBSCRIBE: u64 = 1 << 32;
const HISTORY: u64 = 2 << 32;
const PUBLISH: u64 = 3 << 32;
const PRESENCE: u64 = 4 << 32;

/// A client.
#[derive(Debug)]
pub struct Peer {
    /// What it knows and writes down.
    pub diary: Diary,
    token: String,
    /// How many gateways there are.
    places: usize,
    stage: Stage,
    attempts: u32,
    lane: u32,
    asked: HashMap<TopicId, Option<Position>>,
    /// When something is to be asked once more.
    again: Vec<(u64, TopicId)>,
    pending: HashSet<PublicationId>,
    dice: u64,
    /// Whether it comes back when it is cut off.
    pub returns: bool,
    /// Since when it is cut off, or not everything is subscribed.
    lacking: Option<u64>,
    /// How long it was each time until everything was there again, in nanoseconds.
    pub lacked: Vec<u64>,
    /// Close codes, and 0 for connections that just ended.
    pub closes: Vec<u16>,
    /// The last answer to `presence`: how many, and whether every pod was heard.
    pub presence: Option<(u64, bool)>,
    /// `join`, `leave` and `presence_changed` that came.
    pub announced: [usize; 3],
}

#[derive(Debug)]
enum Stage {
    Away { until: u64, place: usize },
    Here { socket: Box<Socket>, place: usize, since: u64, is_welcome: bool },
}

impl Peer {
    /// A client that will connect at some time to one of the places.
    pub fn new(client: Client, token: String, home: usize, places: usize, at: u64) -> Self {
        let dice = u64::from(client.user) * 7_919 + home as u64 + client.name.len() as u64 * 31 + 1;
        Self {
            diary: Diary::new(client),
            token,
            places,
            stage: Stage::Away { until: at, place: home },
            attempts: 0,
            lane: 0,
            asked: HashMap::new(),
            again: Vec::new(),
            pending: HashSet::new(),
            dice,
            returns: true,
            lacking: None,
            lacked: Vec::new(),
            closes: Vec::new(),
            presence: None,
            announced: [0; 3],
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % end.max(1)
    }

    /// Whether it wants to connect now.
    pub fn is_due(&self, now: u64) -> bool {
        matches!(self.stage, Stage::Away { until, .. } if until <= now && self.returns)
    }

    /// Whether it has everything that it wants.
    pub fn is_settled(&self) -> bool {
        self.is_welcome() && self.diary.is_complete()
    }

    /// Whether it is connected and was welcomed.
    pub fn is_welcome(&self) -> bool {
        matches!(self.stage, Stage::Here { is_welcome: true, .. })
    }

    /// Which gateway it is connected to.
    pub fn place(&self) -> Option<usize> {
        match &self.stage {
            Stage::Here { place, .. } => Some(*place),
            Stage::Away { .. } => None,
        }
    }

    /// Publications of which no answer came yet.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Connects, if the gateway takes connections.
    pub fn connect(&mut self, places: &[Place], now: u64) -> Option<Socket> {
        let Stage::Away { place, .. } = self.stage else { return None };
        let opened = places.get(place).map(|it| Socket::open(it.address, &self.token));
        if let Some(Ok(socket)) = opened {
            return Some(socket);
        }
        self.back_off(now);
        None
    }

    /// It has a connection now.
    pub fn connecting(&mut self, socket: Socket) {
        let Stage::Away { place, .. } = self.stage else { return };
        let socket = Box::new(socket);
        self.stage = Stage::Here { socket, place, since: now_ns(), is_welcome: false };
    }

    /// Full jitter; somewhere else, as a load balancer would have it.
    fn back_off(&mut self, now: u64) {
        let most = (BACK_OFF_MS << self.attempts.min(10)).min(BACK_OFF_MAX_MS);
        self.attempts += 1;
        let wait_ms = self.below(most);
        let place = usize::try_from(self.below(self.places as u64)).unwrap_or_default();
        self.stage = Stage::Away { until: now + wait_ms * 1_000_000, place };
    }

    /// Asks again for what was not to be had.
    pub fn again(&mut self, ledger: &Ledger, now: u64) {
        if let Stage::Here { since, is_welcome: false, .. } = self.stage
            && now > since + WELCOME_NS
        {
            ledger.odd("no welcome within 10 s".to_owned());
            return self.lost(0);
        }
        if self.again.iter().any(|it| it.0 <= now) {
            let due: Vec<_> = self.again.extract_if(.., |it| it.0 <= now).collect();
            for (_, topic) in due {
                self.ask(ledger, topic);
            }
            self.flush();
        }
    }

    fn ask(&mut self, ledger: &Ledger, topic: TopicId) {
        let position = |it: Position| {
            let epoch = ledger.epoch_name(it.epoch);
            format!(r#"{{"epoch":"{epoch}","offset":{}}}"#, it.offset)
        };
        let channel = ledger.channel(topic);
        let text = if let Some(since) = self.diary.past(topic) {
            let (id, since) = (HISTORY | u64::from(topic.0), position(since));
            format!(
                r#"{{"type":"history","id":{id},"payload":{{"channel":"{channel}","since":{since}}}}}"#
            )
        } else if self.diary.has(topic) {
            return;
        } else {
            let at = self.diary.position(topic);
            self.asked.insert(topic, at);
            let recover =
                at.map_or_else(String::new, |it| format!(r#","recover":{}"#, position(it)));
            let id = SUBSCRIBE | u64::from(topic.0);
            format!(
                r#"{{"type":"subscribe","id":{id},"payload":{{"channel":"{channel}"{recover}}}}}"#
            )
        };
        self.say(&text);
    }

    fn say(&mut self, text: &str) {
        if let Stage::Here { socket, .. } = &mut self.stage {
            socket.send(text);
        }
    }

    fn flush(&mut self) {
        if let Stage::Here { socket, .. } = &mut self.stage
            && socket.flush().is_err()
        {
            self.lost(0);
        }
    }

    /// Publishes; `false`: it cannot now.
    pub fn publish(&mut self, ledger: &Ledger, topic: TopicId) -> bool {
        let Stage::Here { place, is_welcome: true, .. } = self.stage else { return false };
        if self.pending.len() >= PENDING_MAX {
            return false;
        }
        let gateway = u32::try_from(place).unwrap_or(u32::MAX);
        let (number, data) = ledger.begin(topic, self.lane, gateway);
        self.pending.insert(number);
        let (id, channel) = (PUBLISH | u64::from(number.0), ledger.channel(topic));
        self.say(&format!(
            r#"{{"type":"message","id":{id},"payload":{{"channel":"{channel}","data":{data}}}}}"#
        ));
        self.flush();
        true
    }

    /// Asks who is in a channel.
    pub fn ask_presence(&mut self, channel: &str) {
        self.presence = None;
        self.say(&format!(
            r#"{{"type":"presence","id":{PRESENCE},"payload":{{"channel":"{channel}"}}}}"#
        ));
        self.flush();
    }

    /// Reads once.
    pub fn read(&mut self, ledger: &Ledger, buffer: &mut [u8]) {
        let Stage::Here { socket, .. } = &mut self.stage else { return };
        let (mut texts, mut close) = (Vec::new(), None);
        let read = socket.read(buffer, |came| match came {
            Came::Text(text) => texts.push(text.to_vec()),
            Came::Close(code) => close = Some(code),
        });
        for text in texts {
            for envelope in envelopes(&text) {
                match envelope {
                    Ok(envelope) => self.told(ledger, &envelope),
                    Err(error) => ledger.odd(format!("cannot read an envelope: {error}")),
                }
            }
        }
        self.flush();
        if let Err(error) = &read
            && error.to_string().contains("refused")
        {
            ledger.odd(error.to_string());
        }
        match (close, read) {
            (Some(code), _) => self.lost(code),
            (None, Err(_)) => self.lost(0),
            (None, Ok(())) => {}
        }
        if self.lacking.is_some() && self.is_settled() {
            let since = self.lacking.take().unwrap_or_default();
            self.lacked.push(now_ns() - since);
            self.attempts = 0;
        }
    }

    fn lost(&mut self, code: u16) {
        if self.is_welcome() {
            self.diary.close();
        }
        self.closes.push(code);
        self.lacking.get_or_insert_with(now_ns);
        self.pending.clear();
        self.asked.clear();
        self.again.clear();
        self.back_off(now_ns());
    }

    /// An envelope came.
    fn told(&mut self, ledger: &Ledger, envelope: &Envelope<'_>) {
        let nothing = Said::default();
        let said = envelope.payload.as_ref().unwrap_or(&nothing);
        let user = self.diary.client.user;
        let topic = said.channel.as_ref().and_then(|it| ledger.topic(it, user));
        let epoch = said.epoch.as_ref().map(|it| ledger.epoch(it));
        let position = epoch.zip(said.offset).map(|(epoch, offset)| Position { epoch, offset });
        match (&*envelope.kind, topic) {
            ("message", Some(topic)) => drop(self.diary.delivered(topic, said)),
            ("welcome", _) => self.welcome(ledger, said),
            ("subscribed", Some(topic)) => {
                let asked = self.asked.remove(&topic).flatten();
                self.diary.subscribed(topic, asked, position, said.recovered);
            }
            ("gap", Some(topic)) => self.diary.gap(topic, position),
            ("history", Some(topic)) => {
                let asks = position.is_some_and(|top| self.diary.page(topic, top, said));
                if asks {
                    self.ask(ledger, topic);
                }
            }
            ("unsubscribed", Some(topic)) => {
                ledger.odd(format!("unsubscribed: {}", said.code.as_deref().unwrap_or("")));
                self.diary.unsubscribed(topic);
                self.again.push((now_ns() + AGAIN_NS, topic));
            }
            ("published", _) => self.published(ledger, envelope.id, said.offset),
            ("presence", _) => self.presence = said.total.zip(said.complete),
            ("join", _) => self.announced[0] += 1,
            ("leave", _) => self.announced[1] += 1,
            ("presence_changed", _) => self.announced[2] += 1,
            ("error", _) => self.failed(ledger, envelope.id, said.code.as_deref().unwrap_or("")),
            // The close comes when it comes.
            ("reconnect" | "pong", _) => {}
            (kind, _) => ledger.odd(format!("told {kind} of {:?}", said.channel)),
        }
    }

    fn welcome(&mut self, ledger: &Ledger, said: &Said<'_>) {
        let Stage::Here { is_welcome, place, .. } = &mut self.stage else { return };
        *is_welcome = true;
        let gateway = u32::try_from(*place).unwrap_or(u32::MAX);
        self.lane = ledger.lane();
        self.diary.open(gateway);
        for standing in &said.subscriptions {
            let Some(topic) = ledger.topic(&standing.channel, self.diary.client.user) else {
                continue;
            };
            let epoch = standing.epoch.as_ref().map(|it| ledger.epoch(it));
            let position = epoch.zip(standing.offset);
            let position = position.map(|(epoch, offset)| Position { epoch, offset });
            if self.diary.welcomed(topic, position) {
                self.ask(ledger, topic);
            }
        }
        for topic in self.diary.client.wants.clone() {
            self.ask(ledger, topic);
        }
    }

    fn published(&mut self, ledger: &Ledger, id: Option<u64>, offset: Option<u64>) {
        if let Some(number) = id.and_then(|it| low(it, PUBLISH)) {
            self.pending.remove(&PublicationId(number));
            ledger.end(PublicationId(number), Outcome::Acked { epoch: None, offset });
        }
    }

    fn failed(&mut self, ledger: &Ledger, id: Option<u64>, code: &str) {
        let Some(id) = id else { return ledger.odd(format!("error {code} without an id")) };
        if let Some(number) = low(id, PUBLISH) {
            self.pending.remove(&PublicationId(number));
            return ledger.failed(PublicationId(number), code);
        }
        let topic = low(id, SUBSCRIBE).or(low(id, HISTORY)).map(TopicId);
        let Some(topic) = topic else { return ledger.odd(format!("error {code}")) };
        if low(id, HISTORY).is_some() {
            ledger.odd(format!("history: {code}"));
            if code == "epoch_changed" {
                return self.diary.forget(topic);
            }
        } else {
            ledger.odd(format!("subscribe: {code}"));
        }
        self.again.push((now_ns() + AGAIN_NS, topic));
    }
}

/// The lower half of an `id` whose upper half is this.
fn low(id: u64, kind: u64) -> Option<u32> {
    (id & !0xffff_ffff == kind).then(|| u32::try_from(id & 0xffff_ffff).ok())?
}

//! Which topics there are, who is in them, and what the rules say of them.

use headgate_tests::{
    checker::{Client, Topic, TopicId},
    nodes::gateways::for_users,
};
use serde_json::{Value, json};

/// Topics with a long history, with one of five messages, and without any.
const KEPT: u32 = 100;
const SHORT: u32 = 10;
const LIVE: u32 = 50;

/// Every so many clients, one is a second connection of the user before.
const TWIN: u32 = 20;

/// The topics of a run with so many clients.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    clients: u32,
}

impl Layout {
    pub fn new(clients: u32) -> Self {
        Self { clients }
    }

    /// The rules of the manifest.
    pub fn channels() -> Value {
        let long = json!({"messages": 5_000, "maxAge": "30m"});
        json!([
            for_users(json!({"match": "kept.*", "history": long})),
            for_users(json!({"match": "short.*", "history": {"messages": 5, "maxAge": "30m"}})),
            for_users(json!({"match": "live.*"})),
            {"match": "@user", "history": long},
            {"match": "@all", "history": long},
        ])
    }

    pub fn topics(self) -> Vec<Topic> {
        let kept = (0..KEPT).map(|it| Topic::of_all(format!("kept.{it}"), true));
        let short = (0..SHORT).map(|it| Topic::of_all(format!("short.{it}"), true));
        let live = (0..LIVE).map(|it| Topic::of_all(format!("live.{it}"), false));
        let all = [Topic::of_all("@all".to_owned(), true)];
        let user = Topic::of_all("@user".to_owned(), true);
        let users = (0..self.clients).map(|it| Topic { user: Some(it), ..user.clone() });
        kept.chain(short).chain(live).chain(all).chain(users).collect()
    }

    fn all() -> TopicId {
        TopicId(KEPT + SHORT + LIVE)
    }

    fn user(user: u32) -> TopicId {
        TopicId(KEPT + SHORT + LIVE + 1 + user)
    }

    /// The client of a number: three topics with history, one without, its own, and some a short one.
    pub fn client(number: u32) -> Client {
        let user = if number % TWIN == 1 { number - 1 } else { number };
        let spread = |factor: u32| number.wrapping_mul(factor) % KEPT;
        let mut wants =
            vec![TopicId(spread(1)), TopicId(spread(7) ^ 1), TopicId(KEPT + SHORT + number % LIVE)];
        let third = TopicId((spread(13) + 31) % KEPT);
        if !wants.contains(&third) {
            wants.push(third);
        }
        if number.is_multiple_of(5) {
            wants.push(TopicId(KEPT + number / 5 % SHORT));
        }
        wants.dedup();
        wants.extend([Self::all(), Self::user(user)]);
        Client { name: format!("client {number}"), tenant: 0, user, wants, sessions: Vec::new() }
    }

    /// A topic that clients may publish to; `dice` is any number.
    pub fn for_clients(dice: u64) -> TopicId {
        let pick = |first: u32, count: u32| {
            TopicId(first + u32::try_from(dice / 100 % u64::from(count)).unwrap_or(0))
        };
        match dice % 100 {
            0..65 => pick(0, KEPT),
            65..75 => pick(KEPT, SHORT),
            _ => pick(KEPT + SHORT, LIVE),
        }
    }

    /// A topic that the server API publishes to.
    pub fn for_api(self, dice: u64) -> TopicId {
        match dice % 100 {
            0..1 => Self::all(),
            1..30 => Self::user(u32::try_from(dice / 100 % u64::from(self.clients)).unwrap_or(0)),
            _ => Self::for_clients(dice / 7),
        }
    }
}

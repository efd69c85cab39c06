//! What the home of a topic promises, case by case.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::{
    broker::{Announcement, Key, KeyScope, Member, PresenceMode, Reset, TopicRules},
    protocol::{Dialect, channel::ChannelName},
};

const RULE: HistoryRule = HistoryRule { messages: 3, max_age: Duration::from_mins(1) };
const HERE: usize = 7;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn topic(name: &str) -> Topic {
    Topic::channel(ChannelName::parse(name).unwrap())
}

fn partition() -> Partition {
    Partition::new(1, HistoryBytes::new(1 << 20, 1))
}

fn says(text: &str) -> Publish {
    let data = Bytes::from(format!("\"{text}\""));
    Publish { topic: topic("room"), data, user: None, key: None, exclude: None }
}

fn with_key(text: &str, scope: KeyScope<'_>) -> Publish {
    Publish { key: Some(Key::new(scope, "k")), ..says(text) }
}

/// Publishes in a channel with history.
fn publish(partition: &mut Partition, second: u64, publish: Publish) -> Outcome {
    partition.publish(at(second), publish, Some(RULE))
}

fn position(outcome: &Outcome) -> Position {
    match outcome {
        Outcome::Published { publication, .. } => publication.position.unwrap(),
        Outcome::Duplicate(position) => *position,
    }
}

fn attach(partition: &mut Partition, second: u64, recover: Option<Position>) -> Attached {
    let recover = recover.map(ClientPosition::from);
    partition.attach(at(second), &topic("room"), HERE, recover, Some(RULE), usize::MAX)
}

fn data(publications: &[Arc<Publication>]) -> Vec<Value> {
    let payload = |publication: &Arc<Publication>| -> Value {
        serde_json::from_slice(publication.payload(Dialect::V1)).unwrap()
    };
    publications.iter().map(|publication| payload(publication)["data"].clone()).collect()
}

#[test]
fn a_publication_goes_to_the_workers_with_subscribers() {
    let mut partition = partition();
    partition.attach(at(0), &topic("room"), 3, None, None, usize::MAX);
    partition.attach(at(0), &topic("room"), HERE, None, None, usize::MAX);
    partition.attach(at(0), &topic("other"), 4, None, None, usize::MAX);
    partition.detach(at(0), &topic("room"), 3);

    let Outcome::Published { publication, to } = partition.publish(at(1), says("a"), None) else {
        panic!("no key was given");
    };

    assert_eq!(to, WorkerSet::from_iter([HERE]));
    assert_eq!((publication.position, publication.published_at), (None, at(1)));
}

#[test]
fn without_history_a_client_cannot_recover_and_is_told_so() {
    let mut partition = partition();
    let client = ClientPosition { epoch: None, offset: 1 };

    let attached = partition.attach(at(0), &topic("room"), HERE, Some(client), None, usize::MAX);

    assert_eq!((attached.position, attached.recovered), (None, Some(false)));
}

#[test]
fn a_client_gets_what_it_missed_from_its_own_position_on() {
    let mut partition = partition();
    let first = position(&publish(&mut partition, 0, says("a")));
    publish(&mut partition, 0, says("b"));
    publish(&mut partition, 0, says("c"));

    let attached = attach(&mut partition, 1, Some(first));

    assert_eq!((attached.position, attached.recovered), (Some(first), Some(true)));
    assert_eq!(data(&attached.missed), ["b", "c"]);
}

#[test]
fn what_was_missed_is_given_in_parts_to_the_end() {
    let mut partition = partition();
    let first = position(&publish(&mut partition, 0, says("a")));
    publish(&mut partition, 0, says("b"));
    publish(&mut partition, 0, says("c"));

    let room = topic("room");
    let client = Some(ClientPosition::from(first));
    let part = partition.attach(at(0), &room, HERE, client, Some(RULE), 1);
    assert_eq!(
        (part.recovered, data(&part.missed), part.more),
        (Some(true), vec!["b".into()], true)
    );
    let rest = partition.attach(at(0), &room, HERE, client, Some(RULE), 2);
    assert!(!rest.more);
}

#[test]
fn a_client_that_missed_too_much_starts_at_the_top_and_is_told_so() {
    let mut partition = partition();
    let first = position(&publish(&mut partition, 0, says("a")));
    for text in ["b", "c", "d", "e"] {
        publish(&mut partition, 0, says(text));
    }

    let attached = attach(&mut partition, 1, Some(first));

    assert_eq!(attached.recovered, Some(false));
    assert_eq!(attached.position, Some(Position { offset: 5, ..first }));
    assert!(attached.missed.is_empty());
}

#[test]
fn a_position_that_nobody_gave_out_recovers_nothing() {
    let mut partition = partition();
    let first = position(&publish(&mut partition, 0, says("a")));

    for wrong in [Position { offset: 2, ..first }, Position { epoch: Epoch(0), ..first }] {
        assert_eq!(attach(&mut partition, 0, Some(wrong)).recovered, Some(false), "{wrong:?}");
    }
}

#[test]
fn what_is_too_old_is_removed_without_being_asked_for() {
    let mut partition = partition();
    publish(&mut partition, 0, says("a"));

    assert_eq!(partition.due(), Some(at(60)));
    partition.tick(at(59));
    assert_eq!(partition.topics().len(), 1);
    partition.tick(at(60));
    assert_eq!((partition.account.publications, partition.due()), (0, Some(at(120))));
    partition.tick(at(120));

    assert_eq!((partition.topics().len(), partition.due()), (0, None));
    assert_eq!(partition.account.shared_used(), 0);
}

#[test]
fn a_rule_that_keeps_nothing_costs_nothing() {
    let mut partition = partition();
    let nothing = HistoryRule { messages: 0, ..RULE };

    partition.publish(at(0), says("a"), Some(nothing));

    assert_eq!((partition.topics().len(), partition.account.shared_used()), (0, 0));
}

#[test]
fn a_topic_that_was_forgotten_begins_a_new_epoch() {
    let mut partition = partition();
    let old = position(&publish(&mut partition, 0, says("a")));
    partition.tick(at(60));
    partition.tick(at(120));

    let new = position(&publish(&mut partition, 120, says("b")));

    assert_eq!((old.offset, new.offset), (1, 1));
    assert_ne!(old.epoch, new.epoch);
}

#[test]
fn a_subscriber_keeps_the_epoch_alive() {
    let mut partition = partition();
    let start = attach(&mut partition, 0, None).position.unwrap();
    let first = position(&publish(&mut partition, 0, says("a")));
    partition.tick(at(100));

    let second = position(&publish(&mut partition, 100, says("b")));

    assert_eq!((start.offset, first.offset, second.offset), (0, 1, 2));
    assert!(start.epoch == first.epoch && first.epoch == second.epoch);
}

#[test]
fn a_position_in_a_topic_that_everybody_left_stays_good_for_the_age_of_its_history() {
    let mut partition = partition();
    let start = attach(&mut partition, 0, None).position.unwrap();
    partition.detach(at(0), &topic("room"), HERE);

    publish(&mut partition, 59, says("a"));
    let back = attach(&mut partition, 60, Some(start));
    assert_eq!((back.recovered, data(&back.missed)), (Some(true), vec!["a".into()]));

    partition.detach(at(60), &topic("room"), HERE);
    partition.tick(at(119));
    partition.tick(at(179));
    assert_eq!((partition.topics().len(), partition.account.shared_used()), (0, 0));
    assert_eq!(attach(&mut partition, 179, Some(start)).recovered, Some(false));
}

#[test]
fn topics_at_rest_make_room_first() {
    let mut partition = Partition::new(1, HistoryBytes::new(1_200, 1));
    publish(&mut partition, 0, says("a"));
    for number in 0..100 {
        let left = topic(&format!("left{number}"));
        partition.attach(at(0), &left, HERE, None, Some(RULE), usize::MAX);
        partition.detach(at(0), &left, HERE);
    }

    assert!(partition.account.shared_used() <= 1_200);
    assert_eq!(partition.account.publications, 1);
}

#[test]
fn a_key_makes_a_retry_harmless_for_two_minutes() {
    let mut partition = partition();
    attach(&mut partition, 0, None);
    let user = KeyScope::User("al");
    let first = position(&publish(&mut partition, 0, with_key("a", user)));

    let retry = publish(&mut partition, 119, with_key("a", user));
    let later = publish(&mut partition, 120, with_key("a", user));

    assert!(matches!(retry, Outcome::Duplicate(position) if position == first));
    assert_eq!(position(&later).offset, 2);
    // The end of the first use must not end the second.
    partition.tick(at(121));
    let retry = publish(&mut partition, 121, with_key("a", user));
    assert!(matches!(retry, Outcome::Duplicate(_)), "{retry:?}");
}

#[test]
fn a_key_is_its_owners_and_its_channels() {
    let mut partition = partition();
    publish(&mut partition, 0, with_key("a", KeyScope::User("al")));

    let others = [
        with_key("a", KeyScope::User("bo")),
        with_key("a", KeyScope::Api),
        Publish { topic: topic("other"), ..with_key("a", KeyScope::User("al")) },
    ];

    for other in others {
        let outcome = publish(&mut partition, 0, other);
        assert!(matches!(outcome, Outcome::Published { .. }), "{outcome:?}");
    }
}

#[test]
fn a_key_outlives_the_publication_and_then_goes_too() {
    let mut partition = partition();
    let first = position(&publish(&mut partition, 0, with_key("a", KeyScope::Api)));
    partition.tick(at(60));

    let retry = publish(&mut partition, 61, with_key("a", KeyScope::Api));

    assert!(matches!(retry, Outcome::Duplicate(position) if position == first));
    assert_eq!(partition.due(), Some(at(120)));
    partition.tick(at(120));
    partition.tick(at(180));
    assert_eq!((partition.topics().len(), partition.account.shared_used()), (0, 0));
}

#[test]
fn history_is_read_in_pages_to_the_end() {
    let mut partition = partition();
    let first = position(&publish(&mut partition, 0, says("a")));
    publish(&mut partition, 0, says("b"));
    publish(&mut partition, 0, says("c"));
    let mut page = |since: Option<Position>, limit| {
        let since = since.map(ClientPosition::from);
        let page = partition.history(at(0), &topic("room"), since, limit, Some(RULE)).unwrap();
        (data(&page.messages), page.more, page.gap.map(|gap| gap.offset), page.top.offset)
    };

    assert_eq!(page(None, 2), (vec![json!("b"), json!("c")], false, None, 3));
    assert_eq!(page(Some(first), 1), (vec![json!("b")], true, None, 3));
    let second = Position { offset: 2, ..first };
    assert_eq!(page(Some(second), 1), (vec![json!("c")], false, None, 3));
    let start = Position { offset: 0, ..first };
    assert_eq!(page(Some(start), 9).0.len(), 3);
}

#[test]
fn a_page_after_what_was_removed_says_where_the_gap_ends() {
    let mut partition = partition();
    let first = position(&publish(&mut partition, 0, says("a")));
    for text in ["b", "c", "d", "e"] {
        publish(&mut partition, 0, says(text));
    }

    let page = partition.history(at(0), &topic("room"), Some(first.into()), 2, Some(RULE)).unwrap();

    assert_eq!(page.gap, Some(Position { offset: 2, ..first }));
    assert_eq!(data(&page.messages), ["c", "d"]);
    assert!(page.more);
}

#[test]
fn history_of_another_epoch_or_of_none_is_refused() {
    let mut partition = partition();
    let first = position(&publish(&mut partition, 0, says("a")));
    let wrong = ClientPosition { epoch: None, offset: 1 };
    let mut ask = |name: &str, since, rule| {
        partition.history(at(0), &topic(name), since, 9, rule).map(|page| page.messages.len())
    };

    assert_eq!(ask("room", Some(wrong), Some(RULE)), Err(HistoryError::EpochChanged));
    assert_eq!(ask("other", Some(first.into()), Some(RULE)), Err(HistoryError::EpochChanged));
    assert_eq!(ask("other", None, Some(RULE)), Ok(0));
    assert_eq!(ask("room", None, None), Err(HistoryError::NoHistory));
    assert_eq!(partition.topics().len(), 1, "asking is no reason to remember");
}

#[test]
fn history_switched_on_or_off_is_told_to_subscribers() {
    let mut partition = partition();
    let old = attach(&mut partition, 0, None).position.unwrap();
    let to = WorkerSet::from_iter([HERE]);
    let mut change =
        |history| partition.reconfigure(at(0), |_| TopicRules { history, presence: None });

    assert_eq!(change(Some(HistoryRule { messages: 9, ..RULE })), []);
    assert_eq!(change(None), [Reset { topic: topic("room"), to, position: None }]);
    assert_eq!(change(None), []);
    let [Reset { position: Some(new), .. }] = change(Some(RULE))[..] else {
        panic!("history was switched on");
    };
    assert!(new.epoch != old.epoch && new.offset == 0);
}

#[test]
fn a_rule_that_keeps_less_removes_at_once_and_on_time() {
    let mut partition = partition();
    for text in ["a", "b", "c"] {
        publish(&mut partition, 0, says(text));
    }

    let less = HistoryRule { messages: 2, max_age: at(10) };
    partition.reconfigure(at(1), |_| TopicRules { history: Some(less), presence: None });

    let stream = partition.topics.values().next().unwrap().stream.as_ref();
    assert_eq!(stream.unwrap().stored().len(), 2);
    assert_eq!(partition.due(), Some(at(10)));
    partition.tick(at(10));
    partition.tick(at(20));
    assert_eq!((partition.topics().len(), partition.account.shared_used()), (0, 0));
}

#[test]
fn one_tick_does_bounded_work_and_the_next_goes_on() {
    let mut partition = partition();
    for number in 0..=upkeep::WORK_PER_TICK_MAX {
        let topic = topic(&number.to_string());
        publish(&mut partition, 0, Publish { topic, ..says("a") });
    }

    partition.tick(at(60));
    assert_eq!((partition.account.publications, partition.due()), (1, Some(at(60))));

    partition.tick(at(60));
    assert_eq!(partition.account.publications, 0);
}

#[test]
fn a_busy_topic_does_not_grow_the_ledger() {
    let mut partition = partition();
    for _ in 0..10_000 {
        publish(&mut partition, 0, says("a"));
    }

    assert!(partition.ledger.len() < 1100, "{}", partition.ledger.len());
}

fn member(connection: &str) -> Member {
    let user = Some("al".into());
    Member { user, connection: connection.into(), info: Some("{\"n\":1}".into()) }
}

fn told(announcement: &Announcement) -> (WorkerSet, Value) {
    (announcement.to, serde_json::from_slice(announcement.envelope.as_bytes()).unwrap())
}

#[test]
fn subscribers_are_told_who_joins_and_ten_seconds_later_who_left() {
    let mut partition = partition();
    let room = topic("room");
    let to = WorkerSet::from_iter([HERE]);
    partition.attach(at(0), &room, HERE, None, None, usize::MAX);
    let who = json!({"channel": "room", "user": "al", "connection": "c1", "info": {"n": 1}});

    let joined = partition.join(at(0), &room, member("c1"), PresenceMode::Announced).unwrap();
    assert_eq!(told(&joined), (to, json!({"type": "join", "payload": who})));
    assert_eq!(partition.presence(&room).members, [member("c1")]);

    assert!(partition.leave(at(5), &room, "c1").is_none());
    assert_eq!((partition.presence(&room).total, partition.due()), (0, Some(at(15))));
    assert!(partition.tick(at(14)).is_empty());
    let left: Vec<_> = partition.tick(at(15)).iter().map(told).collect();
    assert_eq!(left, [(to, json!({"type": "leave", "payload": who}))]);
}

#[test]
fn presence_that_is_not_announced_is_only_answered() {
    let mut partition = partition();
    let room = topic("room");
    partition.attach(at(0), &room, HERE, None, None, usize::MAX);

    assert!(partition.join(at(0), &room, member("c1"), PresenceMode::Enabled).is_none());
    assert_eq!(partition.presence(&room).total, 1);
    assert!(partition.leave(at(0), &room, "c1").is_none());

    assert!(partition.tick(at(60)).is_empty());
}

#[test]
fn a_topic_that_everybody_left_is_forgotten_once_that_was_told() {
    let mut partition = partition();
    let room = topic("room");
    partition.attach(at(0), &room, HERE, None, None, usize::MAX);
    partition.join(at(0), &room, member("c1"), PresenceMode::Announced);
    partition.leave(at(0), &room, "c1");
    partition.detach(at(0), &room, HERE);
    assert_eq!(partition.topics().len(), 1);

    assert!(partition.tick(at(10)).is_empty(), "nobody is there to be told");

    assert_eq!((partition.topics().len(), partition.due()), (0, None));
}

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::auth::signer::Signer;

const PERIOD: Duration = Duration::from_mins(10);

const SECOND: Duration = Duration::from_secs(1);

fn key(kid: &str) -> Key {
    Signer::new("EdDSA").verifying(Some(kid))
}

/// A keeper that has fetched one key, `a`, now.
fn keeper(now: Instant) -> Keeper {
    let mut keeper = Keeper::new(now, PERIOD, Arc::default());
    assert!(keeper.begin(now));
    assert_eq!(keeper.succeed(now, vec![key("a")], 1.0), Change { keys: true, absent: false });
    keeper
}

fn is_known(keeper: &Keeper) -> bool {
    matches!(keeper.set(), KeySet::Known { .. })
}

fn absent(keeper: &Keeper) -> Vec<&str> {
    let KeySet::Known { absent, .. } = keeper.set() else { return Vec::new() };
    let mut names: Vec<_> = absent.iter().map(|name| &**name).collect();
    names.sort_unstable();
    names
}

#[test]
fn the_first_fetch_begins_at_once_and_the_next_within_the_period() {
    let now = Instant::now();
    let mut keeper = Keeper::new(now, PERIOD, Arc::default());
    assert_eq!(keeper.next(), Some(now));
    assert!(keeper.begin(now));
    assert!(!keeper.begin(now), "one at a time");
    assert_eq!(keeper.next(), None);

    for (chance, wait) in [(0.0, PERIOD.mul_f64(0.9)), (1.0, PERIOD)] {
        keeper.succeed(now, vec![key("a")], chance);
        assert_eq!(keeper.next(), Some(now + wait));
    }
    assert!(!keeper.begin(now + PERIOD - SECOND));
    assert!(keeper.begin(now + PERIOD));
}

#[test]
fn failures_are_tried_again_after_a_second_and_at_last_every_minute() {
    let mut now = Instant::now();
    let mut keeper = Keeper::new(now, PERIOD, Arc::default());
    let waits = [1, 2, 4, 8, 16, 32, 60, 60].map(Duration::from_secs);
    for wait in waits.into_iter().chain([waits[7]; 40]) {
        assert!(keeper.begin(now));
        keeper.fail(now, 1.0);
        assert_eq!(keeper.next(), Some(now + wait));
        now += wait;
    }
    assert!(keeper.begin(now));
    keeper.succeed(now, vec![key("a")], 1.0);
    assert!(keeper.begin(now + PERIOD));
    keeper.fail(now, 0.0);
    assert_eq!(keeper.next(), Some(now + SECOND / 2), "success forgives");
}

#[test]
fn a_set_that_cannot_be_fetched_is_trusted_for_a_day_more_and_then_vouches_on() {
    let now = Instant::now();
    let mut keeper = keeper(now);
    let end = now + PERIOD + STALE_AFTER;
    assert!(keeper.begin(now + PERIOD));
    keeper.fail(now + PERIOD, 1.0);

    assert!(!keeper.expire(end - SECOND));
    assert!(is_known(&keeper));
    assert!(keeper.expire(end));
    assert!(!keeper.expire(end), "said once");
    assert!(!is_known(&keeper));
    assert_eq!(keeper.set().keys().len(), 1);

    assert!(keeper.begin(end));
    let change = keeper.succeed(end, vec![key("a")], 1.0);
    assert!(change.keys, "it is trusted again");
    assert!(is_known(&keeper));
}

#[test]
fn the_end_of_trust_wakes_even_while_a_fetch_is_under_way() {
    let now = Instant::now();
    let mut keeper = keeper(now);
    assert!(keeper.begin(now + PERIOD));

    assert_eq!(keeper.next(), Some(now + PERIOD + STALE_AFTER));
}

#[test]
fn a_name_is_looked_for_at_once_and_then_at_most_once_a_minute() {
    let now = Instant::now();
    let mut keeper = keeper(now);
    keeper.ask("x".into());
    keeper.ask("x".into());
    keeper.ask("y".into());
    assert_eq!(keeper.next(), Some(now));
    assert!(keeper.begin(now));

    let change = keeper.succeed(now, vec![key("a")], 1.0);
    assert!(change.absent);
    assert_eq!(absent(&keeper), ["x", "y"]);

    keeper.ask("x".into());
    assert_eq!(keeper.next(), Some(now + ASKED_EVERY));
    assert!(!keeper.begin(now + ASKED_EVERY - SECOND));
    assert!(keeper.begin(now + ASKED_EVERY));
    keeper.succeed(now + ASKED_EVERY, vec![key("a"), key("x")], 1.0);
    assert_eq!(absent(&keeper), ["y"]);
}

#[test]
fn a_name_that_was_asked_for_during_a_fetch_is_not_yet_known_to_be_absent() {
    let now = Instant::now();
    let mut keeper = keeper(now);
    keeper.ask("x".into());
    assert!(keeper.begin(now));
    keeper.ask("late".into());
    keeper.ask("new".into());

    keeper.succeed(now, vec![key("new")], 1.0);

    assert_eq!(absent(&keeper), ["x"]);
    assert_eq!(keeper.next(), Some(now + ASKED_EVERY), "for `late`");
    assert!(keeper.begin(now + ASKED_EVERY));
    keeper.succeed(now + ASKED_EVERY, vec![key("new")], 1.0);
    assert_eq!(absent(&keeper), ["late", "x"]);
}

#[test]
fn a_name_is_not_absent_because_a_fetch_failed() {
    let now = Instant::now();
    let mut keeper = keeper(now);
    keeper.ask("x".into());
    assert!(keeper.begin(now));
    keeper.fail(now, 1.0);
    assert!(absent(&keeper).is_empty());
    assert_eq!(keeper.next(), Some(now + SECOND), "asking does not press");

    assert!(keeper.begin(now + SECOND));
    keeper.succeed(now + SECOND, vec![key("a")], 1.0);

    assert_eq!(absent(&keeper), ["x"]);
}

#[test]
fn names_that_are_known_or_awaited_are_not_asked_for() {
    let now = Instant::now();
    let mut awaiting = Keeper::new(now, PERIOD, Arc::default());
    assert!(awaiting.begin(now));
    awaiting.ask("x".into());
    awaiting.fail(now, 1.0);
    assert!(awaiting.asked.is_empty());

    let mut keeper = keeper(now);
    keeper.ask("a".into());
    assert_eq!(keeper.next(), Some(now + PERIOD));
}

#[test]
fn the_same_keys_change_nothing() {
    let now = Instant::now();
    let (a, b) = (key("a"), key("b"));
    let mut keeper = keeper(now);
    let mut change = |keys: &[&Key]| {
        let keys = keys.iter().map(|key| (*key).clone()).collect();
        keeper.succeed(now, keys, 1.0)
    };

    assert!(change(&[&a]).keys);
    assert_eq!(change(&[&a]), Change::default());
    assert!(change(&[&a, &b]).keys);
    assert!(change(&[&b]).keys);
}

#[test]
fn a_restart_fetches_at_once_and_forgets_nothing() {
    let now = Instant::now();
    let mut keeper = keeper(now);
    keeper.ask("x".into());
    assert!(keeper.begin(now));

    keeper.restart(now + SECOND, SECOND);

    assert!(is_known(&keeper));
    assert_eq!(keeper.next(), Some(now + SECOND));
    assert!(keeper.begin(now + SECOND));
    keeper.succeed(now + SECOND, vec![key("a")], 1.0);
    assert_eq!(absent(&keeper), ["x"]);
}

#[test]
fn memory_is_bounded_however_many_names_are_asked_for() {
    let mut now = Instant::now();
    let mut keeper = keeper(now);
    for round in 0..20 {
        for name in 0..ASKED_MAX * 2 {
            keeper.ask(format!("{round}.{name}").into());
        }
        now += ASKED_EVERY;
        assert!(keeper.begin(now));
        keeper.succeed(now, vec![key("a")], 1.0);
        assert!((ASKED_MAX..=ABSENT_MAX).contains(&absent(&keeper).len()), "round {round}");
    }
}

#[test]
fn a_signed_token_goes_through_the_states_of_its_key() {
    use crate::auth::token::{TokenError, Verifier};
    let now = Instant::now();
    let provider = Signer::new("EdDSA");
    let token = provider.sign(&json!({"kid": "x"}), &json!({"exp": 9}));
    let mut keeper = keeper(now);
    let verify = |keeper: &Keeper| {
        let verifier = Verifier { set: keeper.set().clone(), ..Verifier::default() };
        verifier.verify(&token, 0).map(drop)
    };

    assert_eq!(verify(&keeper), Err(TokenError::Undecided));
    keeper.ask("x".into());
    assert!(keeper.begin(now));
    assert_eq!(verify(&keeper), Err(TokenError::Undecided));
    keeper.succeed(now, vec![key("a")], 1.0);
    assert_eq!(verify(&keeper), Err(TokenError::Refused("no key for alg and kid")));
    keeper.succeed(now, vec![provider.verifying(Some("x"))], 1.0);
    assert_eq!(verify(&keeper), Ok(()));
}

proptest! {
    /// Whatever happens, somebody who asks gets a fetch begun, and not more than one a minute.
    #[test]
    fn asking_never_has_it_fetched_more_than_once_a_minute(
        steps in prop::collection::vec((0_u64..30, any::<bool>(), any::<bool>()), 1..60),
    ) {
        let start = Instant::now();
        let mut now = start;
        let mut keeper = Keeper::new(now, Duration::from_hours(24), Arc::default());
        let keys = [key("a")];
        let mut asked_fetches = 0;
        keeper.begin(now);
        keeper.succeed(now, keys.to_vec(), 1.0);
        for (number, (seconds, asks, ends)) in steps.into_iter().enumerate() {
            now += Duration::from_secs(seconds);
            if asks {
                keeper.ask(format!("{number}").into());
            }
            if keeper.begin(now) {
                asked_fetches += 1;
            }
            if ends && keeper.is_fetching {
                keeper.succeed(now, keys.to_vec(), 1.0);
            }
        }
        prop_assert!(asked_fetches <= 1 + (now - start).as_secs() / 60);
        keeper.succeed(now, keys.to_vec(), 1.0);
        keeper.ask("last".into());
        prop_assert!(keeper.next().unwrap() <= now + ASKED_EVERY);
    }
}

//! Which pods are alive.
//!
//! A pod that was not heard for five seconds is lost; one that said goodbye is gone at once, and what
//! of it comes late brings it back only when it goes on. While the broker is lost nobody is heard, and
//! nobody is taken for lost either.
//!
//! Beats are numbered as they are sent, so a number that is missing was lost on the way, between NATS
//! servers for example: then whatever else its pod sent may be lost as well, without any sign at our
//! own connection. These holes are counted. What was lost with our own connection is no hole: that the
//! connection was lost says it already.

use std::{collections::VecDeque, mem, sync::Arc, time::Duration};

use ahash::AHashMap;

use super::pods::Beat;

/// A pod that is silent for so long is lost.
pub const LOST_AFTER: Duration = Duration::from_secs(5);

/// How long after our own connection came back a pod is heard that lost nothing since: a beat, and the
/// way.
const BACK_WITHIN: Duration = Duration::from_millis(1_250);

/// Pods that are known at most: more than any gateway has, and what somebody makes up ends here.
const PODS_MAX: usize = 1_000;

/// What a beat says of the counts that its pod tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is our own, or of a pod beyond the bound.
    Nothing,
    /// The next one of a pod that is known, or the first one of all.
    Next,
    /// Some of this pod were missed, for whatever reason: what it told in them is to be asked for.
    Hole,
    /// The pod goes away.
    Bye,
}

/// The other pods.
#[derive(Debug)]
pub struct Peers {
    own: Arc<str>,
    alive: AHashMap<Arc<str>, Peer>,
    /// Time stands still since then: the broker is lost.
    paused: bool,
    /// Pods that are lost, the oldest first, at most [`PODS_MAX`]: some come back.
    lost: VecDeque<(Arc<str>, Peer)>,
    /// When our own connection came back last.
    back: Duration,
    holes: u64,
}

#[derive(Debug)]
struct Peer {
    heard: Duration,
    seq: u64,
    /// It was not heard since our own connection came back.
    is_excused: bool,
}

impl Peers {
    /// Nobody but this pod.
    pub fn new(own: Arc<str>) -> Self {
        Self {
            own,
            alive: AHashMap::new(),
            paused: false,
            lost: VecDeque::new(),
            back: Duration::ZERO,
            holes: 0,
        }
    }

    /// Takes note of a beat.
    pub fn hear(&mut self, now: Duration, beat: &Beat) -> Heard {
        if beat.pod == self.own {
            return Heard::Nothing;
        }
        if beat.bye {
            let Some(before) = self.alive.remove(&beat.pod) else { return Heard::Nothing };
            self.count_hole(now, &before, beat.seq);
            return Heard::Bye;
        }
        if let Some(peer) = self.alive.get_mut(&beat.pod) {
            let seq = beat.seq.max(peer.seq);
            let before = mem::replace(peer, Peer { heard: now, seq, is_excused: false });
            self.count_hole(now, &before, beat.seq);
            let is_next = before.seq.checked_add(1) == Some(beat.seq);
            return if is_next { Heard::Next } else { Heard::Hole };
        }
        if self.alive.len() >= PODS_MAX {
            return Heard::Nothing;
        }
        let at = self.lost.iter().position(|(pod, _)| *pod == beat.pod);
        if let Some((_, before)) = at.and_then(|at| self.lost.remove(at)) {
            self.count_hole(now, &before, beat.seq);
        }
        let peer = Peer { heard: now, seq: beat.seq, is_excused: false };
        self.alive.insert(Arc::clone(&beat.pod), peer);
        if beat.seq == 1 { Heard::Next } else { Heard::Hole }
    }

    /// How often beats of a pod that was heard before were lost on the way, though our own connection
    /// was there.
    pub const fn holes(&self) -> u64 {
        self.holes
    }

    fn count_hole(&mut self, now: Duration, before: &Peer, seq: u64) {
        let is_excused = before.is_excused && now <= self.back + BACK_WITHIN;
        // One that comes again, or late, is not lost.
        if seq > before.seq.saturating_add(1) && !is_excused && !self.paused {
            self.holes += 1;
        }
    }

    /// Takes out who has been silent for too long.
    pub fn lose(&mut self, now: Duration) -> Vec<Arc<str>> {
        if self.paused {
            return Vec::new();
        }
        let is_lost = |_: &Arc<str>, it: &mut Peer| it.heard + LOST_AFTER <= now;
        let lost: Vec<_> = self.alive.extract_if(is_lost).collect();
        let names = lost.iter().map(|(pod, _)| Arc::clone(pod)).collect();
        self.lost.extend(lost);
        self.lost.drain(..self.lost.len().saturating_sub(PODS_MAX));
        names
    }

    /// Our own connection was lost and is back: what was sent meanwhile did not come.
    pub fn come_back(&mut self, now: Duration) {
        self.back = now;
        let lost = self.lost.iter_mut().map(|(_, it)| it);
        self.alive.values_mut().chain(lost).for_each(|it| it.is_excused = true);
    }

    /// The broker is lost.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// The broker is back: everybody gets the full time to be heard again.
    pub fn resume(&mut self, now: Duration) {
        if self.paused {
            self.paused = false;
            self.alive.values_mut().for_each(|it| it.heard = now);
        }
    }

    /// The other pods that are alive.
    pub fn alive(&self) -> Vec<Arc<str>> {
        self.alive.keys().cloned().collect()
    }

    /// Whether a pod is alive.
    pub fn is_alive(&self, pod: &str) -> bool {
        self.alive.contains_key(pod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn beat(pod: &str, seq: u64) -> Beat {
        Beat::new(pod.into(), seq)
    }

    #[test]
    fn who_is_silent_for_five_seconds_is_lost() {
        let mut peers = Peers::new("a".into());

        assert_eq!(peers.hear(SECOND, &beat("a", 1)), Heard::Nothing);
        assert_eq!(peers.hear(SECOND, &beat("b", 1)), Heard::Next);
        assert_eq!(peers.hear(3 * SECOND, &beat("b", 2)), Heard::Next);
        assert!(peers.lose(7 * SECOND).is_empty());
        assert_eq!(peers.lose(8 * SECOND), ["b".into()]);
        assert!(peers.alive().is_empty());
    }

    #[test]
    fn what_was_missed_is_noticed() {
        let mut peers = Peers::new("a".into());

        assert_eq!(peers.hear(SECOND, &beat("b", 7)), Heard::Hole);
        assert_eq!(peers.hear(SECOND, &beat("b", 8)), Heard::Next);
        assert_eq!(peers.hear(SECOND, &beat("b", 10)), Heard::Hole);
        assert_eq!(peers.hear(SECOND, &beat("b", 11)), Heard::Next);
    }

    #[test]
    fn a_beat_that_is_lost_on_the_way_is_a_hole() {
        let check = |seqs: &[u64], expected: u64| {
            let mut peers = Peers::new("a".into());
            for seq in seqs {
                peers.hear(SECOND, &beat("b", *seq));
            }
            assert_eq!(peers.holes(), expected, "{seqs:?}");
        };

        // What a pod sent before this one was there is not lost.
        check(&[7, 8, 9], 0);
        check(&[1, 2, 4, 5, 7], 2);
        check(&[1, 2, 2, 1, 3], 0);
        check(&[u64::MAX, u64::MAX, 1], 0);
    }

    #[test]
    fn a_hole_before_the_goodbye_is_one() {
        let mut peers = Peers::new("a".into());
        peers.hear(SECOND, &beat("b", 1));

        peers.hear(SECOND, &Beat { bye: true, ..beat("b", 3) });

        assert_eq!(peers.holes(), 1);
    }

    #[test]
    fn a_pod_that_comes_back_left_a_hole_if_it_went_on_meanwhile() {
        let check = |seq: u64, expected: u64| {
            let mut peers = Peers::new("a".into());
            peers.hear(SECOND, &beat("b", 1));
            assert_eq!(peers.lose(10 * SECOND).len(), 1);
            peers.hear(11 * SECOND, &beat("b", seq));
            assert_eq!(peers.holes(), expected, "{seq}");
        };

        // It stood still: what it had to say it says now.
        check(2, 0);
        check(3, 1);
    }

    #[test]
    fn what_our_own_connection_lost_is_no_hole() {
        let check = |heard: Duration, expected: u64| {
            let mut peers = Peers::new("a".into());
            peers.hear(SECOND, &beat("b", 1));
            peers.come_back(10 * SECOND);
            peers.hear(10 * SECOND + heard, &beat("b", 9));
            assert_eq!(peers.holes(), expected, "{heard:?}");
            peers.hear(10 * SECOND + heard, &beat("b", 11));
            assert_eq!(peers.holes(), expected + 1, "{heard:?}");
        };

        check(SECOND, 0);
        // It must have said something since, which did not come.
        check(2 * SECOND, 1);
    }

    #[test]
    fn there_are_no_holes_while_the_broker_is_lost() {
        let mut peers = Peers::new("a".into());
        peers.hear(SECOND, &beat("b", 1));
        peers.pause();

        peers.hear(SECOND, &beat("b", 9));

        assert_eq!(peers.holes(), 0);
    }

    #[test]
    fn lost_pods_that_are_made_up_have_a_bound() {
        let mut peers = Peers::new("a".into());
        for round in 0..3 {
            for number in 0..PODS_MAX {
                peers.hear(10 * round * SECOND, &beat(&format!("{round}.{number}"), 1));
            }
            assert_eq!(peers.lose(10 * (round + 1) * SECOND).len(), PODS_MAX);
        }

        assert_eq!(peers.lost.len(), PODS_MAX);
    }

    #[test]
    fn a_goodbye_counts_at_once() {
        let mut peers = Peers::new("a".into());
        peers.hear(SECOND, &beat("b", 1));

        assert_eq!(peers.hear(SECOND, &Beat { bye: true, ..beat("b", 2) }), Heard::Bye);
        assert_eq!(peers.hear(SECOND, &Beat { bye: true, ..beat("b", 2) }), Heard::Nothing);
        assert!(!peers.is_alive("b"));
    }

    #[test]
    fn nobody_is_lost_while_the_broker_is() {
        let mut peers = Peers::new("a".into());
        peers.hear(SECOND, &beat("b", 1));

        peers.pause();
        assert!(peers.lose(60 * SECOND).is_empty());
        peers.resume(60 * SECOND);
        assert!(peers.lose(64 * SECOND).is_empty());
        assert_eq!(peers.lose(65 * SECOND).len(), 1);
    }
}

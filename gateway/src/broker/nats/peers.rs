//! Which pods are alive.
//!
//! A pod that was not heard for five seconds is lost; one that said goodbye is gone at once, and what
//! of it comes late brings it back only when it goes on. While the broker is lost nobody is heard, and
//! nobody is taken for lost either.

use std::{sync::Arc, time::Duration};

use ahash::AHashMap;

use super::pods::Beat;

/// A pod that is silent for so long is lost.
pub const LOST_AFTER: Duration = Duration::from_secs(5);

/// Pods that are known at most: more than any gateway has, and what somebody makes up ends here.
const PODS_MAX: usize = 1_000;

/// What a beat says beyond that its pod is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is our own, or of a pod beyond the bound.
    Nothing,
    /// The next one of a pod that is known, or the first one of all.
    Next,
    /// Some of this pod were missed: what it told in them is to be asked for.
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
}

#[derive(Debug)]
struct Peer {
    heard: Duration,
    seq: u64,
}

impl Peers {
    /// Nobody but this pod.
    pub fn new(own: Arc<str>) -> Self {
        Self { own, alive: AHashMap::new(), paused: false }
    }

    /// Takes note of a beat.
    pub fn hear(&mut self, now: Duration, beat: &Beat) -> Heard {
        if beat.pod == self.own {
            return Heard::Nothing;
        }
        if beat.bye {
            return if self.alive.remove(&beat.pod).is_some() {
                Heard::Bye
            } else {
                Heard::Nothing
            };
        }
        if let Some(peer) = self.alive.get_mut(&beat.pod) {
            let is_next = beat.seq == peer.seq + 1;
            *peer = Peer { heard: now, seq: beat.seq.max(peer.seq) };
            return if is_next { Heard::Next } else { Heard::Hole };
        }
        if self.alive.len() >= PODS_MAX {
            return Heard::Nothing;
        }
        self.alive.insert(Arc::clone(&beat.pod), Peer { heard: now, seq: beat.seq });
        if beat.seq == 1 { Heard::Next } else { Heard::Hole }
    }

    /// Takes out who has been silent for too long.
    pub fn lose(&mut self, now: Duration) -> Vec<Arc<str>> {
        if self.paused {
            return Vec::new();
        }
        let is_lost = |_: &Arc<str>, it: &mut Peer| it.heard + LOST_AFTER <= now;
        self.alive.extract_if(is_lost).map(|(pod, _)| pod).collect()
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

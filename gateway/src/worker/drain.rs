//! Closes that are spread over time, each told before it comes.

use std::{collections::VecDeque, time::Duration};

use super::{key::ConnectionKey, life::Worker, shared::millis};
use crate::protocol::{close::CloseReason, reply};

/// A client is told so long before its close at most.
const NOTICE_MS: u64 = 5_000;

/// When each connection of a worker goes.
#[derive(Debug)]
pub struct Drain {
    ends_ms: u64,
    period_ms: u64,
    /// Who is to be told, the next one first, with the time of the close.
    to_tell: VecDeque<(u64, ConnectionKey)>,
    /// Who was told.
    to_close: VecDeque<(u64, ConnectionKey)>,
}

impl Drain {
    /// Spreads closes evenly over the period; the last one comes at its end.
    fn new(now_ms: u64, period_ms: u64, keys: Vec<ConnectionKey>) -> Self {
        let count = keys.len().max(1) as u64;
        let at = |index: u64| now_ms + (index + 1).saturating_mul(period_ms) / count;
        let to_tell = (0..).map(at).zip(keys).collect();
        Self { ends_ms: now_ms + period_ms, period_ms, to_tell, to_close: VecDeque::new() }
    }

    /// Who was on the way in when the drain began goes with the last.
    pub fn add(&mut self, key: ConnectionKey) {
        self.to_tell.push_back((self.ends_ms, key));
    }
}

impl Worker {
    /// Begins to close everybody, in random order. Another call changes nothing.
    pub fn begin_drain(&mut self, period: Duration) {
        if self.drain.is_some() {
            return;
        }
        let mut keys: Vec<_> = self.connections.iter().map(|(_, it)| it.key).collect();
        self.rng.shuffle(&mut keys);
        self.drain = Some(Drain::new(self.now_ms(), millis(period), keys));
    }

    /// Tells those whose close is near, and closes those whose time has come.
    pub fn drain(&mut self) {
        let now_ms = self.now_ms();
        let Some(mut drain) = self.drain.take() else { return };
        while let Some((at, key)) = drain.to_tell.pop_front_if(|(at, _)| *at <= now_ms + NOTICE_MS)
        {
            let closes_in_ms = at.saturating_sub(now_ms);
            let delay_ms = self.rng.u64(0..=drain.period_ms.clamp(1_000, 10_000));
            if self.find(key).is_some_and(|it| !it.is_echo()) {
                self.reply(key.slot(), |out| {
                    reply::reconnect(out, "drain", closes_in_ms, delay_ms);
                });
            }
            drain.to_close.push_back((at, key));
        }
        while let Some((_, key)) = drain.to_close.pop_front_if(|(at, _)| *at <= now_ms) {
            if self.find(key).is_some() {
                self.close(key.slot(), CloseReason::Draining);
            }
        }
        self.drain = Some(drain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closes_are_spread_evenly_and_the_last_comes_at_the_end() {
        let keys: Vec<_> = (0..4).map(|slot| ConnectionKey::new(0, slot, 0)).collect();

        let mut drain = Drain::new(1_000, 10_000, keys);
        drain.add(ConnectionKey::new(0, 9, 0));

        let times: Vec<_> = drain.to_tell.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [3_500, 6_000, 8_500, 11_000, 11_000]);
    }
}

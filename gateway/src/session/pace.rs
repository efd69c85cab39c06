//! How much a connection may ask for, and when too much was too much.

use headgate_crds::v1alpha1::{Limits, Rate};

use crate::{admission::rate::Bucket, protocol::close::CloseReason};

/// Refusals for the rate within [`STRIKES_MS`] that end the connection.
const STRIKES_MAX: u32 = 100;

/// The span in which they count, in milliseconds.
const STRIKES_MS: u64 = 10_000;

/// Envelopes that could not be understood: so many at once, and one a second.
const BAD_BURST: u64 = 20;

/// The rates of one connection.
#[derive(Debug)]
pub struct Pace {
    messages: Bucket,
    subscribes: Bucket,
    bytes: Bucket,
    bad: Bucket,
    strikes: u32,
    strikes_since_ms: u64,
}

/// What a request counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Envelopes and control frames.
    Message,
    /// `subscribe` and `unsubscribe`.
    Subscription,
}

/// Over the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Say so, do nothing.
    Refused,
    /// For too long: the connection ends.
    TooLong,
}

impl Over {
    /// How the connection ends, if it does.
    pub fn close(self) -> Option<CloseReason> {
        (self == Self::TooLong).then_some(CloseReason::RateLimited)
    }
}

impl Pace {
    /// Full buckets.
    pub fn new(limits: &Limits, now_ms: u64) -> Self {
        let full = |rate: &Rate| Bucket::full(rate.burst.into(), now_ms);
        Self {
            messages: full(&limits.message_rate),
            subscribes: full(&limits.subscribe_rate),
            bytes: Bucket::full(limits.byte_rate.burst.bytes(), now_ms),
            bad: Bucket::full(BAD_BURST, now_ms),
            strikes: 0,
            strikes_since_ms: now_ms,
        }
    }

    /// Counts a request.
    pub fn request(&mut self, now_ms: u64, kind: Kind, limits: &Limits) -> Result<(), Over> {
        let (bucket, rate) = match kind {
            Kind::Message => (&mut self.messages, &limits.message_rate),
            Kind::Subscription => (&mut self.subscribes, &limits.subscribe_rate),
        };
        if bucket.take(now_ms, rate.per_second.into(), rate.burst.into(), 1) {
            return Ok(());
        }
        if now_ms.saturating_sub(self.strikes_since_ms) >= STRIKES_MS {
            self.strikes = 0;
            self.strikes_since_ms = now_ms;
        }
        self.strikes += 1;
        Err(if self.strikes >= STRIKES_MAX { Over::TooLong } else { Over::Refused })
    }

    /// Counts an envelope that could not be understood; whether there were too many.
    pub fn bad(&mut self, now_ms: u64) -> bool {
        !self.bad.take(now_ms, 1, BAD_BURST, 1)
    }

    /// Counts bytes; returns how long to read nothing, in milliseconds.
    pub fn bytes(&mut self, now_ms: u64, count: usize, limits: &Limits) -> u64 {
        let rate = &limits.byte_rate;
        self.bytes.take_ahead(now_ms, rate.per_second.bytes(), rate.burst.bytes(), count as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_refusals_in_ten_seconds_end_it() {
        let limits = Limits::default();
        let mut pace = Pace::new(&limits, 0);
        for _ in 0..100 {
            assert_eq!(pace.request(0, Kind::Message, &limits), Ok(()));
        }
        for _ in 0..99 {
            assert_eq!(pace.request(0, Kind::Message, &limits), Err(Over::Refused));
        }
        assert_eq!(pace.request(0, Kind::Subscription, &limits), Ok(()));
        assert_eq!(pace.request(0, Kind::Message, &limits), Err(Over::TooLong));
    }

    #[test]
    fn twenty_bad_envelopes_at_once_are_borne() {
        let mut pace = Pace::new(&Limits::default(), 0);
        assert_eq!((0..21).filter(|_| pace.bad(0)).count(), 1);
        assert!(!pace.bad(1_000));
    }
}

//! What happened to the connection so far, and what follows from it in time. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::refusal;

/// How long after something was lost everything is asked for again, and how long after that at the
/// earliest once more: an overflow tells of each message.
const BREAK_AFTER: Duration = Duration::from_millis(250);
const BREAK_EVERY: Duration = Duration::from_secs(1);

/// How long what the server complains of is shown, and how long the same is not logged again.
const COMPLAINT_SHOWN: Duration = Duration::from_mins(1);
const COMPLAINT_AGAIN: Duration = Duration::from_secs(10);

/// What happened to the connection.
#[derive(Debug, Default)]
pub struct Past {
    /// The broker was there once.
    pub was_there: bool,
    /// How often the client had connected when it was last greeted.
    pub connects: u64,
    /// Why the broker cannot be reached, as the log says already.
    pub unreachable: Option<String>,
    /// What the server complained of, and when it was logged.
    pub complaint: Option<(Instant, String)>,
    /// When everything was last asked for again because something was lost.
    pub broke: Option<Instant>,
    /// When everything is to be asked for again.
    pub breaks: Option<Instant>,
    /// And once more, when the servers of the cluster have told each other.
    pub breaks_again: bool,
}

impl Past {
    /// Has everything asked for again soon, and once for all that is lost until then.
    pub fn break_soon(&mut self, now: Instant) {
        let soonest = self.broke.map(|it| it + BREAK_EVERY);
        let at = now + BREAK_AFTER;
        self.breaks.get_or_insert(soonest.map_or(at, |it| it.max(at)));
    }

    /// The server complains in these words; what to say of it, where that was not said a moment ago.
    pub fn complain(&mut self, now: Instant, error: &str) -> Option<String> {
        let complaint = refusal::explained(error).unwrap_or_else(|| error.to_owned());
        let was_said = |(at, said): &(Instant, String)| {
            *said == complaint && now.saturating_duration_since(*at) <= COMPLAINT_AGAIN
        };
        if self.complaint.as_ref().is_some_and(was_said) {
            return None;
        }
        self.complaint = Some((now, complaint.clone()));
        Some(complaint)
    }

    /// Forgets an old complaint; whether there was one.
    pub fn is_content(&mut self, now: Instant) -> bool {
        let is_old =
            |it: &mut (Instant, String)| now.saturating_duration_since(it.0) > COMPLAINT_SHOWN;
        self.complaint.take_if(is_old).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_losses_is_one_break_a_second() {
        let began = Instant::now();
        let mut past = Past::default();
        let mut breaks = Vec::new();
        for ms in 0..5_000 {
            let now = began + Duration::from_millis(ms);
            past.break_soon(now);
            if past.breaks.take_if(|it| *it <= now).is_some() {
                past.broke = Some(now);
                breaks.push(ms);
            }
        }

        assert_eq!(breaks, [250, 1_250, 2_250, 3_250, 4_250]);
        past.breaks = None;
        past.break_soon(began + Duration::from_mins(1));
        assert_eq!(past.breaks, Some(began + Duration::from_millis(60_250)));
    }

    #[test]
    fn the_same_complaint_is_told_once_in_a_while() {
        let began = Instant::now();
        let mut past = Past::default();
        let told = |past: &mut Past, seconds, error: &str| {
            past.complain(began + Duration::from_secs(seconds), error).is_some()
        };

        assert!(told(&mut past, 0, "one"));
        assert!(!told(&mut past, 10, "one"));
        assert!(told(&mut past, 10, "another"));
        assert!(told(&mut past, 21, "another"));
        assert!(!past.is_content(began + Duration::from_secs(81)));
        assert!(past.is_content(began + Duration::from_secs(82)));
        assert!(!past.is_content(began + Duration::from_secs(83)));
    }
}

//! How far a pod has read the stream of revocations, and whether there is more to read.
//!
//! Numbers count within one life of the stream: one that was emptied or made anew begins again at 1,
//! so what was known of the old life says nothing. What others tell is only a reason to look: it is
//! used up by looking, so that no number, however high, ends the looking.

use std::mem;

/// Where a pod is in the stream of revocations.
#[derive(Debug, Default)]
pub struct Reach {
    /// When the stream was created, in nanoseconds since 1970; 0: it was not looked at yet.
    life: u64,
    /// The last that was read, and all before it.
    known: u64,
    /// The highest that anybody named since it was looked at last.
    told: u64,
    /// Something may be missing, whatever the numbers say.
    is_unread: bool,
}

/// Why it is looked: what comes back when that fails.
#[derive(Debug)]
pub struct Reason {
    told: u64,
    is_unread: bool,
}

impl Reach {
    /// The life of the stream, and the last revocation in it that is known with all before it.
    pub const fn known(&self) -> (u64, u64) {
        (self.life, self.known)
    }

    /// Whether there may be one that is not known.
    pub const fn is_behind(&self) -> bool {
        self.is_unread || self.told > self.known
    }

    /// Something may have been missed: the broker was lost, or what a pod sent.
    pub const fn miss(&mut self) {
        self.is_unread = true;
    }

    /// Another pod knows them up to this one, in this life of the stream; 0 where it does not say
    /// which.
    pub fn tell(&mut self, life: u64, sequence: u64) {
        if life != 0 && life != self.life {
            // One of us has not noticed that the stream is another one. If it is we, looking helps.
            self.is_unread = true;
        } else {
            self.told = self.told.max(sequence);
        }
    }

    /// This one is known now; those before it may not be.
    pub fn learn(&mut self, sequence: u64) {
        if self.known.checked_add(1) == Some(sequence) {
            self.known = sequence;
        }
        self.told = self.told.max(sequence);
    }

    /// The stream is looked at now, for the reason that comes back.
    pub const fn look(&mut self) -> Reason {
        Reason {
            told: mem::replace(&mut self.told, 0),
            is_unread: mem::replace(&mut self.is_unread, false),
        }
    }

    /// It could not be looked at.
    pub fn fail(&mut self, reason: &Reason) {
        self.told = self.told.max(reason.told);
        self.is_unread |= reason.is_unread;
    }

    /// The stream lives this life. In another one than before nothing of it is known.
    pub const fn enter(&mut self, life: u64) {
        if life != self.life {
            self.life = life;
            self.known = 0;
            self.is_unread = true;
        }
    }

    /// All up to this one were read.
    pub fn read(&mut self, sequence: u64) {
        self.known = self.known.max(sequence);
    }

    /// The stream ends before what was known of it: it lost that, and numbers it anew.
    pub const fn forget(&mut self) {
        self.known = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: u64 = 1_764_000_000_000_000_000;

    /// Everything up to here is read.
    fn reach(known: u64) -> Reach {
        Reach { life: LIFE, known, ..Reach::default() }
    }

    #[test]
    fn what_others_know_is_looked_for() {
        let check = |life, sequence, expected| {
            let mut reach = reach(5);
            reach.tell(life, sequence);
            assert_eq!(reach.is_behind(), expected, "{sequence} of {life}");
        };

        check(LIFE, 5, false);
        check(LIFE, 6, true);
        // A pod of an earlier version.
        check(0, 5, false);
        check(0, 6, true);
        // A number of another life is no number here, but somebody is to look.
        check(LIFE + 1, 1, true);
    }

    #[test]
    fn another_life_begins_at_nothing() {
        let mut reach = reach(5);

        reach.enter(LIFE);
        assert_eq!((reach.known(), reach.is_behind()), ((LIFE, 5), false));
        reach.enter(LIFE + 1);
        assert_eq!((reach.known(), reach.is_behind()), ((LIFE + 1, 0), true));
    }

    #[test]
    fn one_that_comes_before_its_turn_is_caught_up() {
        let mut reach = reach(4);

        reach.learn(6);
        reach.learn(5);

        assert_eq!(reach.known(), (LIFE, 5));
        assert!(reach.is_behind());
    }

    #[test]
    fn a_number_that_is_made_up_is_looked_for_once() {
        let mut reach = reach(5);
        reach.tell(LIFE, u64::MAX);
        reach.learn(u64::MAX);

        let reason = reach.look();
        reach.fail(&reason);
        assert!(reach.is_behind());
        reach.look();
        reach.read(5);
        assert!(!reach.is_behind());
        reach.tell(LIFE, 6);
        assert!(reach.is_behind());
    }

    #[test]
    fn what_is_told_while_it_is_looked_is_looked_for_again() {
        let mut reach = reach(5);
        reach.miss();

        reach.look();
        reach.tell(LIFE, 7);
        reach.read(6);

        assert!(reach.is_behind());
    }
}

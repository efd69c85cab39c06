//! How many connections each user has over all pods, and which of them are beyond the limit.
//!
//! Every pod tells the openings of its own connections, user by user, as they are now. Connections
//! are ordered by their opening and by their pod, which gives every pod the same order, so each one
//! knows by itself which of its own are beyond the limit. What is told is never more than what is
//! there, so nobody is closed who would not be with everything told.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    ops::Bound,
    sync::Arc,
};

use ahash::{AHashMap, AHashSet};

use super::{
    pods::{Beat, Opening, Openings, Told, USERS_BYTES_MAX, cut},
    talk::Counts,
};

/// What another pod told of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    /// The beat in which it was told. An older one must not undo it.
    seq: u64,
    opened: Openings,
    more: usize,
}

/// What is known of another pod.
#[derive(Debug, Default)]
struct Pod {
    users: BTreeMap<Arc<str>, Known>,
    /// Something was missed: how often, so that an answer that was asked for before the last time
    /// does not count as the whole.
    holes: u64,
    filled: u64,
}

/// What follows from what is known.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Own connections beyond the limit, by their openings.
    pub over: AHashSet<Opening>,
    /// Users of whom something else is known, with how many connections they have elsewhere.
    pub elsewhere: Vec<(Arc<str>, usize)>,
}

/// Connections of users.
#[derive(Debug)]
pub struct Users {
    own: Arc<str>,
    /// What this pod has told, user by user.
    here: BTreeMap<Arc<str>, Told>,
    /// What it has yet to tell.
    untold: BTreeMap<Arc<str>, Told>,
    /// What it told is void, and that is to be told.
    forget: bool,
    seq: u64,
    pods: AHashMap<Arc<str>, Pod>,
    /// Users to look at.
    touched: BTreeSet<Arc<str>>,
    limit: usize,
    /// Who came before this is not sent away: the limit became lower then.
    spared: Opening,
}

impl Users {
    /// Nobody.
    pub fn new(own: Arc<str>) -> Self {
        Self {
            own,
            here: BTreeMap::new(),
            untold: BTreeMap::new(),
            forget: false,
            seq: 0,
            pods: AHashMap::new(),
            touched: BTreeSet::new(),
            limit: 0,
            spared: 0,
        }
    }

    /// What the manifest says now; 0 is no limit. `now` is an opening. Where the limit begins to be
    /// one, every user that is here is to be told.
    pub fn limit(&mut self, now: Opening, limit: usize) {
        if limit == self.limit {
            return;
        }
        let before = mem::replace(&mut self.limit, limit);
        if limit == 0 {
            self.here.clear();
            self.untold.clear();
            self.forget = true;
            return;
        }
        if before == 0 || limit < before {
            self.spared = now;
        }
        let known = self.pods.values().flat_map(|it| it.users.keys());
        self.touched.extend(known.chain(self.here.keys()).cloned());
    }

    /// Takes what changed here, to be told with the next beats.
    pub fn change(&mut self, changed: impl IntoIterator<Item = Told>) {
        for told in changed {
            self.touched.insert(Arc::clone(&told.user));
            self.untold.insert(Arc::clone(&told.user), told);
        }
    }

    /// Leaves a number out, so that the other pods know that something of this one may be missing.
    pub const fn skip(&mut self) {
        self.seq += 1;
    }

    /// The beats of this second: at least one.
    pub fn beats(&mut self, connections: u64) -> Vec<Beat> {
        let untold: Vec<_> = mem::take(&mut self.untold).into_values().collect();
        let mut forget = mem::take(&mut self.forget);
        let mut beats = Vec::new();
        for users in cut(untold) {
            for told in &users {
                if told.count() == 0 {
                    self.here.remove(&told.user);
                } else {
                    self.here.insert(Arc::clone(&told.user), told.clone());
                }
            }
            self.seq += 1;
            let forget = mem::take(&mut forget);
            let beat = Beat::new(Arc::clone(&self.own), self.seq);
            beats.push(Beat { connections, forget, users, ..beat });
        }
        beats
    }

    /// The last beat of all.
    pub fn bye(&mut self) -> Beat {
        self.seq += 1;
        Beat { bye: true, ..Beat::new(Arc::clone(&self.own), self.seq) }
    }

    /// What this pod has told by now, from the user after this name on.
    pub fn page(&self, after: Option<&str>) -> Counts {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut bytes = 0;
        let mut users = Vec::new();
        for told in self.here.range::<str, _>((after, Bound::Unbounded)).map(|(_, told)| told) {
            bytes += told.bytes();
            if bytes > USERS_BYTES_MAX && !users.is_empty() {
                return Counts { seq: self.seq, users, more: true };
            }
            users.push(told.clone());
        }
        Counts { seq: self.seq, users, more: false }
    }

    /// Takes what another pod told.
    pub fn hear(&mut self, beat: &Beat) {
        if beat.forget {
            self.forget(&beat.pod);
        }
        let pod = self.pods.entry(Arc::clone(&beat.pod)).or_default();
        for told in &beat.users {
            take(pod, &mut self.touched, beat.seq, told);
        }
        pod.clean();
    }

    /// Some of what a pod told was missed.
    pub fn miss(&mut self, pod: &Arc<str>) {
        self.pods.entry(Arc::clone(pod)).or_default().holes += 1;
    }

    /// Pods that are to be asked for the whole, with what [`filled`](Self::filled) wants to know.
    pub fn holes(&self) -> Vec<(Arc<str>, u64)> {
        let has_hole = |it: &(&Arc<str>, &Pod)| it.1.holes != it.1.filled;
        self.pods.iter().filter(has_hole).map(|(pod, it)| (Arc::clone(pod), it.holes)).collect()
    }

    /// Takes a page that a pod answered, asked for what comes after a user.
    pub fn read(&mut self, pod: &str, after: Option<&str>, page: &Counts) {
        let Some(pod) = self.pods.get_mut(pod) else { return };
        let named: AHashSet<&str> = page.users.iter().map(|it| &*it.user).collect();
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let last = page.users.last().filter(|_| page.more);
        let last = last.map_or(Bound::Unbounded, |it| Bound::Included(&*it.user));
        // A page that ends before it begins says nothing.
        if let (Bound::Excluded(after), Bound::Included(last)) = (after, last)
            && after >= last
        {
            return;
        }
        let between = pod.users.range::<str, _>((after, last)).map(|(user, _)| user);
        let gone = between.filter(|it| !named.contains(&***it)).cloned();
        let gone: Vec<_> = gone.map(|user| Told::new(user, &[])).collect();
        for told in page.users.iter().chain(&gone) {
            take(pod, &mut self.touched, page.seq, told);
        }
    }

    /// The whole of a pod was read, for the hole that [`holes`](Self::holes) told.
    pub fn filled(&mut self, pod: &str, hole: u64) {
        if let Some(pod) = self.pods.get_mut(pod) {
            pod.filled = pod.filled.max(hole);
            pod.clean();
        }
    }

    /// A pod is gone, and its connections with it.
    pub fn lose(&mut self, pod: &str) {
        self.forget(pod);
        self.pods.remove(pod);
    }

    fn forget(&mut self, pod: &str) {
        if let Some(pod) = self.pods.get_mut(pod) {
            self.touched.extend(mem::take(&mut pod.users).into_keys());
        }
    }

    /// What follows from what changed since the last time. Who is over the limit is told again until
    /// it is gone.
    pub fn verdict(&mut self) -> Verdict {
        let mut verdict = Verdict::default();
        for user in mem::take(&mut self.touched) {
            let elsewhere =
                self.pods.iter().filter_map(|(pod, it)| Some((pod, it.users.get(&user)?)));
            let elsewhere: Vec<_> = elsewhere.collect();
            let counts = elsewhere.iter().map(|(_, it)| it.opened.len().saturating_add(it.more));
            let count = counts.fold(0, usize::saturating_add);
            verdict.elsewhere.push((Arc::clone(&user), count));
            let Some(here) = self.untold.get(&user).or_else(|| self.here.get(&user)) else {
                continue;
            };
            if self.limit == 0 || count.saturating_add(here.count()) <= self.limit {
                continue;
            }
            let mut order: Vec<_> = here.opened.iter().map(|it| (*it, &self.own)).collect();
            for (pod, known) in elsewhere {
                order.extend(known.opened.iter().map(|it| (*it, pod)));
            }
            order.sort_unstable();
            let beyond = order.iter().skip(self.limit).filter(|(_, pod)| **pod == self.own);
            let before = verdict.over.len();
            verdict.over.extend(beyond.map(|(it, _)| *it).filter(|it| *it > self.spared));
            if verdict.over.len() > before {
                self.touched.insert(user);
            }
        }
        verdict
    }
}

impl Pod {
    /// Forgets who has no connection, where no older word of him can come any more.
    fn clean(&mut self) {
        if self.holes == self.filled {
            self.users.retain(|_, it| !it.opened.is_empty() || it.more > 0);
        }
    }
}

fn take(pod: &mut Pod, touched: &mut BTreeSet<Arc<str>>, seq: u64, told: &Told) {
    if pod.users.get(&told.user).is_some_and(|it| it.seq > seq) {
        return;
    }
    let opened = Openings::from_slice(&told.opened);
    pod.users.insert(Arc::clone(&told.user), Known { seq, opened, more: told.more });
    touched.insert(Arc::clone(&told.user));
}

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use proptest::{prelude::*, sample::Index};

use super::*;

fn told(user: &str, opened: &[Opening]) -> Told {
    Told::new(user.into(), opened)
}

fn beat(pod: &str, seq: u64, users: &[Told]) -> Beat {
    Beat { users: users.to_vec(), ..Beat::new(pod.into(), seq) }
}

fn limited(pod: &str, limit: usize) -> Users {
    let mut users = Users::new(pod.into());
    users.limit(0, limit);
    users
}

fn over(users: &mut Users) -> Vec<Opening> {
    let mut over: Vec<_> = users.verdict().over.into_iter().collect();
    over.sort_unstable();
    over
}

#[test]
fn counts_that_are_made_up_are_as_many_as_can_be() {
    let mut users = limited("a", 2);
    users.change([told("al", &[10])]);

    for pod in ["b", "c"] {
        let many = Told { more: usize::MAX, ..told("al", &[20]) };
        users.hear(&beat(pod, 1, &[many]));
    }

    assert_eq!(users.verdict().elsewhere, [("al".into(), usize::MAX)]);
}

#[test]
fn the_newest_beyond_the_limit_go() {
    let mut users = limited("a", 2);
    users.change([told("al", &[10, 30])]);
    assert!(over(&mut users).is_empty());

    users.hear(&beat("b", 1, &[told("al", &[20])]));

    let verdict = users.verdict();
    assert_eq!(verdict.over, [30].into_iter().collect());
    assert_eq!(verdict.elsewhere, [("al".into(), 1)]);
    // It is told again until it is gone.
    assert_eq!(over(&mut users), [30]);
    users.change([told("al", &[10])]);
    assert!(over(&mut users).is_empty() && over(&mut users).is_empty());
}

#[test]
fn of_two_of_the_same_time_the_pods_names_decide() {
    let (mut a, mut b) = (limited("a", 1), limited("b", 1));
    for users in [&mut a, &mut b] {
        users.change([told("al", &[10])]);
    }
    a.hear(&beat("b", 1, &[told("al", &[10])]));
    b.hear(&beat("a", 1, &[told("al", &[10])]));

    assert!(over(&mut a).is_empty());
    assert_eq!(over(&mut b), [10]);
}

#[test]
fn a_lower_limit_sends_nobody_away() {
    let mut users = limited("a", 3);
    users.change([told("al", &[10, 20])]);
    users.hear(&beat("b", 1, &[told("al", &[5])]));
    assert!(over(&mut users).is_empty());

    users.limit(25, 1);
    assert!(over(&mut users).is_empty());
    users.change([told("al", &[10, 20, 30])]);
    assert_eq!(over(&mut users), [30]);
}

#[test]
fn a_lost_pod_has_no_connections() {
    let mut users = limited("a", 1);
    users.hear(&beat("b", 1, &[told("al", &[5])]));
    assert_eq!(users.verdict().elsewhere, [("al".into(), 1)]);

    users.lose("b");

    assert_eq!(users.verdict().elsewhere, [("al".into(), 0)]);
}

#[test]
fn without_a_limit_what_was_told_is_void() {
    let mut a = limited("a", 2);
    let mut b = limited("b", 2);
    a.change([told("al", &[5])]);
    a.beats(1).iter().for_each(|it| b.hear(it));
    assert_eq!(b.verdict().elsewhere, [("al".into(), 1)]);

    a.limit(7, 0);
    a.beats(1).iter().for_each(|it| b.hear(it));
    assert_eq!(b.verdict().elsewhere, [("al".into(), 0)]);
}

#[test]
fn an_old_page_does_not_undo_what_came_later() {
    let mut users = limited("a", 1);
    users.hear(&beat("b", 5, &[told("al", &[1]), told("bo", &[2])]));
    users.miss(&"b".into());
    let holes = users.holes();
    users.hear(&beat("b", 6, &[told("al", &[])]));

    users.read("b", None, &Counts { seq: 5, users: vec![told("al", &[1])], more: false });
    for (pod, hole) in holes {
        users.filled(&pod, hole);
    }

    assert_eq!(users.verdict().elsewhere, [("al".into(), 0), ("bo".into(), 0)]);
    assert!(users.holes().is_empty());
}

#[test]
fn what_is_missed_while_the_whole_is_read_is_asked_for_again() {
    let mut users = limited("a", 1);
    users.miss(&"b".into());
    let (pod, hole) = users.holes().remove(0);
    users.miss(&pod);

    users.filled(&pod, hole);

    assert_eq!(users.holes().len(), 1);
}

/// What may happen, in any order.
#[derive(Clone, Debug)]
enum Step {
    /// A connection of a user opens on a pod.
    Open { pod: usize, user: usize },
    /// A pod tells.
    Tell { pod: usize },
    /// A pod hears the oldest that it has not heard of another one; or it is lost.
    Hear { pod: usize, of: usize, is_lost: bool },
    /// A pod reads a page of one with a hole.
    Read { pod: usize, at: Index },
    /// A pod closes what is over.
    Close { pod: usize },
}

const PODS: usize = 3;
const NAMES: [&str; PODS] = ["a", "b", "c"];

/// Pods, with what is on its way between them.
struct Model {
    users: Vec<Users>,
    /// For each pod, each user's openings.
    open: Vec<BTreeMap<String, Vec<Opening>>>,
    /// From each to each.
    on_the_way: Vec<Vec<VecDeque<Beat>>>,
    seen: Vec<Vec<u64>>,
    closed: BTreeSet<(Opening, usize)>,
    clock: Opening,
    last: [Opening; PODS],
}

impl Model {
    fn new(limit: usize) -> Self {
        Self {
            users: NAMES.iter().map(|pod| limited(pod, limit)).collect(),
            open: vec![BTreeMap::new(); PODS],
            on_the_way: vec![vec![VecDeque::new(); PODS]; PODS],
            seen: vec![vec![0; PODS]; PODS],
            closed: BTreeSet::new(),
            clock: 0,
            last: [0; PODS],
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Open { pod, user } => {
                // Two pods may well have the same time, but no two connections of a pod.
                self.clock += 1;
                let last = &mut self.last[*pod];
                *last = (*last + 1).max(self.clock / 3 * 3);
                let user = format!("user-{user}");
                let opened = self.open[*pod].entry(user.clone()).or_default();
                opened.push(*last);
                let told = Told::new(user.into(), opened);
                self.users[*pod].change([told]);
            }
            Step::Tell { pod } => {
                for beat in self.users[*pod].beats(0) {
                    for to in (0..PODS).filter(|to| to != pod) {
                        self.on_the_way[*pod][to].push_back(beat.clone());
                    }
                }
            }
            Step::Hear { pod, of, is_lost } => {
                let Some(beat) = self.on_the_way[*of][*pod].pop_front() else { return };
                if *is_lost {
                    return;
                }
                let seen = &mut self.seen[*pod][*of];
                if beat.seq != *seen + 1 {
                    self.users[*pod].miss(&NAMES[*of].into());
                }
                *seen = beat.seq;
                self.users[*pod].hear(&beat);
            }
            Step::Read { pod, at } => {
                let holes = self.users[*pod].holes();
                if holes.is_empty() {
                    return;
                }
                let (of, hole) = at.get(&holes).clone();
                let other = NAMES.iter().position(|it| **it == *of).unwrap();
                let page = self.users[other].page(None);
                self.users[*pod].read(&of, None, &page);
                self.users[*pod].filled(&of, hole);
            }
            Step::Close { pod } => {
                let over = self.users[*pod].verdict().over;
                for (user, opened) in &mut self.open[*pod] {
                    let before = opened.len();
                    opened.retain(|it| !over.contains(it));
                    if opened.len() < before {
                        self.users[*pod].change([Told::new(user.as_str().into(), opened)]);
                    }
                }
                self.closed.extend(over.into_iter().map(|it| (it, *pod)));
            }
        }
    }

    fn settle(&mut self) {
        // Nothing is lost from here on, and every pod tells once more, so that every hole is noticed.
        for _ in 0..4 {
            (0..PODS).for_each(|pod| self.step(&Step::Close { pod }));
            (0..PODS).for_each(|pod| self.step(&Step::Tell { pod }));
            for pod in 0..PODS {
                for of in 0..PODS {
                    while !self.on_the_way[of][pod].is_empty() {
                        self.step(&Step::Hear { pod, of, is_lost: false });
                    }
                }
                while !self.users[pod].holes().is_empty() {
                    self.step(&Step::Read { pod, at: any_index() });
                }
            }
        }
    }
}

fn any_index() -> Index {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    any::<Index>().new_tree(&mut TestRunner::deterministic()).unwrap().current()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..PODS, 0..2_usize).prop_map(|(pod, user)| Step::Open { pod, user }),
        2 => (0..PODS).prop_map(|pod| Step::Tell { pod }),
        4 => (0..PODS, 0..PODS, prop::bool::weighted(0.2))
            .prop_map(|(pod, of, is_lost)| Step::Hear { pod, of, is_lost }),
        1 => (0..PODS, any::<Index>()).prop_map(|(pod, at)| Step::Read { pod, at }),
        2 => (0..PODS).prop_map(|pod| Step::Close { pod }),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn all_pods_close_the_same_all_but_the_first(limit in 1..4_usize, steps in steps()) {
        let mut model = Model::new(limit);
        let mut all = BTreeMap::<String, Vec<(Opening, usize)>>::new();
        for step in &steps {
            if let Step::Open { pod, user } = step {
                model.step(step);
                let user = format!("user-{user}");
                let opened = *model.open[*pod][&user].last().unwrap();
                all.entry(user).or_default().push((opened, *pod));
            } else {
                model.step(step);
            }
        }

        model.settle();

        let mut expected = BTreeSet::new();
        for opened in all.values_mut() {
            opened.sort_unstable();
            expected.extend(opened.iter().skip(limit).copied());
        }
        prop_assert_eq!(&model.closed, &expected);
        for at in 0..PODS {
            prop_assert!(model.users[at].holes().is_empty());
        }
    }

    #[test]
    fn pages_bring_the_whole(names in prop::collection::btree_set("[a-z]{1,200}", 0..40), stale in prop::collection::btree_set("[a-z]{1,3}", 0..10)) {
        let mut here = limited("a", 1);
        here.change(names.iter().map(|it| Told::new(it.as_str().into(), &(1..900).collect::<Vec<_>>())));
        let beats = here.beats(0);
        let mut there = limited("b", 1);
        let stale: Vec<_> = stale.iter().map(|it| told(it, &[1])).collect();
        there.hear(&beat("a", 0, &stale));
        there.miss(&"a".into());

        let mut after = None;
        loop {
            let page = here.page(after.as_deref());
            prop_assert_eq!(page.seq, beats.len() as u64);
            there.read("a", after.as_deref(), &page);
            if !page.more { break }
            after = page.users.last().map(|it| it.user.to_string());
        }
        there.filled("a", 1);

        let known: Vec<_> = there.pods["a"].users.keys().map(ToString::to_string).collect();
        prop_assert_eq!(known, names.into_iter().collect::<Vec<_>>());
    }
}

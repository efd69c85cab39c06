use super::*;

const MODE: PresenceMode = PresenceMode::Announced;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn member(number: usize) -> Member {
    let name = number.to_string();
    Member { user: Some("al".into()), connection: name.into(), info: None }
}

/// A roster with members 1 to `count`, who came at 0.
fn roster(count: usize) -> Roster {
    let mut roster = Roster::new(MODE);
    for number in 1..=count {
        roster.join(at(0), member(number));
    }
    roster
}

fn leaves_later(second: u64, number: usize) -> Stir {
    Stir::Later(at(second), Matter::Leave(number.to_string().into()))
}

#[test]
fn a_leave_is_told_ten_seconds_after_the_connection_went() {
    let mut roster = roster(2);

    let left = roster.leave(at(5), "1");

    assert_eq!(left, leaves_later(15, 1));
    assert_eq!(roster.members(), Members { members: vec![member(2)], total: 1 });
    let Stir::Later(_, matter) = left else { unreachable!() };
    assert_eq!(roster.look(at(14), &matter), Stir::Quiet);
    assert_eq!(roster.look(at(15), &matter), Stir::Tell(News::Leave(member(1))));
    assert_eq!(roster.look(at(16), &matter), Stir::Quiet);
}

#[test]
fn a_connection_that_is_back_in_time_neither_left_nor_came() {
    let mut roster = roster(1);
    let Stir::Later(_, first) = roster.leave(at(5), "1") else { unreachable!() };

    assert_eq!(roster.join(at(6), member(1)), Stir::Quiet);
    assert_eq!(roster.leave(at(7), "1"), leaves_later(17, 1));

    assert_eq!(roster.look(at(15), &first), Stir::Quiet);
    assert_eq!(roster.look(at(17), &first), Stir::Tell(News::Leave(member(1))));
    assert!(roster.is_empty());
}

#[test]
fn a_quiet_roster_counts_and_tells_nothing() {
    let mut roster = Roster::new(PresenceMode::Enabled);

    assert_eq!(roster.join(at(0), member(1)), Stir::Quiet);
    assert_eq!(roster.members().total, 1);
    assert_eq!(roster.leave(at(0), "1"), Stir::Quiet);
    assert!(roster.is_empty());
}

#[test]
fn who_leaves_without_having_come_is_not_told() {
    assert_eq!(roster(1).leave(at(0), "2"), Stir::Quiet);
}

#[test]
fn a_crowd_is_told_of_once_a_second() {
    let mut roster = roster(1000);

    assert_eq!(roster.join(at(1), member(1001)), Stir::Tell(News::Changed { total: 1001 }));
    assert_eq!(roster.join(at(1), member(1002)), Stir::Later(at(2), Matter::Changed));
    assert_eq!(roster.leave(at(1), "1"), Stir::Quiet);

    let told = roster.look(at(2), &Matter::Changed);
    assert_eq!(told, Stir::Tell(News::Changed { total: 1001 }));
    assert_eq!(roster.members().members.len(), 1000);
    assert_eq!(roster.members().total, 1001);
}

#[test]
fn names_are_told_again_only_after_clients_were_told_to_ask() {
    let mut roster = roster(1001);

    assert_eq!(roster.leave(at(5), "1"), Stir::Tell(News::Changed { total: 1000 }));

    assert_eq!(roster.leave(at(5), "2"), leaves_later(15, 2));
    assert_eq!(roster.join(at(5), member(3000)), Stir::Tell(News::Join(member(3000))));
}

#[test]
fn those_who_come_and_go_fast_are_not_all_remembered() {
    let mut roster = Roster::new(MODE);
    for number in 0..3000 {
        roster.join(at(0), member(number));
        roster.leave(at(0), &number.to_string());
    }

    assert_eq!(roster.leaving.len(), MEMBERS_SHOWN_MAX);
}

#[test]
fn pods_that_are_made_up_have_a_bound() {
    let mut roster = roster(1);

    for number in 0..2 * PODS_MAX {
        roster.heard(at(1), &number.to_string(), usize::MAX, News::Changed { total: 1 });
    }

    assert_eq!(roster.elsewhere.len(), PODS_MAX);
    assert_eq!(roster.total(), usize::MAX);
    // Those that are known are heard on.
    for number in 0..PODS_MAX {
        roster.heard(at(2), &number.to_string(), 0, News::Changed { total: 1 });
    }
    assert_eq!(roster.total(), 1);
}

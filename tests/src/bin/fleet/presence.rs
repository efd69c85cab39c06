//! Many users in one channel that announces presence, over all gateways; then one gateway is lost.

use anyhow::{Result, ensure};
use headgate_tests::{
    checker::{Topic, TopicId},
    clock::now_ns,
    swarm::Swarm,
};

use crate::{
    Options, Reading,
    stage::{GATEWAYS, Stage},
};

/// They come within this time.
const COMING_NS: u64 = 10_000_000_000;

pub fn run(options: &Options) -> Result<Vec<Reading>> {
    let mut stage = Stage::new(options, "presence", vec![Topic::of_all("hall".to_owned(), false)])?;
    let (began, used) = (now_ns(), stage.used()?);
    let users = options.clients;
    for user in 0..users {
        let at = began + u64::from(user) * COMING_NS / u64::from(users);
        stage.add(user, user as usize % GATEWAYS, vec![TopicId(0)], at)?;
    }
    stage.settle(120_000)?;
    let joined = now_ns() - began;
    let answer = ask(&mut stage, u64::from(users), 30_000)?;
    let told = now_ns() - began;
    let cpu = stage.used_since(&used)?;
    let announced = sum(&stage);

    let lost = GATEWAYS - 1;
    let mut here = 0;
    for peer in &mut stage.swarm.peers {
        peer.returns = peer.place() != Some(lost);
        here += u64::from(peer.returns);
    }
    let used = stage.used()?;
    stage.gateways.process(lost)?.kill()?;
    let killed = now_ns();
    let changes = announced[2];
    let changed =
        stage.swarm.turn_until(60_000, |it| sum_of(it)[2] > changes)?.then(|| now_ns() - killed);
    let right = ask(&mut stage, here, 60_000)?;
    let right_after = now_ns() - killed;
    let after = stage.used_since(&used)?;
    let seconds = |ns: u64| format!("{:.2} s", ns as f64 / 1e9);
    Ok(vec![
        (
            format!(
                "{users} users join one channel within 10 s, over {GATEWAYS} gateways: all are in"
            ),
            seconds(joined),
        ),
        (format!("`presence` has {answer} and is complete"), seconds(told)),
        cpu,
        (
            "`join`, `leave` and `presence_changed` that clients got".to_owned(),
            format!("{announced:?}"),
        ),
        (
            "one gateway killed: until the first `presence_changed`".to_owned(),
            changed.map_or("none within 60 s".to_owned(), seconds),
        ),
        (format!("until `presence` has {right} and is complete"), seconds(right_after)),
        after,
    ])
}

fn sum(stage: &Stage) -> [usize; 3] {
    sum_of(&stage.swarm)
}

fn sum_of(swarm: &Swarm) -> [usize; 3] {
    swarm.peers.iter().fold([0; 3], |sum, it| std::array::from_fn(|i| sum[i] + it.announced[i]))
}

/// Asks, again and again, until the answer is complete and right.
fn ask(stage: &mut Stage, want: u64, ms: u64) -> Result<u64> {
    let until = now_ns() + ms * 1_000_000;
    let mut last = None;
    while now_ns() < until {
        // The first client is on the first gateway, which stays.
        if let Some(peer) = stage.swarm.peers.first_mut() {
            peer.ask_presence("hall");
        }
        stage
            .swarm
            .turn_until(2_000, |it| it.peers.first().is_some_and(|it| it.presence.is_some()))?;
        last = stage.swarm.peers.first().and_then(|it| it.presence);
        if last == Some((want, true)) {
            return Ok(want);
        }
        stage.swarm.turn_for(100)?;
    }
    ensure!(false, "presence was {last:?} in the end, and {want} are here");
    Ok(0)
}

//! Publications on a timetable, each through one gateway and to three clients on all of them.

use anyhow::{Result, ensure};
use headgate_tests::{
    checker::{Outcome, Topic, TopicId, What},
    clock::{Samples, now_ns},
    swarm::Swarm,
};

use crate::{
    Options, Reading,
    stage::{GATEWAYS, Stage},
};

/// Clients of a channel.
const FAN_OUT: u32 = 3;

/// Clients that publish as well.
const PUBLISHERS: u64 = 60;

pub fn run(options: &Options, kind: &str) -> Result<Vec<Reading>> {
    let channels = (options.clients / FAN_OUT).max(1);
    let topics =
        (0..channels).map(|it| Topic::of_all(format!("{kind}.{it}"), kind == "kept")).collect();
    let mut stage = Stage::new(options, kind, topics)?;
    let now = now_ns();
    for user in 0..options.clients {
        // The clients of one channel are on different gateways.
        let home = (user / channels + user) as usize % GATEWAYS;
        stage.add(user, home, vec![TopicId(user % channels)], now + u64::from(user) * 1_000_000)?;
    }
    stage.settle(60_000)?;
    let before = stage.used()?;
    let (began, mut sent, mut skipped) = (now_ns(), 0_u64, 0_u64);
    let count = options.rate * options.seconds;
    let mut number = 0;
    while number < count {
        while number < count && began + number * 1_000_000_000 / options.rate <= now_ns() {
            let who = usize::try_from(number % PUBLISHERS)?;
            let topic = TopicId(u32::try_from(number % u64::from(channels))?);
            let is_sent = stage.swarm.publish(who, topic);
            sent += u64::from(is_sent);
            skipped += u64::from(!is_sent);
            number += 1;
        }
        stage.swarm.turn()?;
    }
    let cpu = stage.used_since(&before)?;
    let is_quiet = |it: &Swarm| it.peers.iter().all(|it| it.pending() == 0);
    stage.swarm.turn_until(20_000, is_quiet)?;
    stage.swarm.turn_for(2_000)?;
    let publications = stage.swarm.ledger.publications();
    let acked =
        publications.iter().filter(|it| matches!(it.outcome, Outcome::Acked { .. })).count();
    let mut latencies = Vec::new();
    for session in stage.swarm.peers.iter().flat_map(|it| &it.diary.client.sessions) {
        for event in &session.events {
            let What::Delivery { publication: Some(id), .. } = event.what else { continue };
            let sent = publications.get(id.0 as usize).map_or(0, |it| it.sent);
            latencies.push(event.at.saturating_sub(sent));
        }
    }
    let delivered = latencies.len() as u64;
    let due = sent * u64::from(FAN_OUT);
    let what = format!(
        "{kind}: {} publications a second through {GATEWAYS} gateways, {} clients",
        options.rate, options.clients
    );
    ensure!(delivered > 0, "{what}: nothing arrived: {:?}", stage.swarm.ledger.oddities());
    Ok(vec![
        (what, format!("{sent} sent, {skipped} not for want of answers, {acked} acked")),
        ("deliveries a second".to_owned(), format!("{}", delivered / options.seconds.max(1))),
        ("deliveries of those that are due".to_owned(), format!("{delivered} of {due}")),
        ("latency, from publisher to client".to_owned(), Samples::new(latencies).summary()),
        cpu,
        ("what else was told".to_owned(), format!("{:?}", stage.swarm.ledger.oddities())),
    ])
}

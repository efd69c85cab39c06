//! Many channels on one gateway: what they cost, and how soon they are heard again after NATS was
//! gone.

use std::collections::HashMap;

use anyhow::Result;
use headgate_tests::{
    checker::{Topic, TopicId, What},
    clock::{Samples, now_ns},
};

use crate::{Options, Reading, stage::Stage};

/// Channels of one connection.
const EACH: u32 = 125;

/// Channels that are listened to after NATS is back.
const SAMPLE: u32 = 1_000;

/// Clients that publish, through another gateway.
const PUBLISHERS: u32 = 20;

pub fn run(options: &Options) -> Result<Vec<Reading>> {
    let count = options.channels;
    let topics = (0..count).map(|it| Topic::of_all(format!("live.{it}"), false)).collect();
    let mut stage = Stage::new(options, "channels", topics)?;
    let now = now_ns();
    for number in 0..count / EACH {
        let wants = (number * EACH..(number + 1) * EACH).map(TopicId).collect();
        stage.add(number, 0, wants, now + 3_000_000_000 + u64::from(number) * 5_000_000)?;
    }
    for number in 0..PUBLISHERS {
        stage.add(count + number, 1, Vec::new(), now)?;
    }
    stage.swarm.turn_for(2_000)?;
    let before = memory(&mut stage)?;
    stage.settle(120_000)?;
    stage.swarm.turn_for(3_000)?;
    let after = memory(&mut stage)?;
    let subscribed_ns = now_ns();

    stage.nats.kill(0)?;
    stage.swarm.turn_for(1_000)?;
    stage.nats.begin(0, None)?;
    let back = now_ns();
    let used = stage.used()?;
    let step = (count / SAMPLE).max(1);
    let sample: Vec<_> = (0..count).step_by(step as usize).map(TopicId).collect();
    let heard = hear(&mut stage, &sample, subscribed_ns, back + 90_000_000_000)?;
    let cpu = stage.used_since(&used)?;
    let sessions: usize = stage.swarm.peers.iter().map(|it| it.diary.client.sessions.len()).sum();
    let cut = sessions - stage.swarm.peers.len();
    let took = Samples::new(heard.values().map(|it| it.saturating_sub(back)).collect());
    let grown = |i: usize| after[i].saturating_sub(before[i]) as f64;
    let per = |i: usize| {
        format!("{:.1} MB, {:.0} bytes a channel", grown(i) / 1e6, grown(i) / f64::from(count))
    };
    Ok(vec![
        (
            format!("{count} channels in {} connections: memory of the gateway", count / EACH),
            per(0),
        ),
        ("memory of NATS".to_owned(), per(1)),
        (
            "from NATS listening again until a publication of another gateway arrives".to_owned(),
            format!("{} of {} channels, {}", heard.len(), sample.len(), took.summary()),
        ),
        cpu,
        ("connections that were cut meanwhile".to_owned(), cut.to_string()),
        ("what else was told".to_owned(), format!("{:?}", stage.swarm.ledger.oddities())),
    ])
}

/// Publishes to topics until each was heard since some moment, or for so long; says when each was first.
fn hear(
    stage: &mut Stage,
    topics: &[TopicId],
    since: u64,
    until: u64,
) -> Result<HashMap<TopicId, u64>> {
    let (mut due, mut heard) = (topics.to_vec(), HashMap::new());
    while !due.is_empty() && now_ns() < until {
        for (number, topic) in due.iter().enumerate() {
            let publisher = stage.swarm.peers.len() - 1 - number % PUBLISHERS as usize;
            stage.swarm.publish(publisher, *topic);
        }
        stage.swarm.turn_for(100)?;
        for session in stage.swarm.peers.iter().flat_map(|it| &it.diary.client.sessions) {
            let events = session.events.iter().rev().take_while(|it| it.at > since);
            for event in events.filter(|it| matches!(it.what, What::Delivery { .. })) {
                let at = heard.entry(event.topic).or_insert(event.at);
                *at = event.at.min(*at);
            }
        }
        due.retain(|it| !heard.contains_key(it));
    }
    Ok(heard)
}

/// Of the first gateway and of NATS, in bytes.
fn memory(stage: &mut Stage) -> Result<[u64; 2]> {
    Ok([stage.gateways.process(0)?.resident(), stage.nats.process(0)?.resident()])
}

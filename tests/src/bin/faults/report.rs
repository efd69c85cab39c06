//! What one run has shown.

use std::{collections::BTreeMap, fmt};

use headgate_tests::{
    checker::{Run, Summary, Verdict, What},
    clock::Samples,
};

use crate::fault::Fault;

pub const HEADINGS: [&str; 11] = [
    "fault",
    "verdict",
    "acked",
    "unknown",
    "deliveries",
    "reconnects",
    "recovered",
    "told",
    "silent",
    "without service: worst",
    "latency: p50, p99",
];

pub struct Report {
    fault: Fault,
    pub verdict: Verdict,
    clients: usize,
    /// How many clients had a connection cut, how many recovered, how many were told of a loss.
    affected: [usize; 3],
    lacked: Samples,
    latency: Samples,
    closes: BTreeMap<u16, usize>,
    oddities: Vec<(String, usize)>,
    calm_ns: u64,
}

impl Report {
    pub fn new(
        fault: Fault,
        run: &Run,
        verdict: Verdict,
        lacked: Vec<u64>,
        closes: Vec<u16>,
        oddities: Vec<(String, usize)>,
        calm_ns: u64,
    ) -> Self {
        let mut counts = BTreeMap::new();
        for it in closes {
            *counts.entry(it).or_default() += 1;
        }
        let has = |fits: fn(&What) -> bool| {
            let is_one = |client: &&headgate_tests::checker::Client| {
                client.sessions.iter().flat_map(|it| &it.events).any(|it| fits(&it.what))
            };
            run.clients.iter().filter(is_one).count()
        };
        let cut = run.clients.iter().filter(|it| it.sessions.len() > 1).count();
        let recovered = has(|it| {
            matches!(it, What::Subscribed { recovered: Some(true), .. } | What::History(_))
        });
        let told =
            has(|it| matches!(it, What::Gap(_) | What::Subscribed { recovered: Some(false), .. }));
        Self {
            fault,
            verdict,
            clients: run.clients.len(),
            affected: [cut, recovered, told],
            lacked: Samples::new(lacked),
            latency: Samples::new(latencies(run)),
            closes: counts,
            oddities,
            calm_ns,
        }
    }

    pub fn row(&self) -> Vec<String> {
        let Summary {
            sessions,
            deliveries,
            acked,
            unknown,
            recovered,
            not_recovered,
            gaps,
            silent,
            ..
        } = self.verdict.summary;
        let [p50, p99] = [0.5, 0.99].map(|it| self.latency.percentile_ms(it));
        vec![
            format!("{:?}", self.fault),
            if self.verdict.is_clean() { "clean" } else { "BROKEN" }.to_owned(),
            acked.to_string(),
            unknown.to_string(),
            deliveries.to_string(),
            sessions.saturating_sub(self.clients).to_string(),
            recovered.to_string(),
            format!("{}", not_recovered + gaps),
            silent.to_string(),
            format!("{:.1} s", self.lacked.percentile_ms(1.0) / 1e3),
            format!("{p50:.1}, {p99:.1} ms"),
        ]
    }
}

/// How old publications were when they came to clients that were subscribed when they were sent.
fn latencies(run: &Run) -> Vec<u64> {
    let mut latencies = Vec::new();
    for session in run.clients.iter().flat_map(|it| &it.sessions) {
        for event in &session.events {
            let What::Delivery { publication: Some(id), .. } = event.what else { continue };
            let Some(publication) = run.publication(id) else { continue };
            if publication.sent > session.opened + 1_000_000_000 {
                latencies.push(event.at.saturating_sub(publication.sent));
            }
        }
    }
    latencies
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [cut, recovered, told] = self.affected;
        writeln!(f, "verdict: {}", self.verdict)?;
        writeln!(f, "{:?}", self.verdict.summary)?;
        writeln!(
            f,
            "of {} clients: {cut} were cut off, {recovered} recovered something, {told} were told of a loss",
            self.clients
        )?;
        writeln!(f, "without service: {}", self.lacked.summary())?;
        writeln!(f, "latency of what came live: {}", self.latency.summary())?;
        writeln!(f, "calm {:.1} s after the traffic ended", self.calm_ns as f64 / 1e9)?;
        writeln!(f, "closes: {:?}", self.closes)?;
        self.oddities.iter().take(12).try_for_each(|(what, count)| writeln!(f, "{count} x {what}"))
    }
}

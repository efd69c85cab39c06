//! I3 to I5 and I7 in topics without history: within a connection nothing comes twice or in another
//! order, and what is missing is missing around a `gap`.

use std::collections::{HashMap, HashSet};

use super::{
    Client, Event, Invariant, Outcome, Places, Publication, PublicationId, Rules, Run, Session,
    TopicId, Verdict, Violation, What,
};

/// A subscription, from its reply to its end.
#[derive(Debug, Default)]
struct Span {
    from: u64,
    got: HashSet<PublicationId>,
    gaps: Vec<u64>,
    /// When the connection was cut.
    cut: Option<u64>,
    lanes: HashMap<u32, u32>,
}

struct Walk<'a> {
    run: &'a Run,
    rules: &'a Rules,
    places: &'a Places,
    client: &'a Client,
    verdict: &'a mut Verdict,
}

/// Looks at each connection of a client by itself.
pub fn check(run: &Run, rules: &Rules, places: &Places, client: &Client, verdict: &mut Verdict) {
    let mut walk = Walk { run, rules, places, client, verdict };
    for session in &client.sessions {
        walk.session(session);
    }
}

impl Walk<'_> {
    fn session(&mut self, session: &Session) {
        let mut spans: HashMap<TopicId, Span> = HashMap::new();
        for event in session.events.iter().filter(|it| !self.run.topic(it.topic).is_kept) {
            match (&event.what, spans.get_mut(&event.topic)) {
                (What::Subscribed { .. }, None) => {
                    spans.insert(event.topic, Span { from: event.at, ..Span::default() });
                }
                (What::Gap(_), Some(span)) => span.gaps.push(event.at),
                (What::Unsubscribed, Some(span)) => {
                    let span = std::mem::take(span);
                    spans.remove(&event.topic);
                    self.whole(event.topic, &span, event.at);
                }
                (What::Delivery { publication: Some(id), .. }, Some(span)) => {
                    self.delivered(span, event, *id);
                }
                _ => {}
            }
        }
        let last = session.events.last().map_or(session.opened, |it| it.at);
        let end = session.ended.unwrap_or(last);
        for (topic, span) in &mut spans {
            span.cut = session.ended;
            self.whole(*topic, span, end);
        }
    }

    fn delivered(&mut self, span: &mut Span, event: &Event, id: PublicationId) {
        let Some(Publication { lane, seq, .. }) = self.run.publication(id) else { return };
        let (invariant, what) = if !span.got.insert(id) {
            (Invariant::Once, format!("publication {} came twice", id.0))
        } else if span.lanes.insert(*lane, *seq).is_some_and(|it| it >= *seq) {
            (Invariant::Order, format!("{seq} of publisher {lane} came after a later one"))
        } else {
            return;
        };
        self.verdict.add(self.run, invariant, self.client, event, &what);
    }

    /// What was acknowledged while it was subscribed came, or there was a `gap` soon after.
    fn whole(&mut self, topic: TopicId, span: &Span, end: u64) {
        let settle = self.rules.settle_ns;
        for id in self.places.sent_since(self.run, topic, span.from + settle) {
            let Some(publication) = self.run.publication(*id) else { continue };
            if publication.sent + settle > end {
                return;
            }
            if span.got.contains(id) || self.is_excused(publication, span) {
                continue;
            }
            self.verdict.summary.silent += 1;
            let is_seen = self.places.is_seen(*id);
            self.verdict.push(Violation {
                invariant: if is_seen { Invariant::Gap } else { Invariant::Ack },
                client: self.client.name.clone(),
                topic: self.run.topic(topic).name.clone(),
                at: Some(publication.sent),
                what: format!("publication {} by gateway {} is missing", id.0, publication.gateway),
            });
        }
    }

    fn is_excused(&self, publication: &Publication, span: &Span) -> bool {
        let Publication { sent, gateway, outcome, .. } = publication;
        let Rules { broken_from, broken_until, told_ns, cut_reach_ns, settle_ns, alone, .. } =
            self.rules;
        let is_between = |at: u64, latest: u64| *sent <= at + settle_ns && at <= latest;
        let latest = sent.max(broken_until) + told_ns;
        let is_told = span.gaps.iter().any(|it| is_between(*it, latest))
            || span.cut.is_some_and(|it| is_between(it, sent + cut_reach_ns));
        !matches!(outcome, Outcome::Acked { .. })
            || (is_told && sent >= broken_from)
            || alone.iter().any(|it| it.gateway == *gateway && (it.from..it.until).contains(sent))
    }
}

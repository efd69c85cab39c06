//! Says whether what publishers sent and clients saw keeps the promises of the protocol.
//!
//! Data in, verdict out: whoever runs gateways and breaks them only records, and the judgement is
//! made here, after the run, from all histories together. Nothing is known of the broker but what
//! it said to somebody. What may be lost is exactly what was told to be lost.

mod history;
mod verdict;

mod places;

mod kept;
mod live;

#[cfg(test)]
mod tests;

pub use history::{
    Alone, Client, Epoch, Event, Outcome, Page, Position, Publication, PublicationId, Rules, Run,
    Session, Topic, TopicId, What, hash,
};
pub use verdict::{Invariant, Summary, Verdict, Violation};

use places::Places;

/// Judges a run.
pub fn check(run: &Run, rules: &Rules) -> Verdict {
    let mut verdict = Verdict::default();
    let places = Places::find(run, &mut verdict);
    for client in &run.clients {
        strangers(run, client, &mut verdict);
        kept::check(run, rules, &places, client, &mut verdict);
        live::check(run, rules, &places, client, &mut verdict);
        converged(run, rules, client, &mut verdict);
    }
    verdict.summary.add(run);
    verdict
}

/// I1, I2 and I8: what is delivered is for this client, of a channel it is subscribed to, and as it
/// was sent.
fn strangers(run: &Run, client: &Client, verdict: &mut Verdict) {
    for session in &client.sessions {
        let mut subscribed = Vec::new();
        for event in &session.events {
            let mut wrong = |invariant, what: &str| {
                verdict.add(run, invariant, client, event, what);
            };
            match &event.what {
                What::Subscribed { .. } => subscribed.push(event.topic),
                What::Unsubscribed => subscribed.retain(|it| *it != event.topic),
                What::Delivery { publication, hash, .. } => {
                    if !subscribed.contains(&event.topic) {
                        wrong(Invariant::Channel, "delivered without a subscription");
                    }
                    if let Some((invariant, what)) =
                        stranger(run, client, event.topic, *publication, *hash)
                    {
                        wrong(invariant, what);
                    }
                }
                What::History(page) => {
                    for (_, publication, hash) in &page.messages {
                        if let Some((invariant, what)) =
                            stranger(run, client, event.topic, *publication, *hash)
                        {
                            wrong(invariant, what);
                        }
                    }
                }
                What::Gap(_) => {}
            }
        }
    }
}

fn stranger(
    run: &Run,
    client: &Client,
    topic: TopicId,
    publication: Option<PublicationId>,
    hash: u64,
) -> Option<(Invariant, &'static str)> {
    let Some(publication) = publication.and_then(|it| run.publication(it)) else {
        return Some((Invariant::Bytes, "nobody published this"));
    };
    let home = run.topic(publication.topic);
    if home.tenant != client.tenant {
        return Some((Invariant::Tenant, "it is of another tenant"));
    }
    if home.user.is_some_and(|it| it != client.user) {
        return Some((Invariant::Tenant, "it is for another user"));
    }
    if publication.topic != topic {
        return Some((Invariant::Channel, "it was published to another channel"));
    }
    if publication.hash != hash {
        return Some((Invariant::Bytes, "the bytes are not those that were sent"));
    }
    (publication.outcome == Outcome::Refused)
        .then_some((Invariant::Ack, "it was refused, and delivered all the same"))
}

/// I9: whoever is here in the end is subscribed to what it wants, and gets the closing publications.
fn converged(run: &Run, rules: &Rules, client: &Client, verdict: &mut Verdict) {
    let Some(session) = client.sessions.last().filter(|it| it.ended.is_none()) else {
        return verdict.add_for(run, Invariant::Convergence, client, None, "did not come back");
    };
    for topic in &client.wants {
        let (mut is_subscribed, mut late) = (false, 0);
        let closing = run.closing.iter().filter_map(|it| Some((*it, run.publication(*it)?)));
        let is_due =
            |it: &Publication| it.topic == *topic && matches!(it.outcome, Outcome::Acked { .. });
        let mut due: Vec<_> = closing.filter(|(_, it)| is_due(it)).collect();
        let has_closing = !due.is_empty();
        for event in session.events.iter().filter(|it| it.topic == *topic) {
            match &event.what {
                What::Subscribed { .. } => is_subscribed = true,
                What::Unsubscribed => is_subscribed = false,
                What::Delivery { publication: Some(id), .. } => due.retain(|(other, closing)| {
                    let is_it = other == id;
                    late += u32::from(is_it && event.at > closing.sent + rules.converge_ns);
                    !is_it
                }),
                _ => {}
            }
        }
        let mut wrong = |what| {
            verdict.add_for(run, Invariant::Convergence, client, Some(*topic), what);
        };
        if !has_closing {
            wrong("nothing could be published in the end");
        } else if !is_subscribed {
            wrong("is not subscribed in the end");
        } else if !due.is_empty() {
            wrong("did not get the closing publication");
        } else if late > 0 {
            wrong("got the closing publication too late");
        }
    }
}

//! The newest that a stream has of a topic, found from its end: what it costs is bounded by what is
//! asked for, and not by what is stored.
//!
//! Places are the stream's, so how many of them are the topic's is only known by asking: a direct get
//! says with the first message behind a place how many more there are.

use super::{
    read::catch_up,
    store::{PAGE_MAX, ReadError, Store, Stored},
};

/// The newest messages of a subject up to `last`, which is one: at most `limit`, and no more than fit
/// into a page, ascending. `first` is where the stream begins.
pub async fn newest(
    store: &Store,
    stream: &str,
    subject: &str,
    first: u64,
    last: Stored,
    limit: usize,
) -> Result<Vec<Stored>, ReadError> {
    let limit = limit.min(PAGE_MAX / 2);
    let end = Tail { store, stream, subject, first, last: last.offset };
    let mut newest = vec![last];
    let mut too_many = limit + 1;
    let mut count = limit;
    while count > newest.len() {
        let from = end.begin_of(count as u64).await?;
        match end.page(from).await? {
            Some(all) if all.len() < count => {
                newest = all;
                break;
            }
            Some(some) => newest = some,
            None => too_many = count,
        }
        count = newest.len().midpoint(too_many);
    }
    newest.drain(..newest.len().saturating_sub(limit));
    Ok(newest)
}

/// What a stream has of a subject up to its last message.
struct Tail<'a> {
    store: &'a Store,
    stream: &'a str,
    subject: &'a str,
    first: u64,
    last: u64,
}

impl Tail<'_> {
    /// A place from which on there are `count` messages or a few more; or all that there are.
    async fn begin_of(&self, count: u64) -> Result<u64, ReadError> {
        let enough = count..=count + count / 8;
        // Behind the one place there are too many, behind the other too few.
        let mut few = self.last + 1;
        let mut span = count;
        let mut many = loop {
            let from = (self.last + 1).saturating_sub(span).max(self.first);
            let (offset, found) = self.behind(from).await?;
            if enough.contains(&found) || (from == self.first && found < count) {
                return Ok(from);
            }
            if found > count {
                break offset;
            }
            few = from;
            span = span.saturating_mul(2);
        };
        while few.saturating_sub(many) > 1 {
            let from = many.midpoint(few);
            let (offset, found) = self.behind(from).await?;
            if enough.contains(&found) {
                return Ok(from);
            }
            if found < count {
                few = from;
            } else {
                many = offset;
            }
        }
        Ok(many)
    }

    /// The first message at a place or behind it, and how many there are from it on.
    async fn behind(&self, from: u64) -> Result<(u64, u64), ReadError> {
        let page = self.store.page(self.stream, self.subject, from, 1).await?;
        let first = page.messages.first().map(|it| (it.offset, page.pending + 1));
        Ok(first.unwrap_or((from, 0)))
    }

    /// All from a place on, if it is a page at most.
    async fn page(&self, from: u64) -> Result<Option<Vec<Stored>>, ReadError> {
        let mut page = self.store.page(self.stream, self.subject, from, PAGE_MAX).await?;
        let reached = page.messages.last().map_or(from.saturating_sub(1), |it| it.offset);
        if reached >= self.last {
            return Ok(Some(page.messages));
        }
        if page.pending > 0 {
            return Ok(None);
        }
        // A replica that is behind.
        let limit = page.messages.len() + PAGE_MAX;
        let missing = reached..self.last;
        catch_up(self.store, self.stream, self.subject, missing, limit, &mut page).await?;
        if page.messages.len() == limit {
            return Err(ReadError::Late);
        }
        Ok(Some(page.messages))
    }
}

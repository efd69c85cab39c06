//! What the topics' homes ask of the broker between pods, and how it answers.
//!
//! Orders wait in one queue with a bound in number and in bytes; which topics are wanted is a state
//! and no order, so that a topic which comes and goes a thousand times costs what its last state
//! costs. Nobody here waits.

use std::{
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use ahash::AHashMap;
use bytes::Bytes;
use headgate_crds::v1alpha1::ChannelRule;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use super::{
    follow::{Arrival, Found, Top},
    names::rule_token,
};
use crate::{
    broker::{publication::Publish, roster::Members, stream::HistoryRule},
    protocol::{
        position::{ClientPosition, Position},
        topic::Topic,
    },
};

/// Orders that may wait. A full queue is answered by `unavailable`.
const ORDERS_MAX: usize = 1 << 16;

/// What they may hold together, in bytes.
const ORDER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The broker cannot be reached, or did not answer in time: the outcome is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker does not answer")]
pub struct Lost;

/// Gets an answer. It must not wait.
pub struct Done<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Done<T> {
    /// Has `take` get the answer.
    pub fn new(take: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(take))
    }

    /// Gives the answer.
    pub fn tell(self, answer: T) {
        (self.0)(answer);
    }
}

impl<T> fmt::Debug for Done<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Done")
    }
}

/// What keeps a topic's history: the stream of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The rule, as a token.
    pub by: Arc<str>,
    /// What it keeps.
    pub rule: HistoryRule,
}

impl Kept {
    /// By this rule, if it keeps anything.
    pub fn of(rule: &ChannelRule) -> Option<Self> {
        let history = rule.history.as_ref()?;
        Some(Self { by: rule_token(rule.r#match.as_str()).into(), rule: history.into() })
    }
}

/// Something for the broker to do.
#[derive(Debug)]
pub enum Order {
    /// Publish; where it is kept, the answer is its place once it is stored.
    Publish(Publish, Option<Kept>, Option<Done<Result<Option<Position>, Lost>>>),
    /// Read what a stream has of a topic, so that who listens misses nothing.
    Read(Read),
    /// The same for who asks for history: it must not hold up the others.
    History(Read),
    /// Tell the other pods who came to a channel and who went.
    Roster(Topic, Bytes),
    /// Ask all pods who is in a channel; whether all have answered.
    Presence(Topic, Done<Result<(Members, bool), Lost>>),
}

/// What a stream is asked about a topic.
#[derive(Debug)]
pub struct Read {
    /// Which topic.
    pub topic: Topic,
    /// What keeps it.
    pub kept: Kept,
    /// What is asked.
    pub what: What,
}

/// What a stream is asked.
#[derive(Debug)]
pub enum What {
    /// Where the topic stands.
    Top(Done<Result<Top, Lost>>),
    /// What is behind a position, at most `limit`; a position of this pod's own (`is_own`) that is
    /// beyond the end of the stream shows that the stream has lost something.
    After {
        /// The position.
        since: ClientPosition,
        /// Whether a pod was there, not only a client's word for it.
        is_own: bool,
        /// How many.
        limit: usize,
        /// Who gets it.
        done: Done<Result<Found, Lost>>,
    },
    /// The newest, at most so many.
    Newest(usize, Done<Result<Found, Lost>>),
}

/// Something that was published to a topic.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// What is published.
    pub publish: Publish,
    /// Its place and the rule whose stream stored it, if one did.
    pub stored: Option<(Arc<str>, Arrival)>,
}

/// What the broker has to say by itself.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Something was published.
    Came(Topic, Arrived),
    /// From now on what is published to a topic comes here, as this wish wanted.
    Listening(Topic, u64),
    /// Every server of the cluster knows by now that what is published to a topic is to come here.
    Settled(Topic, u64),
    /// What is published to a topic does not come here: the server refuses that. It is tried again.
    Refused(Topic, u64),
    /// Another pod tells who came to a channel or went.
    Roster(Topic, Bytes),
    /// A pod is lost, and everybody who was there with it.
    PodLost(Arc<str>),
    /// The broker is lost: what is published now does not come here.
    Lost,
    /// The broker is back, or was there all the time, and everything that is wanted comes. Where it was a
    /// break, something that was published may not have come; otherwise only streams may have begun anew.
    Back {
        /// Whether it was a break.
        is_break: bool,
    },
}

/// Takes what the broker has to say to where it belongs. It must not wait.
#[derive(Clone)]
pub struct Route(Arc<dyn Fn(Notice) + Send + Sync>);

impl Route {
    /// Has `take` get every notice.
    pub fn new(take: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// Tells something.
    pub fn tell(&self, notice: Notice) {
        (self.0)(notice);
    }

    /// Has everything asked for again; where it `is_break`, as if the broker had been lost and were back.
    pub fn begin_anew(&self, is_break: bool) {
        self.tell(Notice::Back { is_break });
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Route")
    }
}

/// The broker between pods, as the workers see it.
#[derive(Clone, Debug)]
pub struct Link {
    orders: mpsc::Sender<Order>,
    shared: Arc<Shared>,
}

/// The other end of a [`Link`].
#[derive(Debug)]
pub struct Orders {
    orders: mpsc::Receiver<Order>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    is_connected: AtomicBool,
    bytes: AtomicUsize,
    /// The topics whose state changed, and what it is now.
    wanted: Mutex<AHashMap<Topic, Option<u64>>>,
    is_wanted: Notify,
}

/// A link and its other end.
pub fn link() -> (Link, Orders) {
    let (sender, receiver) = mpsc::channel(ORDERS_MAX);
    let shared = Arc::new(Shared::default());
    (Link { orders: sender, shared: Arc::clone(&shared) }, Orders { orders: receiver, shared })
}

impl Link {
    /// Whether the broker can be reached, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.shared.is_connected.load(Ordering::Acquire)
    }

    /// Says whether anybody here listens to a topic. Each wish, which has a number, is answered when
    /// publications come.
    pub fn want(&self, topic: &Topic, wish: Option<u64>) {
        self.shared.wanted.lock().insert(topic.clone(), wish);
        self.shared.is_wanted.notify_one();
    }

    /// Whether more waits to go out than may: nobody is to publish until it has.
    pub fn is_behind(&self) -> bool {
        self.shared.bytes.load(Ordering::Relaxed) > ORDER_BYTES_MAX
    }

    /// Gives an order. One that cannot be taken is given back.
    ///
    /// # Errors
    ///
    /// The order, where the broker is lost or has too much to do.
    pub fn order(&self, order: Order) -> Result<(), Box<Order>> {
        let bytes = order.bytes();
        // Who is here on this pod can be said without the broker.
        let is_local = matches!(order, Order::Presence(..));
        if !(self.is_connected() || is_local) || self.is_behind() {
            return Err(Box::new(order));
        }
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.orders.try_send(order).map_err(|refused| {
            self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
            Box::new(refused.into_inner())
        })
    }
}

impl Orders {
    /// The part of the link that says whether the broker can be reached.
    pub fn connected(&self) -> Connected {
        Connected(Arc::clone(&self.shared))
    }

    /// The next order; `None` when nobody gives any more. Safe to cancel.
    pub async fn next(&mut self) -> Option<Order> {
        let order = self.orders.recv().await?;
        self.shared.bytes.fetch_sub(order.bytes(), Ordering::Relaxed);
        Some(order)
    }

    /// The part of the link that says what is wanted.
    pub fn wishes(&self) -> Wishes {
        Wishes(Arc::clone(&self.shared))
    }
}

/// Whether the broker can be reached.
#[derive(Clone, Debug)]
pub struct Connected(Arc<Shared>);

impl Connected {
    /// It can, or no longer.
    pub fn set(&self, is_connected: bool) {
        self.0.is_connected.store(is_connected, Ordering::Release);
    }
}

/// Which topics are wanted.
#[derive(Clone, Debug)]
pub struct Wishes(Arc<Shared>);

impl Wishes {
    /// Waits until something has changed, then takes all of it. Safe to cancel.
    pub async fn changed(&self) -> AHashMap<Topic, Option<u64>> {
        loop {
            let changed = mem::take(&mut *self.0.wanted.lock());
            if !changed.is_empty() {
                return changed;
            }
            self.0.is_wanted.notified().await;
        }
    }
}

impl Order {
    /// About what it costs while it waits.
    fn bytes(&self) -> usize {
        const EACH: usize = 512;
        match self {
            Self::Publish(publish, ..) => EACH + publish.data.len(),
            Self::Roster(_, event) => EACH + event.len(),
            Self::Read(_) | Self::History(_) | Self::Presence(..) => EACH,
        }
    }

    /// Tells who waits that it will not be done.
    pub fn refuse(self) {
        match self {
            Self::Publish(_, _, Some(done)) => done.tell(Err(Lost)),
            Self::Read(read) | Self::History(read) => read.refuse(),
            Self::Presence(_, done) => done.tell(Err(Lost)),
            Self::Publish(_, _, None) | Self::Roster(..) => {}
        }
    }
}

impl Read {
    /// Tells who waits that it will not be done.
    pub fn refuse(self) {
        match self.what {
            What::Top(done) => done.tell(Err(Lost)),
            What::After { done, .. } | What::Newest(_, done) => done.tell(Err(Lost)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(bytes: usize) -> Order {
        let topic = Topic::all();
        let data = vec![b'1'; bytes].into();
        Order::Publish(Publish { topic, data, user: None, key: None, exclude: None }, None, None)
    }

    #[tokio::test]
    async fn a_storm_of_wishes_costs_what_its_last_one_costs() {
        let (link, orders) = link();
        let [one, other] = ["one", "other"].map(Topic::user);
        for wish in 0..1_000 {
            link.want(&one, Some(wish));
            link.want(&one, None);
            link.want(&other, Some(wish));
        }

        let changed = orders.wishes().changed().await;

        assert_eq!(changed.len(), 2);
        assert_eq!((changed.get(&one), changed.get(&other)), (Some(&None), Some(&Some(999))));
    }

    #[tokio::test]
    async fn orders_are_bounded_in_bytes_and_come_back_where_they_cannot_be_taken() {
        let (link, mut orders) = link();
        assert!(link.order(publish(1)).is_err(), "nobody is connected");

        orders.connected().set(true);
        while link.order(publish(1 << 20)).is_ok() {}
        assert!(link.is_behind());
        while link.is_behind() {
            orders.next().await.unwrap();
        }
        assert!(link.order(publish(1)).is_ok());
    }

    #[test]
    fn who_waits_is_told_that_an_order_is_refused() {
        let (told, heard) = std::sync::mpsc::channel();
        let done = Done::new(move |answer: Result<_, Lost>| told.send(answer).unwrap());
        let Order::Publish(publish, kept, _) = publish(1) else { panic!("a publication") };

        Order::Publish(publish, kept, Some(done)).refuse();

        assert_eq!(heard.recv().unwrap(), Err(Lost));
    }
}

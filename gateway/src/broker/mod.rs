//! What a channel has beyond its live subscribers: order, history, presence.

//! What the page asks for each second (`page/page.js` reads these names).

use serde_json::json;

use crate::api::views::{Channels, Stats};

/// Channels in one answer at most; a person reads no more, and the page says how many there are.
pub const CHANNELS_MAX: usize = 200;

/// The gateway at this moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// The gateway's name in its manifest.
    pub name: String,
    /// Counters since the start; the page draws how they change.
    pub stats: Stats,
    /// The first channels by name; those after [`CHANNELS_MAX`] are left out.
    pub channels: Channels,
}

/// The answer as JSON.
pub fn text(figures: &Figures, websocket: &str, token: &str) -> String {
    let Figures { name, stats, channels: Channels { list, total, .. } } = figures;
    let list = list.get(..CHANNELS_MAX).unwrap_or(list);
    json!({
        "name": name,
        "url": websocket,
        "token": token,
        "stats": stats,
        "channels": {"list": list, "total": total},
    })
    .to_string()
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::api::views::{Channel, Place, Pods};

    /// A gateway with so many channels, each with as many subscribers as came before it.
    pub fn figures(channels: u64) -> Figures {
        let list = (0..channels).map(|index| Channel {
            channel: format!("c{index:03}"),
            subscribers: index,
            top: Place::default(),
        });
        Figures {
            name: "chat".to_owned(),
            stats: Stats {
                active_connections: 1,
                total_connections: 2,
                subscriptions: 3,
                channels,
                messages_received: 4,
                messages_delivered: 5,
                errors: 6,
                average_latency_ms: 50.0,
                delivery_seconds_sum: 0.5,
                delivery_seconds_count: 10,
                uptime_seconds: 7,
                pods: Pods::ONE,
            },
            channels: Channels {
                list: list.collect(),
                more: false,
                total: channels,
                pods: Pods::ONE,
            },
        }
    }

    #[test]
    fn the_page_finds_the_names_it_reads() {
        let text = text(&figures(2), "ws://127.0.0.1:8080/ws", "a.b.c");

        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let read = |pointer| value.pointer(pointer).cloned().unwrap_or_default();
        for (pointer, expected) in [
            ("/name", json!("chat")),
            ("/url", json!("ws://127.0.0.1:8080/ws")),
            ("/token", json!("a.b.c")),
            ("/stats/activeConnections", json!(1)),
            ("/stats/totalConnections", json!(2)),
            ("/stats/messagesReceived", json!(4)),
            ("/stats/messagesDelivered", json!(5)),
            ("/stats/errors", json!(6)),
            ("/stats/deliverySecondsSum", json!(0.5)),
            ("/stats/deliverySecondsCount", json!(10)),
            ("/channels/list/1/channel", json!("c001")),
            ("/channels/list/1/subscribers", json!(1)),
            ("/channels/total", json!(2)),
        ] {
            assert_eq!(read(pointer), expected, "{pointer}");
        }
    }

    #[test]
    fn at_most_200_channels_are_listed_and_all_are_counted() {
        let text = text(&figures(201), "", "");

        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["channels"]["list"].as_array().unwrap().len(), CHANNELS_MAX);
        assert_eq!(value["channels"]["total"], 201);
    }
}

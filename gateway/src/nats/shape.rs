//! What the stream of a rule looks like. Its bounds are the rule's; the rest is what pods rely on, and
//! is put back where somebody has changed it.

use std::{collections::HashMap, time::Duration};

use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, Republish, RetentionPolicy, StorageType,
};

use crate::{
    broker::nats::{follow::STORED_AGE_MIN, link::Kept, names::Names},
    protocol::position::OFFSET_MAX,
};

/// How long the stream knows a key.
const KEY_WINDOW: Duration = STORED_AGE_MIN;

/// The fewest messages that a topic was allowed, before it was allowed more, in the stream's metadata.
pub const FEWEST: &str = "headgate-messages-fewest";

/// The place up to which that may have been so.
pub const FEWEST_UNTIL: &str = "headgate-messages-fewest-until";

/// How often the stream was put right, in its metadata. It shows every pod that live publications may
/// have been missed.
const MENDED: &str = "headgate-mended";

/// What a rule wants: a stream that may hold so many bytes.
pub fn config(name: &str, wanted: &Kept, names: &Names, bytes: u64) -> Config {
    let Kept { by, rule } = wanted;
    Config {
        name: name.to_owned(),
        subjects: vec![names.all_stored(by)],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        max_bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
        max_messages: -1,
        max_messages_per_subject: i64::try_from(rule.messages).unwrap_or(i64::MAX),
        max_consumers: -1,
        max_message_size: -1,
        max_age: rule.max_age.max(STORED_AGE_MIN),
        duplicate_window: KEY_WINDOW,
        allow_direct: true,
        // What is removed by hand would look as if it had never been. Who wants it gone deletes the
        // stream, and everybody is told.
        deny_delete: true,
        deny_purge: true,
        republish: Some(Republish {
            source: names.all_stored(by),
            destination: names.republished(),
            headers_only: false,
        }),
        ..Config::default()
    }
}

/// What a stream is to be changed to so that it has the bounds of its rule.
pub fn with_bounds(info: &Info, wanted: Config) -> Config {
    let metadata = metadata(info, wanted.max_messages_per_subject);
    Config { num_replicas: info.config.num_replicas, metadata, ..wanted }
}

/// What a stream is to be changed to so that pods can rely on it, whatever its bounds are.
pub fn mended(info: &Info, wanted: Config) -> Config {
    let is = info.config.clone();
    Config {
        subjects: wanted.subjects,
        republish: wanted.republish,
        allow_direct: wanted.allow_direct,
        deny_delete: wanted.deny_delete,
        deny_purge: wanted.deny_purge,
        duplicate_window: is.duplicate_window.max(KEY_WINDOW),
        max_age: if is.max_age.is_zero() { is.max_age } else { is.max_age.max(STORED_AGE_MIN) },
        ..is
    }
}

/// Notes in a change that it puts a stream right.
pub fn note_mended(info: &Info, change: &mut Config) {
    change.metadata.insert(MENDED.to_owned(), (times_mended(info) + 1).to_string());
}

/// How often a stream was put right.
pub fn times_mended(info: &Info) -> u64 {
    info.config.metadata.get(MENDED).and_then(|it| it.parse().ok()).unwrap_or_default()
}

/// Whether a stream is what pods rely on, whatever its bounds are.
pub fn is_sound(is: &Config, wanted: &Config) -> bool {
    is.republish == wanted.republish
        && is.subjects == wanted.subjects
        && is.allow_direct == wanted.allow_direct
        && is.deny_delete == wanted.deny_delete
        && is.deny_purge == wanted.deny_purge
        && is.duplicate_window >= KEY_WINDOW
        && (is.max_age.is_zero() || is.max_age >= STORED_AGE_MIN)
}

/// Whether a stream has the bounds of its rule.
pub fn is_bounded(is: &Config, wanted: &Config) -> bool {
    is.max_bytes == wanted.max_bytes
        && is.max_messages_per_subject == wanted.max_messages_per_subject
        && is.max_age == wanted.max_age
        && is.duplicate_window == wanted.duplicate_window
}

/// What is to be remembered of a stream whose topics may have more messages from now on: how few
/// they might have. Up to which place that was so is [`settled`] later.
fn metadata(info: &Info, messages: i64) -> HashMap<String, String> {
    let mut metadata = info.config.metadata.clone();
    let before = info.config.max_messages_per_subject;
    if (1..messages).contains(&before) {
        let known = metadata.get(FEWEST).and_then(|it| it.parse().ok()).unwrap_or(i64::MAX);
        metadata.insert(FEWEST.to_owned(), before.min(known).to_string());
        // Where the old bound ends is known when the new one is there.
        metadata.insert(FEWEST_UNTIL.to_owned(), OFFSET_MAX.to_string());
    }
    metadata
}

/// Whether it is known up to which place topics may have had fewer messages.
pub fn is_settled(config: &Config) -> bool {
    config.metadata.get(FEWEST_UNTIL).is_none_or(|it| *it != OFFSET_MAX.to_string())
}

/// A stream whose topics may have more messages by now: what is to be remembered of it.
pub fn settled(info: &Info) -> Config {
    let mut config = info.config.clone();
    config.metadata.insert(FEWEST_UNTIL.to_owned(), info.state.last_sequence.to_string());
    config
}

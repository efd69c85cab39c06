//! Channel names and patterns: a pattern decides as its definition does, names never reach what is
//! not theirs, and what is printed is read back.
#![no_main]

use headgate_crds::value::ChannelPattern;
use headgate_fuzz::memory;
use headgate_gateway::protocol::{channel::ChannelName, topic::Topic};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &str| {
    let (pattern, channel) = data.split_once('\n').unwrap_or((data, data));
    names_are_kept_apart(channel);
    let Ok(parsed) = pattern.parse::<ChannelPattern>() else { return };
    assert_eq!(parsed.to_string().parse::<ChannelPattern>().as_ref(), Ok(&parsed));

    let (ours, heap) = memory::most(|| parsed.matches(channel));

    assert_eq!(heap, 0);
    let wanted: Vec<_> = pattern.split('.').collect();
    let parts: Vec<_> = channel.split('.').collect();
    let is_own = channel.starts_with('@');
    let has_first_star = wanted.first().is_some_and(|first| first.starts_with('*'));
    assert_eq!(ours, !(is_own && has_first_star) && agrees(&wanted, &parts));
});

fn agrees(pattern: &[&str], channel: &[&str]) -> bool {
    match (pattern, channel) {
        ([], []) => true,
        (["**"], [_, ..]) => true,
        ([wanted, pattern @ ..], [part, channel @ ..]) => {
            (*wanted == "*" || wanted == part) && agrees(pattern, channel)
        }
        _ => false,
    }
}

fn names_are_kept_apart(text: &str) {
    let is_name = ChannelName::parse(text).is_ok();
    assert!(!is_name || !text.starts_with('@') && !text.contains('*') && text.len() <= 255);
    // A name is a pattern that means itself alone.
    let pattern = text.parse::<ChannelPattern>();
    assert!(!is_name || pattern.is_ok_and(|it| it.matches(text)));
    match Topic::named(text, Some("al")) {
        Ok(topic) if topic.is_reserved() => {
            assert_eq!(topic.key(), if text == "@user" { "@user/al" } else { "@all" });
        }
        Ok(topic) => assert_eq!((is_name, topic.key()), (true, text)),
        Err(_) => assert!(!is_name),
    }
}

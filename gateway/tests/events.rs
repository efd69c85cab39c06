//! The events in the code, the closed list of them and the page about them are the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use headgate_gateway::telemetry::events::{EVENTS, page};

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

#[test]
fn the_page_lists_every_event() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/events.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, page()).unwrap();
    }

    let written = fs::read_to_string(&path).unwrap_or_default();

    assert!(written == page(), "docs/events.md is stale: run `make generate`");
}

#[test]
fn names_are_listed_once_in_snake_case() {
    for (index, event) in EVENTS.iter().enumerate() {
        let name = event.name;
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert!(EVENTS[..index].iter().all(|other| other.name != name), "{name} twice");
    }
}

#[test]
fn every_event_in_the_code_is_listed_with_its_level() {
    let mut strangers = Vec::new();
    for (path, text) in sources() {
        for (level, name) in events_in(&text) {
            if !EVENTS.iter().any(|event| (event.level, event.name) == (level, name)) {
                strangers.push(format!("{}: {level}!(.., {name:?})", path.display()));
            }
        }
    }

    assert!(strangers.is_empty(), "not in telemetry/events.rs:\n{}", strangers.join("\n"));
}

#[test]
fn the_scan_sees_calls_of_one_line_and_of_many() {
    let text = "info!(event = \"a_b\", %peer, \"words\");\n tracing::warn!(\n  event = \"c\",\n  \
                path = %x(\"no\"),\n  \"words\",\n );\n debug!(\"nameless\");";

    assert_eq!(events_in(text), [("debug", ""), ("info", "a_b"), ("warn", "c")]);
}

/// Each call of a logging macro, by level: the level, and the name of the event.
fn events_in(text: &str) -> Vec<(&'static str, &str)> {
    let mut found = Vec::new();
    for level in LEVELS {
        for (at, call) in text.match_indices(&format!("{level}!(")) {
            let inside = text[at + call.len()..].trim_start();
            let name = inside.strip_prefix("event = \"").and_then(|it| it.split('"').next());
            found.push((level, name.unwrap_or_default()));
        }
    }
    found.sort_unstable();
    found
}

/// Every source file of the gateway, without the tests at its end.
fn sources() -> Vec<(PathBuf, String)> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
                sources.push((path, code));
            }
        }
    }
    assert!(!sources.is_empty());
    sources
}

//! House rules the compiler does not check: which room may know which, and which rooms are pure.
//!
//! A room is a file or folder right under `src/`. `main` and `lib` may know everyone. An arrow that
//! is not in [`KNOWS`] is a design decision: change the list and ARCHITECTURE.md in one commit.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{fs, path::Path};

/// Each room, and the rooms above it that it may name beside itself.
const KNOWS: &[(&str, &[&str])] = &[
    ("websocket", &[]),
    ("protocol", &["websocket"]),
    ("admission", &["websocket"]),
    ("auth", &["protocol"]),
    ("broker", &["protocol"]),
    ("session", &["protocol", "admission", "auth"]),
    ("hub", &["websocket", "protocol"]),
    ("config", &["auth"]),
    ("jwks", &["auth", "config"]),
    ("telemetry", &["protocol", "admission", "config", "jwks"]),
    ("nats", &["protocol", "auth", "broker", "config", "telemetry"]),
    (
        "worker",
        &[
            "websocket",
            "protocol",
            "admission",
            "auth",
            "broker",
            "session",
            "hub",
            "config",
            "jwks",
            "telemetry",
        ],
    ),
    ("api", &["protocol"]),
    ("console", &["auth", "api"]),
    ("cli", &["auth", "config", "telemetry"]),
    (
        "serve",
        &[
            "protocol",
            "admission",
            "auth",
            "broker",
            "config",
            "jwks",
            "telemetry",
            "nats",
            "worker",
            "api",
            "console",
            "cli",
        ],
    ),
];

/// Rooms that do no I/O and read no clock; locks and atomics are the callers' business.
const PURE: &[&str] =
    &["websocket", "protocol", "admission", "auth", "broker", "session", "hub", "console"];

const IMPURE: &[&str] = &[
    "tokio::net",
    "tokio::time",
    "tokio::task",
    "tokio::spawn",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "Instant::now",
    "SystemTime::now",
    "std::thread",
    "getrandom::",
];

#[test]
fn rooms_know_only_whom_they_may() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let room = path.split(['/', '.']).next().unwrap();
        if room == "lib" || room == "main" {
            continue;
        }
        let Some((_, may_know)) = KNOWS.iter().find(|(name, _)| *name == room) else {
            broken.push(format!("{path}: add the room `{room}` to KNOWS and ARCHITECTURE.md"));
            continue;
        };
        for named in rooms_named_in(&text) {
            if named != room && !may_know.contains(&named) {
                broken.push(format!("{path}: `{room}` must not know `{named}`"));
            }
        }
    }
    broken.dedup();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn arrows_point_upwards_only() {
    let mut broken = Vec::new();
    for (i, (room, may_know)) in KNOWS.iter().enumerate() {
        let above: Vec<_> = KNOWS[..i].iter().map(|(name, _)| name).collect();
        let below = may_know.iter().filter(|it| !above.contains(it));
        broken.extend(below.map(|it| format!("`{room}` stands above `{it}`")));
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn pure_rooms_touch_nothing() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        if PURE.iter().any(|pure| path.starts_with(pure)) {
            let touched = IMPURE.iter().filter(|it| text.contains(**it));
            broken.extend(touched.map(|it| format!("{path}: {it}")));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Every source file: its path under `src/`, and its code without comments and closing tests.
fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![src.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let name = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
                sources.push((name, code_of(&text)));
            }
        }
    }
    sources.sort();
    assert!(!sources.is_empty());
    sources
}

fn code_of(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first path part after each `crate::`, also in `crate::{a::X, b::{Y, Z}}`.
fn rooms_named_in(text: &str) -> Vec<&str> {
    let mut rooms = Vec::new();
    for path in text.split("crate::").skip(1) {
        let Some(group) = path.strip_prefix('{') else {
            rooms.push(first_word(path));
            continue;
        };
        let mut depth = 0;
        let mut is_start = true;
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => is_start = true,
                c if c.is_whitespace() => {}
                _ if is_start => {
                    rooms.push(first_word(&group[i..]));
                    is_start = false;
                }
                _ => {}
            }
        }
    }
    rooms
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()
}

#[test]
fn rooms_are_found_in_every_form_of_import() {
    let text = "use crate::hub; crate::outbox::Outbox::new(); use crate::{a::{B, C}, d, e::F};";
    assert_eq!(rooms_named_in(text), ["hub", "outbox", "a", "d", "e"]);
}

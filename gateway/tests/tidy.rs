//! House rules the compiler does not check: which room may know which, and which rooms are pure.
//!
//! A room is a file or folder right under `src/`. `main` and `lib` may know everyone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{fs, path::Path};

/// Each room and the rooms it may name, beside itself.
const KNOWS: &[(&str, &[&str])] = &[
    ("websocket", &[]),
    ("protocol", &[]),
    ("admission", &["websocket"]),
    ("auth", &["protocol"]),
    ("broker", &["protocol"]),
    ("session", &["admission", "auth", "protocol"]),
    ("hub", &["protocol"]),
    ("config", &["auth", "broker", "hub", "protocol", "websocket"]),
    ("jwks", &["auth", "config"]),
    ("telemetry", &["admission", "protocol"]),
    (
        "worker",
        &[
            "admission",
            "auth",
            "broker",
            "config",
            "hub",
            "jwks",
            "protocol",
            "session",
            "telemetry",
            "websocket",
        ],
    ),
    ("api", &["auth", "broker", "config", "jwks", "protocol", "telemetry", "worker"]),
    ("cli", &["auth", "telemetry"]),
    ("serve", &["api", "cli", "config", "jwks", "telemetry", "worker"]),
];

/// Files that do no I/O and read no clock, by the start of their path under `src/`.
const PURE: &[&str] = &["websocket", "protocol", "auth", "broker", "session", "hub"];

const IMPURE: &[&str] = &["tokio::", "std::fs", "std::net", "Instant::now", "SystemTime::now"];

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
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn pure_files_touch_nothing() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        if PURE.iter().any(|pure| path.starts_with(pure)) {
            broken.extend(
                IMPURE.iter().filter(|it| text.contains(**it)).map(|it| format!("{path}: {it}")),
            );
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Every source file: its path under `src/`, and its text without the tests at its end.
fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![src.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
                let name = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
                sources.push((name, code));
            }
        }
    }
    assert!(!sources.is_empty());
    sources
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
        let mut at_start = true;
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => at_start = true,
                c if c.is_whitespace() => {}
                _ if at_start => {
                    rooms.push(first_word(&group[i..]));
                    at_start = false;
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

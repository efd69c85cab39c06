//! The closed list of what the log can say.
//!
//! An event is a name (the `message` of a log line) and its fields. Names are public: dashboards and
//! alerts match on them, so they never change meaning; fields may be added. The rooms write the
//! names as literals where things happen; `tests/events.rs` holds them, this list and
//! `docs/events.md` together.

/// One kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What stands in the log as `message`.
    pub name: &'static str,
    /// How important it is: `error` (our fault), `warn` (somebody must act), `info` (what the
    /// process does) or `debug` (what clients do).
    pub level: &'static str,
    /// When it is logged, its fields in backquotes, and what to do.
    pub meaning: &'static str,
}

const fn event(name: &'static str, level: &'static str, meaning: &'static str) -> Event {
    Event { name, level, meaning }
}

/// Every event, in the order in which a gateway lives.
pub const EVENTS: &[Event] = &[
    event("starting", "info", "The process starts: `version`, `gateway`, `namespace`, `workers`."),
    event(
        "listening",
        "info",
        "Both ports are open; `public` and `internal` are the real addresses, also for port 0.",
    ),
    event("ready", "info", "Everything it needs is there; `/readyz` says so too."),
    event(
        "console",
        "info",
        "The console can be opened at `url`. The key in it is good for this process alone.",
    ),
    event(
        "file_limit",
        "warn",
        "`maxConnections` (`wanted`) is more than the limit on open files allows: `capacity` is. Raise the hard limit.",
    ),
    event("config_applied", "info", "A manifest (`hash`), or the Secrets it names, came into use."),
    event(
        "config_refused",
        "warn",
        "What is in the folders now is not applied; one line per finding, in `finding`. The last good configuration stays in use.",
    ),
    event(
        "config_warning",
        "warn",
        "The manifest has something that this gateway does not know: `finding`.",
    ),
    event(
        "restart_required",
        "warn",
        "`fields` of the manifest are read at start alone; their new values wait for a restart.",
    ),
    event(
        "secret_missing",
        "warn",
        "A Secret that the manifest names (`field`) is not at `path`. A gateway that was never ready waits for it.",
    ),
    event(
        "secret_vanished",
        "warn",
        "The Secret at `path` is gone. Its old contents stay in use until the process ends.",
    ),
    event(
        "tls_reloaded",
        "info",
        "A new certificate is served to new connections; it expires at `not_after`.",
    ),
    event(
        "jwks_fetched",
        "info",
        "The key set was fetched and is not what it was: `keys` of them.",
    ),
    event(
        "jwks_failed",
        "warn",
        "The key set could not be fetched: `error`. The old one stays in use for a while.",
    ),
    event(
        "jwks_stale",
        "warn",
        "The key set is too old to be trusted; clients are told to come back.",
    ),
    event(
        "traces_failed",
        "warn",
        "Spans could not be sent: `error`, `spans` of them. At most once a minute.",
    ),
    event("connection_opened", "debug", "A client connected: `connection`, `peer`, `dialect`."),
    event(
        "connection_closed",
        "debug",
        "A connection ended: `connection`, `code`, `reason`, `seconds`.",
    ),
    event("connection_refused", "debug", "An upgrade request was refused: `peer`, `reason`."),
    event(
        "handshake_failed",
        "debug",
        "A connection ended before it was a request: `peer`, `error`.",
    ),
    event("token_refused", "debug", "A token was refused: `peer`, `why`. Never the token."),
    event(
        "slow_consumer",
        "debug",
        "A client read too slowly and was closed: `connection`, `messages`, `bytes`.",
    ),
    event(
        "connections_refused",
        "info",
        "How many upgrade requests were refused in the last seconds, by reason: `reasons`, `seconds`.",
    ),
    event("publish_failed", "warn", "The broker did not take a publication: `error`."),
    event(
        "drain_started",
        "info",
        "SIGTERM: `connections` will be told to move after `grace`, over `period`.",
    ),
    event(
        "drain_closing",
        "info",
        "The grace is over: not ready, upgrades are refused, closes begin.",
    ),
    event(
        "drain_finished",
        "info",
        "No connection is left, or the deadline has come: `left` were cut.",
    ),
    event("accept_failed", "warn", "No connection could be accepted: `error`. It is tried again."),
    event("stopped", "info", "The process ends: `reason`."),
    event(
        "failed",
        "error",
        "Something that must not end has ended: `error`. So does the process.",
    ),
];

/// The list as `docs/events.md`.
pub fn page() -> String {
    let mut page = String::from(
        "# Log events\n\n\
         A log line is an event and its fields. The names are a closed list and never change\n\
         meaning. No level logs a token, and one client cannot cause a `warn` per message.\n\
         `telemetry.logLevel` is live; `--log-format` is `text` or `json`.\n\n\
         | event | level | when |\n| --- | --- | --- |\n",
    );
    for Event { name, level, meaning } in EVENTS {
        page.push_str(&format!("| `{name}` | {level} | {meaning} |\n"));
    }
    page
}

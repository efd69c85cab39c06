//! The closed list of what the log can say.
//!
//! An event is a name (the field `event`), its fields, and words for people. Names are public:
//! dashboards and alerts match on them, so they never change meaning; fields may be added and words
//! improved. The rooms write the names as literals where things happen; `tests/events.rs` holds
//! them, this list and `docs/events.md` together.

use std::fmt::Write as _;

/// One kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What stands in the field `event`.
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
    event(
        "starting",
        "info",
        "The process starts: `version`, `gateway`, `namespace`; the internal port is open at `internal`.",
    ),
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
        "bind_failed",
        "error",
        "An `address` cannot be listened on: `error`. The process ends with 69.",
    ),
    event(
        "broker_connected",
        "info",
        "NATS is there: `server`, `version`; `is_first` the first time, which is when the gateway begins to serve.",
    ),
    event(
        "broker_unreachable",
        "warn",
        "NATS cannot be reached: `error`, with each server that was tried and why it was not this one. It is tried again, with growing waits and at every server of `broker.nats.url`; each reason is told once.",
    ),
    event(
        "broker_refused",
        "error",
        "NATS is there and cannot be used: `problem` (`max_payload`, no JetStream, rights). It is tried again; `/status` says so too.",
    ),
    event("broker_unusable", "error", "`broker.nats.url` cannot be used: `error`."),
    event(
        "broker_lost",
        "warn",
        "NATS is lost: `why`. Clients stay, publishing is answered by `unavailable`, and whoever may have missed something is told by `gap` when it is back.",
    ),
    event(
        "pod_lost",
        "warn",
        "A `pod` of the gateway was not heard for 5 s. Who was there with it is gone; channels that announce presence are told `presence_changed`.",
    ),
    event("pod_gone", "info", "A `pod` said that it goes away."),
    event(
        "pod_missed",
        "info",
        "Something that a `pod` told was lost on the way, such as between NATS servers. So may be what it published: clients are told by `gap`.",
    ),
    event(
        "revocations_not_read",
        "debug",
        "The revocations could not be read: `error`. It is tried again; a pod that starts is not ready before.",
    ),
    event(
        "revocation_not_stored",
        "debug",
        "A revocation could not be stored: `error`. Whoever asked for it was told 503.",
    ),
    event(
        "broker_error",
        "warn",
        "NATS reports an `error`, such as a right that the gateway's user has not or a limit of the account: what to allow. `/status` has it for a minute; the same is told again after ten seconds.",
    ),
    event(
        "broker_deaf",
        "warn",
        "NATS does not hand this pod what pods tell each other (`subjects`), as where it refuses a subscription: see `broker_error`. The connection is made anew, every ten seconds until it does.",
    ),
    event(
        "broker_overflow",
        "warn",
        "More came from NATS than could be taken; clients are told by `gap`, at most once a second.",
    ),
    event(
        "broker_moves",
        "info",
        "The NATS server goes away (lame duck); the next one is taken when it ends the connection.",
    ),
    event(
        "broker_silent",
        "debug",
        "NATS has not answered yet whether it has heard of new topics.",
    ),
    event("stream_created", "info", "History of a rule begins: `stream`, `replicas`."),
    event("stream_changed", "info", "A `stream` was changed in place, since its rule was."),
    event(
        "stream_mended",
        "warn",
        "Somebody had changed of a `stream` what pods rely on (`republish`, `subjects`, `allow_direct`, `deny_*`, `duplicate_window`). It is as it was, and every pod asks it for what did not come live.",
    ),
    event(
        "stream_removed",
        "info",
        "A `stream` was removed, since its rule keeps nothing any more.",
    ),
    event(
        "stream_not_removed",
        "warn",
        "A `stream` that no rule needs could not be removed: `error`. It grows no more; remove it by hand.",
    ),
    event(
        "stream_lost_messages",
        "warn",
        "NATS lost messages of a `stream` that it had acknowledged; its history begins anew, and clients are told. Look at `sync_interval` and replicas.",
    ),
    event(
        "history_new",
        "warn",
        "A stream was made anew by somebody: history begins again, and clients are told.",
    ),
    event(
        "history_unavailable",
        "debug",
        "A stream could not be read: `error`. Whoever asked is told to try again.",
    ),
    event(
        "streams_unavailable",
        "warn",
        "The streams could not be looked at: `error`. Live delivery goes on.",
    ),
    event(
        "not_stored",
        "debug",
        "A publication was not acknowledged: `error`. Its publisher was told `unavailable`.",
    ),
    event(
        "files_limit",
        "warn",
        "`maxConnections` (`wanted`) is more than the limit on open files allows: `capacity` is. Raise the hard limit.",
    ),
    event(
        "config_applied",
        "info",
        "A manifest (`hash`), or the Secrets it names, came into use, or are again all that there is after a refusal.",
    ),
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
        "A Secret that the manifest names (`field`) is not at `path`; `instead` has the files that would do as well. A gateway that was never ready waits for it.",
    ),
    event(
        "secret_vanished",
        "warn",
        "A file of a Secret is gone (`path`). If all of the Secret is gone, its contents stay in use; a key that was removed from it counts no longer.",
    ),
    event(
        "tls_reloaded",
        "info",
        "A new certificate is served to new connections; it expires at `not_after` (seconds since 1970).",
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
    event("opened", "debug", "A client connected: `connection`, `peer`, `dialect`."),
    event("closed", "debug", "A connection ended: `connection`, `code`, `reason`, `seconds`."),
    event("refused", "debug", "An upgrade request was refused: `peer`, `code`."),
    event(
        "handshake_failed",
        "debug",
        "A connection ended before it was one: `peer`, `error` (tls, timeout or a refusal's code).",
    ),
    event("token_refused", "debug", "A token was refused: `peer`, `error`. Never the token."),
    event(
        "slow_consumer",
        "debug",
        "A client read too slowly and was closed: `connection`, `messages`, `bytes`.",
    ),
    event(
        "refusals",
        "info",
        "How many upgrade requests were refused in the last `seconds`, by `reasons`.",
    ),
    event(
        "accept_failed",
        "debug",
        "A connection could not be accepted: `error`. It is tried again.",
    ),
    event(
        "drain_grace",
        "info",
        "A signal: the gateway goes away, and still accepts for `grace_ms`.",
    ),
    event(
        "drain_started",
        "info",
        "Not ready, upgrades are refused; `connections` are closed over `period_ms`.",
    ),
    event("drain_cut_short", "info", "Ctrl-C while draining: what is left is closed now."),
    event("drain_done", "info", "No connection is left, or the deadline has come."),
    event(
        "internal_accept_failed",
        "warn",
        "The internal port could not accept: `error`. It is tried again.",
    ),
    event("signal_failed", "error", "The process cannot listen to a signal: `error`."),
    event("console_failed", "warn", "The console got no token: `error`."),
    event("worker_dead", "error", "A worker has stopped; the process ends with 70."),
    event("failed", "error", "A task that must not end has ended; the process ends with 70."),
    event("stopped", "info", "The process ends."),
];

/// The list as `docs/events.md`.
pub fn page() -> String {
    let mut page = String::from(
        "# Log events\n\n\
         A log line is an event, its fields and words for people. The names (field `event`) are a\n\
         closed list and never change meaning; the words may be improved in any release. No level\n\
         logs a token, and one client cannot cause a `warn` per message. The log goes to standard\n\
         output; a line that finds the pipe full is dropped and counted.\n\n\
         `telemetry.logLevel` is live; `--log-format` is `text` or `json`.\n\n\
         | event | level | when |\n| --- | --- | --- |\n",
    );
    for Event { name, level, meaning } in EVENTS {
        // Writing to a String never fails.
        let _ = writeln!(page, "| `{name}` | {level} | {meaning} |");
    }
    page
}

//! What NATS means when it refuses something, and what has to be allowed.
//!
//! NATS tells a refused subject to the connection and not to whoever waits: the one that asked sees
//! a time-out. The words of the server, kept here in one place, are the only thing that says which
//! right or which limit it was. They are those of nats-server 2.15. Pure.

/// Where a person reads which rights there have to be.
const RIGHTS: &str = "docs/brokers.md, \"Accounts and rights\"";

/// What the server says of a subject that the user has no right to, and what it then refuses.
const VIOLATIONS: [(&str, &str); 3] = [
    ("Permissions Violation for Publish to ", "publish to"),
    ("Permissions Violation for Subscription to ", "subscribe to"),
    ("Permissions Violation for Publish with Reply of ", "subscribe to"),
];

/// What `JetStream` is asked by, and the subject that rights name for it. The longest come first.
const JETSTREAM: [(&str, &str); 9] = [
    ("$JS.API.STREAM.INFO.", "$JS.API.STREAM.INFO.*"),
    ("$JS.API.STREAM.CREATE.", "$JS.API.STREAM.CREATE.*"),
    ("$JS.API.STREAM.UPDATE.", "$JS.API.STREAM.UPDATE.*"),
    ("$JS.API.STREAM.DELETE.", "$JS.API.STREAM.DELETE.*"),
    ("$JS.API.STREAM.MSG.GET.", "$JS.API.STREAM.MSG.GET.*"),
    ("$JS.API.DIRECT.GET.", "$JS.API.DIRECT.GET.>"),
    ("$JS.API.CONSUMER.CREATE.", "$JS.API.CONSUMER.CREATE.>"),
    ("$JS.API.CONSUMER.MSG.NEXT.", "$JS.API.CONSUMER.MSG.NEXT.>"),
    ("$JS.API.CONSUMER.DELETE.", "$JS.API.CONSUMER.DELETE.>"),
];

/// What the server says of everything else, in small letters, and what to do.
const OTHERS: [(&str, &str); 17] = [
    (
        "maximum subscriptions exceeded",
        "NATS takes no more subscriptions of this connection or account (max_subscriptions, an account's max_subs, \
         --subs of a JWT): it needs one for each channel and user that is listened to, on each replica",
    ),
    (
        "maximum payload violation",
        "NATS refuses a message as too long and ends the connection: max_payload of the server, of the account or of \
         the user's JWT must be at least maxMessageSize plus 4 KiB",
    ),
    (
        "maximum account active connections exceeded",
        "the account takes no more connections (its max_conn, --conns of a JWT): it needs one for each replica, two \
         while one replaces another",
    ),
    (
        "maximum connections exceeded",
        "the server takes no more connections: raise its max_connections",
    ),
    (
        "authorization violation",
        "NATS refuses the user: put right what is in the Secret of spec.broker.nats.credentialsSecretName, or the \
         user at NATS",
    ),
    (
        "user authentication expired",
        "the user's JWT has expired: put a new nats.creds into the Secret of spec.broker.nats.credentialsSecretName",
    ),
    (
        "user authentication revoked",
        "the user's JWT was revoked: put a new nats.creds into the Secret of spec.broker.nats.credentialsSecretName",
    ),
    ("account authentication expired", "the account's JWT has expired: renew it at NATS"),
    (
        "authentication timeout",
        "NATS heard no login in time: the gateway or the network was too slow, or authorization.timeout of the server \
         is too short",
    ),
    (
        "error code 10039",
        "the account has no JetStream: set jetstream: enabled for it, or limits with nsc edit account",
    ),
    (
        "error code 10076",
        "this server has no JetStream: start it with -js, or with a jetstream block",
    ),
    (
        "error code 10027",
        "the account takes no more streams (its max_streams, --js-streams of a JWT): it needs one for each rule with \
         history, and one for revocations",
    ),
    (
        "error code 10026",
        "the account takes no more consumers (its max_consumers, --js-consumer of a JWT): revocations are read by one \
         of each replica",
    ),
    ("error code 10047", STORAGE),
    ("error code 10023", STORAGE),
    ("error code 10002", STORAGE),
    (
        "error code 10122",
        "the account's streams may not be so large (its max_bytes for one stream): raise it, or lower \
         spec.broker.historyBytes",
    ),
];

const STORAGE: &str = "NATS has not so much room on its disk, or gives the account less (max_file of the account or \
                       server, --js-disk-storage of a JWT): raise it, or lower spec.broker.historyBytes, for each \
                       copy of the streams";

/// What an error of the server means, in words for whoever has to act; `None` for one that is not
/// about a right or a limit.
///
/// Takes the server's own words, with or without what stands around them: the text of an
/// `async_nats::ServerError`, or of an error of a request to `JetStream`.
pub fn explained(server_error: &str) -> Option<String> {
    let violation = VIOLATIONS.iter().find_map(|(words, verb)| {
        let (_, rest) = server_error.split_once(words)?;
        Some((*verb, unquoted(rest)?))
    });
    if let Some((verb, subject)) = violation {
        if server_error.ends_with("too many tokens") {
            return Some(format!(
                "NATS takes no subject of so many parts as {subject}: raise max_subscription_tokens of the server, or leave it out"
            ));
        }
        // A line of the log ends after some 256 bytes, and a channel's name may be as long: what to do comes first.
        return Some(format!(
            "NATS must let the gateway's user {verb} {} ({RIGHTS}): it refuses {subject}",
            allowance(&subject)
        ));
    }
    let lower = server_error.to_lowercase();
    OTHERS.iter().find(|(words, _)| lower.contains(words)).map(|(_, right)| (*right).to_owned())
}

/// What is between the quotes at the beginning, as Go's `%q` writes it.
fn unquoted(text: &str) -> Option<String> {
    let mut unquoted = String::new();
    let mut characters = text.strip_prefix('"')?.chars();
    loop {
        match characters.next()? {
            '"' => return Some(unquoted),
            '\\' => unquoted.push(characters.next()?),
            character => unquoted.push(character),
        }
    }
}

/// The subject that the user's rights have to name, so that they do so for all that are like it.
fn allowance(subject: &str) -> String {
    let jetstream = JETSTREAM.iter().find(|(prefix, _)| subject.starts_with(prefix));
    if let Some((_, allowed)) = jetstream {
        return (*allowed).to_owned();
    }
    // A gateway's own: `headgate.<namespace>.<name>.`, whatever follows.
    let mut parts = subject.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("headgate"), Some(namespace), Some(name), Some(_)) => {
            format!("headgate.{namespace}.{name}.>")
        }
        _ => subject.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(server_error: &str, expected: &[&str]) {
        let Some(explained) = explained(server_error) else {
            return assert!(expected.is_empty(), "{server_error}: not explained");
        };
        assert!(!expected.is_empty(), "{server_error}: {explained}");
        for words in expected {
            assert!(explained.contains(words), "{server_error}: {explained}");
        }
    }

    /// As `client.go` of nats-server 2.15 writes them.
    #[test]
    fn a_refused_subject_is_told_with_what_to_allow() {
        check(
            r#"nats: Permissions Violation for Publish to "$JS.API.STREAM.INFO.headgate_default_chat_a_2E_2A""#,
            &[
                "it refuses $JS.API.STREAM.INFO.headgate_default_chat_a_2E_2A",
                "user publish to $JS.API.STREAM.INFO.* (",
            ],
        );
        check(
            r#"Permissions Violation for Publish to "$JS.API.STREAM.NAMES""#,
            &["user publish to $JS.API.STREAM.NAMES ("],
        );
        check(
            r#"Permissions Violation for Publish to "$JS.API.CONSUMER.MSG.NEXT.headgate_default_chat__revocations.xyz""#,
            &["user publish to $JS.API.CONSUMER.MSG.NEXT.> ("],
        );
        check(
            r#"Permissions Violation for Publish to "headgate.default.chat.live.room""#,
            &["user publish to headgate.default.chat.> ("],
        );
        check(
            r#"Permissions Violation for Subscription to "headgate.default.chat.inbox.ab12.page.>""#,
            &[
                "it refuses headgate.default.chat.inbox.ab12.page.>",
                "user subscribe to headgate.default.chat.> (",
            ],
        );
        check(
            r#"Permissions Violation for Subscription to "headgate.default.chat.pods" using queue "q""#,
            &["user subscribe to headgate.default.chat.> ("],
        );
        check(
            r#"Permissions Violation for Subscription to "headgate.default.chat.pods" (sid "12")"#,
            &["user subscribe to headgate.default.chat.> ("],
        );
        check(
            r#"Permissions Violation for Publish with Reply of "headgate.default.chat.inbox.a.1""#,
            &["user subscribe to headgate.default.chat.> ("],
        );
        check(
            r#"Permissions Violation for Subscription to "headgate.default.chat.live.a", too many tokens"#,
            &["max_subscription_tokens"],
        );
    }

    #[test]
    fn a_limit_is_told_with_its_name() {
        check("nats: maximum subscriptions exceeded", &["max_subs", "each channel"]);
        check("nats: Maximum Payload Violation", &["max_payload", "plus 4 KiB"]);
        check("nats: maximum connections exceeded", &["max_connections"]);
        check("nats: maximum account active connections exceeded", &["max_conn,"]);
    }

    #[test]
    fn a_refused_user_is_told_with_the_field_of_its_secret() {
        check("nats: authorization violation", &["credentialsSecretName"]);
        check("Authorization Violation", &["credentialsSecretName"]);
        check("User Authentication Expired", &["nats.creds"]);
        check("User Authentication Revoked", &["nats.creds"]);
        check("Account Authentication Expired", &["account's JWT"]);
        check("Authentication Timeout", &["in time"]);
    }

    /// As `errors.json` of nats-server 2.15 has them, and async-nats writes them.
    #[test]
    fn a_limit_of_jetstream_is_told_with_its_name() {
        let made = |words: &str| {
            format!("cannot make the stream headgate_default_chat_a: JetStream error: {words}")
        };
        check(
            &made("JetStream not enabled for account (code 503, error code 10039)"),
            &["jetstream: enabled"],
        );
        check(&made("JetStream not enabled (code 503, error code 10076)"), &["-js"]);
        check(
            &made("maximum number of streams reached (code 400, error code 10027)"),
            &["max_streams", "one for revocations"],
        );
        check(
            &made("insufficient storage resources available (code 500, error code 10047)"),
            &["historyBytes", "max_file"],
        );
        check(
            &made("resource limits exceeded for account (code 400, error code 10002)"),
            &["historyBytes"],
        );
        check(&made("insufficient resources (code 503, error code 10023)"), &["historyBytes"]);
        check(
            &made("maximum consumers limit reached (code 400, error code 10026)"),
            &["consumers"],
        );
    }

    #[test]
    fn what_to_do_fits_into_a_line_of_the_log() {
        for (words, right) in OTHERS {
            assert!(right.len() <= 250, "{words}: {} bytes", right.len());
        }
    }

    #[test]
    fn what_is_no_refusal_is_left_as_it_is() {
        check("nats: subscription 12 is a slow consumer", &[]);
        check("Invalid Publish Subject", &[]);
        check("Permissions Violation for Publish to \"half", &[]);
        check("request error: timed out: request timed out: deadline has elapsed", &[]);
        check("", &[]);
    }
}

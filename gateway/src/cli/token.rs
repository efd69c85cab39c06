//! `token`: mints a token for a user.
//!
//! What is printed has been verified as the gateway would, so it is never a token that is refused.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::Args;
use headgate_crds::{
    manifest::BYTES_MAX,
    v1alpha1::{Algorithm, Jwt},
    value::{ChannelPattern, Duration, DurationError},
};
use serde_json::{Map, Value, json};

use super::{Failure, complain_of, input};
use crate::{
    auth::{
        mint::mint,
        token::{Key, Verifier},
    },
    config::document::Document,
};

/// The longest HMAC secret that makes sense, in bytes.
const SECRET_BYTES_MAX: usize = 4_096;

/// What the token says.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct Token {
    /// The file with the HMAC secret. All of its bytes count, a new line at the end too.
    #[arg(long, value_name = "FILE")]
    secret: PathBuf,
    /// The user (`sub`), 1 to 255 bytes.
    #[arg(long, value_name = "NAME")]
    user: String,
    /// Channels that the user may subscribe to.
    #[arg(long, value_name = "PATTERN")]
    subscribe: Vec<ChannelPattern>,
    /// Channels that the user may publish to.
    #[arg(long, value_name = "PATTERN")]
    publish: Vec<ChannelPattern>,
    /// Channels whose members the user may read without a subscription.
    #[arg(long, value_name = "PATTERN")]
    presence: Vec<ChannelPattern>,
    /// Channels whose history the user may read without a subscription.
    #[arg(long, value_name = "PATTERN")]
    history: Vec<ChannelPattern>,
    /// Channels that are subscribed at connect.
    #[arg(long, value_name = "CHANNEL")]
    channel: Vec<String>,
    /// What presence shows of the user, at most 1 KiB.
    #[arg(long, value_name = "JSON", value_parser = json)]
    info: Option<Value>,
    /// The name of the key.
    #[arg(long)]
    kid: Option<String>,
    /// The issuer (`iss`).
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// The audience (`aud`).
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// How long the token is good.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    expires: Duration,
    /// A manifest to take the issuer, the audience and the key's name from.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

const AFTER: &str = "\
In a pattern * is one part of a name between dots, and ** at the end is the rest. From --subscribe to
--channel each option may be given several times.

Examples:
  headgate-gateway token --secret secrets/chat-jwt/hmac --user alice --subscribe 'room.*'
  headgate-gateway token --secret secrets/chat-jwt/hmac --user bob --manifest gateway.yaml \\
      --subscribe '**' --publish 'room.42' --channel room.42 --info '{\"name\":\"Bob\"}'";

impl Token {
    /// Prints the token.
    pub(super) fn run(mut self, output: &mut impl Write) -> Result<(), Failure> {
        if let Some(path) = self.manifest.take() {
            self.read_manifest(&path)?;
        }
        let now = unix_now();
        let secret = input::read(&self.secret, SECRET_BYTES_MAX)?;
        let claims = self.claims(now);
        let token = mint(&secret, self.kid.clone(), &claims)
            .map_err(|error| Failure::Usage(format!("cannot sign: {error}")))?;
        self.verify(&secret, &token, now)?;
        writeln!(output, "{token}").map_err(Failure::Output)
    }

    /// Fills in what the arguments left open.
    fn read_manifest(&mut self, path: &Path) -> Result<(), Failure> {
        let document = Document::parse(&input::read(path, BYTES_MAX)?).map_err(|findings| {
            complain_of(path, &findings);
            Failure::Refused
        })?;
        let jwt = document.spec.auth.jwt.unwrap_or_default();
        if self.kid.is_none() {
            self.kid = self.kid_in(&jwt)?;
        }
        self.issuer = self.issuer.take().or(jwt.issuer);
        self.audience = self.audience.take().or(jwt.audience);
        Ok(())
    }

    /// The name of the key whose file is the secret's: it has the same name.
    fn kid_in(&self, jwt: &Jwt) -> Result<Option<String>, Failure> {
        let file = self.secret.file_name().unwrap_or_default();
        let named = jwt.keys.iter().find(|key| file == key.key.as_str());
        match named {
            Some(key) if key.algorithm == Algorithm::HS256 => Ok(key.kid.clone()),
            Some(key) => {
                let said = "the manifest has this key for another algorithm than HS256";
                Err(Failure::Usage(format!("{said}: {:?}", key.algorithm)))
            }
            None => Ok(None),
        }
    }

    fn claims(&self, now: u64) -> Value {
        let Self { subscribe, publish, presence, history, channel, info, .. } = self;
        let mut grants = Map::new();
        for (name, patterns) in [
            ("subscribe", subscribe),
            ("publish", publish),
            ("presence", presence),
            ("history", history),
        ] {
            if !patterns.is_empty() {
                let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
                grants.insert(name.to_owned(), json!(patterns));
            }
        }
        if !channel.is_empty() {
            grants.insert("channels".to_owned(), json!(channel));
        }
        if let Some(info) = info {
            grants.insert("info".to_owned(), info.clone());
        }

        let expires = now.saturating_add(self.expires.get().as_secs());
        // With an identifier of its own the token can be revoked.
        let id = format!("{:016x}", fastrand::u64(..));
        let mut claims = json!({"sub": self.user, "iat": now, "exp": expires, "jti": id});
        for (name, value) in [("iss", &self.issuer), ("aud", &self.audience)] {
            if let Some(value) = value {
                claims[name] = json!(value);
            }
        }
        if !grants.is_empty() {
            claims["headgate"] = Value::Object(grants);
        }
        claims
    }

    fn verify(&self, secret: &[u8], token: &str, now: u64) -> Result<(), Failure> {
        let file = self.secret.display();
        let key = Key::parse(Algorithm::HS256, self.kid.clone(), secret)
            .map_err(|error| Failure::Usage(format!("{file}: {error}")))?;
        let verifier = Verifier {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            requires_user: true,
            keys: vec![key],
            ..Verifier::default()
        };
        verifier
            .verify(token, now)
            .map(drop)
            .map_err(|error| Failure::Usage(format!("a gateway would refuse it: {error}")))
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let right = "must be numbers with h, m, s or ms, such as 15m or 24h";
    text.parse().map_err(|error: DurationError| format!("{error}; {right}"))
}

fn json(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text)
}

/// Seconds since 1970.
fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

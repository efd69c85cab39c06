//! The shapes of bodies and of the lines of a batch (`openapi.json`).
//!
//! Unknown fields are refused, because a typo must not be silent: `chanel` beside `channels`, or
//! `Key` for `key`, would lose messages or double them. `null` is no way to leave a field out.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Number, value::RawValue};

use super::error::ApiError;
use crate::protocol::position::OFFSET_MAX;

/// `/publish`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish<'a> {
    #[serde(default, deserialize_with = "present")]
    pub channel: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub channels: Option<Vec<String>>,
    #[serde(borrow)]
    pub data: &'a RawValue,
    #[serde(default, deserialize_with = "present")]
    pub key: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub exclude: Option<String>,
}

/// `/broadcast`, `/users/{user}/messages`, `/connections/{connection}/messages`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message<'a> {
    #[serde(borrow)]
    pub data: &'a RawValue,
}

/// `/users/{user}/disconnect`, `/connections/{connection}/disconnect`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disconnect {
    #[serde(default, deserialize_with = "present")]
    pub code: Option<Whole>,
    #[serde(default, deserialize_with = "present")]
    pub reason: Option<String>,
}

/// `/users/{user}/subscribe`, `/users/{user}/unsubscribe`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    pub channel: String,
}

/// `/revocations`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    #[serde(default, deserialize_with = "present")]
    pub jti: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub user: Option<String>,
    pub expires: Whole,
}

/// A line of `/batch`: one field that says what to do, and what its path and body would say.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line<'a> {
    Publish(#[serde(borrow, deserialize_with = "object")] Publish<'a>),
    Broadcast(#[serde(borrow, deserialize_with = "object")] Message<'a>),
    Message(#[serde(borrow, deserialize_with = "object")] MessageLine<'a>),
    Disconnect(#[serde(deserialize_with = "object")] DisconnectLine),
    Subscribe(#[serde(deserialize_with = "object")] ChannelLine),
    Unsubscribe(#[serde(deserialize_with = "object")] ChannelLine),
    Revoke(#[serde(deserialize_with = "object")] Revocation),
}

/// A message and for whom.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageLine<'a> {
    #[serde(default, deserialize_with = "present")]
    pub user: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub connection: Option<String>,
    #[serde(borrow)]
    pub data: &'a RawValue,
}

/// Whom to disconnect, and how.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisconnectLine {
    #[serde(default, deserialize_with = "present")]
    pub user: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub connection: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub code: Option<Whole>,
    #[serde(default, deserialize_with = "present")]
    pub reason: Option<String>,
}

/// A user and a channel.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelLine {
    pub user: String,
    pub channel: String,
}

/// A number without a fraction, also as `4900.0`: some languages have no other kind.
pub struct Whole(pub u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(number: D) -> Result<Self, D::Error> {
        let number = Number::deserialize(number)?;
        let whole = number.as_u64().filter(|whole| *whole <= OFFSET_MAX);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "what is cast is whole, and fits"
        )]
        let cast = |float: f64| {
            let is_whole = float.fract() == 0.0 && (0.0..=OFFSET_MAX as f64).contains(&float);
            is_whole.then_some(float as u64)
        };
        let found = whole.or_else(|| number.as_f64().and_then(cast)).map(Self);
        found.ok_or_else(|| {
            let words = "expected a whole number from 0 to 2^53-1";
            D::Error::custom(format!("invalid value: `{number}`, {words}"))
        })
    }
}

/// Reads a body or a line, which `what` says.
///
/// # Errors
///
/// [`ApiError::Invalid`] with what is wrong and where.
pub fn parse<'a, T: Deserialize<'a>>(what: &str, json: &'a [u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(json);
    let parsed = object(&mut json).and_then(|parsed| json.end().map(|()| parsed));
    parsed.map_err(|error| ApiError::Invalid(format!("{what} is not right: {error}")))
}

/// A field that may be left out and may not be `null`.
fn present<'de, T, D>(value: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(value).map(Some)
}

/// An object with the fields of `T`; serde alone would take an array of their values for one too.
fn object<'de, T, D>(value: D) -> Result<T, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    value.deserialize_map(Object(PhantomData))
}

struct Object<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

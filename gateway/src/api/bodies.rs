//! The shapes of bodies and of the lines of a batch (`openapi.json`).
//!
//! Unknown fields are refused, because a typo must not be silent: `chanel` beside `channels`, or
//! `Key` for `key`, would lose messages or double them. `null` is no way to leave a field out.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::error::ApiError;

/// `/publish`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub channel: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub channels: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    pub data: &'a RawValue,
    #[serde(default, deserialize_with = "present")]
    pub key: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub exclude: Option<String>,
}

/// `/broadcast` and `/users/{user}/messages`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message<'a> {
    #[serde(borrow)]
    pub data: &'a RawValue,
}

/// `/users/{user}/disconnect`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disconnect {
    #[serde(default, deserialize_with = "present")]
    pub code: Option<u16>,
    #[serde(default, deserialize_with = "present")]
    pub reason: Option<String>,
}

/// `/users/{user}/subscribe`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel<'a> {
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
}

/// `/revocations`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    #[serde(default, deserialize_with = "present")]
    pub jti: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub user: Option<String>,
    pub expires: u64,
}

/// A line of `/batch`: one field that says what to do, and what its path and body would say.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line<'a> {
    #[serde(borrow)]
    Publish(Publish<'a>),
    #[serde(borrow)]
    Broadcast(Message<'a>),
    #[serde(borrow)]
    Message(MessageLine<'a>),
    Disconnect(DisconnectLine),
    Subscribe(ChannelLine<'a>),
    Unsubscribe(ChannelLine<'a>),
    Revoke(Revocation),
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
    pub code: Option<u16>,
    #[serde(default, deserialize_with = "present")]
    pub reason: Option<String>,
}

/// A user and a channel.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelLine<'a> {
    pub user: String,
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
}

/// Reads a body or a line.
///
/// # Errors
///
/// [`ApiError::Invalid`] with what is wrong and where.
pub fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(json).map_err(|error| ApiError::Invalid(error.to_string()))
}

/// A field that may be left out and may not be `null`.
fn present<'de, T, D>(value: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(value).map(Some)
}

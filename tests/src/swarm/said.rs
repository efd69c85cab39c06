//! The envelopes of a gateway, as far as a client that writes a diary reads them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// An envelope.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    /// What it is.
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    /// What it answers.
    pub id: Option<u64>,
    /// What it says.
    #[serde(borrow)]
    pub payload: Option<Said<'a>>,
}

/// The fields of all payloads together.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Said<'a> {
    /// The channel.
    #[serde(borrow)]
    pub channel: Option<Cow<'a, str>>,
    /// The epoch of a position.
    #[serde(borrow)]
    pub epoch: Option<Cow<'a, str>>,
    /// The offset of a position or of a message.
    pub offset: Option<u64>,
    /// Whether a subscription goes on where it was.
    pub recovered: Option<bool>,
    /// The code of an error.
    #[serde(borrow)]
    pub code: Option<Cow<'a, str>>,
    /// What was published.
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
    /// A page of history.
    #[serde(borrow)]
    pub messages: Vec<Kept<'a>>,
    /// Whether the page is not the last.
    pub more: bool,
    /// What a welcome says is subscribed.
    #[serde(borrow)]
    pub subscriptions: Vec<Standing<'a>>,
    /// How many members there are.
    pub total: Option<u64>,
    /// Whether every pod was heard.
    pub complete: Option<bool>,
}

/// A message of a page.
#[derive(Debug, Deserialize)]
pub struct Kept<'a> {
    /// Its place.
    pub offset: u64,
    /// What was published.
    #[serde(borrow)]
    pub data: &'a RawValue,
}

/// A subscription of a welcome.
#[derive(Debug, Deserialize)]
pub struct Standing<'a> {
    /// The channel.
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
    /// The epoch, where there is history.
    #[serde(borrow)]
    pub epoch: Option<Cow<'a, str>>,
    /// The offset, where there is history.
    pub offset: Option<u64>,
}

/// The envelopes of a text frame.
pub fn envelopes(text: &[u8]) -> impl Iterator<Item = serde_json::Result<Envelope<'_>>> {
    text.split(|it| *it == b'\n').map(serde_json::from_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_of_every_kind_are_read() {
        let text = br#"{"type":"message","payload":{"channel":"a","data":{"n":1},"offset":2}}
{"type":"pong","payload":null}
{"type":"subscribed","id":3,"payload":{"channel":"a","epoch":"e","offset":2,"recovered":true}}"#;

        let read: Vec<_> = envelopes(text).map(Result::unwrap).collect();
        assert_eq!(read[0].payload.as_ref().unwrap().data.unwrap().get(), r#"{"n":1}"#);
        assert!(read[1].payload.is_none());
        assert_eq!(
            (read[2].id, read[2].payload.as_ref().unwrap().recovered),
            (Some(3), Some(true))
        );
    }
}

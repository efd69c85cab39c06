//! The claim of our own, `headgate`: what its owner may do, and what presence shows of them.

use std::{borrow::Cow, sync::Arc};

use headgate_crds::value::ChannelPattern;
use serde_json::value::RawValue;

use super::{
    claim::{object, texts},
    identity::Grants,
    token::{TokenError, TokenError::Refused},
};
use crate::protocol::{channel::ChannelName, data::compact};

/// Patterns and channels in one token at most.
const PATTERNS_MAX: usize = 64;

/// The longest `info`, in bytes.
const INFO_BYTES_MAX: usize = 1024;

/// Reads the claim; without it nothing is granted.
pub(super) fn read(
    claim: Option<&RawValue>,
) -> Result<(Arc<Grants>, Option<Arc<str>>), TokenError> {
    let Some(claim) = claim else { return Ok((Arc::default(), None)) };
    let [subscribe, publish, presence, history, channels, info] = object(
        claim.get().as_bytes(),
        ["subscribe", "publish", "presence", "history", "channels", "info"],
    )
    .ok_or(Refused("headgate is no object, or has a name twice"))?;
    let mut left = PATTERNS_MAX;
    let grants = Grants {
        subscribe: patterns(subscribe, &mut left)?,
        publish: patterns(publish, &mut left)?,
        presence: patterns(presence, &mut left)?,
        history: patterns(history, &mut left)?,
        channels: names(channels, &mut left)?,
    };
    Ok((Arc::new(grants), info.map(shown).transpose()?))
}

fn patterns(claim: Option<&RawValue>, left: &mut usize) -> Result<Vec<ChannelPattern>, TokenError> {
    list(claim, left, |text| text.parse().map_err(|_| Refused("a pattern that is none")))
}

fn names(claim: Option<&RawValue>, left: &mut usize) -> Result<Vec<String>, TokenError> {
    list(claim, left, |text| match ChannelName::parse(&text) {
        Ok(_) => Ok(text.into_owned()),
        Err(_) => Err(Refused("a channel that has no name of one")),
    })
}

fn list<T>(
    claim: Option<&RawValue>,
    left: &mut usize,
    parse: impl Fn(Cow<'_, str>) -> Result<T, TokenError>,
) -> Result<Vec<T>, TokenError> {
    let texts = texts(claim)?;
    *left = left.checked_sub(texts.len()).ok_or(Refused("more than 64 patterns and channels"))?;
    texts.into_iter().map(|text| parse(text.0)).collect()
}

fn shown(info: &RawValue) -> Result<Arc<str>, TokenError> {
    let info = compact(info.get());
    if info.len() > INFO_BYTES_MAX {
        return Err(Refused("info is longer than 1 KiB"));
    }
    Ok(info.into())
}

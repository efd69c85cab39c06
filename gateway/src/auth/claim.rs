//! Reads a claim strictly by its type: one of the wrong type must not count as absent.

use std::borrow::Cow;

use serde::{Deserialize, de::DeserializeSeed as _};
use serde_json::value::RawValue;

use super::token::{TokenError, TokenError::Refused};
use crate::protocol::object::Names;

/// The latest time, in seconds since 1970: as large as a JSON number is exact. Later is as late.
pub(super) const TIME_MAX: u64 = (1 << 53) - 1;

/// The claims of these names; `None` where it is no object, or has a name twice.
pub(super) fn object<'a, const N: usize>(
    json: &'a [u8],
    names: [&'static str; N],
) -> Option<[Option<&'a RawValue>; N]> {
    let mut json = serde_json::Deserializer::from_str(std::str::from_utf8(json).ok()?);
    let object = Names(names).deserialize(&mut json).ok()?;
    json.end().ok()?;
    object.is_sound.then_some(object.values)
}

/// A string.
pub(super) fn text(claim: Option<&RawValue>) -> Result<Option<Cow<'_, str>>, TokenError> {
    let Some(claim) = claim else { return Ok(None) };
    let Text(text) = serde_json::from_str(claim.get())
        .map_err(|_| Refused("a claim that must be a string is none"))?;
    Ok(Some(text))
}

/// A `NumericDate` (RFC 7519, section 2): fractions count for nothing.
pub(super) fn seconds(claim: Option<&RawValue>) -> Result<Option<u64>, TokenError> {
    const WRONG: TokenError = Refused("a claim that must be a time is none");
    let Some(claim) = claim else { return Ok(None) };
    let number: serde_json::Number = serde_json::from_str(claim.get()).map_err(|_| WRONG)?;
    if let Some(seconds) = number.as_u64() {
        return Ok(Some(seconds.min(TIME_MAX)));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded")]
    match number.as_f64() {
        Some(seconds) if seconds >= 0.0 => Ok(Some(seconds.min(TIME_MAX as f64) as u64)),
        _ => Err(WRONG),
    }
}

/// Whether the audience is, or is among, those of the claim.
pub(super) fn is_audience(claim: Option<&RawValue>, audience: &str) -> Result<bool, TokenError> {
    let Some(claim) = claim else { return Ok(false) };
    if let Ok(Text(one)) = serde_json::from_str(claim.get()) {
        return Ok(one == audience);
    }
    let many: Vec<Text<'_>> = serde_json::from_str(claim.get())
        .map_err(|_| Refused("aud is neither a string nor strings"))?;
    Ok(many.iter().any(|one| one.0 == audience))
}

/// A list of strings; empty where there is none.
pub(super) fn texts(claim: Option<&RawValue>) -> Result<Vec<Text<'_>>, TokenError> {
    let Some(claim) = claim else { return Ok(Vec::new()) };
    serde_json::from_str(claim.get()).map_err(|_| Refused("a grant is no list of strings"))
}

/// A string that is not copied unless it has escapes.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

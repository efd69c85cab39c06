//! A token in its compact form (RFC 7515), taken apart and not yet believed.
//!
//! Nothing is allocated: whoever reads a token lends the room for what is in it. A header's `jku`,
//! `x5u`, `jwk` and `x5c` are passed over: a token does not say who vouches for it.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use headgate_crds::v1alpha1::Algorithm;

use super::{
    algorithm,
    claim::{self, object},
    token::{TOKEN_BYTES_MAX, TokenError, TokenError::Refused},
};

/// The longest `kid`, in bytes: as long as a thumbprint as URI (RFC 9278), and some.
pub(super) const KID_BYTES_MAX: usize = 128;

/// What one part of a token can be at most, decoded.
const PART_BYTES_MAX: usize = TOKEN_BYTES_MAX / 4 * 3;

/// Room for a part of a token.
pub(super) struct Room([u8; PART_BYTES_MAX]);

impl Room {
    pub(super) const fn new() -> Self {
        Self([0; PART_BYTES_MAX])
    }

    /// Decodes base64url: no padding, no white space, no bits left over (RFC 7515, section 2).
    fn decode(&mut self, part: &str) -> Option<&[u8]> {
        let len = URL_SAFE_NO_PAD.decode_slice(part, &mut self.0).ok()?;
        self.0.get(..len)
    }
}

/// A token in its parts.
pub(super) struct Jws<'t> {
    pub(super) algorithm: Algorithm,
    /// The key's name; no name and an empty one are the same.
    kid: Option<Cow<'t, str>>,
    /// What is signed.
    pub(super) signed: &'t [u8],
    payload: &'t str,
    signature: &'t str,
}

impl<'t> Jws<'t> {
    /// Takes a token apart and reads its header, which is decoded into `room`.
    pub(super) fn parse(token: &'t str, room: &'t mut Room) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refused("longer than 8 KiB"));
        }
        // An encrypted token (JWE) has five parts.
        let (signed, signature) = token.rsplit_once('.').ok_or(NO_JWS)?;
        let (header, payload) = signed.split_once('.').ok_or(NO_JWS)?;
        if payload.contains('.') {
            return Err(NO_JWS);
        }
        let header = room.decode(header).ok_or(Refused("header is not base64url"))?;
        let [alg, kid, typ, crit, b64] = object(header, ["alg", "kid", "typ", "crit", "b64"])
            .ok_or(Refused("header is no JSON object, or has a name twice"))?;
        if crit.is_some() || b64.is_some() {
            return Err(Refused("crit and b64 are not supported"));
        }
        if claim::text(typ)?.is_some_and(|typ| !is_access_token(&typ)) {
            return Err(Refused("typ is neither JWT nor at+jwt"));
        }
        let alg = claim::text(alg)?.ok_or(Refused("no alg"))?;
        let algorithm = algorithm::named(&alg).ok_or(Refused("alg is not supported"))?;
        let kid = claim::text(kid)?.filter(|kid| !kid.is_empty());
        if kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
            return Err(Refused("kid is longer than 128 bytes"));
        }
        Ok(Self { algorithm, kid, signed: signed.as_bytes(), payload, signature })
    }

    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The signature, decoded into `room`.
    pub(super) fn signature<'r>(&self, room: &'r mut Room) -> Result<&'r [u8], TokenError> {
        room.decode(self.signature).ok_or(Refused("signature is not base64url"))
    }

    /// The payload, decoded into `room`. To be read once the signature is verified.
    pub(super) fn payload<'r>(&self, room: &'r mut Room) -> Result<&'r [u8], TokenError> {
        room.decode(self.payload).ok_or(Refused("claims are not base64url"))
    }
}

const NO_JWS: TokenError = Refused("not a JWS in compact form");

/// Whether a token is of the kind that lets somebody in.
///
/// Identity providers sign other things with the same keys, such as the news that somebody has
/// logged out (`logout+jwt`): none of them is a token for us (RFC 8725, section 3.12).
fn is_access_token(typ: &str) -> bool {
    let short = match typ.split_at_checked(12) {
        Some((start, rest)) if start.eq_ignore_ascii_case("application/") => rest,
        _ => typ,
    };
    short.eq_ignore_ascii_case("JWT") || short.eq_ignore_ascii_case("at+jwt")
}

//! What the targets share: the model that frames are compared with, a count of the heap, an HMAC.

use sha2::{Digest, Sha256};

#[path = "../../gateway/src/websocket/assembler/tests/inflate.rs"]
pub mod inflate;
#[path = "../../gateway/src/websocket/assembler/tests/model.rs"]
pub mod model;

pub mod memory;

/// Takes `N` bytes off the front, for what the target varies beside its input.
pub fn settings<const N: usize>(data: &[u8]) -> Option<([u8; N], &[u8])> {
    data.split_first_chunk().map(|(settings, rest)| (*settings, rest))
}

/// `bytes` in pieces of one size; 0 is one piece.
pub fn pieces(bytes: &[u8], size: u8) -> impl Iterator<Item = &[u8]> {
    let size = if size == 0 { bytes.len().max(1) } else { size.into() };
    bytes.chunks(size)
}

/// RFC 2104, so that no signature is checked by what made it.
pub fn hmac(secret: &[u8], message: &[u8]) -> [u8; 32] {
    let mut key = [0; 64];
    if secret.len() > key.len() {
        key[..32].copy_from_slice(&Sha256::digest(secret));
    } else {
        key[..secret.len()].copy_from_slice(secret);
    }
    let inner =
        Sha256::new().chain_update(key.map(|it| it ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(key.map(|it| it ^ 0x5c)).chain_update(inner).finalize().into()
}

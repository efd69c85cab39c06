//! The mask that a client puts over its payloads (RFC 6455, section 5.3).
//!
//! Every byte from a client passes here, so it is undone eight at a time, which the compiler turns
//! into the widest registers there are.

/// Takes the mask off a piece of a payload, or puts it on.
///
/// Leaves `mask` turned to where the next piece of the same payload goes on.
pub fn unmask(payload: &mut [u8], mask: &mut [u8; 4]) {
    let [a, b, c, d] = *mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    mask.rotate_left(payload.len() % 4);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn unmasks_like_the_rfc_in_any_pieces(
            payload: Vec<u8>,
            mask: [u8; 4],
            cuts in prop::collection::vec(1_usize..20, 0..20),
        ) {
            let expected: Vec<u8> =
                payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]).collect();

            let mut unmasked = payload;
            let mut rest = unmasked.as_mut_slice();
            let mut turned = mask;
            for cut in cuts {
                let (piece, after) = rest.split_at_mut(cut.min(rest.len()));
                unmask(piece, &mut turned);
                rest = after;
            }
            unmask(rest, &mut turned);

            prop_assert_eq!(unmasked, expected);
        }
    }
}

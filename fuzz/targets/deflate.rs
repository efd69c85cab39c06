//! Compression: any bytes inflate as a plain inflater does it and within the bound, and what the
//! gateway deflates is inflated by others.
#![no_main]

use flate2::{Decompress, FlushDecompress};
use headgate_fuzz::{inflate::inflate, memory, model::Wrong, settings};
use headgate_gateway::websocket::deflate::{Deflater, InflateError, Inflater};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(([level, high, low], bytes)) = settings(data) else { return };
    let bytes_max = u16::from_be_bytes([high, low]) % 8_192;

    inflates_as_the_model(bytes, bytes_max);
    is_inflated_by_others(bytes, u32::from(level % 10));
});

fn inflates_as_the_model(bytes: &[u8], bytes_max: u16) {
    let mut inflater = Inflater::default();
    let (ours, heap) = memory::most(|| {
        let inflated = inflater.inflate(bytes, bytes_max.into());
        inflated.map(|message| (message.as_ptr(), message.len()))
    });
    // Growing takes the old room and the new at once.
    assert!(heap <= 2 * (usize::from(bytes_max) + 1), "{heap} bytes of heap for {bytes_max}");

    let ours = match ours {
        Ok(_) => Ok(inflater.inflate(bytes, bytes_max.into()).expect("as before").to_vec()),
        Err(InflateError::TooBig) => Err(Wrong::TooBig),
        Err(InflateError::Corrupt) => Err(Wrong::Protocol),
    };
    let expected = inflate(bytes, bytes_max.into());
    // Where it is too big and corrupt, either may be said.
    let is_either = expected == Err(Wrong::TooBig) && ours == Err(Wrong::Protocol);
    assert!(ours == expected || is_either, "{ours:?}, model {expected:?}");
}

fn is_inflated_by_others(payload: &[u8], level: u32) {
    let Some(deflated) = Deflater::new(level).deflate(payload, level) else { return };
    assert!(deflated.len() < payload.len());
    assert_eq!(inflate(&deflated, payload.len()).as_deref(), Ok(payload));
    assert_eq!(Inflater::default().inflate(&deflated, payload.len() as u64), Ok(payload));

    let mut zlib = Vec::with_capacity(payload.len() + 1);
    let flushed = [&deflated[..], &[0x00, 0x00, 0xff, 0xff]].concat();
    let flush = FlushDecompress::Sync;
    Decompress::new(false).decompress_vec(&flushed, &mut zlib, flush).expect("deflated");
    assert_eq!(zlib, payload);
}

//! What other pods say: whoever may write to the broker can write anything, and what goes on to
//! clients is JSON on one line.
#![no_main]

use bytes::Bytes;
use headgate_fuzz::memory;
use headgate_gateway::{
    broker::nats::{
        pods::Beat,
        roster, talk,
        wire::{self, Payload},
    },
    protocol::topic::Topic,
};
use libfuzzer_sys::fuzz_target;

const DATA_BYTES_MAX: usize = 64 * 1024;

fuzz_target!(|payload: &[u8]| {
    drop((Beat::decode(payload), talk::question(payload), talk::answered(payload)));
    let topic = Topic::all();
    let payload = Bytes::copy_from_slice(payload);
    let (decoded, heap) = memory::most(|| wire::decode(&topic, &payload, DATA_BYTES_MAX));
    assert!(heap <= 4 * payload.len() + 4096, "{heap} bytes for {}", payload.len());
    match decoded {
        Ok(Payload::Publication(publish)) => {
            assert!(publish.data.len() <= DATA_BYTES_MAX && !publish.data.contains(&b'\n'));
            // Whatever else it is, it is one JSON text: half a surrogate pair and `1e999` are, too.
            let text: Result<&serde_json::value::RawValue, _> =
                serde_json::from_slice(&publish.data);
            assert!(text.is_ok());
            let again = wire::decode(&topic, &wire::encode(&publish), DATA_BYTES_MAX);
            assert!(matches!(again, Ok(Payload::Publication(it)) if it.data == publish.data && it.user == publish.user));
        }
        Ok(Payload::Roster(event)) => drop(roster::decode(&event)),
        Err(_) => {}
    }
});

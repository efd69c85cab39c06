//! The known fields of one JSON object, found but not yet understood.
//!
//! Reading goes on to the end of the object whatever it holds, so that a mistake costs the client
//! one envelope and not the rest of its frame. Only what is not JSON stops the parser.
//!
//! `serde_json` passes over values that are kept raw or ignored without recursion, so however deep
//! a client nests, it costs us no stack and a byte of heap a level.

use std::{
    fmt,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

/// The values of the fields that were asked for, in the order of their names.
#[derive(Debug)]
pub struct Object<'a, const N: usize> {
    /// The first value of each name.
    pub values: [Option<&'a RawValue>; N],
    /// An object with each key once. Otherwise it is ambiguous or no object, and of no use.
    pub is_sound: bool,
}

/// The names of the fields to find.
#[derive(Clone, Copy)]
pub struct Names<const N: usize>(pub [&'static str; N]);

impl<const N: usize> Names<N> {
    /// The fields of `raw`; `None` where it is no object, or has a key twice.
    pub fn find(self, raw: &RawValue) -> Option<[Option<&RawValue>; N]> {
        let mut json = serde_json::Deserializer::from_str(raw.get());
        let object = self.deserialize(&mut json).ok()?;
        object.is_sound.then_some(object.values)
    }
}

impl<'de, const N: usize> DeserializeSeed<'de> for Names<N> {
    type Value = Object<'de, N>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Names<N> {
    type Value = Object<'de, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut object = Object { values: [None; N], is_sound: true };
        let mut others = SmallVec::<[u64; 8]>::new();
        while let Some(key) = map.next_key_seed(KeyOf(&self))? {
            match key {
                Key::Known(at) => object.keep(at, map.next_value()?),
                Key::Other(hash) => {
                    others.push(hash);
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        others.sort_unstable();
        object.is_sound &= others.windows(2).all(|two| two.first() != two.last());
        Ok(object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Object::NONE)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Object::NONE)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Object::NONE)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Object::NONE)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Object::NONE)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Object::NONE)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Object::NONE)
    }
}

impl<'a, const N: usize> Object<'a, N> {
    const NONE: Self = Self { values: [None; N], is_sound: false };

    fn keep(&mut self, at: usize, value: &'a RawValue) {
        match self.values.get_mut(at) {
            Some(slot @ None) => *slot = Some(value),
            _ => self.is_sound = false,
        }
    }
}

/// A key, without the text: there may be as many as a message has room for.
enum Key {
    Known(usize),
    /// The hash of a name that was not asked for. Two names with one hash would refuse an envelope
    /// of the client that chose them, and nothing else, so the hash needs no secret.
    Other(u64),
}

struct KeyOf<'n, const N: usize>(&'n Names<N>);

impl<'de, const N: usize> DeserializeSeed<'de> for KeyOf<'_, N> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Key, D::Error> {
        json.deserialize_str(self)
    }
}

impl<const N: usize> Visitor<'_> for KeyOf<'_, N> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<Key, E> {
        let known = self.0.0.iter().position(|known| *known == name);
        let hash = || BuildHasherDefault::<DefaultHasher>::new().hash_one(name);
        Ok(known.map_or_else(|| Key::Other(hash()), Key::Known))
    }
}

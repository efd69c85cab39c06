//! The values of a manifest that are more than a string or a number.
//!
//! Each parses itself, prints itself and knows its schema, so that the API server, `check` and the gateway read the same
//! text the same way. What is printed parses to an equal value.

mod duration;
pub use duration::{Duration, DurationError};

mod size;
pub use size::{Size, SizeError};

mod cidr;
pub use cidr::{Cidr, CidrError};

mod origin;
pub use origin::{OriginError, OriginPattern};

mod channel;
pub use channel::{ChannelPattern, ChannelPatternError};

pub mod kind;

/// Gives a value that is written as a string its `serde` and schema through `FromStr`, `Display` and [`kind::Kind`].
macro_rules! written_as_text {
    ($value:ty, $kind:expr) => {
        impl serde::Serialize for $value {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $value {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $value {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($value).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $kind.schema()
            }
        }
    };
}
pub(crate) use written_as_text;

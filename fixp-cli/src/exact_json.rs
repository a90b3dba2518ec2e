//! JSON whose numbers stay as they are written, and whose objects have all that is written in them: a number of 128 bits
//! or a key that stands there twice is not for us to change.

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Error;
use serde_json::value::RawValue;

/// How deep values may stand in one another, as in all other JSON here.
const DEPTH: usize = 128;

/// A value that somebody else wrote.
#[derive(Debug)]
pub(crate) enum ExactJson<'a> {
    Object(Vec<(String, ExactJson<'a>)>),
    Array(Vec<ExactJson<'a>>),
    Text(String),
    /// A number, `true`, `false` or `null`, as it stands there.
    Word(&'a RawValue),
}

impl<'a> ExactJson<'a> {
    /// The value that these bytes are.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::of(serde_json::from_slice(bytes)?, DEPTH)
    }

    fn of(raw: &'a RawValue, depth: usize) -> Result<Self, Error> {
        let deeper = || depth.checked_sub(1).ok_or_else(|| Error::custom("too many values in one another"));
        Ok(match raw.get().as_bytes().first() {
            Some(b'{') => {
                let Pairs(pairs) = serde_json::from_str(raw.get())?;
                let depth = deeper()?;
                let pairs = pairs.into_iter().map(|(key, value)| Ok((key, Self::of(value, depth)?)));
                Self::Object(pairs.collect::<Result<_, Error>>()?)
            }
            Some(b'[') => {
                let values: Vec<&RawValue> = serde_json::from_str(raw.get())?;
                let depth = deeper()?;
                let values = values.into_iter().map(|value| Self::of(value, depth));
                Self::Array(values.collect::<Result<_, Error>>()?)
            }
            Some(b'"') => Self::Text(serde_json::from_str(raw.get())?),
            _ => Self::Word(raw),
        })
    }
}

impl Serialize for ExactJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Object(pairs) => {
                let mut map = serializer.serialize_map(Some(pairs.len()))?;
                for (key, value) in pairs {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
            Self::Array(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    list.serialize_element(value)?;
                }
                list.end()
            }
            Self::Text(text) => text.serialize(serializer),
            Self::Word(word) => word.serialize(serializer),
        }
    }
}

/// What stands in an object, in its order.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(text: &str) -> String {
        let value = ExactJson::read(text.as_bytes()).expect("JSON");
        serde_json::to_string(&value).expect("a value")
    }

    #[test]
    fn what_is_read_is_written_again() {
        let exact =
            r#"{"b":340282366920938463463374607431768211455,"a":[1.10,1e999,-0.0,{"a":1,"a":5}],"c":null}"#;
        assert_eq!(again(exact), exact);
        assert_eq!(again(" [ \"\\u0041\" , true ] "), r#"["A",true]"#);
    }

    #[test]
    fn depth_has_a_bound() {
        let deep = |levels: usize| [b"[".repeat(levels), b"]".repeat(levels)].concat();
        assert!(ExactJson::read(&deep(128)).is_ok());
        assert!(ExactJson::read(&deep(129)).is_err());
        assert!(ExactJson::read(&deep(100_000)).is_err());
    }
}

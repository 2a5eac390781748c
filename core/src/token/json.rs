//! JSON in which no object has two members of one name (RFC 7519, section 4; RFC 8725, section 2.4).

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// Objects with more members than this are refused.
pub(crate) const MEMBERS_MAX: usize = 64;

/// Any value whose objects have no double names, at every depth.
pub(crate) struct Unambiguous(pub(crate) Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = Unambiguous;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without double names")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Unambiguous, E> {
        Ok(Unambiguous(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Unambiguous, E> {
        Ok(Unambiguous(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Unambiguous, E> {
        Ok(Unambiguous(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Unambiguous, E> {
        Ok(Unambiguous(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Unambiguous, E> {
        Ok(Unambiguous(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Unambiguous, E> {
        Ok(Unambiguous(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Unambiguous, A::Error> {
        let mut all = Vec::new();
        while let Some(Unambiguous(value)) = seq.next_element()? {
            all.push(value);
        }
        Ok(Unambiguous(all.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unambiguous, A::Error> {
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if members.len() == MEMBERS_MAX {
                return Err(Error::custom("too many members"));
            }
            let Unambiguous(value) = map.next_value()?;
            if members.insert(name, value).is_some() {
                return Err(Error::custom("a name stands twice"));
            }
        }
        Ok(Unambiguous(members.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn double_names_are_refused_at_every_depth() {
        let check = |text: &str, good: bool| {
            let parsed = serde_json::from_str::<Unambiguous>(text);
            assert_eq!(parsed.is_ok(), good, "{text}");
        };
        check(r#"{"a":1,"b":[{"a":1.5e3},{"a":null}],"c":{"a":true,"b":-1}}"#, true);
        check(r#"{"a":1,"a":1}"#, false);
        check(r#"{"a":1,"\u0061":2}"#, false);
        check(r#"{"x":{"a":1,"a":1}}"#, false);
        check(r#"{"x":[[{"a":1,"b":2,"a":1}]]}"#, false);
        check(r#"{"a":1} {"a":1}"#, false);
        check(r#"{"a":1,}"#, false);
        check("", false);
        check(&format!("{}{}", "[".repeat(4000), "]".repeat(4000)), false);
        let members = |n: usize| {
            let members: Vec<_> = (0..n).map(|i| format!(r#""{i}":0"#)).collect();
            format!("{{{}}}", members.join(","))
        };
        check(&members(MEMBERS_MAX), true);
        check(&members(MEMBERS_MAX + 1), false);
    }
}

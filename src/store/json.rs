//! JSON that is kept as its text: written once, and read only by who wants to know.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::Value;
use serde_json::value::RawValue;

/// The text of one JSON value. In other JSON it stands as what it is, not as a string. Two are equal that say the same,
/// however they are written.
#[derive(Clone, Debug)]
pub struct Json(String);

impl Json {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it says.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }
}

/// The text must be JSON; what is not fails where it is read or stored.
impl From<String> for Json {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self(value.to_string())
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        let value = |json: &Self| json.read::<Value>().ok();
        self.0 == other.0 || value(self).is_some_and(|read| value(other) == Some(read))
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.read::<&RawValue>().map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = <Box<RawValue>>::deserialize(deserializer).map_err(de::Error::custom)?;
        Ok(Self(String::from(Box::<str>::from(value))))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn stands_in_other_json_as_what_it_is() {
        let kept = vec![Json::from(json!({ "seed": u64::MAX })), Json::from("[1, 2]".to_owned())];
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(text, r#"[{"seed":18446744073709551615},[1, 2]]"#);
        assert_eq!(serde_json::from_str::<Vec<Json>>(&text).unwrap(), kept);
    }

    #[test]
    fn is_equal_to_what_says_the_same() {
        let json = |text: &str| Json::from(text.to_owned());
        assert_eq!(json(r#"{"a": 1, "b": 2}"#), json(r#"{"b":2,"a":1}"#));
        assert_ne!(json("1"), json("2"));
        assert_ne!(json("nothing"), json("that is JSON"));
    }

    #[test]
    fn what_is_no_json_is_not_written_as_json() {
        assert!(serde_json::to_string(&Json::from("{".to_owned())).is_err());
    }
}

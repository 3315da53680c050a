//! Texts of the operating system, which need not be UTF-8, and wide numbers in JSON.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are text most of the time: a JSON string, or `{"hex": "..."}` if not UTF-8.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ByteText(pub Vec<u8>);

impl ByteText {
    /// As the standard library wants names.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }

    /// As a path.
    pub fn as_path(&self) -> &Path {
        Path::new(self.as_os_str())
    }
}

impl<T: AsRef<OsStr>> From<&T> for ByteText {
    fn from(text: &T) -> ByteText {
        ByteText(text.as_ref().as_bytes().to_vec())
    }
}

impl From<OsString> for ByteText {
    fn from(text: OsString) -> ByteText {
        ByteText(text.into_vec())
    }
}

/// For the user: invalid bytes are replaced.
impl fmt::Display for ByteText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for ByteText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_os_str())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Json {
    Text(String),
    Bytes { hex: String },
}

impl Serialize for ByteText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let hex = self.0.iter().map(|b| format!("{b:02x}")).collect();
                Json::Bytes { hex }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for ByteText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ByteText, D::Error> {
        match Json::deserialize(deserializer)? {
            Json::Text(text) => Ok(ByteText(text.into_bytes())),
            Json::Bytes { hex } => unhex(&hex)
                .map(ByteText)
                .ok_or_else(|| serde::de::Error::custom("an odd or wrong hex string")),
        }
    }
}

/// Bytes of a string of hex digits; none if it is not one.
pub(crate) fn unhex(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let nibble = |d: u8| (d as char).to_digit(16).map(|n| n as u8);
    pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect()
}

/// A u64 as 16 hex digits.
pub mod hex64 {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the digits.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{value:016x}"))
    }

    /// Reads the digits.
    ///
    /// # Errors
    /// The deserializer's, or that the text is no number.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
    }
}

//! Session data: what an application keeps with a session (a cart). Keys and JSON values, one namespace per client.

use std::collections::BTreeMap;

use serde_json::Value;

/// How often a document was written; its ETag. Zero while there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DataVersion(pub u64);

/// The longest key in bytes.
pub const KEY_BYTES_MAX: usize = 128;

/// The session data of one client.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The version that was loaded, or zero.
    pub version: DataVersion,
    /// Key → JSON value.
    pub values: BTreeMap<String, Value>,
}

impl Default for Document {
    fn default() -> Self {
        Self { version: DataVersion(0), values: BTreeMap::new() }
    }
}

/// Why a patch is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A key is empty or too long.
    #[error("a key of session data has 1 to {KEY_BYTES_MAX} bytes")]
    Key,
    /// The document would be larger than the limit.
    #[error("session data is limited to {bytes_max} bytes per client")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// The document is not at the version that the caller asked for.
    #[error("the session data is not at the expected version")]
    Version,
}

impl Document {
    /// Merges a patch per key; `null` removes the key. With `expected`, only at that version.
    ///
    /// ```
    /// use serde_json::{from_value, json};
    /// use symbolon_core::data::Document;
    /// let cart = from_value(json!({ "cart": ["tea"], "seen": null }))?;
    /// let document = Document::default().merge(cart, None, 65_536)?;
    /// assert_eq!(document.values["cart"], json!(["tea"]));
    /// assert!(!document.values.contains_key("seen"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Refused`]; the document is unchanged.
    pub fn merge(
        mut self,
        patch: BTreeMap<String, Value>,
        expected: Option<DataVersion>,
        bytes_max: usize,
    ) -> Result<Self, Refused> {
        if expected.is_some_and(|version| version != self.version) {
            return Err(Refused::Version);
        }
        for (key, value) in patch {
            if key.is_empty() || key.len() > KEY_BYTES_MAX {
                return Err(Refused::Key);
            }
            if value.is_null() {
                self.values.remove(&key);
            } else {
                self.values.insert(key, value);
            }
        }
        if self.to_json().len() > bytes_max {
            Err(Refused::TooLarge { bytes_max })
        } else {
            Ok(self)
        }
    }

    /// The document as one JSON object.
    pub fn to_json(&self) -> String {
        // Maps with text keys and JSON values always have a JSON form.
        serde_json::to_string(&self.values).unwrap_or_default()
    }
}

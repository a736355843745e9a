//! The parameters of `chat/offers` and `chat/choose`.

use serde::{Deserialize, Deserializer, Serialize};

params! {
    /// `chat/offers`.
    ChatOffers {
        /// The chat.
        chat: String,
        /// The agent in it; without it, the one that was prompted there last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<String>,
    }
    /// `chat/choose`: what is absent stays as it is, and null leaves it to the configuration again.
    ChatChoose {
        /// The chat.
        chat: String,
        /// The agent in it; without it, the one that was prompted there last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<String>,
        /// The id or the name of a mode.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
        mode: Option<Option<String>>,
        /// The id or the name of a model.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
        model: Option<Option<String>>,
    }
}

/// Tells null from absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

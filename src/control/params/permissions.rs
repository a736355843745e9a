//! The parameters of what is remembered of answers: `permission/remembered` and `permission/forget`.

use serde::{Deserialize, Serialize};

params! {
    /// `permission/remembered`.
    PermissionRemembered {
        /// In one chat.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chat: Option<String>,
    }
    /// `permission/forget`.
    PermissionForget {
        /// In this chat.
        chat: String,
        /// Of this agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<String>,
        /// Of this tool kind.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<String>,
    }
}

//! The parameters of `agent/check`.

use serde::{Deserialize, Serialize};

params! {
    /// `agent/check`.
    AgentCheck {
        /// The agent's name.
        agent: String,
        /// The directory whose files count, too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cwd: Option<String>,
    }
}

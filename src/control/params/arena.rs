//! The parameters of `arena/*`.

use serde::{Deserialize, Serialize};

use super::Policy;

params! {
    /// `arena/start`: in one of `repo` and `session`.
    ArenaStart {
        /// Who is asked: two or more, each once.
        agents: Vec<String>,
        /// What they are asked.
        prompt: String,
        /// A directory in the user's checkout, absolute: that is what is started from and adopted into.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repo: Option<String>,
        /// A session: its worktree is what is started from and adopted into.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// Whether uncommitted changes come along.
        #[serde(default)]
        carry_changes: bool,
        /// A line for the shell, run in each worktree when its turn has ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check: Option<String>,
        /// What answers permission requests, if not the configuration.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        permissions: Option<Policy>,
        /// The client's own id: a second start with it returns the first arena.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    }
    /// `arena/show`.
    ArenaShow {
        /// The arena.
        arena: String,
        /// Without what the entries changed, which takes a look at every file.
        #[serde(default)]
        brief: bool,
    }
    /// `arena/adopt`.
    ArenaAdopt {
        /// The arena.
        arena: String,
        /// Whose changes are taken over.
        agent: String,
        /// Only these files, and what is below these directories.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        paths: Option<Vec<String>>,
        /// The files that may go from the checkout, as the person was shown them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deletions: Option<Vec<String>>,
    }
}

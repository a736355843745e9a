//! The parameters of `change/*` and `worktree/*`.

use serde::{Deserialize, Serialize};

params! {
    /// `change/list`.
    ChangeList {
        /// The session.
        session: String,
        /// Only what this turn changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        turn: Option<String>,
        /// Only this file, or what is below this directory.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    }
    /// `change/diff`.
    ChangeDiff {
        /// The session.
        session: String,
        /// Only what this turn changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        turn: Option<String>,
        /// Only this file, or what is below this directory.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        /// Only these.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        paths: Option<Vec<String>>,
    }
    /// `change/apply` and `change/discard`: all, or the paths and hunks that are named.
    ChangeAct {
        /// The session.
        session: String,
        /// These files, or what is below these directories.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        paths: Option<Vec<String>>,
        /// These hunks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hunks: Option<Vec<String>>,
        /// Of `change/apply`: the files that may go from the checkout, as the person was shown them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deletions: Option<Vec<String>>,
        /// Only say what would happen.
        #[serde(default)]
        dry_run: bool,
    }
    /// `change/undo`.
    ChangeUndo {
        /// The session.
        session: String,
        /// The turn whose beginning is to be restored.
        turn: String,
    }
    /// `worktree/list`.
    WorktreeList {
        /// Purged ones too.
        #[serde(default)]
        all: bool,
        /// How much each takes on disk.
        #[serde(default)]
        sizes: bool,
    }
    /// `worktree/risk`: one of both.
    WorktreeRisk {
        /// The session that owns it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// The worktree.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worktree: Option<String>,
    }
    /// `worktree/stash`.
    WorktreeStash {
        /// The session.
        session: String,
        /// What it is, for whoever finds it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    }
    /// `worktree/unstash`.
    WorktreeUnstash {
        /// The session.
        session: String,
        /// Which one; the newest where none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stash_ref: Option<String>,
    }
    /// `worktree/reap`.
    WorktreeReap {
        /// Only say what would happen.
        #[serde(default)]
        dry_run: bool,
        /// This one alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worktree: Option<String>,
    }
    /// Of methods that take a worktree.
    WorktreeRef {
        /// The worktree.
        worktree: String,
    }
}

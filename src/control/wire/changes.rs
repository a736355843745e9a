//! Pending changes, what is done with them, and what is said of worktrees before they go.

use serde::{Deserialize, Serialize};

/// A file that a turn changed, in a `changes` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedFileRow {
    /// Where it is, relative to the worktree.
    pub path: String,
    /// Where it was, if it was renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_path: Option<String>,
    /// `added modified deleted renamed type mode`.
    pub kind: String,
    /// Another turn was under way: it may be that one's change.
    #[serde(default)]
    pub shared: bool,
}

/// A file with pending changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRow {
    /// Where it is, relative to the worktree.
    pub path: String,
    /// Where it was, if it was renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_path: Option<String>,
    /// `added modified deleted renamed type mode`.
    pub kind: String,
    /// `text binary symlink submodule large`: only of text there are hunks.
    #[serde(default)]
    pub content: String,
    /// The mode before, in octal, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_mode: Option<String>,
    /// The mode now, in octal, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Bytes now, where there is a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Lines that came.
    #[serde(default)]
    pub insertions: u64,
    /// Lines that went.
    #[serde(default)]
    pub deletions: u64,
    /// Its hunks.
    pub hunks: Vec<HunkRow>,
    /// The agents that changed it.
    pub agents: Vec<String>,
    /// The turns that changed it.
    pub turns: Vec<String>,
    /// Turns overlapped: whose change it is cannot be told.
    pub shared: bool,
    /// The person changed it, between turns.
    #[serde(default)]
    pub by_user: bool,
    /// A hook of the person's changed it.
    #[serde(default)]
    pub by_hook: bool,
}

/// A hunk of a pending change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HunkRow {
    /// Names it for `apply` and `discard` for as long as it stays as it is.
    pub id: String,
    /// `@@ -1,3 +1,4 @@ fn main()`.
    pub header: String,
    /// The agents that changed it.
    pub agents: Vec<String>,
    /// The turns that changed it.
    pub turns: Vec<String>,
    /// Turns overlapped: whose change it is cannot be told.
    #[serde(default)]
    pub shared: bool,
    /// The person changed it, between turns.
    #[serde(default)]
    pub by_user: bool,
    /// A hook of the person's changed it.
    #[serde(default)]
    pub by_hook: bool,
}

/// `change/diff`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffReply {
    /// The session that it was done in.
    #[serde(default)]
    pub session: String,
    /// A unified diff, as git writes it; bytes that are no UTF-8 are replaced.
    pub diff: String,
    /// The same byte for byte, in base64, where bytes were replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
    /// What it leaves out, and why: `big.bin: 212 MiB is too large to show`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// `change/apply` and `change/discard`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyReply {
    /// The session that it was done in.
    #[serde(default)]
    pub session: String,
    /// What was applied or discarded (or would be, with `dry_run`); empty if anything conflicts.
    pub applied: Vec<String>,
    /// What stands against it.
    pub conflicts: Vec<ConflictRow>,
    /// What of it goes (or would go) from the checkout.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deletions: Vec<DeletionRow>,
    /// What is gone from the worktree and stays in the checkout, because no turn took it away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
    /// Where the worktree's content from before a `discard` is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescue_ref: Option<String>,
}

/// A file that goes from the checkout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionRow {
    /// The file.
    pub path: String,
    /// The agents whose turn took it away; none where it was named and no turn did.
    pub agents: Vec<String>,
}

/// Why a file cannot be applied or discarded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictRow {
    /// The file.
    pub path: String,
    /// In words.
    pub why: String,
}

/// `change/undo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoReply {
    /// The session that it was done in.
    #[serde(default)]
    pub session: String,
    /// The files that are as they were before the turn.
    pub restored: Vec<String>,
    /// Where the worktree's content from before the undo is kept.
    pub rescue_ref: String,
}

/// `worktree/risk`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskRow {
    /// The session whose worktree it is, where that is what was asked for.
    #[serde(default)]
    pub session: Option<String>,
    /// The worktree.
    pub worktree: String,
    /// `clean`, `blocked` or `unknown`.
    pub verdict: String,
    /// Why, if not `clean`.
    pub reasons: Vec<ReasonRow>,
    /// Processes of other users could not be looked at.
    #[serde(default)]
    pub partial: bool,
}

/// A reason to keep a worktree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonRow {
    /// The contract's word: `dirty`, `untracked`, …
    pub kind: String,
    /// In words.
    pub detail: String,
    /// How many things it is about.
    pub count: u64,
}

/// `worktree/stash`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StashReply {
    /// The session that it was done in.
    #[serde(default)]
    pub session: String,
    /// The ref that has it.
    pub stash_ref: String,
    /// The files.
    pub files: Vec<String>,
}

/// `worktree/unstash`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnstashReply {
    /// The session that it was done in.
    #[serde(default)]
    pub session: String,
    /// The files.
    pub files: Vec<String>,
}

/// One line of `worktree/reap`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReapRow {
    /// The worktree, or the name of the directory where there is no row.
    pub worktree: String,
    /// `kept`, `archived` or `purged`.
    pub action: String,
    /// Why it was kept.
    pub reasons: Vec<ReasonRow>,
    /// Where its content is kept, if it was archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salvage_ref: Option<String>,
}

/// `session/delete`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteReply {
    /// The ref that keeps what its worktree held; null if there was no worktree any more.
    pub salvage_ref: Option<String>,
    /// The worktree, which `worktree/restore` brings back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
    /// What of the worktree is not on that ref: files too large, a hook that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
}

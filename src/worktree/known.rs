//! What is recorded of a worktree, for every job that comes after its making. Plain data.

use std::path::PathBuf;

use super::identity::Identity;

/// Characters of a tree's name that it is kept by.
const TREE_CHARS: usize = 16;

/// A worktree as it was recorded when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its id.
    pub id: String,
    /// The directory.
    pub path: PathBuf,
    /// Its branch, without `refs/heads/`.
    pub branch: String,
    /// The commit that the branch started from, in hex.
    pub base_commit: String,
    /// The git directory that all worktrees of the repository share.
    pub common_dir: PathBuf,
    /// The top of the user's checkout that it was made from.
    pub top: PathBuf,
    /// Which directory it is.
    pub identity: Identity,
    /// The tree that counts as the person's own, in hex; `None` for that of the base commit.
    pub baseline: Option<String>,
    /// The tree that it was made with, in hex, if that was seen; `None` while nothing has changed since.
    pub made_with: Option<String>,
}

impl Known {
    /// Its entry in the repository.
    pub fn admin(&self) -> PathBuf {
        self.common_dir.join("worktrees").join(&self.id)
    }

    /// Below this name lies what was given up in it.
    pub(super) fn rescue_refs(&self) -> String {
        format!("refs/hob/rescue/{}", self.id)
    }

    /// The name under which a tree of it is kept for as long as its history may be asked for.
    pub(crate) fn tree_ref(&self, what: &str, tree: &str) -> String {
        format!("refs/hob/turns/{}/{what}-{}", self.id, &tree[..TREE_CHARS.min(tree.len())])
    }
}

/// What changed between two looks at a worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The tree before, in hex.
    pub from: String,
    /// The tree after, in hex.
    pub to: String,
    /// The turns that were under way; nobody means the person.
    pub writers: Vec<Writer>,
    /// Somebody else may have written as well.
    pub doubt: bool,
    /// A hook of the person's ran meanwhile.
    pub by_hook: bool,
}

/// A turn that may have written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Writer {
    /// The turn.
    pub turn: String,
    /// Its agent.
    pub agent: String,
}

//! Pending changes: what differs from what counts as the person's own, by file and hunk, and whose it
//! is; applied to the user's checkout, or given up.
//!
//! ```text
//! ground  baseline, but for what was put away since ▶ what is compared with
//! list    ground ▶ present: deltas ▶ hunks (text) ▶ owners (blame, over the segments)
//! apply   the user's checkout: each file as it is, merged where it moved on ▶ swap, all or nothing
//! discard, undo, stash: the worktree, after its content was put on a ref ▶ swap
//! ```
//!
//! **Invariant:** nothing is written before everything was checked, and what was written is taken back
//! if anything fails (see [`swap`]).

mod apply;
mod blame;
mod choose;
mod content;
mod diff;
mod discard;
mod disk;
mod ground;
mod list;
mod stash;
mod swap;
mod text;

use super::error::WorktreeError;
use super::known::Known;
use super::{Worktrees, objects::Objects};

pub use diff::Diff;
pub use ground::Seen;
pub(super) use swap::PREFIX as SWAP_PREFIX;
pub use swap::{CutShort, Ending, Ticket};
pub(super) use text::{is_binary, merged};

/// How a file differs, by the contract's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// Its content is another.
    Modified,
    /// It is gone.
    Deleted,
    /// It has another name.
    Renamed,
    /// It was a file and is a link, or the like.
    Type,
    /// Only its mode is another.
    Mode,
}

impl ChangeKind {
    /// The contract's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Modified => "modified",
            Self::Deleted => "deleted",
            Self::Renamed => "renamed",
            Self::Type => "type",
            Self::Mode => "mode",
        }
    }
}

/// What a file holds, by the contract's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Lines.
    Text,
    /// Anything else.
    Binary,
    /// The target of a symbolic link.
    Symlink,
    /// The commit of a submodule.
    Submodule,
    /// Too much to be kept at every turn.
    Large,
}

impl Content {
    /// The contract's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Symlink => "symlink",
            Self::Submodule => "submodule",
            Self::Large => "large",
        }
    }
}

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where it is, or was.
    pub path: String,
    /// Where it was, if that is another place.
    pub old_path: Option<String>,
    /// How it differs.
    pub kind: ChangeKind,
    /// What it holds.
    pub content: Content,
    /// Its mode before.
    pub old_mode: Option<u32>,
    /// Its mode now.
    pub mode: Option<u32>,
    /// Its size now, in bytes.
    pub size_bytes: Option<u64>,
    /// Lines that came.
    pub insertions: u64,
    /// Lines that went.
    pub deletions: u64,
    /// Its hunks, if it is text.
    pub hunks: Vec<Hunk>,
    /// The agents that changed it.
    pub agents: Vec<String>,
    /// The turns that changed it.
    pub turns: Vec<String>,
    /// It cannot be told which of them.
    pub shared: bool,
    /// The person changed it.
    pub by_user: bool,
    /// A hook of the person's changed it.
    pub by_hook: bool,
}

/// A hunk of a file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk {
    /// Its name for as long as it stays as it is.
    pub id: String,
    /// As git writes it.
    pub header: String,
    /// The agents that changed it.
    pub agents: Vec<String>,
    /// The turns that changed it.
    pub turns: Vec<String>,
    /// It cannot be told which of them.
    pub shared: bool,
    /// The person changed it.
    pub by_user: bool,
    /// A hook of the person's changed it.
    pub by_hook: bool,
}

/// What is to be applied or given up: everything, or the files and hunks that are named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// These files, or what is below these directories.
    pub paths: Option<Vec<String>>,
    /// These hunks.
    pub hunks: Option<Vec<String>>,
    /// The files that may go from the checkout, as the person was shown them; `None` for any.
    pub deletions: Option<Vec<String>>,
}

/// Whether something is done, or only said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// Only said.
    Dry,
    /// Done. A daemon that is killed meanwhile finishes it at its next start, and this is told then.
    Real {
        /// What else is to be recorded with it.
        then: Option<String>,
    },
}

/// What was applied, or what stood against it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// The files; empty if anything conflicts.
    pub paths: Vec<String>,
    /// Files and what stands against them.
    pub conflicts: Vec<(String, String)>,
    /// The tree that counts as the person's own now, if it is another.
    pub baseline: Option<String>,
    /// What goes from the checkout, and whose turn took it away.
    pub deletions: Vec<Deletion>,
    /// What is gone from the worktree, and stays in the checkout: no turn took it away.
    pub kept: Vec<String>,
    /// What is left of it until all is recorded.
    pub ticket: Ticket,
}

/// A file that goes from the user's checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// Which.
    pub path: String,
    /// The agents whose turn took it away; empty where it was named and no turn did.
    pub agents: Vec<String>,
}

/// What was given up, or what stood against it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discarded {
    /// The files; empty if anything conflicts.
    pub paths: Vec<String>,
    /// Files and what stands against them.
    pub conflicts: Vec<(String, String)>,
    /// What has the content from before.
    pub rescue_ref: Option<String>,
    /// What a person should know.
    pub notices: Vec<String>,
}

/// What was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// The files.
    pub restored: Vec<String>,
    /// What has the content from before.
    pub rescue_ref: String,
    /// What a person should know.
    pub notices: Vec<String>,
}

/// What was put away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stashed {
    /// The ref that has it.
    pub stash_ref: String,
    /// The files.
    pub files: Vec<String>,
    /// What a person should know.
    pub notices: Vec<String>,
}

/// What was brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unstashed {
    /// The files.
    pub files: Vec<String>,
    /// What a person should know.
    pub notices: Vec<String>,
}

impl Worktrees {
    /// What differs between two trees of a worktree, with hunks and without owners.
    ///
    /// # Errors
    /// What git says.
    pub async fn changed(&self, known: &Known, from: &str, to: &str) -> Result<Vec<Change>, WorktreeError> {
        let (known, from, to) = (known.clone(), from.to_owned(), to.to_owned());
        self.job(&self.inner.looks, move |inner| {
            let source = inner.repository(&known)?;
            let files = list::files(&Objects::of(&source), &from, &to)?;
            Ok(files.into_iter().map(|file| file.change).collect())
        })
        .await
    }

    /// What differs between the person's own and what was seen of a worktree, each file and hunk with its
    /// owners by what was seen to change since the beginning.
    ///
    /// # Errors
    /// What git says.
    pub async fn pending(&self, known: &Known, seen: Seen) -> Result<Vec<Change>, WorktreeError> {
        let known = known.clone();
        self.job(&self.inner.looks, move |inner| {
            let source = inner.repository(&known)?;
            let objects = Objects::of(&source);
            let ground = ground::of(&objects, &known, &seen)?;
            list::owned(&objects, (&ground.tree, &seen.present), &seen.history)
        })
        .await
    }
}

/// The tree that counts as the person's own.
fn baseline(objects: &Objects<'_>, known: &Known) -> Result<String, WorktreeError> {
    match &known.baseline {
        Some(tree) => Ok(tree.clone()),
        None => objects.tree_of(&known.base_commit),
    }
}

/// Whether a file is the one that is named, or below the directory that is.
pub(crate) fn is_within(file: &str, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let rest = file.strip_prefix(path);
    path.is_empty() || path == "." || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

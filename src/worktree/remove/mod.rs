//! The removal of a worktree, as far as git and the disk go: salvage, two renames into the trash, the
//! way back, and at last the purge. What is recorded, and who decides, is the business of others.
//!
//! ```text
//! in place ── salvage ──▶ a commit on refs/hob/salvage/<w>
//!    │ ▲
//!    ▼ │  <root>/<w>             ⇄  <root>/.trash/<w>
//! trash   <common>/worktrees/<w> ⇄  <common>/hob-trash/<w>
//!    │
//!    ▼ purge: both halves get a name that ends in `.purging`, and go; the commit stays, and a worktree
//!      can be made of it again
//! ```
//!
//! **Invariants:** nothing is removed in place; nothing is moved that is not salvaged as it is at that
//! moment; a copy is never made where a rename fails; every step can be cut short and begun again.

mod files;
mod heal;
mod late;
mod manifest;
mod mend;
mod parents;
pub(super) mod place;
mod purge;
mod restore;
mod salvage;
mod settings;
mod stray;
mod trash;

pub(super) use files::IGNORED_FILE_BYTES_MAX;
pub use place::Place;
pub use purge::{Left, Purged};
pub use restore::Restored;
pub use salvage::Salvaged;
pub use stray::Stray;

use std::path::{Path, PathBuf};

use super::known::Known;
use super::{Inner, Worktrees};

/// Where git keeps the repositories of a worktree's submodules, beneath the worktree's entry.
const MODULES_DIR: &str = "modules";
/// Where removed worktrees are kept for a while, beneath the root.
const TRASH_DIR: &str = ".trash";
/// Where their entries are, in the git directory of their repository.
const ENTRIES_DIR: &str = "hob-trash";

impl Inner {
    /// Where the directory of a removed worktree is.
    pub(super) fn trashed(&self, known: &Known) -> PathBuf {
        self.root.join(TRASH_DIR).join(&known.id)
    }
}

/// Where the entry of a removed worktree is.
pub(super) fn trashed_entry(known: &Known) -> PathBuf {
    trashed_entry_in(&known.common_dir, &known.id)
}

/// Where the entry of a removed worktree is in a git directory.
pub(super) fn trashed_entry_in(common_dir: &Path, id: &str) -> PathBuf {
    common_dir.join(ENTRIES_DIR).join(id)
}

/// The ref that keeps what a worktree held.
fn salvage_ref(known: &Known) -> String {
    format!("refs/hob/salvage/{}", known.id)
}

impl Worktrees {
    /// The ref that keeps, or will keep, what a worktree held.
    pub fn salvage_ref(&self, known: &Known) -> String {
        salvage_ref(known)
    }
}

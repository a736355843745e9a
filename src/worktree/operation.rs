//! Whether git is in the middle of something in a worktree. Looks at files of its git directory only.

use std::path::Path;

/// Files and directories that an operation leaves while it is under way, with its name. `AUTO_MERGE` is none:
/// it stays after `git stash pop`, too, and whatever merges has another.
const SIGNS: &[(&str, &str)] = &[
    ("MERGE_HEAD", "a merge"),
    ("rebase-merge", "a rebase"),
    ("rebase-apply", "a rebase"),
    ("CHERRY_PICK_HEAD", "a cherry-pick"),
    ("REVERT_HEAD", "a revert"),
    ("BISECT_LOG", "a bisect"),
    ("sequencer", "a sequence of picks"),
    ("MERGE_AUTOSTASH", "an automatic stash"),
];

/// The name of the operation that is under way, if one is.
pub(super) fn in_progress(git_dir: &Path) -> Option<&'static str> {
    let is_there = |name: &str| std::fs::symlink_metadata(git_dir.join(name)).is_ok();
    SIGNS.iter().find(|(name, _)| is_there(name)).map(|(_, what)| *what)
}

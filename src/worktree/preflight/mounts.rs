//! What is mounted where, as the kernel tells it. Pure, but for reading the one file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::backend::process::unescaped;

/// Where the kernel tells it.
const MOUNTS: &str = "/proc/self/mountinfo";

/// Something that is mounted between the root and the worktree, on it, or below it; bind mounts of the
/// same device, which no device number shows, included.
pub(super) fn crossing(root: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    Ok(crosses(&fs::read(MOUNTS)?, root, path))
}

fn crosses(mounts: &[u8], root: &Path, path: &Path) -> Option<PathBuf> {
    let points = mounts.split(|byte| *byte == b'\n').filter_map(point);
    points
        .filter(|point| {
            let is_below = point.starts_with(path);
            let is_between = path.starts_with(point) && point.starts_with(root) && point != root;
            is_below || is_between
        })
        .min()
}

/// The mount point of one line: its fifth word, in which blanks are written as octal numbers.
fn point(line: &[u8]) -> Option<PathBuf> {
    line.split(|byte| *byte == b' ').nth(4).map(unescaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_on_below_or_on_the_way_counts() {
        let line = |point: &str| format!("36 35 98:0 / {point} rw,noatime master:1 - ext4 /dev/root rw");
        for (mounted, is) in [
            ("/", false),
            ("/state", false),
            ("/state/worktrees", false),
            ("/state/worktrees/w-1", true),
            ("/state/worktrees/w-1/node_modules", true),
            ("/state/worktrees/w-1/with\\040space", true),
            ("/state/worktrees/w-12", false),
            ("/elsewhere", false),
        ] {
            let found = crosses(
                line(mounted).as_bytes(),
                Path::new("/state/worktrees"),
                Path::new("/state/worktrees/w-1"),
            );
            assert_eq!(found.is_some(), is, "{mounted}");
        }
        assert_eq!(point(line("/a\\040b").as_bytes()), Some(PathBuf::from("/a b")));
        assert_eq!(point(b""), None);
    }
}

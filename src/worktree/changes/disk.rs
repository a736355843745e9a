//! What lies at a path of a checkout, and whether it is still the same a moment later. Follows no link.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt as _};
use std::path::Path;

use crate::worktree::safe_path::{PathProblem, beneath, is_absent};
use crate::worktree::source::bytes_of;

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// A file.
    File {
        /// Its content.
        bytes: Vec<u8>,
        /// Whether it can be executed.
        executable: bool,
    },
    /// A symbolic link, with its target.
    Link(Vec<u8>),
    /// A directory.
    Folder,
    /// Something that no file can be put in the place of: says what.
    Blocked(String),
}

/// What tells that a path was left alone: device, inode, size, and both times.
pub(super) type Stamp = Option<(u64, u64, u64, [i64; 4])>;

/// The stamp of a path as it is now.
pub(super) fn stamp(path: &Path) -> Stamp {
    let found = fs::symlink_metadata(path).ok()?;
    let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
    Some((found.dev(), found.ino(), found.size(), times))
}

/// What lies at `relative` below `root`, and its stamp.
pub(super) fn look(root: &Path, relative: &Path) -> io::Result<(Found, Stamp)> {
    let path = match beneath(root, relative) {
        Ok(path) => path,
        // A file where a directory of the path should be: nothing of ours is there.
        Err(PathProblem::NotADirectory(_)) => return Ok((Found::Nothing, None)),
        Err(PathProblem::Io(_, error)) => return Err(error),
        Err(problem) => return Ok((Found::Blocked(problem.to_string()), None)),
    };
    let before = stamp(&path);
    let found = match fs::symlink_metadata(&path) {
        Err(error) if is_absent(&error) => return Ok((Found::Nothing, None)),
        Err(error) => return Err(error),
        Ok(found) => found,
    };
    let found = if found.is_symlink() {
        Found::Link(bytes_of(&fs::read_link(&path)?).to_vec())
    } else if found.is_dir() {
        Found::Folder
    } else if found.is_file() {
        let mut file =
            fs::File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Found::File { bytes, executable: found.mode() & 0o100 != 0 }
    } else {
        Found::Blocked("something that is neither a file nor a link is there".to_owned())
    };
    Ok((found, before))
}

/// Whether the directory at `relative` below `root` holds nothing but what goes.
pub(super) fn holds_only(root: &Path, relative: &Path, goes: &dyn Fn(&Path) -> bool) -> bool {
    let Ok(entries) = fs::read_dir(root.join(relative)) else { return false };
    entries.into_iter().all(|entry| {
        let Ok(entry) = entry else { return false };
        let path = relative.join(entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => holds_only(root, &path, goes),
            Ok(_) => goes(&path),
            Err(_) => false,
        }
    })
}

//! Looks at what libgit2 and the `git` program are about to open: where a named pipe or a device has the
//! name of a file of git's, both would wait in it for ever, and whoever waits for them as well. Opens
//! only regular files, and goes nowhere that git does not.

use std::fs::{self, FileType};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::error::{WorktreeError, WorktreeErrorKind, shell};
use super::source::path_from;
use crate::regular;

/// Files in any folder of a checkout that git opens.
const IN_CHECKOUT: [&str; 3] = [".gitignore", ".gitattributes", ".gitmodules"];
/// Files at the top of a git directory that git opens, beside those whose names are capitals.
const IN_GIT_DIR: [&str; 8] =
    ["index", "config", "config.worktree", "packed-refs", "shallow", "commondir", "gitdir", "locked"];
/// Those of the git directory that all worktrees share which are opened from another worktree.
const SHARED: [&str; 5] = ["HEAD", "config", "config.worktree", "packed-refs", "shallow"];
/// Folders of a git directory whose files git opens.
const FOLDERS: [&str; 9] = [
    "refs",
    "logs",
    "info",
    "reftable",
    "objects/info",
    "objects/pack",
    "rebase-merge",
    "rebase-apply",
    "sequencer",
];
/// Bytes of one configuration file that are looked at.
const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Configuration files that name one another are followed so far.
const INCLUDES_MAX: usize = 10;

/// Looks at a git directory, and the one that it shares, before either is opened. `top` is that of a
/// checkout, or a git directory itself.
pub(super) fn before_opening(top: &Path) -> Result<(), WorktreeError> {
    let git_dir = git_dir_of(top);
    let Some(common_dir) = common_dir_of(&git_dir) else { return own(&git_dir) };
    own(&git_dir)?;
    for name in SHARED {
        look_at(&common_dir.join(name))?;
    }
    in_folders(&common_dir)?;
    in_config(&common_dir.join("config"), INCLUDES_MAX)
}

/// Looks at the files of a checkout that say how its other files are read, before it is walked.
pub(super) fn before_walking(top: &Path) -> Result<(), WorktreeError> {
    let mut to_do = vec![top.to_owned()];
    while let Some(folder) = to_do.pop() {
        // What cannot be read is no trap, and is met again by who walks.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            // Nearly everything is one of these, and costs no call of its own.
            if kind.is_file() {
                continue;
            }
            let name = entry.file_name();
            if kind.is_dir() && name == ".git" {
                // A repository in the worktree: git asks it for its HEAD.
                own(&entry.path())?;
            } else if kind.is_dir() {
                to_do.push(entry.path());
            } else if IN_CHECKOUT.iter().any(|file| name == *file) {
                look_at(&entry.path())?;
            }
        }
    }
    Ok(())
}

/// Looks at the entries of all other worktrees, before git asks each what it has checked out.
pub(super) fn in_entries(common_dir: &Path) -> Result<(), WorktreeError> {
    for entry in fs::read_dir(common_dir.join("worktrees")).into_iter().flatten().flatten() {
        own(&entry.path())?;
    }
    Ok(())
}

/// The git directory of a checkout; a git directory is its own.
fn git_dir_of(top: &Path) -> PathBuf {
    let dot_git = top.join(".git");
    match fs::metadata(&dot_git) {
        Ok(found) if found.is_dir() => dot_git,
        Ok(found) if found.is_file() => {
            let text = regular::read(&dot_git).unwrap_or_default();
            let points = text.strip_prefix(b"gitdir: ").unwrap_or_default().trim_ascii_end();
            top.join(path_from(points.to_vec()))
        }
        _ => top.to_owned(),
    }
}

/// The git directory that another one shares with all worktrees; `None` if it is that itself.
fn common_dir_of(git_dir: &Path) -> Option<PathBuf> {
    let text = regular::read(&git_dir.join("commondir")).ok()?;
    Some(git_dir.join(path_from(text.trim_ascii_end().to_vec())))
}

/// Looks at all files of a git directory that git opens, and at those of submodules in it.
fn own(git_dir: &Path) -> Result<(), WorktreeError> {
    for entry in fs::read_dir(git_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_pseudo_ref = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        if is_pseudo_ref || name.starts_with("sharedindex.") || IN_GIT_DIR.contains(&name.as_ref()) {
            look_at(&entry.path())?;
        }
    }
    in_folders(git_dir)?;
    for name in ["config", "config.worktree"] {
        in_config(&git_dir.join(name), INCLUDES_MAX)?;
    }
    // Those of the main checkout are not opened from a worktree.
    if common_dir_of(git_dir).is_some() { in_modules(&git_dir.join("modules")) } else { Ok(()) }
}

/// The git directories of submodules; the name of one may have folders in it.
fn in_modules(folder: &Path) -> Result<(), WorktreeError> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let path = entry.path();
            if path.join("objects").is_dir() { own(&path)? } else { in_modules(&path)? }
        }
    }
    Ok(())
}

fn in_folders(git_dir: &Path) -> Result<(), WorktreeError> {
    let mut to_do: Vec<PathBuf> = FOLDERS.iter().map(|folder| git_dir.join(folder)).collect();
    while let Some(folder) = to_do.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => to_do.push(entry.path()),
                Ok(kind) if !kind.is_file() => look_at(&entry.path())?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// The files that a configuration names and git opens: those that it includes, of patterns and of
/// attributes.
fn in_config(config: &Path, depth: usize) -> Result<(), WorktreeError> {
    let mut text = Vec::new();
    if let Ok(file) = regular::open(config) {
        // What was read is looked at.
        file.take(CONFIG_BYTES_MAX).read_to_end(&mut text).ok();
    }
    for named in named_files(&String::from_utf8_lossy(&text)) {
        let path = match named.path.strip_prefix("~/") {
            Some(rest) => PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(rest),
            None => config.parent().unwrap_or(config).join(&named.path),
        };
        look_at(&path)?;
        if named.is_config && depth > 0 {
            in_config(&path, depth - 1)?;
        }
    }
    Ok(())
}

/// A file that a configuration names.
#[derive(Debug, PartialEq, Eq)]
struct NamedFile {
    path: String,
    /// It is configuration as well.
    is_config: bool,
}

/// The files that the text of a configuration names. Pure.
fn named_files(text: &str) -> Vec<NamedFile> {
    let (mut section, mut found) = (String::new(), Vec::new());
    for line in text.lines().map(str::trim) {
        let mut line = line;
        if let Some((head, rest)) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            section = head.split([' ', '\t', '.', '"']).next().unwrap_or_default().to_ascii_lowercase();
            line = rest.trim();
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let key = key.trim().to_ascii_lowercase();
        let is_config = matches!((section.as_str(), key.as_str()), ("include" | "includeif", "path"));
        if is_config || (section == "core" && matches!(key.as_str(), "excludesfile" | "attributesfile")) {
            found.push(NamedFile { path: value.trim().trim_matches('"').to_owned(), is_config });
        }
    }
    found
}

/// An error if a program that opens this would wait, or read without an end.
fn look_at(path: &Path) -> Result<(), WorktreeError> {
    let Ok(found) = fs::metadata(path) else { return Ok(()) };
    let kind = found.file_type();
    // Nothing can be waited for in these; what is wrong with them, git says.
    let is_null = found.rdev() == libc::makedev(1, 3);
    if kind.is_file() || kind.is_dir() || kind.is_socket() || (kind.is_char_device() && is_null) {
        return Ok(());
    }
    let message = format!("`{}` is {}, and git would wait for it", path.display(), word(kind));
    Err(WorktreeError::new(WorktreeErrorKind::InTheWay, message).hint(format!("rm {}", shell(path))))
}

fn word(kind: FileType) -> &'static str {
    if kind.is_fifo() { "a named pipe" } else { "a device" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_that_a_configuration_names_are_found_however_it_is_written() {
        let text = "[core]\n\texcludesFile = ~/ignore\n[include]\n\tpath = \"/a b\"\n\
                    [includeIf \"gitdir:/x\"] path = c\n[remote \"r\"]\n\tpath = no\n[Core]\nattributesfile=d\n";
        let found = named_files(text);
        let of = |path: &str, is_config| NamedFile { path: path.to_owned(), is_config };
        assert_eq!(found, [of("~/ignore", false), of("/a b", true), of("c", true), of("d", false)]);
    }
}

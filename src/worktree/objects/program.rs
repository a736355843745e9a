//! The same by the `git` program, for repositories that libgit2 cannot read. Plumbing only; an index
//! where one is needed is a temporary one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::deltas::{Delta, Status};
use super::{EMAIL, Entries, NAME};
use crate::worktree::carry::Entry;
use crate::worktree::error::{WorktreeError, WorktreeErrorKind};
use crate::worktree::git_program::Call;
use crate::worktree::source::{Source, bytes_of, path_from, records};

/// Hexadecimal characters of an object's name where nothing else is said.
const SHA1_CHARS: usize = 40;
/// A blob of more bytes is not read: it is held in memory.
const BLOB_BYTES_MAX: u64 = 4 << 30;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn unreadable(source: &Source<'_>, what: &str) -> WorktreeError {
    let message = format!("git said something unexpected of {what} in `{}`", source.top.display());
    WorktreeError::new(WorktreeErrorKind::Io, message)
}

pub(super) fn blob(source: &Source<'_>, id: &str) -> Result<Vec<u8>, WorktreeError> {
    let call = source.call(&["cat-file", "blob", id]);
    source.program()?.run(&Call { stdout_max: BLOB_BYTES_MAX, ..call })
}

pub(super) fn blob_size(source: &Source<'_>, id: &str) -> Result<u64, WorktreeError> {
    let out = source.program()?.line(&source.call(&["cat-file", "-s", id]))?;
    text(&out).parse().map_err(|_| unreadable(source, id))
}

pub(super) fn absent(source: &Source<'_>, ids: &BTreeSet<String>) -> Result<BTreeSet<String>, WorktreeError> {
    let mut call = source.call(&["cat-file", "--batch-check=%(objectname)"]);
    call.stdin = ids.iter().flat_map(|id| format!("{id}\n").into_bytes()).collect();
    let out = source.program()?.run(&call)?;
    let text = String::from_utf8_lossy(&out).into_owned();
    Ok(text.lines().filter_map(|line| line.strip_suffix(" missing")).map(str::to_owned).collect())
}

pub(super) fn write_blob(source: &Source<'_>, bytes: &[u8]) -> Result<String, WorktreeError> {
    // Without a path no filter applies.
    let mut call = source.call(&["hash-object", "-w", "--stdin"]);
    call.stdin = bytes.to_vec();
    Ok(text(&source.program()?.run(&call)?))
}

/// `100644 blob ID\tPATH`
fn tree_line(line: &[u8]) -> Option<(PathBuf, Entry)> {
    let (words, path) = line.split_at(line.iter().position(|byte| *byte == b'\t')?);
    let words = std::str::from_utf8(words).ok()?;
    let mut words = words.split(' ');
    let mode = u32::from_str_radix(words.next()?, 8).ok()?;
    let object = words.nth(1)?.to_owned();
    Some((path_from(path[1..].to_vec()), Entry { mode, object }))
}

pub(super) fn entries(source: &Source<'_>, tree: &str) -> Result<Entries, WorktreeError> {
    let out = source.program()?.run(&source.call(&["ls-tree", "-r", "-z", "--full-tree", tree]))?;
    let lines = records(&out).map(|line| tree_line(line).ok_or_else(|| unreadable(source, tree)));
    lines.collect()
}

pub(super) fn entry(source: &Source<'_>, tree: &str, path: &Path) -> Result<Option<Entry>, WorktreeError> {
    let mut call = source.call(&["ls-tree", "-z", "--full-tree", tree, "--"]);
    call.args.push(path.as_os_str().to_owned());
    let out = source.program()?.run(&call)?;
    let line = records(&out).next().and_then(tree_line);
    Ok(line.map(|(_, entry)| entry).filter(|entry| entry.mode != 0o040_000))
}

/// Writes a tree: that of `base`, or none, with some entries replaced.
pub(super) fn tree<'b>(
    source: &Source<'_>,
    base: Option<&str>,
    changes: impl Iterator<Item = (&'b PathBuf, Option<&'b Entry>)>,
) -> Result<String, WorktreeError> {
    let dir =
        tempfile::tempdir().map_err(|error| WorktreeError::io("make", Path::new("a directory"), &error))?;
    let index = dir.path().join("index");
    let run = |args: &[&str], stdin: Vec<u8>| {
        let mut call = Call { stdin, ..source.call(args) };
        call.env.push(("GIT_INDEX_FILE", index.clone().into_os_string()));
        source.program()?.run(&call)
    };
    if let Some(base) = base {
        run(&["read-tree", base], Vec::new())?;
    }
    let changes: Vec<_> = changes.collect();
    run(&["update-index", "-z", "--index-info"], index_info(source, &changes)?)?;
    Ok(text(&run(&["write-tree"], Vec::new())?))
}

/// What `update-index --index-info` reads; removals first, so that a file can become a directory.
pub(in crate::worktree) fn index_info(
    source: &Source<'_>,
    changes: &[(&PathBuf, Option<&Entry>)],
) -> Result<Vec<u8>, WorktreeError> {
    let width = match changes.iter().find_map(|(_, entry)| *entry) {
        Some(entry) => entry.object.len(),
        // Names of objects are as long as that of any commit.
        None => source.commit("HEAD")?.map_or(SHA1_CHARS, |commit| commit.len()),
    };
    let mut input = Vec::new();
    let (gone, there): (Vec<_>, Vec<_>) = changes.iter().partition(|(_, entry)| entry.is_none());
    for (path, entry) in gone.into_iter().chain(there) {
        let line = match entry {
            Some(entry) => format!("{:06o} {} 0\t", entry.mode, entry.object),
            None => format!("0 {} 0\t", "0".repeat(width)),
        };
        input.extend_from_slice(line.as_bytes());
        input.extend_from_slice(bytes_of(path));
        input.push(0);
    }
    Ok(input)
}

pub(super) fn commit(
    source: &Source<'_>,
    tree: &str,
    parents: &[String],
    message: &str,
) -> Result<String, WorktreeError> {
    let mut args = vec!["commit-tree", tree];
    for parent in parents {
        args.extend(["-p", parent]);
    }
    let mut call = Call { stdin: message.as_bytes().to_vec(), ..source.call(&args) };
    for name in ["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"] {
        call.env.push((name, NAME.into()));
    }
    for name in ["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"] {
        call.env.push((name, EMAIL.into()));
    }
    Ok(text(&source.program()?.run(&call)?))
}

pub(super) fn message(source: &Source<'_>, commit: &str) -> Result<String, WorktreeError> {
    let out = source.program()?.run(&source.call(&["cat-file", "commit", commit]))?;
    let text = String::from_utf8_lossy(&out).into_owned();
    Ok(text.split_once("\n\n").map_or_else(String::new, |(_, message)| message.to_owned()))
}

pub(super) fn set_ref(source: &Source<'_>, name: &str, commit: &str) -> Result<(), WorktreeError> {
    source.program()?.run(&source.call(&["update-ref", "--no-deref", name, commit])).map(drop)
}

pub(super) fn refs(source: &Source<'_>, prefix: &str) -> Result<Vec<(String, String)>, WorktreeError> {
    let args = ["for-each-ref", "--format=%(refname) %(objectname)"];
    let out = source.program()?.run(&source.call(&args))?;
    let lines = String::from_utf8_lossy(&out).into_owned();
    let pairs = lines.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs
        .filter(|(name, _)| name.starts_with(prefix))
        .map(|(name, id)| (name.to_owned(), id.to_owned()))
        .collect())
}

pub(super) fn deltas(source: &Source<'_>, from: &str, to: &str) -> Result<Vec<Delta>, WorktreeError> {
    let args = ["diff-tree", "-r", "-z", "--raw", "-M", "--no-ext-diff", "--no-textconv", from, to];
    let out = source.program()?.run(&source.call(&args))?;
    let mut words = records(&out);
    let mut found = Vec::new();
    while let Some(head) = words.next() {
        let delta =
            delta(head, &mut words).ok_or_else(|| unreadable(source, "the difference of two trees"))?;
        found.push(delta);
    }
    Ok(found)
}

/// `:100644 100644 OLD NEW M` and its one or two paths.
fn delta<'a>(head: &[u8], paths: &mut impl Iterator<Item = &'a [u8]>) -> Option<Delta> {
    let head = std::str::from_utf8(head).ok()?.strip_prefix(':')?;
    let mut words = head.split(' ');
    let mode = |word: &str| u32::from_str_radix(word, 8).ok();
    let (old_mode, new_mode) = (mode(words.next()?)?, mode(words.next()?)?);
    let (old_id, new_id) = (words.next()?.to_owned(), words.next()?.to_owned());
    let status = match words.next()?.chars().next()? {
        'A' => Status::Added,
        'D' => Status::Deleted,
        'R' => Status::Renamed,
        'T' => Status::Type,
        'M' => Status::Modified,
        _ => return None,
    };
    let first = path_from(paths.next()?.to_vec());
    let second = if status == Status::Renamed { path_from(paths.next()?.to_vec()) } else { first.clone() };
    let side =
        |path: PathBuf, mode: u32, object: String| (mode != 0).then_some((path, Entry { mode, object }));
    Some(Delta { status, old: side(first, old_mode, old_id), new: side(second, new_mode, new_id) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_lines_are_read_with_their_paths() {
        let mut paths = [&b"a"[..], b"b"].into_iter();
        let renamed = delta(b":100644 100755 aa bb R097", &mut paths).unwrap();
        assert_eq!((renamed.status, renamed.old_path()), (Status::Renamed, Some(&PathBuf::from("a"))));
        assert_eq!(renamed.new.unwrap().1, Entry { mode: 0o100_755, object: "bb".into() });
        let mut paths = [&b"c"[..]].into_iter();
        let gone = delta(b":100644 000000 aa 00 D", &mut paths).unwrap();
        assert_eq!((gone.status, gone.new, gone.old.is_some()), (Status::Deleted, None, true));
        assert!(delta(b"nonsense", &mut paths).is_none());
    }

    #[test]
    fn tree_lines_are_read_with_any_name() {
        let (path, entry) = tree_line(b"100644 blob abc\ta\tb c").unwrap();
        assert_eq!((path, entry.mode, entry.object.as_str()), (PathBuf::from("a\tb c"), 0o100_644, "abc"));
    }
}

//! What git knows of the content of a worktree: its index, its HEAD, and what counts as the person's
//! own. Reads only, with libgit2 or with plumbing of the program that refreshes nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use git2::Oid;

use super::{Job, Trouble};
use crate::worktree::carry::Entry;
use crate::worktree::objects::{Entries, GITLINK, Objects};
use crate::worktree::source::{Source, path_from, records};

/// In the flags of an index entry: its stage. In the extended ones: `intent-to-add`, `skip-worktree`.
const STAGE: u16 = 0x3000;
const SKIP_WORKTREE: u16 = 1 << 14;

/// An entry of the index.
#[derive(Debug)]
pub(super) struct Indexed {
    /// What it is.
    pub(super) entry: Entry,
    /// Left out of the checkout on purpose.
    pub(super) is_skipped: bool,
}

/// What git knows.
pub(super) struct World {
    /// The index, without what is in conflict.
    pub(super) index: BTreeMap<PathBuf, Indexed>,
    /// What is in conflict.
    pub(super) conflicts: Vec<PathBuf>,
    /// The tree of HEAD; empty before the first commit.
    pub(super) head: Entries,
    /// What counts as the person's own.
    pub(super) base: Entries,
}

impl World {
    /// Reads it.
    pub(super) fn read(job: &Job<'_>, objects: &Objects<'_>) -> Result<Self, Trouble> {
        let source = objects.source;
        let (index, conflicts) = match &source.repo {
            Some(repo) => by_libgit2(&repo.index()?),
            None => by_program(source)?,
        };
        job.check_time()?;
        let head_tree = match source.commit("HEAD")? {
            Some(commit) => Some(objects.tree_of(&commit)?),
            None => None,
        };
        let head = head_tree.as_ref().map(|tree| objects.entries(tree)).transpose()?.unwrap_or_default();
        let base_tree = match &job.known.baseline {
            Some(tree) => tree.clone(),
            None => objects.tree_of(&job.known.base_commit)?,
        };
        job.check_time()?;
        let base = if head_tree.as_ref() == Some(&base_tree) {
            head.clone()
        } else {
            objects.entries(&base_tree)?
        };
        Ok(Self { index, conflicts, head, base })
    }

    /// Names of the objects of the index that are not in the repository.
    pub(super) fn missing(&self, source: &Source<'_>) -> Result<Vec<PathBuf>, Trouble> {
        let wanted = self.index.iter().filter(|(_, indexed)| indexed.entry.mode != GITLINK);
        if let Some(repo) = &source.repo {
            let odb = repo.odb()?;
            let is_missing = |indexed: &Indexed| match Oid::from_str(&indexed.entry.object) {
                // Of what was only announced there is no content yet.
                Ok(id) => !odb.exists(id) && id.to_string() != EMPTY_BLOB,
                Err(_) => true,
            };
            return Ok(wanted.filter(|(_, i)| is_missing(i)).map(|(path, _)| path.clone()).collect());
        }
        let mut by_id: BTreeMap<&str, &PathBuf> = BTreeMap::new();
        for (path, indexed) in wanted {
            by_id.insert(&indexed.entry.object, path);
        }
        let mut call = source.call(&["cat-file", "--batch-check=%(objectname)"]);
        call.stdin = by_id.keys().flat_map(|id| format!("{id}\n").into_bytes()).collect();
        let out = source.program()?.run(&call)?;
        let out = String::from_utf8_lossy(&out).into_owned();
        let gone = out.lines().filter_map(|line| line.strip_suffix(" missing"));
        Ok(gone.filter_map(|id| by_id.get(id)).map(|path| (*path).clone()).collect())
    }
}

/// The blob of an empty file.
const EMPTY_BLOB: &str = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";

type Read = (BTreeMap<PathBuf, Indexed>, Vec<PathBuf>);

fn by_libgit2(index: &git2::Index) -> Read {
    let (mut entries, mut conflicts) = (BTreeMap::new(), Vec::new());
    for entry in index.iter() {
        let path = path_from(entry.path);
        if entry.flags & STAGE != 0 {
            if conflicts.last() != Some(&path) {
                conflicts.push(path);
            }
            continue;
        }
        let is_skipped = entry.flags_extended & SKIP_WORKTREE != 0;
        let entry = Entry { mode: entry.mode, object: entry.id.to_string() };
        entries.insert(path, Indexed { entry, is_skipped });
    }
    (entries, conflicts)
}

fn by_program(source: &Source<'_>) -> Result<Read, Trouble> {
    let out = source.program()?.run(&source.call(&["ls-files", "-v", "-s", "-z"]))?;
    let (mut entries, mut conflicts) = (BTreeMap::new(), Vec::new());
    for line in records(&out) {
        let (tag, stage, path, entry) = indexed(line)
            .ok_or_else(|| Trouble::Unreadable("git said something unexpected of the index".to_owned()))?;
        if stage != 0 {
            if conflicts.last() != Some(&path) {
                conflicts.push(path);
            }
            continue;
        }
        entries.insert(path, Indexed { entry, is_skipped: tag.eq_ignore_ascii_case(&b'S') });
    }
    Ok((entries, conflicts))
}

/// `H 100644 ID 0\tPATH`
fn indexed(line: &[u8]) -> Option<(u8, u32, PathBuf, Entry)> {
    let (words, path) = line.split_at(line.iter().position(|byte| *byte == b'\t')?);
    let words = std::str::from_utf8(words).ok()?;
    let mut words = words.split(' ');
    let tag = *words.next()?.as_bytes().first()?;
    let mode = u32::from_str_radix(words.next()?, 8).ok()?;
    let object = words.next()?.to_owned();
    let stage = words.next()?.parse().ok()?;
    Some((tag, stage, path_from(path[1..].to_vec()), Entry { mode, object }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_index_are_read_with_their_tags() {
        let (tag, stage, path, entry) = indexed(b"S 100755 abc 2\ta b").unwrap();
        assert_eq!((tag, stage, path, entry.mode), (b'S', 2, PathBuf::from("a b"), 0o100_755));
        assert!(indexed(b"nonsense").is_none());
    }
}

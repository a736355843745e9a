//! The objects and refs of a repository, whichever of libgit2 and the `git` program can read it:
//! blobs, trees as flat lists, commits. Writes objects and refs of ours; touches no file and no index
//! of the user's, and runs no filter.

mod closure;
mod deltas;
mod keep;
mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use git2::{Index, ObjectType, Odb, Oid, Repository, Signature, Tree, TreeEntry};

pub(super) use closure::{are_whole, hide_reached, is_whole};
pub(super) use keep::{Hold, TRIES_MAX, again, clear_up, wait};
pub(super) use program::index_info;

pub(super) use deltas::{Delta, Move, Moves, Status, Version, diff as diff_of, of as plain};

use super::carry::{Entry, index_entry};
use super::error::WorktreeError;
use super::source::{Source, path_from};
use crate::path_text;

/// What git writes as the mode of a symbolic link.
pub(super) const LINK: u32 = 0o120_000;
/// What git writes as the mode of a submodule.
pub(super) const GITLINK: u32 = 0o160_000;
/// What git writes as the mode of a file, and of one that can be executed.
pub(super) const FILE: u32 = 0o100_644;
pub(super) const EXECUTABLE: u32 = 0o100_755;

/// A file of more bytes is not read at once.
const WHOLE_BYTES_MAX: u64 = 16 << 20;

/// Who our commits are by. They are kept on refs of ours and never published.
const NAME: &str = "hob";
const EMAIL: &str = "hob@localhost";

/// The files of a tree, by path.
pub(super) type Entries = BTreeMap<PathBuf, Entry>;

/// The objects of a repository.
pub(super) struct Objects<'a> {
    pub(super) source: &'a Source<'a>,
}

impl<'a> Objects<'a> {
    /// Those of the repository that `source` is in.
    pub(super) fn of(source: &'a Source<'a>) -> Self {
        Self { source }
    }

    fn failed(&self, action: &str) -> impl Fn(git2::Error) -> WorktreeError + use<'a> {
        let (action, at) = (action.to_owned(), self.source.common_dir.clone());
        move |error| WorktreeError::git(&action, &at, &error)
    }

    /// The content of a blob.
    pub(super) fn blob(&self, id: &str) -> Result<Vec<u8>, WorktreeError> {
        match &self.source.repo {
            Some(repo) => Oid::from_str(id)
                .and_then(|id| repo.find_blob(id))
                .map(|blob| blob.content().to_vec())
                .map_err(self.failed(&format!("read the object {id}"))),
            None => program::blob(self.source, id),
        }
    }

    /// The size of a blob, in bytes.
    pub(super) fn blob_size(&self, id: &str) -> Result<u64, WorktreeError> {
        match &self.source.repo {
            Some(repo) => {
                let header = Oid::from_str(id).and_then(|id| repo.odb()?.read_header(id));
                header.map(|(size, _)| size as u64).map_err(self.failed(&format!("read the object {id}")))
            }
            None => program::blob_size(self.source, id),
        }
    }

    /// Those of some objects that are not there.
    pub(super) fn absent(&self, ids: &BTreeSet<String>) -> Result<BTreeSet<String>, WorktreeError> {
        if self.source.repo.is_none() {
            return program::absent(self.source, ids);
        }
        let look = || {
            // A handle that read one would find it in memory.
            let repo = Repository::open(&self.source.common_dir)?;
            if let Some(draft) = &self.source.draft {
                draft.show(&repo)?;
            }
            let odb = repo.odb()?;
            let is_absent = |id: &&String| !is_there(&odb, id);
            Ok(ids.iter().filter(is_absent).cloned().collect())
        };
        look().map_err(self.failed("look for objects"))
    }

    /// Writes a blob.
    pub(super) fn write_blob(&self, bytes: &[u8]) -> Result<String, WorktreeError> {
        match self.source.writing() {
            Some(repo) => repo.blob(bytes).map(|id| id.to_string()).map_err(self.failed("write an object")),
            None => program::write_blob(self.source, bytes),
        }
    }

    /// The files of a tree, or of the tree of a commit.
    pub(super) fn entries(&self, tree: &str) -> Result<Entries, WorktreeError> {
        match &self.source.repo {
            Some(repo) => entries(repo, tree).map_err(self.failed(&format!("read the tree {tree}"))),
            None => program::entries(self.source, tree),
        }
    }

    /// One entry of a tree.
    pub(super) fn entry(&self, tree: &str, path: &Path) -> Result<Option<Entry>, WorktreeError> {
        let Some(repo) = &self.source.repo else {
            return program::entry(self.source, tree, path);
        };
        let failed = self.failed(&format!("read the tree {tree}"));
        let found = repo.find_tree(Oid::from_str(tree).map_err(&failed)?).map_err(&failed)?;
        match found.get_path(path) {
            Ok(entry) if entry.kind() == Some(ObjectType::Tree) => Ok(None),
            Ok(entry) => {
                let mode = entry.filemode_raw().cast_unsigned();
                Ok(Some(Entry { mode, object: entry.id().to_string() }))
            }
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Writes a tree.
    pub(super) fn tree(&self, entries: &Entries) -> Result<String, WorktreeError> {
        match self.source.writing() {
            Some(repo) => {
                let write = || {
                    let mut index = Index::new()?;
                    for (path, entry) in entries {
                        index.add(&index_entry(path, entry.mode, Oid::from_str(&entry.object)?))?;
                    }
                    index.write_tree_to(repo)
                };
                write().map(|id| id.to_string()).map_err(self.failed("write a tree"))
            }
            None => program::tree(self.source, None, entries.iter().map(|(path, entry)| (path, Some(entry)))),
        }
    }

    /// Writes a tree that differs from another in some entries; `None` takes one away.
    pub(super) fn tree_with(
        &self,
        tree: &str,
        changes: &BTreeMap<PathBuf, Option<Entry>>,
    ) -> Result<String, WorktreeError> {
        match self.source.writing() {
            Some(repo) => {
                let write = || {
                    let mut index = Index::new()?;
                    index.read_tree(&repo.find_tree(Oid::from_str(tree)?)?)?;
                    for (path, _) in changes.iter().filter(|(_, entry)| entry.is_none()) {
                        index.remove_path(path)?;
                    }
                    for (path, entry) in changes {
                        if let Some(entry) = entry {
                            index.add(&index_entry(path, entry.mode, Oid::from_str(&entry.object)?))?;
                        }
                    }
                    index.write_tree_to(repo)
                };
                write().map(|id| id.to_string()).map_err(self.failed("write a tree"))
            }
            None => {
                let changes = changes.iter().map(|(path, entry)| (path, entry.as_ref()));
                program::tree(self.source, Some(tree), changes)
            }
        }
    }

    /// Writes a commit.
    pub(super) fn commit(
        &self,
        tree: &str,
        parents: &[String],
        message: &str,
    ) -> Result<String, WorktreeError> {
        let Some(repo) = self.source.writing() else {
            return program::commit(self.source, tree, parents, message);
        };
        let write = || {
            let tree = repo.find_tree(Oid::from_str(tree)?)?;
            let parents = parents
                .iter()
                .map(|id| Oid::from_str(id).and_then(|id| repo.find_commit(id)))
                .collect::<Result<Vec<_>, _>>()?;
            let by = Signature::now(NAME, EMAIL)?;
            repo.commit(None, &by, &by, message, &tree, &parents.iter().collect::<Vec<_>>())
        };
        write().map(|id| id.to_string()).map_err(self.failed("write a commit"))
    }

    /// The message of a commit.
    pub(super) fn message(&self, commit: &str) -> Result<String, WorktreeError> {
        match &self.source.repo {
            Some(repo) => Oid::from_str(commit)
                .and_then(|id| repo.find_commit(id))
                .map(|commit| String::from_utf8_lossy(commit.message_bytes()).into_owned())
                .map_err(self.failed(&format!("read the commit {commit}"))),
            None => program::message(self.source, commit),
        }
    }

    /// Writes the content of a file as a blob, byte for byte.
    pub(super) fn write_file(&self, path: &Path) -> Result<String, WorktreeError> {
        let io = |error: std::io::Error| WorktreeError::io("read", path, &error);
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
            .map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        match self.source.writing() {
            Some(repo) if size > WHOLE_BYTES_MAX => {
                let failed = self.failed("write an object");
                // Without a name of its own no filter applies.
                let mut writer = repo.blob_writer(None).map_err(&failed)?;
                std::io::copy(&mut file, &mut writer).map_err(io)?;
                writer.commit().map(|id| id.to_string()).map_err(failed)
            }
            _ => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).map_err(io)?;
                self.write_blob(&bytes)
            }
        }
    }

    /// Points a ref to a commit, whatever it pointed to. For a commit that is made for it, see `keep`.
    pub(super) fn set_ref(&self, name: &str, commit: &str) -> Result<(), WorktreeError> {
        match &self.source.repo {
            Some(repo) => Oid::from_str(commit)
                .and_then(|id| repo.reference(name, id, true, "hob"))
                .map(drop)
                .map_err(self.failed(&format!("write `{name}`"))),
            None => program::set_ref(self.source, name, commit),
        }
    }

    /// The refs that begin with `prefix`, with what they point to.
    pub(super) fn refs(&self, prefix: &str) -> Result<Vec<(String, String)>, WorktreeError> {
        let Some(repo) = &self.source.repo else {
            return program::refs(self.source, prefix);
        };
        let read = || {
            let mut found = Vec::new();
            for reference in repo.references_glob(&format!("{prefix}*"))? {
                let reference = reference?;
                if let (Ok(name), Some(id)) = (reference.name(), reference.target()) {
                    found.push((name.to_owned(), id.to_string()));
                }
            }
            Ok(found)
        };
        read().map_err(self.failed("read the refs"))
    }

    /// The commit that HEAD of the checkout points to.
    pub(super) fn head(&self) -> Result<String, WorktreeError> {
        self.source.commit("HEAD")?.ok_or_else(|| self.source.no_commit())
    }

    /// The tree of a commit.
    pub(super) fn tree_of(&self, commit: &str) -> Result<String, WorktreeError> {
        self.source.tree_of(commit)
    }

    /// What differs between two trees, each path for itself.
    pub(super) fn moves(&self, from: &str, to: &str) -> Result<Moves, WorktreeError> {
        self.deltas(from, to).map(deltas::moves)
    }

    /// What differs between two trees, renames found.
    pub(super) fn deltas(&self, from: &str, to: &str) -> Result<Vec<Delta>, WorktreeError> {
        if from == to {
            return Ok(Vec::new());
        }
        match &self.source.repo {
            Some(repo) => {
                deltas::by_libgit2(repo, from, to).map_err(self.failed("compare the trees of a worktree"))
            }
            None => program::deltas(self.source, from, to),
        }
    }
}

fn entries(repo: &Repository, tree: &str) -> Result<Entries, git2::Error> {
    let tree = repo.find_object(Oid::from_str(tree)?, None)?.peel_to_tree()?;
    let mut found = Entries::new();
    walk_tree(repo, tree, |path, entry| {
        let mode = entry.filemode_raw().cast_unsigned();
        found.insert(path_from(path), Entry { mode, object: entry.id().to_string() });
    })?;
    Ok(found)
}

/// Whether an object can be read. The empty tree always can, written or not, and git does not write it.
pub(super) fn is_there(odb: &Odb<'_>, id: &str) -> bool {
    // To read a header may be to read what it is packed against; so only where nothing was found.
    Oid::from_str(id).is_ok_and(|id| odb.exists(id) || odb.read_header(id).is_ok())
}

/// Every entry below a tree that is no tree, with its path. libgit2's own walk ends at a directory whose
/// name is no UTF-8.
pub(super) fn walk_tree(
    repo: &Repository,
    top: Tree<'_>,
    mut visit: impl FnMut(Vec<u8>, &TreeEntry<'_>),
) -> Result<(), git2::Error> {
    let mut open = vec![(Vec::new(), top)];
    while let Some((folder, tree)) = open.pop() {
        for entry in &tree {
            let path = [&folder, entry.name_bytes()].concat();
            if entry.kind() == Some(ObjectType::Tree) {
                open.push(([&path[..], b"/"].concat(), repo.find_tree(entry.id())?));
            } else {
                visit(path, &entry);
            }
        }
    }
    Ok(())
}

/// A path as it is told, and taken back.
pub(super) fn shown(path: &Path) -> String {
    path_text::text(path)
}

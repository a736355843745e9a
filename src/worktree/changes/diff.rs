//! The difference of two trees as a unified diff, as git writes it. Reads objects only.

use git2::Patch;

use super::is_within;
use crate::worktree::Worktrees;
use crate::worktree::error::WorktreeError;
use crate::worktree::known::Known;
use crate::worktree::large;
use crate::worktree::objects::{Delta, Objects, diff_of, plain, shown};

/// A unified diff.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// The diff, byte for byte.
    pub text: Vec<u8>,
    /// What it leaves out, and why.
    pub left_out: Vec<String>,
}

impl Worktrees {
    /// The difference of two trees of a worktree, or of the files that are named and those below the
    /// directories that are.
    ///
    /// # Errors
    /// What git says.
    pub async fn diff(
        &self,
        known: &Known,
        from: &str,
        to: &str,
        paths: Option<Vec<String>>,
    ) -> Result<Diff, WorktreeError> {
        let (known, from, to) = (known.clone(), from.to_owned(), to.to_owned());
        self.job(&self.inner.looks, move |inner| {
            let source = inner.repository(&known)?;
            write(&Objects::of(&source), &from, &to, paths.as_deref())
        })
        .await
    }
}

fn write(
    objects: &Objects<'_>,
    from: &str,
    to: &str,
    paths: Option<&[String]>,
) -> Result<Diff, WorktreeError> {
    let mut diff = Diff::default();
    let Some(repo) = &objects.source.repo else {
        let mut names = Vec::new();
        for delta in objects.deltas(from, to)?.iter().filter(|delta| is_wanted(delta, paths)) {
            match left_out(objects, delta)? {
                Some(line) => diff.left_out.push(line),
                None => names
                    .extend([Some(delta.path().clone()), delta.old_path().cloned()].into_iter().flatten()),
            }
        }
        if !names.is_empty() {
            let args = ["diff-tree", "-r", "-p", "-M", "--no-ext-diff", "--no-textconv", from, to, "--"];
            let mut call = objects.source.call(&args);
            call.args.extend(names.into_iter().map(Into::into));
            let text = objects.source.program()?.run(&call)?;
            diff.text = text;
        }
        return Ok(diff);
    };
    if from == to {
        return Ok(diff);
    }
    let failed = |error| WorktreeError::git("compare the trees of a worktree", &objects.source.top, &error);
    let found = diff_of(repo, from, to).map_err(failed)?;
    let mut text = Vec::new();
    for (n, delta) in found.deltas().enumerate() {
        let Some(delta) = plain(&delta).filter(|delta| is_wanted(delta, paths)) else { continue };
        if let Some(line) = left_out(objects, &delta)? {
            diff.left_out.push(line);
            continue;
        }
        match Patch::from_diff(&found, n).and_then(|patch| patch.map(|mut patch| patch.to_buf()).transpose())
        {
            Ok(Some(patch)) => text.extend_from_slice(&patch),
            Ok(None) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    diff.text = text;
    Ok(diff)
}

fn is_wanted(delta: &Delta, paths: Option<&[String]>) -> bool {
    let Some(paths) = paths else { return true };
    let names = [Some(delta.path()), delta.old_path()];
    names.into_iter().flatten().any(|name| paths.iter().any(|path| is_within(&shown(name), path)))
}

/// The line for a file that is too large to be shown.
fn left_out(objects: &Objects<'_>, delta: &Delta) -> Result<Option<String>, WorktreeError> {
    for (path, entry) in [&delta.new, &delta.old].into_iter().flatten() {
        if entry.mode == crate::worktree::objects::GITLINK
            || objects.blob_size(&entry.object)? > large::POINTER_BYTES_MAX
        {
            continue;
        }
        if let Some(size) = large::size_of(&objects.blob(&entry.object)?) {
            let size = bytesize::ByteSize(size);
            return Ok(Some(format!("{}: {size} is too large to be shown", shown(path))));
        }
    }
    Ok(None)
}

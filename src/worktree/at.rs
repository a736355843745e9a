//! Opens a worktree that was recorded, after a look whether it still is the one that was recorded.
//! Decides with what its files are read.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use super::Inner;
use super::error::{WorktreeError, WorktreeErrorKind};
use super::facts::{self, Wanted};
use super::identity::{Identity, Verdict};
use super::known::Known;
use super::obstacles;
use super::recorded::recorded;
use super::source::{Source, bytes_of};
use super::standing::{gone, lost, replaced, unlinked};
use super::undo::{Names, is_linked};
use crate::regular;

/// Bytes of one attributes file that are looked at.
const ATTRIBUTES_BYTES_MAX: u64 = 1 << 20;

/// With what the files of a checkout are read and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// libgit2.
    Libgit2,
    /// The `git` program.
    Program,
}

impl Names {
    /// The names of a worktree that was recorded.
    pub(super) fn known(known: &Known) -> Self {
        Self {
            path: known.path.clone(),
            admin: known.admin(),
            reference: format!("refs/heads/{}", known.branch),
            base: known.base_commit.clone(),
        }
    }
}

impl Inner {
    /// A checkout of a repository, with the settings as they were when it was first seen.
    pub(super) fn source(&self, top: &Path, common_dir: &Path) -> Result<Source<'_>, WorktreeError> {
        if top != common_dir {
            obstacles::before_walking(top)?;
        }
        let mut source = Source::open(top, common_dir, self)?;
        let recorded = recorded(&self.records(), common_dir)?;
        (source.settings, source.unrecorded) = (recorded.settings, recorded.unrecorded);
        Ok(source)
    }

    /// The worktree itself, if it is the one that was recorded.
    pub(super) fn at(&self, known: &Known) -> Result<Source<'_>, WorktreeError> {
        check_place(known)?;
        let source = self.source(&known.path, &known.common_dir)?;
        if let Some(workdir) = source.repo.as_ref().and_then(|repo| repo.workdir())
            && fs::canonicalize(workdir).ok().as_deref() != Some(&known.path)
        {
            return Err(foreign(known, "its configuration points to another directory"));
        }
        Ok(source)
    }

    /// The repository that a worktree belongs to, wherever the worktree is now.
    pub(super) fn repository(&self, known: &Known) -> Result<Source<'_>, WorktreeError> {
        self.source(&known.common_dir, &known.common_dir)
    }

    /// With what the files of a checkout are read; an error where neither can.
    pub(super) fn way(&self, source: &Source<'_>) -> Result<Way, WorktreeError> {
        let Some(repo) = &source.repo else {
            return self.program_way(source, source.refusal.as_deref().unwrap_or_default());
        };
        let failed =
            |error: git2::Error| WorktreeError::git("read the configuration", &source.common_dir, &error);
        let config = repo.config().and_then(|mut config| config.snapshot()).map_err(failed)?;
        if config.get_bool("core.sparsecheckout").unwrap_or(false) {
            return self.program_way(source, "a sparse checkout");
        }
        if config.get_string("extensions.partialclone").is_ok() || facts::has_promisor(&config) {
            return self.program_way(source, "a partial clone");
        }
        let mut wanted = Wanted::default();
        let index = repo.index().map_err(failed)?;
        let inside = index.iter().filter(|entry| entry.path.ends_with(b".gitattributes"));
        let inside = inside.map(|entry| source.top.join(super::source::path_from(entry.path)));
        // One that is new is not in the index yet.
        let top = [source.top.join(".gitattributes")];
        for path in top.into_iter().chain(inside).chain(facts::attribute_files(&source.common_dir, &config)) {
            facts::look_at_attributes(&read(&path), &mut wanted);
        }
        if wanted.encoding {
            return self.program_way(source, "a `working-tree-encoding`");
        }
        if wanted.filters.iter().any(|name| facts::is_driver(&config, name)) {
            return self.program_way(source, "a filter driver");
        }
        Ok(Way::Libgit2)
    }

    /// The program, if there is one and no setting appeared that it would run something for.
    fn program_way(&self, source: &Source<'_>, what: &str) -> Result<Way, WorktreeError> {
        let recorded = recorded(&self.records(), &source.common_dir)?;
        if let Some(setting) = recorded.unrecorded {
            let why = format!("its setting `{setting}` appeared after hob first saw it and is not trusted");
            return Err(WorktreeError::unsupported(what, &source.top, &why));
        }
        match &source.git {
            Ok(_) => Ok(Way::Program),
            Err(_) => Err(WorktreeError::unsupported(what, &source.top, "that needs the `git` program")),
        }
    }
}

/// The beginning of a small file; nothing where there is none.
fn read(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = regular::open(path) {
        // What cannot be read asks for nothing.
        file.take(ATTRIBUTES_BYTES_MAX).read_to_end(&mut bytes).ok();
    }
    bytes
}

/// An error for a worktree that is not what was recorded.
pub(super) fn foreign(known: &Known, why: &str) -> WorktreeError {
    WorktreeError::new(WorktreeErrorKind::Foreign, format!("`{}`: {why}", known.path.display()))
        .hint("hob worktree ls")
}

/// Whether the directory is the one that was recorded, and still the worktree of its repository.
pub(super) fn check_place(known: &Known) -> Result<(), WorktreeError> {
    let found = match fs::symlink_metadata(&known.path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(lost(known)),
        Err(error) => return Err(WorktreeError::io("look at", &known.path, &error)),
    };
    if !found.is_dir() {
        return Err(replaced(known, "it is no directory any more"));
    }
    if !known.common_dir.exists() {
        return Err(gone(known));
    }
    let found = Identity::of(&known.path, &known.admin())
        .map_err(|error| WorktreeError::io("look at", &known.path, &error))?;
    if let Verdict::Another(why) = known.identity.judge(&found) {
        return Err(replaced(known, why));
    }
    if !is_linked(&Names::known(known)) {
        return Err(unlinked(known));
    }
    let real = fs::canonicalize(&known.path);
    if real.is_ok_and(|real| bytes_of(&real) != bytes_of(&known.path)) {
        return Err(foreign(known, "a symbolic link is on the way to it"));
    }
    Ok(())
}

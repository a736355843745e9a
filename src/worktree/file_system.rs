//! What a file system does with names, links and modes. Git writes it down as settings when a clone is
//! made, and they hold for that directory alone: a checkout that was copied from another machine has them
//! wrong, and what they say of the checkout says nothing of our own directory. So the settings are put in
//! their place in memory, for every handle and every call, by what was found in the directory itself.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use git2::{ConfigLevel, Repository, RepositoryOpenFlags};

use super::error::WorktreeError;
use super::source::Source;
use crate::regular;

/// A setting of git's, and what it is to be.
pub(super) type Setting = (&'static str, bool);

/// The settings that describe a file system, with what git takes them for where nothing is said
/// (git-config(1)).
const IGNORES_CASE: Setting = ("core.ignorecase", false);
const COMPOSES: Setting = ("core.precomposeunicode", false);
const HAS_LINKS: Setting = ("core.symlinks", true);
const KEEPS_MODES: Setting = ("core.filemode", true);

/// What a file system does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileSystem {
    /// Names that differ by case are one.
    pub(super) ignores_case: bool,
    /// A name comes back composed, however it was given.
    pub(super) composes: bool,
    /// It has symbolic links.
    pub(super) has_links: bool,
    /// It keeps whether a file can be executed.
    pub(super) keeps_modes: bool,
}

impl FileSystem {
    /// What is usual, where it cannot be tried.
    pub(super) const USUAL: Self =
        Self { ignores_case: false, composes: false, has_links: true, keeps_modes: true };

    /// Tries it in a directory, which must be there.
    pub(super) fn probe(dir: &Path) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("probe-").tempdir_in(dir)?;
        let at = |name: &str| dir.path().join(name);
        File::create(at("caSe"))?;
        File::create(at("cafe\u{301}"))?;
        let mode = |mode: u32| {
            fs::set_permissions(at("caSe"), fs::Permissions::from_mode(mode))?;
            Ok::<_, io::Error>(fs::metadata(at("caSe"))?.mode() & 0o100 != 0)
        };
        let names: Vec<_> = fs::read_dir(dir.path())?.flatten().map(|entry| entry.file_name()).collect();
        Ok(Self {
            ignores_case: fs::symlink_metadata(at("CAsE")).is_ok(),
            composes: names.iter().any(|name| name == "caf\u{e9}"),
            has_links: symlink("caSe", at("link")).is_ok() && fs::read_link(at("link")).is_ok(),
            keeps_modes: mode(0o700)? && !mode(0o600)?,
        })
    }

    /// As git has it.
    pub(super) fn settings(self) -> Vec<Setting> {
        vec![
            (IGNORES_CASE.0, self.ignores_case),
            (COMPOSES.0, self.composes),
            (HAS_LINKS.0, self.has_links),
            (KEEPS_MODES.0, self.keeps_modes),
        ]
    }
}

/// How repositories are opened: each with what the directory does that it lies in.
#[derive(Debug)]
pub(super) struct Handles {
    root: PathBuf,
    records: PathBuf,
    own: FileSystem,
}

impl Handles {
    /// For worktrees below `root`. Where nothing can be tried in `records`, it is taken for usual.
    pub(super) fn at(root: &Path, records: PathBuf) -> Self {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&records);
        let own = made.and_then(|()| FileSystem::probe(&records)).unwrap_or_else(|error| {
            tracing::debug!(records = %records.display(), %error, "its file system was not tried");
            FileSystem::USUAL
        });
        Self { root: root.to_owned(), records, own }
    }

    /// What our own directory does.
    pub(super) fn own(&self) -> FileSystem {
        self.own
    }

    /// What holds in a directory: in a worktree of ours what ours does, in another checkout what can be
    /// told of it. In a git directory names are as git has them.
    pub(super) fn settings(&self, dir: &Path) -> Vec<Setting> {
        if dir.starts_with(&self.root) {
            return self.own.settings();
        }
        of_checkout(dir)
    }

    /// Opens the repository whose checkout or git directory is `dir`.
    pub(super) fn open(&self, dir: &Path) -> Result<Repository, git2::Error> {
        let repo = Repository::open_ext(dir, RepositoryOpenFlags::NO_SEARCH, &[] as &[&OsStr])?;
        settle(&repo, &self.records, &self.settings(dir)).map_err(|error| {
            git2::Error::from_str(&format!("its settings could not be put right: {error}"))
        })?;
        Ok(repo)
    }
}

/// What can be told of a checkout of the user's without writing to it: whether it ignores case. What its
/// settings say of links and modes is how its files were written, wherever they lie now.
pub(super) fn of_checkout(top: &Path) -> Vec<Setting> {
    let place =
        |name: &str| fs::symlink_metadata(top.join(name)).ok().map(|found| (found.dev(), found.ino()));
    match place(".git") {
        Some(git) => vec![(IGNORES_CASE.0, place(".GIT") == Some(git))],
        None => Vec::new(),
    }
}

/// How the files of a checkout were written, by its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    /// A link is a link, and no file with its target.
    pub(super) links: bool,
    /// A file can be executed if git says so.
    pub(super) modes: bool,
}

impl Written {
    /// As almost every checkout is.
    pub(super) const USUAL: Self = Self { links: true, modes: true };

    /// Those of a checkout.
    pub(super) fn of(checkout: &Source<'_>) -> Result<Self, WorktreeError> {
        let said = |(key, usual): Setting| match &checkout.repo {
            Some(repo) => Ok(repo.config().and_then(|config| config.get_bool(key)).unwrap_or(usual)),
            None => {
                let call = checkout.call(&["config", "--type=bool", "--get", key]);
                Ok(checkout.program()?.probe(&call)?.map_or(usual, |out| out.starts_with(b"true")))
            }
        };
        Ok(Self { links: said(HAS_LINKS)?, modes: said(KEEPS_MODES)? })
    }
}

/// Puts settings over those of a repository that was just opened, in memory. Those that hold anyway are
/// left. What libgit2 reads them from lies in `records`.
pub(super) fn settle(repo: &Repository, records: &Path, wanted: &[Setting]) -> io::Result<()> {
    let other = |error: git2::Error| io::Error::other(error.message().to_owned());
    let mut config = repo.config().map_err(other)?;
    let usual = |key| [IGNORES_CASE, COMPOSES, HAS_LINKS, KEEPS_MODES].contains(&key);
    let holds = |(key, value): &Setting| match config.get_bool(key) {
        Ok(now) => now == *value,
        Err(_) => usual((*key, *value)),
    };
    if wanted.iter().all(holds) {
        return Ok(());
    }
    let file = written(records, wanted)?;
    config.add_file(&file, ConfigLevel::App, true).map_err(other)
}

/// A file with these settings, which is named by them.
fn written(records: &Path, wanted: &[Setting]) -> io::Result<PathBuf> {
    let name: String =
        wanted.iter().map(|(key, value)| format!("-{}-{value}", &key["core.".len()..])).collect();
    let lines: String =
        wanted.iter().map(|(key, value)| format!("\t{} = {value}\n", &key["core.".len()..])).collect();
    let (file, text) = (records.join(format!("over{name}.gitconfig")), format!("[core]\n{lines}"));
    if regular::read(&file).is_ok_and(|found| found == text.as_bytes()) {
        return Ok(file);
    }
    fs::create_dir_all(records)?;
    let mut beside = tempfile::NamedTempFile::new_in(records)?;
    io::Write::write_all(&mut beside, text.as_bytes())?;
    beside.persist(&file).map_err(|error| error.error)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_this_machine_is_usual() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(FileSystem::probe(dir.path()).unwrap(), FileSystem::USUAL);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left");
        assert!(FileSystem::probe(&dir.path().join("none")).is_err());
    }

    #[test]
    fn a_checkout_is_told_by_the_name_of_its_git_directory() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(of_checkout(dir.path()), []);
        fs::create_dir(dir.path().join(".git")).unwrap();
        assert_eq!(of_checkout(dir.path()), [("core.ignorecase", false)]);
        // As a file system has it that ignores case.
        symlink(".git", dir.path().join(".GIT")).unwrap();
        assert_eq!(of_checkout(dir.path()), [("core.ignorecase", false)], "another one of that name");
    }

    #[test]
    fn settings_are_put_over_those_of_the_repository_and_written_only_where_they_differ() {
        let dir = tempfile::tempdir().unwrap();
        let records = dir.path().join("records");
        let repo = Repository::init(dir.path().join("repo")).unwrap();
        settle(&repo, &records, &FileSystem::USUAL.settings()).unwrap();
        assert!(!records.exists(), "nothing differs");
        repo.config().unwrap().set_bool("core.ignorecase", true).unwrap();
        repo.config().unwrap().set_bool("core.symlinks", false).unwrap();
        let again = Repository::open(repo.path()).unwrap();
        settle(&again, &records, &FileSystem::USUAL.settings()).unwrap();
        let config = again.config().unwrap();
        assert!(!config.get_bool("core.ignorecase").unwrap() && config.get_bool("core.symlinks").unwrap());
        let untouched = Repository::open(repo.path()).unwrap().config().unwrap();
        assert!(untouched.get_bool("core.ignorecase").unwrap());
    }
}

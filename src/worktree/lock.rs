//! One job at a time on one repository: a lock in this process, and a locked file in our own
//! state directory against another daemon on the same state. Nothing of the user's is locked,
//! and a lock of git's (`index.lock` and its like) is waited for, never removed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::OwnedMutexGuard;

use super::error::{WorktreeError, WorktreeErrorKind};
use crate::sync::lock;

/// How often a lock that another process holds is looked at: nobody tells when it is free.
const POLL: Duration = Duration::from_millis(50);
/// Repositories remembered in memory before those that nobody uses are forgotten.
const REPOS_REMEMBERED_MAX: usize = 256;
/// Looks at one worktree that may be under way at once: one that nobody waits for any more keeps a thread
/// until it comes to its end.
const LOOKS_MAX: usize = 16;
/// Characters of the hash that a file of ours about a repository is named by.
const NAME_CHARS: usize = 32;

/// The locks of all repositories.
#[derive(Debug)]
pub(super) struct Locks {
    dir: PathBuf,
    wait: Duration,
    here: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
    looks: Mutex<HashMap<PathBuf, Arc<()>>>,
}

/// A look at a worktree that goes on, perhaps for nobody any more.
#[derive(Debug)]
pub(super) struct GoingOn(#[expect(dead_code, reason = "counted while it lives")] Arc<()>);

/// A place in line for one repository, held by this process.
#[derive(Debug)]
pub(super) struct Turn {
    common_dir: PathBuf,
    until: Instant,
    _guard: OwnedMutexGuard<()>,
}

/// The right to change one repository, until dropped.
#[derive(Debug)]
pub(super) struct RepoLock {
    _turn: Turn,
    _file: File,
}

impl Locks {
    /// Locks whose files live in `dir`; each is waited for no longer than `wait`.
    pub(super) fn new(dir: PathBuf, wait: Duration) -> Self {
        Self { dir, wait, here: Mutex::default(), looks: Mutex::default() }
    }

    /// Waits for the jobs of this process on the repository.
    pub(super) async fn turn(&self, common_dir: &Path) -> Result<Turn, WorktreeError> {
        let until = Instant::now() + self.wait;
        let lock = self.lock_of(common_dir);
        let guard = tokio::time::timeout(self.wait, lock.lock_owned())
            .await
            .map_err(|_| busy(common_dir, "another job of this daemon"))?;
        Ok(Turn { common_dir: common_dir.to_owned(), until, _guard: guard })
    }

    /// Waits for other daemons on the same state directory. Blocks.
    pub(super) fn lock(&self, turn: Turn) -> Result<RepoLock, WorktreeError> {
        fs::create_dir_all(&self.dir).map_err(|e| WorktreeError::io("make", &self.dir, &e))?;
        let path = self.dir.join(format!("{}.lock", name_of(&turn.common_dir)));
        let file = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| WorktreeError::io("open", &path, &e))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(RepoLock { _turn: turn, _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < turn.until => pause(),
                Err(TryLockError::WouldBlock) => return Err(busy(&turn.common_dir, "another daemon")),
                Err(TryLockError::Error(error)) => return Err(WorktreeError::io("lock", &path, &error)),
            }
        }
    }

    /// Says that a look at a worktree begins; refuses one where many have not come to an end.
    pub(super) fn look_at(&self, worktree: &Path) -> Result<GoingOn, WorktreeError> {
        let mut looks = lock(&self.looks);
        if looks.len() >= REPOS_REMEMBERED_MAX {
            looks.retain(|_, look| Arc::strong_count(look) > 1);
        }
        let look = looks.entry(worktree.to_owned()).or_default();
        if Arc::strong_count(look) > LOOKS_MAX {
            let message =
                format!("{LOOKS_MAX} looks at `{}` have not come to an end yet", worktree.display());
            let kind = WorktreeErrorKind::Busy(worktree.display().to_string());
            return Err(WorktreeError::new(kind, message).hint("hob restart"));
        }
        Ok(GoingOn(Arc::clone(look)))
    }

    fn lock_of(&self, common_dir: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut here = lock(&self.here);
        if here.len() >= REPOS_REMEMBERED_MAX {
            here.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        Arc::clone(here.entry(common_dir.to_owned()).or_default())
    }
}

/// Lets a little time pass on a thread that may block.
#[expect(clippy::disallowed_methods, reason = "nobody tells when a lock of another process is free")]
fn pause() {
    std::thread::sleep(POLL);
}

/// The name of our files about a repository: no two repositories share one.
pub(super) fn name_of(common_dir: &Path) -> String {
    let hash = Sha256::digest(OsStr::as_bytes(common_dir.as_os_str()));
    let mut name = data_encoding::HEXLOWER.encode(&hash);
    name.truncate(NAME_CHARS);
    name
}

fn busy(common_dir: &Path, holder: &str) -> WorktreeError {
    let shown = common_dir.display();
    WorktreeError::new(
        WorktreeErrorKind::Busy(shown.to_string()),
        format!("the repository `{shown}` is busy: {holder} works on it"),
    )
    .hint("try again in a moment")
}

/// Does `attempt` again for as long as it says that somebody else's lock is in the way, and no
/// longer than `wait`. Blocks.
pub(super) fn retry_busy<T>(
    wait: Duration,
    mut attempt: impl FnMut() -> Result<T, WorktreeError>,
) -> Result<T, WorktreeError> {
    let until = Instant::now() + wait;
    loop {
        match attempt() {
            Err(error) if matches!(error.kind, WorktreeErrorKind::Busy(_)) && Instant::now() < until => {
                pause();
            }
            other => return other,
        }
    }
}

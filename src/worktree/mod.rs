//! A session's worktree: found, made, taken back. The only part that knows git.
//!
//! ```text
//! locate  where in which checkout is this path?
//! create  facts ▶ method (pure) ▶ libgit2 or the `git` program ▶ carry changes ▶ copy files
//! undo    exactly what creation made, if it is untouched
//! ```
//!
//! All of it blocks, so all of it runs on threads of its own, bounded, one job at a time on one
//! repository.
//!
//! **Invariants:** nothing in the user's checkout is written; nothing is left behind by an error;
//! no hook, filter or helper runs that a repository's configuration did not name when we first
//! saw it; a lock of git's is waited for and never removed.

mod at;
mod base;
mod carry;
mod carry_merge;
mod changes;
mod compare;
mod convert;
mod create;
mod disposable;
mod entry;
mod eol;
mod error;
mod facts;
mod file_system;
mod filter;
mod git_program;
mod history;
mod identity;
mod include;
mod index;
mod known;
mod lacking;
mod large;
mod locate;
mod lock;
pub mod method;
mod objects;
mod obstacles;
mod operation;
mod own_place;
mod preflight;
mod recorded;
mod remove;
pub mod safe_path;
mod snapshot;
mod source;
mod standing;
mod submodules;
mod undo;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

pub use base::Grounds;
pub(crate) use changes::is_within;
pub use changes::{
    Applied, Change, ChangeKind, Content, CutShort, Deletion, Diff, Discarded, Ending, Hunk, Run, Seen,
    Selection, Stashed, Ticket, Undone, Unstashed,
};
pub use error::{WorktreeError, WorktreeErrorKind};
pub use history::{BYTES_KEPT, Span, TURNS_KEPT, Trimmed, merged as merged_history};
pub use identity::Identity;
pub use known::{Known, Segment, Writer};
pub use locate::Located;
pub use preflight::PreflightAsk;
pub use remove::{Left, Place, Purged, Restored, Salvaged, Stray};
pub use snapshot::Snapshot;
pub use standing::Standing;
pub use undo::TakenBack;

use file_system::Handles;
use git_program::Git;
use lock::{Locks, RepoLock, Turn};
use method::GitFact;
use source::Source;

/// Why `git worktree list` says that the worktree is locked.
pub const LOCK_REASON: &str = "in use by a hob session; `hob session rm` removes it";
/// Jobs that change a repository at once: they are bound by the disk.
const JOBS_MAX: usize = 4;
/// Questions about repositories at once; apart, so that no large checkout holds them up.
const LOOKS_MAX: usize = 8;
/// How long a job waits for others on the same repository.
const LOCK_WAIT: Duration = Duration::from_secs(60);
/// How long a lock file of a foreign git is waited for.
const LOCK_FILE_WAIT: Duration = Duration::from_secs(5);
/// Bytes that one look may read of files that are not known yet: a few seconds' worth.
const LOOK_BYTES: u64 = 128 << 20;
/// Our files about repositories, beneath the root.
const RECORDS_DIR: &str = ".repos";
/// Characters of a worktree's id at most.
const ID_CHARS_MAX: usize = 64;

/// Says which untracked files are copied into a new worktree, as the configuration has it now.
pub type CopyPatterns = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// What a test may set differently.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the `git` program is looked for, as in `PATH`.
    pub path: Option<OsString>,
    /// How long a job waits for others on the same repository.
    pub lock_wait: Duration,
    /// How long a lock file of a foreign git is waited for.
    pub lock_file_wait: Duration,
    /// Bytes that one look may read of files that are not known yet.
    pub look_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            path: std::env::var_os("PATH"),
            lock_wait: LOCK_WAIT,
            lock_file_wait: LOCK_FILE_WAIT,
            look_bytes: LOOK_BYTES,
        }
    }
}

/// A wish for a worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRequest {
    /// The worktree's id: `w-` and letters or digits.
    pub id: String,
    /// The user's checkout.
    pub located: Located,
    /// What to start from, as git understands it; `None` for the checkout's HEAD.
    pub base: Option<String>,
    /// Whether the uncommitted changes of the checkout come along.
    pub carry_changes: bool,
}

/// A worktree that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The directory.
    pub path: PathBuf,
    /// Its branch, without `refs/heads/`.
    pub branch: String,
    /// The commit that the branch starts from, in hex.
    pub base_commit: String,
    /// The git directory that all worktrees of the repository share.
    pub common_dir: PathBuf,
    /// Which directory it is.
    pub identity: Identity,
    /// What a person should know.
    pub notices: Vec<String>,
    /// Untracked files that were copied in, relative to the directory.
    pub copied: Vec<PathBuf>,
    /// Files of the base that could not be made in it, relative to the directory.
    pub lacking: Vec<PathBuf>,
    /// What the directory looked like when it was done.
    seal: [u8; 32],
}

/// Finds, makes and takes back worktrees. Cheap to clone.
#[derive(Clone)]
pub struct Worktrees {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    copy: CopyPatterns,
    options: Options,
    locks: Locks,
    jobs: Arc<Semaphore>,
    looks: Arc<Semaphore>,
    git: OnceLock<Result<Git, GitFact>>,
    handles: OnceLock<Handles>,
}

impl Worktrees {
    /// Worktrees below `root`, which is made when it is first needed.
    pub fn new(root: PathBuf, copy: CopyPatterns) -> Self {
        Self::with_options(root, copy, Options::default())
    }

    /// The same, with other options.
    pub fn with_options(root: PathBuf, copy: CopyPatterns, options: Options) -> Self {
        let root = real(&root);
        Self {
            inner: Arc::new(Inner {
                locks: Locks::new(root.join(RECORDS_DIR), options.lock_wait),
                root,
                copy,
                options,
                jobs: Arc::new(Semaphore::new(JOBS_MAX)),
                looks: Arc::new(Semaphore::new(LOOKS_MAX)),
                git: OnceLock::new(),
                handles: OnceLock::new(),
            }),
        }
    }

    /// Finds the user's checkout around a directory, which may be below its top, and may be a
    /// linked worktree.
    ///
    /// # Errors
    /// `NotARepo`, `Bare`, `NoCommit`, `Unsupported`, `Io`.
    pub async fn locate(&self, path: &Path) -> Result<Located, WorktreeError> {
        let path = path.to_owned();
        self.job(&self.inner.looks, move |inner| locate::locate(&path, inner.git())).await
    }

    /// The commit that a checkout stands at, in hex.
    ///
    /// # Errors
    /// `NoCommit`, `Unsupported`, `Io`.
    pub async fn head_commit(&self, located: &Located) -> Result<String, WorktreeError> {
        let located = located.clone();
        self.job(&self.inner.looks, move |inner| {
            create::base_of(&Source::open(&located.top, &located.common_dir, inner)?, None)
        })
        .await
    }

    /// The directory and the branch that the worktree `id` will have.
    pub fn plan(&self, id: &str) -> (PathBuf, String) {
        self.inner.plan(id)
    }

    /// Makes a worktree. On an error, and when the caller goes away, nothing is left behind.
    ///
    /// # Errors
    /// All kinds but `NotARepo` and `Bare`, unless the checkout changed since it was located.
    pub async fn create(&self, request: CreateRequest) -> Result<Created, WorktreeError> {
        check_id(&request.id)?;
        let (answer, answered) = oneshot::channel();
        self.locked_job(&request.located.common_dir.clone(), move |inner, lock| {
            let made = create::create(inner, lock, &request);
            if let Err(Ok(created)) = answer.send(made) {
                // Nobody waits for it any more. What cannot be undone is an orphan like any other.
                let common_dir = &created.common_dir;
                let undone =
                    Source::open(common_dir, common_dir, inner).map(|source| undo::undo(&source, &created));
                tracing::debug!(path = %created.path.display(), ?undone, "worktree made for nobody");
            }
            Ok(())
        })
        .await?;
        answered.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Takes back a worktree that was just made: directory, entry and branch, if nothing in them
    /// was touched since. Says what was left.
    ///
    /// # Errors
    /// `Busy`, `Io`: then nothing was removed.
    pub async fn undo_create(&self, created: &Created) -> Result<TakenBack, WorktreeError> {
        let created = created.clone();
        self.locked_job(&created.common_dir.clone(), move |inner, _lock| {
            // The user's own checkout may be a linked one that has gone meanwhile.
            let source = Source::open(&created.common_dir, &created.common_dir, inner)?;
            Ok(undo::undo(&source, &created))
        })
        .await
    }

    /// Runs a job on a thread that may block, while nobody else works on the repository.
    async fn locked_job<T: Send + 'static>(
        &self,
        common_dir: &Path,
        job: impl FnOnce(&Inner, &RepoLock) -> Result<T, WorktreeError> + Send + 'static,
    ) -> Result<T, WorktreeError> {
        let turn: Turn = self.inner.locks.turn(common_dir).await?;
        self.job(&self.inner.jobs, move |inner| {
            let lock = inner.locks.lock(turn)?;
            job(inner, &lock)
        })
        .await
    }

    /// The same for a look, which changes nothing of a checkout: where its caller gives up, lock and slot
    /// are free at once, however long the thread goes on. So many may go on that nobody waits for.
    async fn locked_look<T: Send + 'static>(
        &self,
        known: &Known,
        look: impl FnOnce(&Inner) -> Result<T, WorktreeError> + Send + 'static,
    ) -> Result<T, WorktreeError> {
        let going_on = self.inner.locks.look_at(&known.path)?;
        let turn: Turn = self.inner.locks.turn(&known.common_dir).await?;
        let _permit = Arc::clone(&self.inner.jobs).acquire_owned().await.map_err(|_| lost())?;
        let inner = Arc::clone(&self.inner);
        let locked = tokio::task::spawn_blocking(move || inner.locks.lock(turn));
        let _lock = locked.await.unwrap_or_else(|_| Err(lost()))?;
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || {
            let _going_on = going_on;
            look(&inner)
        });
        done.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Runs a job on a thread that may block, when one of the slots is free.
    async fn job<T: Send + 'static>(
        &self,
        slots: &Arc<Semaphore>,
        job: impl FnOnce(&Inner) -> Result<T, WorktreeError> + Send + 'static,
    ) -> Result<T, WorktreeError> {
        let permit = Arc::clone(slots).acquire_owned().await.map_err(|_| lost())?;
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            job(&inner)
        });
        done.await.unwrap_or_else(|_| Err(lost()))
    }
}

impl Inner {
    fn plan(&self, id: &str) -> (PathBuf, String) {
        (self.root.join(id), format!("hob/{id}"))
    }

    fn records(&self) -> PathBuf {
        self.root.join(RECORDS_DIR)
    }

    /// The `git` program. Looked for once; blocks then.
    fn git(&self) -> Result<&Git, GitFact> {
        self.git
            .get_or_init(|| git_program::find(self.options.path.as_deref()))
            .as_ref()
            .map_err(Clone::clone)
    }
}

impl Inner {
    /// How repositories are opened. Tried once what our own directory does; blocks then.
    fn handles(&self) -> &Handles {
        self.handles.get_or_init(|| Handles::at(&self.root, self.records()))
    }
}

/// The path without symbolic links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let (mut here, mut rest) = (path, Vec::new());
    loop {
        if let Ok(found) = fs::canonicalize(here) {
            return rest.into_iter().rev().fold(found, |path, name| path.join(name));
        }
        match (here.parent(), here.file_name()) {
            (Some(parent), Some(name)) => {
                rest.push(name);
                here = parent;
            }
            _ => return path.to_owned(),
        }
    }
}

/// An id becomes part of a path and of a branch, so only the plainest are taken.
fn check_id(id: &str) -> Result<(), WorktreeError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if id.len() <= ID_CHARS_MAX
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.chars().all(plain)
    {
        return Ok(());
    }
    Err(WorktreeError::new(WorktreeErrorKind::Io, format!("`{id}` is no id of a worktree")))
}

fn lost() -> WorktreeError {
    WorktreeError::new(WorktreeErrorKind::Io, "the git job did not end as it should")
}

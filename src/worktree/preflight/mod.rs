//! Judges whether a worktree could be removed without losing anything: every step looks for reasons to
//! keep it, and what cannot be looked at is a reason itself.
//!
//! ```text
//! place ─ who it is ─ locks ─ processes ─ operation ─┐ (a wrong place ends it here)
//!                       every file on the disk ──────┤
//!                       every commit that it knows ──┘─▶ reasons
//! ```
//!
//! **Invariants:** nothing is written, nothing of the repository's configuration is run, and `git status`
//! is not trusted: of 53 measured states that must be kept, an empty status would have removed 34.

mod carried;
mod content;
mod dropped;
mod findings;
mod ignored;
mod locks;
mod mounts;
mod place;
mod reach;
mod reach_program;
mod same;
mod times;
mod world;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use hob_actors::worktree::{Preflight, Reason, ReasonKind};

use super::error::{WorktreeError, WorktreeErrorKind};
use super::known::Known;
use super::{Inner, Worktrees, operation};
use crate::backend::process::inside;
pub(super) use content::BARE;
pub(super) use reach::{NOT_REACHING, commits_of, is_partial};

use findings::Findings;

/// A worktree that is to be judged.
#[derive(Debug, Clone)]
pub struct PreflightAsk {
    /// Which one.
    pub known: Known,
    /// Names of directories whose content can be made again.
    pub disposable: Vec<String>,
    /// How long it may take; past it, the answer is "unknown".
    pub timeout: Duration,
    /// What of it is live, in words: its session, agents of it.
    pub live: Vec<String>,
}

/// Why a step could not be made.
#[derive(Debug)]
enum Trouble {
    /// The time is over.
    Late,
    /// Something could not be read.
    Unreadable(String),
    /// An object is not there.
    Missing(String),
}

impl From<WorktreeError> for Trouble {
    fn from(error: WorktreeError) -> Self {
        if error.kind == WorktreeErrorKind::Missing {
            Self::Missing(error.message)
        } else {
            Self::Unreadable(error.message)
        }
    }
}

impl From<git2::Error> for Trouble {
    fn from(error: git2::Error) -> Self {
        match (error.code(), error.class()) {
            (git2::ErrorCode::NotFound, git2::ErrorClass::Odb) => Self::Missing(error.message().to_owned()),
            _ => Self::Unreadable(error.message().to_owned()),
        }
    }
}

/// A file or directory that could not be read.
fn unreadable(path: &std::path::Path, error: &std::io::Error) -> Trouble {
    Trouble::Unreadable(format!("`{}` cannot be read ({error})", path.display()))
}

/// What every step is given.
struct Job<'a> {
    inner: &'a Inner,
    known: &'a Known,
    disposable: &'a [String],
    until: Instant,
}

impl Job<'_> {
    /// Whether there is time left.
    fn check_time(&self) -> Result<(), Trouble> {
        if Instant::now() < self.until { Ok(()) } else { Err(Trouble::Late) }
    }

    fn admin(&self) -> PathBuf {
        self.known.admin()
    }
}

impl Worktrees {
    /// Judges a worktree. Never fails: what cannot be looked at is a reason to keep it.
    pub async fn preflight(&self, ask: PreflightAsk) -> Preflight {
        // Waiting for the repository and for a thread is part of the time.
        let until = Instant::now() + ask.timeout;
        let (limit, known) = (ask.timeout, ask.known.clone());
        let judged = self.locked_look(&known, move |inner| Ok(judge(inner, &ask, until)));
        match tokio::time::timeout(limit, judged).await {
            Ok(Ok(preflight)) => preflight,
            Ok(Err(error)) => Preflight::unknown(error.message),
            Err(_) => Preflight::unknown(late(limit)),
        }
    }

    /// The newest write inside a directory, in milliseconds since 1970, as far as it can be read.
    pub async fn last_write(&self, path: &std::path::Path) -> Option<i64> {
        let path = path.to_owned();
        self.job(&self.inner.looks, move |_| Ok(times::last_write(&path))).await.ok().flatten()
    }

    /// How much a directory takes on the disk, in bytes.
    pub async fn size(&self, path: &std::path::Path) -> Option<u64> {
        let path = path.to_owned();
        self.job(&self.inner.looks, move |_| Ok(times::size(&path))).await.ok().flatten()
    }
}

fn late(limit: Duration) -> String {
    format!("it was not looked through within {} s", limit.as_secs_f32())
}

/// Judges it. Blocks.
pub(super) fn judge(inner: &Inner, ask: &PreflightAsk, until: Instant) -> Preflight {
    let job = Job { inner, known: &ask.known, disposable: &ask.disposable, until };
    let mut preflight = Preflight::default();
    preflight.reasons.extend(ask.live.iter().map(|live| Reason::one(ReasonKind::Live, live)));
    let mut found = Findings::default();
    if let Err(trouble) = steps(&job, &mut found, &mut preflight.partial) {
        match trouble {
            Trouble::Late => found.note(ReasonKind::Unreadable, late(ask.timeout)),
            Trouble::Unreadable(why) => found.note(ReasonKind::Unreadable, why),
            Trouble::Missing(why) => found.note(ReasonKind::Missing, why),
        }
    }
    preflight.reasons.extend(found.into_reasons());
    preflight
}

fn steps(job: &Job<'_>, found: &mut Findings, partial: &mut bool) -> Result<(), Trouble> {
    if !place::look(job, found)? {
        return Ok(());
    }
    locks::look(job, found)?;
    let who = inside(&job.known.path);
    *partial = who.partial;
    for occupant in who.occupants {
        let (name, pid) = (occupant.name, occupant.pid);
        found.note(ReasonKind::InUse, format!("{name} (pid {pid}, {})", occupant.with));
    }
    for pid in who.hidden {
        found.note(ReasonKind::Unreadable, format!("process {pid} of an agent cannot be looked at"));
    }
    job.check_time()?;
    if let Some(what) = operation::in_progress(&job.admin()) {
        found.note(ReasonKind::Operation, format!("{what} is under way"));
    }
    let is_safe = reach::look(job, found)?;
    content::look(job, found, is_safe)
}

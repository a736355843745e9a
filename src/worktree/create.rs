//! Makes a worktree, whole or not at all.
//!
//! ```text
//! base ▶ facts ▶ method ▶ is the way free? ▶ branch, entry, directory ▶ lock ▶ carry ▶ copy ▶ seal
//!                                            └──────── a failure takes everything back ────────┘
//! ```
//!
//! **Invariant:** nothing is written to the user's checkout or index; to the repository only the
//! branch, the entry below `worktrees/` and, where changes are merged, unreferenced objects.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use git2::{Oid, Repository, build::CheckoutBuilder};
use nix::unistd::{AccessFlags, access};

use super::carry::{Changes, shown};
use super::carry_merge::merge;
use super::error::{WorktreeError, WorktreeErrorKind, shell};
use super::facts::gather;
use super::file_system::Handles;
use super::git_program::{CHECKOUT_TIMEOUT, Call};
use super::identity::{Identity, fresh_mark, write_mark};
use super::include::copy_included;
use super::lock::{RepoLock, retry_busy};
use super::method::{Choice, Method, choose, needs_program};
use super::objects::{Objects, TRIES_MAX, again};
use super::recorded::{Recorded, recorded};
use super::source::Source;
use super::undo::{Names, is_linked, seal, wipe};
use super::{CreateRequest, Created, Inner, LOCK_REASON, base, entry, lacking, obstacles, own_place};

/// Takes back what was made, unless it is told that all went well. Also in a panic.
struct Rollback<'a> {
    source: &'a Source<'a>,
    names: &'a Names,
    armed: bool,
}

impl Rollback<'_> {
    fn keep(mut self) {
        self.armed = false;
    }

    /// Takes back, and says in the error what could not be.
    fn because(mut self, mut error: WorktreeError) -> WorktreeError {
        self.armed = false;
        let kept = wipe(self.source, self.names);
        if !kept.is_empty() {
            error.message.push_str(&format!("; left behind: {}", kept.join(", ")));
        }
        error
    }
}

impl Drop for Rollback<'_> {
    fn drop(&mut self) {
        if self.armed {
            wipe(self.source, self.names);
        }
    }
}

/// Makes the worktree. Blocks. The lock is that of the repository.
pub(super) fn create(
    inner: &Inner,
    _lock: &RepoLock,
    request: &CreateRequest,
) -> Result<Created, WorktreeError> {
    let located = &request.located;
    let (path, branch) = inner.plan(&request.id);
    let mut source = Source::open(&located.top, &located.common_dir, inner)?;
    let base = base_of(&source, request.base.as_deref())?;
    let recorded = recorded(&inner.records(), &located.common_dir)?;
    source.settings.clone_from(&recorded.settings);
    let names = Names {
        admin: located.common_dir.join("worktrees").join(&request.id),
        reference: format!("refs/heads/{branch}"),
        path,
        base,
    };
    let (method, notices) = method_of(&mut source, &names.base, &recorded)?;
    is_way_free(inner, &source, &names)?;
    let changes = if request.carry_changes {
        obstacles::before_walking(&source.top)?;
        Some(Changes::read(&source)?)
    } else {
        None
    };
    let rollback = Rollback { source: &source, names: &names, armed: true };
    let made = make(inner, &source, &names, method)
        .and_then(|()| base::hold(&Objects::of(&source), &request.id, &names.base))
        .and_then(|()| fill(inner, &source, &names, changes.as_ref()));
    match made.and_then(|filled| finish(&names, &branch, located.common_dir.clone(), filled)) {
        Ok(mut created) => {
            rollback.keep();
            created.notices.splice(0..0, notices);
            Ok(created)
        }
        Err(error) => Err(rollback.because(error)),
    }
}

/// The commit to start from, in hex.
pub(super) fn base_of(source: &Source<'_>, base: Option<&str>) -> Result<String, WorktreeError> {
    match base {
        Some(base) => source.commit(base)?.ok_or_else(|| source.bad_base(base)),
        None => source.commit("HEAD")?.ok_or_else(|| source.no_commit()),
    }
}

/// What makes the worktree, and what a person should know about that.
fn method_of(
    source: &mut Source<'_>,
    base: &str,
    recorded: &Recorded,
) -> Result<(Method, Vec<String>), WorktreeError> {
    let facts = gather(source, base, recorded.unrecorded.clone())?;
    let forget = format!("rm {}", shell(&recorded.file));
    let method = match choose(&facts) {
        Choice::Use(method) => method,
        Choice::Refused { what, why } => {
            let error = WorktreeError::unsupported(&what, &source.top, &why);
            return Err(match (&recorded.unrecorded, &source.git) {
                (Some(_), Ok(_)) => error.hint(forget),
                _ => error.hint("git version"),
            });
        }
    };
    let mut notices = Vec::new();
    if needs_program(&facts) {
        // What it can half read is left to the program altogether.
        source.repo = None;
        if !recorded.changed.is_empty() {
            let names = recorded.changed.join("`, `");
            notices.push(format!(
                "the setting `{names}` was used as it was when hob first saw the repository; to use it as it is now: {forget}"
            ));
        }
    }
    Ok((method, notices))
}

/// Refuses where something is in the way, before anything is made.
fn is_way_free(inner: &Inner, source: &Source<'_>, names: &Names) -> Result<(), WorktreeError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&inner.root);
    made.map_err(|error| WorktreeError::io("make", &inner.root, &error))?;
    for taken in [&names.path, &names.admin] {
        if fs::symlink_metadata(taken).is_ok() {
            let shown = taken.display();
            return Err(WorktreeError::new(WorktreeErrorKind::PathTaken, format!("`{shown}` is in the way"))
                .hint(format!("mv {0} {0}.old", shell(taken))));
        }
    }
    if let Some(other) = source.in_the_way(&names.reference)? {
        let short = |name: &str| name.trim_start_matches("refs/heads/").to_owned();
        let (wanted, other) = (short(&names.reference), short(&other));
        let message = if wanted == other {
            format!("the branch `{wanted}` exists already in `{}`", source.top.display())
        } else {
            format!("the branch `{wanted}` cannot be made beside `{other}` in `{}`", source.top.display())
        };
        let other = other.trim_end_matches('/');
        return Err(WorktreeError::new(WorktreeErrorKind::BranchTaken, message)
            .hint(format!("git -C {} branch -m {other} {other}-old", shell(&source.top))));
    }
    for dir in [&inner.root, &source.common_dir] {
        access(dir.as_path(), AccessFlags::W_OK | AccessFlags::X_OK)
            .map_err(|errno| WorktreeError::io("write in", dir, &errno.into()))?;
    }
    Ok(())
}

/// Branch, entry and directory, locked with our reason.
pub(super) fn make(
    inner: &Inner,
    source: &Source<'_>,
    names: &Names,
    method: Method,
) -> Result<(), WorktreeError> {
    retry_busy(inner.options.lock_file_wait, || {
        let made = match (method, &source.repo) {
            (Method::Git2, Some(repo)) => by_libgit2(source.handles, repo, names),
            _ => by_program(source, names),
        };
        // A second attempt begins as the first did.
        made.inspect_err(|error| {
            if matches!(error.kind, WorktreeErrorKind::Busy(_)) {
                wipe(source, names);
            }
        })
    })?;
    if is_linked(names) {
        return own_place::settle(source, names);
    }
    let message =
        format!("`{}` and `{}` do not name each other", names.path.display(), names.admin.display());
    Err(WorktreeError::new(WorktreeErrorKind::Io, message))
}

fn by_libgit2(handles: &Handles, repo: &Repository, names: &Names) -> Result<(), WorktreeError> {
    let failed = |error: git2::Error| WorktreeError::git("make the worktree", &names.path, &error);
    let id = Oid::from_str(&names.base).map_err(failed)?;
    repo.reference(&names.reference, id, false, "hob: worktree of a session").map_err(failed)?;
    entry::make(names)?;
    let fill = || {
        let files = handles.open(&names.path)?;
        // Attributes that are not on the disk yet are read from the index.
        let mut index = files.index()?;
        index.read_tree(&files.find_commit(id)?.tree()?)?;
        index.write()?;
        files.checkout_head(Some(CheckoutBuilder::new().force()))
    };
    fill().map_err(failed)
}

fn by_program(source: &Source<'_>, names: &Names) -> Result<(), WorktreeError> {
    if let Err(obstacle) = obstacles::in_entries(&source.common_dir) {
        return without_others(source, names, obstacle);
    }
    let branch = names.reference.trim_start_matches("refs/heads/");
    let options =
        ["worktree", "add", "--quiet", "--no-track", "--no-guess-remote", "--lock", "--reason", LOCK_REASON];
    let has_keys = entry::has_keys(&source.common_dir);
    let checkout: &[&str] = if has_keys { &["--no-checkout"] } else { &[] };
    let mut call = source.call(&[&options[..], checkout, &["-b", branch, "--"]].concat());
    call.args.push(names.path.clone().into_os_string());
    call.args.push(names.base.clone().into());
    call.timeout = CHECKOUT_TIMEOUT;
    call.file_system = source.handles.own().settings();
    let git = source.program()?;
    git.run(&call)?;
    if has_keys {
        // Without them no file can be written.
        entry::link_keys(&source.common_dir, &names.admin)?;
        git.run(&check_out(source, names))?;
    }
    Ok(())
}

/// Writes every file of the commit that HEAD is at.
fn check_out<'a>(source: &'a Source<'_>, names: &'a Names) -> Call<'a> {
    let mut call = source.call_in(&names.path, &["reset", "--hard", "--quiet"]);
    call.timeout = CHECKOUT_TIMEOUT;
    call
}

/// The same where git would wait for another worktree. What `git worktree add` does for these settings
/// is not done here, so with one of them the obstacle stands.
fn without_others(source: &Source<'_>, names: &Names, obstacle: WorktreeError) -> Result<(), WorktreeError> {
    let git = source.program()?;
    for setting in ["core.sparseCheckout", "extensions.worktreeConfig", "extensions.refStorage"] {
        if git.probe(&source.call(&["config", "--get", setting]))?.is_some() {
            return Err(obstacle);
        }
    }
    git.run(&source.call(&["update-ref", &names.reference, &names.base, ""]))?;
    entry::make(names)?;
    entry::link_keys(&source.common_dir, &names.admin)?;
    git.run(&check_out(source, names)).map(drop)
}

/// What came into a new worktree beside what git has.
struct Filled {
    notices: Vec<String>,
    copied: Vec<PathBuf>,
    lacking: Vec<PathBuf>,
}

/// The user's changes, and the files that are to be copied.
fn fill(
    inner: &Inner,
    source: &Source<'_>,
    names: &Names,
    changes: Option<&Changes>,
) -> Result<Filled, WorktreeError> {
    let mut notices = Vec::new();
    let lacking = lacking::files(source, &names.path)?;
    notices.extend(lacking::notice(&lacking));
    if let Some(changes) = changes {
        // What a merge wrote is on no ref, and another git may prune it meanwhile.
        again(TRIES_MAX, || carry(source, names, changes))?;
        notices.extend(changes.notice());
    }
    let submodules = source.submodules(&names.path)?;
    if !submodules.is_empty() {
        notices.push(format!(
            "submodules are not initialised in the worktree: {} (git submodule update --init)",
            shown(&submodules)
        ));
    }
    let tracked = || {
        let mut tracked = source.tracked(&source.top)?;
        tracked.extend(source.tracked(&names.path)?);
        Ok(tracked)
    };
    let mut included = copy_included(&(inner.copy)(), &source.top, &names.path, tracked)?;
    notices.append(&mut included.notices);
    Ok(Filled { notices, copied: included.copied, lacking })
}

fn carry(source: &Source<'_>, names: &Names, changes: &Changes) -> Result<(), WorktreeError> {
    if source.tree_of("HEAD")? == source.tree_of(&names.base)? {
        changes.apply(source, &names.path)
    } else {
        merge(source, changes, &names.base, &names.path)
    }
}

fn finish(
    names: &Names,
    branch: &str,
    common_dir: PathBuf,
    filled: Filled,
) -> Result<Created, WorktreeError> {
    let io = |error: std::io::Error| WorktreeError::io("look at", &names.path, &error);
    write_mark(&names.admin, &fresh_mark())?;
    Ok(Created {
        path: names.path.clone(),
        branch: branch.to_owned(),
        base_commit: names.base.clone(),
        common_dir,
        identity: Identity::of(&names.path, &names.admin).map_err(io)?,
        notices: filled.notices,
        copied: filled.copied,
        lacking: filled.lacking,
        seal: seal(&names.path).map_err(io)?,
    })
}

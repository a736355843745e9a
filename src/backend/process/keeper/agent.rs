//! Starts the agent from within the keeper.
//!
//! **Invariant:** the agent has the descriptors 0, 1 and 2 and no other, its own process group,
//! default signal dispositions, nothing blocked, no core files, the limit of descriptors that the
//! daemon was started with, and the mark.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::SigSet;
use nix::unistd::{Pid, chdir};

use super::super::descriptors;
use super::super::mark;
use super::super::procfs::Stat;
use super::super::talk::{Go, Report, Stage};

/// How much sooner than the daemon an agent is chosen when memory runs out.
const OOM_SCORE_MORE: i32 = 500;
/// The highest score there is.
const OOM_SCORE_MAX: i32 = 1000;
/// Where the score is read and written.
const OOM_SCORE: &str = "/proc/self/oom_score_adj";

/// An agent that runs.
pub(super) struct Agent {
    /// Its number, and that of its process group.
    pub(super) pid: i32,
    /// What to tell the daemon.
    pub(super) report: Report,
}

/// Why it does not run.
pub(super) struct NotStarted {
    stage: Stage,
    errno: Errno,
}

impl NotStarted {
    fn at(stage: Stage) -> impl Fn(Errno) -> Self {
        move |errno| Self { stage, errno }
    }

    /// What to tell the daemon.
    pub(super) fn report(&self) -> Report {
        Report::Failed { stage: self.stage, errno: self.errno as i32 }
    }
}

/// Starts what `go` says, with the three descriptors as its stdin, stdout and stderr.
pub(super) fn start(go: Go, stdio: &[OwnedFd; 3]) -> Result<Agent, NotStarted> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(NotStarted::at(Stage::Setup))?;
    if go.descriptors > 0 {
        descriptors::limit(go.descriptors);
    }
    let marked = mark::set_own(go.installation, go.attempt).is_some();
    let mut env = go.env;
    if !marked {
        let mark = mark::Mark { installation: go.installation, attempt: go.attempt, depth: 0 };
        env.push(format!("{}={}", mark::ENVIRONMENT, mark.to_text()).into_bytes());
    }
    let strings = Strings::new(go.args, env).map_err(NotStarted::at(Stage::Setup))?;

    chdir(OsStr::from_bytes(&go.cwd)).map_err(NotStarted::at(Stage::Cwd))?;
    let score = raise_oom_score();
    let started = execute(OsStr::from_bytes(&go.program), &strings, stdio);
    if let Some(score) = score {
        // The keeper has to outlive its agent. Not being able to go back costs only that.
        fs::write(OOM_SCORE, score.to_string()).ok();
    }
    // A keeper that stayed there would keep the directory from being removed.
    chdir("/").ok();

    let pid = started.map_err(NotStarted::at(Stage::Program))?.as_raw();
    let start_time = Stat::of(pid).map_or(0, |stat| stat.start_time);
    Ok(Agent { pid, report: Report::Started { pid, start_time, marked } })
}

struct Strings {
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Strings {
    fn new(args: Vec<Vec<u8>>, env: Vec<Vec<u8>>) -> Result<Self, Errno> {
        let all = |fields: Vec<Vec<u8>>| {
            fields.into_iter().map(CString::new).collect::<Result<_, _>>().map_err(|_| Errno::EINVAL)
        };
        Ok(Self { args: all(args)?, env: all(env)? })
    }
}

/// `posix_spawn` rather than a search by name: a file without a known format is an error here, and
/// not a shell script by default.
fn execute(program: &OsStr, strings: &Strings, stdio: &[OwnedFd; 3]) -> Result<Pid, Errno> {
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    attributes.set_pgroup(Pid::from_raw(0))?;
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_sigmask(&SigSet::empty())?;
    let mut actions = PosixSpawnFileActions::init()?;
    for (fd, as_number) in stdio.iter().zip(0..) {
        actions.add_dup2(fd.as_raw_fd(), as_number)?;
    }
    posix_spawn(program, &actions, &attributes, &strings.args, &strings.env)
}

/// Raises the keeper's own score, for the agent to inherit, and says what it was.
fn raise_oom_score() -> Option<i32> {
    let before: i32 = fs::read_to_string(OOM_SCORE).ok()?.trim().parse().ok()?;
    let raised = (before + OOM_SCORE_MORE).min(OOM_SCORE_MAX);
    write_score(raised).ok().map(|()| before)
}

fn write_score(score: i32) -> io::Result<()> {
    fs::write(OOM_SCORE, score.to_string())
}

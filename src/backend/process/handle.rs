//! What the daemon holds of a process that it started: the request, the pipes, and the handle that
//! ends the tree.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::sync::watch;

/// What to start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpawnRequest {
    /// What it is, for a person.
    pub label: String,
    /// The agent's configured name.
    pub agent: Option<String>,
    /// The chat.
    pub chat: Option<String>,
    /// The program: an absolute path, or [`Spawner::own_program`](super::Spawner::own_program).
    pub program: PathBuf,
    /// What the program is told its name is; its path if `None`.
    pub arg0: Option<String>,
    /// The arguments, without the program's name.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// The directory that it starts in.
    pub cwd: PathBuf,
    /// From TERM to KILL when a stop is ordered.
    pub stop_grace: Duration,
    /// It is a command of the person's own, as a hook is, and speaks to the daemon as the person does.
    pub is_persons: bool,
}

impl SpawnRequest {
    pub(super) fn argv(&self) -> Vec<Vec<u8>> {
        let name = match &self.arg0 {
            Some(name) => name.clone().into_bytes(),
            None => self.program.as_os_str().as_bytes().to_vec(),
        };
        std::iter::once(name).chain(self.args.iter().map(|arg| arg.clone().into_bytes())).collect()
    }

    pub(super) fn environment(&self) -> Vec<Vec<u8>> {
        self.env.iter().map(|(name, value)| format!("{name}={value}").into_bytes()).collect()
    }
}

/// A process that runs, with our ends of its pipes.
#[derive(Debug)]
pub struct Process {
    /// The agent's own process, not its keeper's.
    pub pid: u32,
    /// What it reads.
    pub stdin: pipe::Sender,
    /// What it writes.
    pub stdout: pipe::Receiver,
    /// What it complains.
    pub stderr: pipe::Receiver,
    /// Ends it; when the last clone is dropped, the tree is ended too.
    pub handle: ProcessHandle,
}

/// How a process ended. Both are `None` if nobody could tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RawExit {
    /// The exit code, if it exited.
    pub code: Option<i32>,
    /// The number of the signal, if one ended it.
    pub signal: Option<i32>,
}

/// Ends a process tree, and tells of its end. When the last clone is dropped, the tree is ended
/// with the grace for orphans.
#[derive(Debug, Clone)]
pub struct ProcessHandle {
    wish: Arc<watch::Sender<Wish>>,
    exit: watch::Receiver<Option<RawExit>>,
    gone: watch::Receiver<bool>,
}

/// What the holders of a handle want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    /// Nothing yet.
    None,
    /// TERM, the grace, KILL.
    Stop,
    /// KILL.
    StopNow,
    /// Nobody holds a handle any more.
    Dropped,
}

/// The other end of the handles.
pub(super) struct Wishes {
    wish: watch::Receiver<Wish>,
    exit: watch::Sender<Option<RawExit>>,
    gone: watch::Sender<bool>,
}

impl ProcessHandle {
    pub(super) fn new() -> (Self, Wishes) {
        let (wish, wished) = watch::channel(Wish::None);
        let (exited, exit) = watch::channel(None);
        let (is_gone, gone) = watch::channel(false);
        let handle = Self { wish: Arc::new(wish), exit, gone };
        (handle, Wishes { wish: wished, exit: exited, gone: is_gone })
    }

    /// Asks for the end of the whole tree: TERM, the grace, KILL; or KILL at once with `now`. A
    /// second call can only hasten it.
    pub fn stop(&self, now: bool) {
        let wish = if now { Wish::StopNow } else { Wish::Stop };
        self.wish.send_if_modified(|before| {
            let more = wish > *before;
            *before = wish.max(*before);
            more
        });
    }

    /// Resolves when the agent itself has ended, whatever of its tree lives on for a moment.
    pub async fn exited(&self) -> RawExit {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(exit) => (*exit).unwrap_or_default(),
            // The runtime is ending, and with it the daemon's end of the control pipe.
            Err(_) => RawExit::default(),
        }
    }

    /// Resolves when nothing is left of the tree and the ledger knows it.
    pub async fn gone(&self) {
        let mut gone = self.gone.clone();
        gone.wait_for(|gone| *gone).await.ok();
    }
}

impl Wishes {
    pub(super) fn subscribe(&self) -> watch::Receiver<Wish> {
        let mut wish = self.wish.clone();
        // One that was made before anybody listened is news all the same.
        if *wish.borrow() != Wish::None {
            wish.mark_changed();
        }
        wish
    }

    /// The first answer counts.
    pub(super) fn exited(&self, exit: RawExit) {
        self.exit.send_if_modified(|known| {
            let news = known.is_none();
            *known = known.or(Some(exit));
            news
        });
    }

    pub(super) fn gone(&self) {
        self.gone.send_replace(true);
    }
}

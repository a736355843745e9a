//! The one place where processes begin: a thread that starts keepers, and the daemon's view of it.
//!
//! **Invariant:** the thread lives as long as the daemon does; it starts keepers with
//! `posix_spawn` (an absolute path, no hook before exec, no change of user), and drops what it
//! holds of the keeper's end of the control pipe at once, or no end of file would ever come.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::error::SpawnError;
use super::kin::Kin;
use super::ledger::Ledger;
use super::mark;
use super::procfs;
use super::supervise::{self, Keeper};
use super::sweep::{self, Prey, SweepReport};
use super::talk::{Order, Report};
use super::{Process, SpawnRequest};

/// How long the trial keeper at the start may take.
const PROBE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the end of the daemon waits for processes that it has let go.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(20);
/// The name that a keeper is started under.
const KEEPER_ARG0: &str = "hobd";
/// What runs the very program that a keeper is, from within a keeper.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Which program the keepers are.
#[derive(Debug, Clone)]
pub enum KeeperProgram {
    /// The running program itself, by a descriptor of it: an upgrade on disk cannot mix versions.
    Own(Arc<OwnedFd>),
    /// The program at this absolute path: for tests that run the daemon as a library.
    Path(PathBuf),
}

impl KeeperProgram {
    /// The running program itself. Call it at the start.
    ///
    /// # Errors
    /// If `/proc` is not there.
    pub fn own() -> io::Result<Self> {
        Ok(Self::Own(Arc::new(File::open(OWN_PROGRAM)?.into())))
    }

    /// Where the program lies on the disk, for those who start it later.
    ///
    /// # Errors
    /// If `/proc` does not tell.
    pub fn file(&self) -> io::Result<PathBuf> {
        match self {
            // A program that was replaced meanwhile is the right one for whoever begins then.
            #[expect(clippy::disallowed_methods, reason = "what lies there when it is started is wanted")]
            Self::Own(_) => std::env::current_exe(),
            Self::Path(path) => Ok(path.clone()),
        }
    }

    /// The path to execute; it holds for as long as this does.
    fn path(&self) -> PathBuf {
        match self {
            Self::Own(file) => PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())),
            Self::Path(path) => path.clone(),
        }
    }
}

/// What a spawner is made of.
pub struct SpawnerOptions {
    /// Which program the keepers are.
    pub keeper: KeeperProgram,
    /// What is remembered of processes.
    pub ledger: Arc<dyn Ledger>,
    /// From TERM to KILL when the daemon is gone.
    pub orphan_grace: Duration,
    /// Keepers keep the daemon's stderr, so that their troubles are seen.
    pub debug: bool,
}

/// Starts agents under keepers, and sweeps. Cheap to clone.
#[derive(Clone)]
pub struct Spawner(Arc<Inner>);

pub(super) struct Inner {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) installation: u32,
    pub(super) boot_id: String,
    pub(super) orphan_grace: Duration,
    pub(super) kin: Kin,
    jobs: mpsc::Sender<Job>,
    ended: watch::Receiver<()>,
    live: watch::Sender<BTreeSet<u32>>,
    closing: watch::Sender<bool>,
}

/// A keeper to start; the answer goes to whoever asked.
struct Job(oneshot::Sender<io::Result<(Child, UnixStream)>>);

impl Spawner {
    /// Starts the thread and tries a keeper, which also tells whether the mark holds here.
    ///
    /// # Errors
    /// If the ledger cannot be read, or no keeper can be started.
    pub async fn start(options: SpawnerOptions) -> Result<Self, SpawnError> {
        let SpawnerOptions { keeper, ledger, orphan_grace, debug } = options;
        let installation = ledger
            .installation()
            .await
            .map_err(|error| SpawnError::other("read the number of the installation", error))?;
        let boot_id = procfs::boot_id().map_err(|error| SpawnError::other("read the boot id", error))?;
        let kin =
            Kin::remember().map_err(|error| SpawnError::other("read the limits of this process", error))?;
        let (jobs, queue) = mpsc::channel();
        let (alive, ended) = watch::channel(());
        thread::Builder::new()
            .name("hob-spawner".to_owned())
            .spawn(move || {
                // Dropped when the thread ends, however it ends.
                let _alive = alive;
                work(&keeper, debug, &queue);
            })
            .map_err(|error| SpawnError::other("start the spawner's thread", error))?;
        let inner = Inner {
            ledger,
            installation,
            boot_id,
            orphan_grace,
            kin,
            jobs,
            ended,
            live: watch::Sender::default(),
            closing: watch::Sender::default(),
        };
        if !inner.probe().await? {
            inner.kin.is_unmarked();
        }
        Ok(Self(Arc::new(inner)))
    }

    /// Starts a program under a keeper of its own. If the future is dropped, so is the process.
    ///
    /// # Errors
    /// Why the program could not be started; nothing of it is left then.
    pub async fn spawn(&self, request: SpawnRequest) -> Result<Process, SpawnError> {
        let (ready, answer) = oneshot::channel();
        // On its own: given up half-way, the start must still be settled in the ledger.
        tokio::spawn(supervise::supervise(Arc::clone(&self.0), request, ready));
        answer
            .await
            .unwrap_or_else(|_| Err(SpawnError::other("start the agent", "the daemon's runtime is ending")))
    }

    /// Ends everything that earlier daemons of this installation left behind, and settles it in
    /// the ledger. What this spawner has started itself is left alone. Where the ledger fails,
    /// what can be found by the mark is ended all the same, and the rest is left to the next sweep.
    pub async fn sweep(&self) -> SweepReport {
        let rows = self.0.ledger.open().await.unwrap_or_else(|error| {
            tracing::error!(%error, "the ledger of processes cannot be read");
            Vec::new()
        });
        let mut prey = self.0.prey(None);
        // The daemon before may have run where the limit could not carry the mark.
        prey.in_environment = true;
        prey.know(&rows, &self.0.boot_id);
        let spared = prey.spared.clone();
        let report = self.0.hunt(prey).await;
        for row in rows.iter().filter(|row| !spared.contains(&row.attempt)) {
            if report.left.iter().any(|left| left.is_of(row)) {
                continue;
            }
            let detail = "ended by the sweep at the start of the daemon".to_owned();
            if let Err(error) = self.0.ledger.ended(row.attempt, detail).await {
                tracing::error!(attempt = row.attempt, %error, "the end of a process could not be recorded");
            }
        }
        report
    }

    /// Starts nothing more, lets go of what still runs, and resolves when nothing is left of it
    /// and the ledger knows (or after a bound, when something hangs in the kernel).
    pub async fn close(&self) {
        self.0.closing.send_replace(true);
        let mut live = self.0.live.subscribe();
        if tokio::time::timeout(CLOSE_TIME_MAX, live.wait_for(BTreeSet::is_empty)).await.is_err() {
            tracing::warn!(left = ?*self.0.live.borrow(), "some processes did not end in time");
        }
    }

    /// Tells whose processes are.
    pub fn kin(&self) -> &Kin {
        &self.0.kin
    }

    /// The number of this installation, as it is in every mark.
    pub fn installation(&self) -> u32 {
        self.0.installation
    }

    /// What [`SpawnRequest::program`] has to be for an agent that is this very program. It means
    /// the keeper's own executable, so it is right only there, and holds through an upgrade on
    /// disk.
    pub fn own_program(&self) -> PathBuf {
        PathBuf::from(OWN_PROGRAM)
    }

    /// Resolves when no process can be started any more, and says why.
    pub async fn failed(&self) -> String {
        let mut ended = self.0.ended.clone();
        // Nothing is ever sent: the only change is the end of the thread.
        while ended.changed().await.is_ok() {}
        "the thread that starts processes has ended".to_owned()
    }
}

impl Inner {
    /// Has the thread start a keeper.
    pub(super) async fn launch_keeper(&self) -> io::Result<Keeper> {
        let gone = || io::Error::other("the thread that starts processes has ended");
        let (answer, started) = oneshot::channel();
        self.jobs.send(Job(answer)).map_err(|_| gone())?;
        let (child, control) = started.await.map_err(|_| gone())??;
        Keeper::new(child, control)
    }

    /// What a sweep is to end.
    pub(super) fn prey(&self, attempt: Option<u32>) -> Prey {
        let spared = if attempt.is_none() { self.live.borrow().clone() } else { BTreeSet::new() };
        Prey {
            installation: self.installation,
            attempt,
            spared,
            known: Default::default(),
            in_environment: !self.kin.is_marked(),
        }
    }

    /// Sweeps, where blocking is allowed.
    pub(super) async fn hunt(&self, prey: Prey) -> SweepReport {
        match tokio::task::spawn_blocking(move || sweep::sweep(&prey)).await {
            Ok(report) => report,
            Err(error) => {
                tracing::error!(%error, "a sweep broke off");
                SweepReport::default()
            }
        }
    }

    /// Notes that a start is alive. False if none may begin any more.
    pub(super) fn begin(&self, attempt: u32) -> bool {
        self.live.send_modify(|live| _ = live.insert(attempt));
        // Asked last: whoever closes waits for what was noted before.
        !*self.closing.borrow()
    }

    /// Notes that nothing is left of a start, and the ledger knows.
    pub(super) fn finish(&self, attempt: u32) {
        self.kin.let_go(attempt);
        self.live.send_modify(|live| _ = live.remove(&attempt));
    }

    /// Resolves when everything has to be let go.
    pub(super) async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        closing.wait_for(|closing| *closing).await.ok();
    }

    /// Whether a keeper can mark itself so that we can read it.
    async fn probe(&self) -> Result<bool, SpawnError> {
        let failed = |error| SpawnError::other("start a keeper", error);
        let mut keeper = self.launch_keeper().await.map_err(failed)?;
        let asked = async {
            keeper.tell(&Order::Probe { installation: self.installation }, &[]).await?;
            keeper.hear().await
        };
        let answer = tokio::time::timeout(PROBE_TIME_MAX, asked).await;
        let read = mark::read(keeper.pid());
        keeper.end().await;
        match answer {
            Ok(Ok(Some(Report::Probed { marked }))) => {
                Ok(marked && read.is_some_and(|mark| mark.installation == self.installation))
            }
            Ok(Ok(_)) => Err(failed(io::Error::other("it ended without an answer"))),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(failed(io::ErrorKind::TimedOut.into())),
        }
    }
}

/// The thread's whole life. It ends with the last spawner.
fn work(keeper: &KeeperProgram, debug: bool, queue: &mpsc::Receiver<Job>) {
    while let Ok(Job(answer)) = queue.recv() {
        // Nobody waits any more: the keeper's control pipe closes, and it ends.
        answer.send(launch(keeper, debug)).ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one spawner")]
fn launch(keeper: &KeeperProgram, debug: bool) -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    // The keeper's environment is readable by its agent, so it gets none.
    let child = Command::new(keeper.path())
        .arg0(KEEPER_ARG0)
        .arg("keeper")
        .arg(std::process::id().to_string())
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(if debug { Stdio::inherit() } else { Stdio::null() })
        .spawn()?;
    Ok((child, ours))
}

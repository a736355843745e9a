//! The life of one start, as the daemon sees it: the spawn protocol, the news of the keeper, and
//! what is done when the keeper itself is lost.
//!
//! ```text
//! attempt committed ─▶ keeper spawned ─▶ identity committed ─▶ "go" ─▶ started ─▶ exited ─▶ empty
//! ```
//! **Invariant:** whatever happens after the keeper was spawned, it is waited for, and the ledger
//! learns the end; an agent is never started before the ledger knows its keeper.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, killpg};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::unistd::{Pid, pipe2};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::descriptors;
use super::error::SpawnError;
use super::handle::{Process, ProcessHandle, RawExit, SpawnRequest, Wish, Wishes};
use super::kin::Start;
use super::ledger::NewAttempt;
use super::procfs::Stat;
use super::spawner::Inner;
use super::talk::{Go, Order, Report, Unframer};
use crate::sys;

/// From "go" to the keeper's answer; entering a directory may hang on a dead network disk.
const GO_TIME_MAX: Duration = Duration::from_secs(20);
/// How long a keeper may take over its graces before it is killed. More than it gives a process
/// that hangs in the kernel.
const KEEPER_PATIENCE: Duration = Duration::from_secs(15);
/// The same when it was told to skip the grace, or to give up a start.
const KEEPER_PATIENCE_NOW: Duration = Duration::from_secs(5);
/// Bytes read from a control pipe at once; reports are short.
const READ_BYTES: usize = 1024;

/// A keeper as a child of this process.
pub(super) struct Keeper {
    child: Child,
    process: AsyncFd<OwnedFd>,
    control: UnixStream,
    inbox: Unframer,
}

impl Keeper {
    /// Takes over a child that nobody has waited for yet.
    pub(super) fn new(child: Child, control: std::os::unix::net::UnixStream) -> io::Result<Self> {
        let process = sys::pidfd_open(child.id().cast_signed())?;
        control.set_nonblocking(true)?;
        Ok(Self {
            child,
            process: sys::awaitable(process)?,
            control: UnixStream::from_std(control)?,
            inbox: Unframer::default(),
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives an order, and descriptors with its first byte.
    pub(super) async fn tell(&mut self, order: &Order, fds: &[OwnedFd]) -> io::Result<()> {
        let frame = order.encode()?;
        let mut sent = 0;
        if !fds.is_empty() {
            let numbers: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
            let control = &self.control;
            sent = control
                .async_io(Interest::WRITABLE, || {
                    let with = [ControlMessage::ScmRights(&numbers)];
                    let bytes = [io::IoSlice::new(&frame)];
                    let flags = MsgFlags::MSG_NOSIGNAL;
                    Ok(sendmsg::<()>(control.as_raw_fd(), &bytes, &with, flags, None)?)
                })
                .await?;
        }
        self.control.write_all(frame.get(sent..).unwrap_or_default()).await
    }

    /// The next report; `None` if the keeper has closed its end. May be given up at any time.
    pub(super) async fn hear(&mut self) -> io::Result<Option<Report>> {
        loop {
            if let Some(report) = self.inbox.report()? {
                return Ok(Some(report));
            }
            let mut bytes = [0; READ_BYTES];
            let length = self.control.read(&mut bytes).await?;
            if length == 0 {
                return Ok(None);
            }
            self.inbox.push(bytes.get(..length).unwrap_or_default());
        }
    }

    /// Lets go: the keeper ends what it holds within the shorter grace.
    async fn let_go(&mut self) {
        self.control.shutdown().await.ok();
    }

    /// Lets go and waits for the end, killing the keeper if it takes too long.
    pub(super) async fn end(mut self) {
        self.let_go().await;
        if timeout(KEEPER_PATIENCE_NOW, self.process.readable()).await.is_err() {
            self.kill();
        }
        self.collect().await;
    }

    /// Ends the keeper itself. Its number is its own until it was waited for.
    fn kill(&mut self) {
        self.child.kill().ok();
    }

    /// Waits for the keeper to be dead, and for nothing else.
    async fn collect(&mut self) {
        // Readable only once the process has ended, so the wait returns at once.
        if self.process.readable().await.is_ok() {
            self.child.try_wait().ok();
        }
    }
}

/// What a start leads to.
struct Running {
    keeper: Keeper,
    agent: i32,
    /// `None` if it had ended and was collected before we looked.
    agent_process: Option<OwnedFd>,
}

/// Our ends of the agent's pipes.
struct Pipes {
    stdin: pipe::Sender,
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
}

/// Starts an agent, tells whoever waits, and stays until nothing is left of it.
pub(super) async fn supervise(
    inner: Arc<Inner>,
    request: SpawnRequest,
    ready: oneshot::Sender<Result<Process, SpawnError>>,
) {
    let attempt =
        NewAttempt { label: request.label.clone(), agent: request.agent.clone(), chat: request.chat.clone() };
    let attempt = match inner.ledger.attempt(attempt).await {
        Ok(attempt) => attempt,
        Err(error) => {
            ready.send(Err(SpawnError::other("record the start", error))).ok();
            return;
        }
    };
    if !inner.begin(attempt) {
        record_end(&inner, attempt, "not started: the daemon is stopping".to_owned()).await;
        ready.send(Err(SpawnError::other("start the agent", "the daemon is stopping"))).ok();
        return;
    }
    // The record always comes first: whoever hears of an end may rely on it.
    match start(&inner, attempt, &request).await {
        Ok((running, pipes)) => {
            let (handle, wishes) = ProcessHandle::new();
            let Pipes { stdin, stdout, stderr } = pipes;
            let pid = running.agent.cast_unsigned();
            ready.send(Ok(Process { pid, stdin, stdout, stderr, handle })).ok();
            let detail = stay(&inner, attempt, running, &wishes, request.stop_grace).await;
            crash_point!("agent.gone");
            record_end(&inner, attempt, detail).await;
            wishes.gone();
        }
        Err(error) => {
            record_end(&inner, attempt, format!("not started: {error}")).await;
            ready.send(Err(error)).ok();
        }
    }
}

async fn record_end(inner: &Inner, attempt: u32, detail: String) {
    if let Err(error) = inner.ledger.ended(attempt, detail).await {
        // The row stays open, and the next start of the daemon sweeps it.
        tracing::warn!(attempt, %error, "the end of a process could not be recorded");
    }
    inner.finish(attempt);
}

/// The spawn protocol.
async fn start(inner: &Inner, attempt: u32, request: &SpawnRequest) -> Result<(Running, Pipes), SpawnError> {
    let go = Order::Go(Box::new(Go {
        installation: inner.installation,
        attempt,
        stop_grace: request.stop_grace,
        orphan_grace: inner.orphan_grace,
        descriptors: descriptors::for_agents().unwrap_or(0),
        cwd: request.cwd.as_os_str().as_bytes().to_vec(),
        program: request.program.as_os_str().as_bytes().to_vec(),
        args: request.argv(),
        env: request.environment(),
    }));
    let (pipes, theirs) = pipes().map_err(limited("make the agent's pipes"))?;
    let mut keeper = inner.launch_keeper().await.map_err(limited("start a keeper"))?;
    crash_point!("keeper.spawned");
    let pid = keeper.pid();
    let started = async {
        let born = Stat::of(pid.cast_signed())
            .ok_or_else(|| SpawnError::other("start a keeper", "it ended at once"))?;
        let recorded = inner.ledger.spawned(attempt, pid, born.start_time, inner.boot_id.clone()).await;
        recorded.map_err(|error| SpawnError::other("record the keeper", error))?;
        inner.kin.hold(pid, born.start_time, Start { attempt, is_persons: request.is_persons });
        keeper.tell(&go, &theirs).await.map_err(limited("reach the keeper"))?;
        drop(theirs);
        crash_point!("go.sent");
        hear_of_start(inner, &mut keeper, request).await
    }
    .await;
    let (agent, start_time) = match started {
        Ok(agent) => agent,
        Err(error) => {
            give_up(inner, attempt, keeper).await;
            return Err(error);
        }
    };
    if let Err(error) = inner.ledger.agent(attempt, agent.cast_unsigned(), start_time).await {
        give_up(inner, attempt, keeper).await;
        return Err(SpawnError::other("record the agent", error));
    }
    crash_point!("agent.recorded");
    let agent_process = sys::pidfd_open(agent)
        .ok()
        .filter(|_| Stat::of(agent).is_some_and(|stat| stat.start_time == start_time));
    Ok((Running { keeper, agent, agent_process }, pipes))
}

/// A failed start: nothing of it may be left.
async fn give_up(inner: &Inner, attempt: u32, keeper: Keeper) {
    keeper.end().await;
    inner.hunt(inner.prey(Some(attempt))).await;
}

fn limited(action: &'static str) -> impl Fn(io::Error) -> SpawnError {
    move |error| match error.raw_os_error() {
        Some(libc::E2BIG | libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => {
            SpawnError::Limit(error)
        }
        _ => SpawnError::other(action, error),
    }
}

async fn hear_of_start(
    inner: &Inner,
    keeper: &mut Keeper,
    request: &SpawnRequest,
) -> Result<(i32, u64), SpawnError> {
    let failed = |error: io::Error| SpawnError::other("hear of the agent's start", error);
    match timeout(GO_TIME_MAX, keeper.hear()).await {
        Ok(Ok(Some(Report::Started { pid, start_time, marked }))) => {
            if !marked {
                inner.kin.is_unmarked();
            }
            Ok((pid, start_time))
        }
        Ok(Ok(Some(Report::Failed { stage, errno }))) => {
            Err(SpawnError::from_keeper(stage, errno, &request.program, &request.cwd))
        }
        Ok(Ok(_)) => Err(failed(io::Error::other("the keeper ended before it told"))),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(failed(io::ErrorKind::TimedOut.into())),
    }
}

/// Our ends do not block; the agent's do, as programs expect it.
fn pipes() -> io::Result<(Pipes, [OwnedFd; 3])> {
    let (agent_in, our_in) = pipe2(OFlag::O_CLOEXEC)?;
    let (our_out, agent_out) = pipe2(OFlag::O_CLOEXEC)?;
    let (our_err, agent_err) = pipe2(OFlag::O_CLOEXEC)?;
    let pipes = Pipes {
        stdin: pipe::Sender::from_owned_fd(our_in)?,
        stdout: pipe::Receiver::from_owned_fd(our_out)?,
        stderr: pipe::Receiver::from_owned_fd(our_err)?,
    };
    Ok((pipes, [agent_in, agent_out, agent_err]))
}

/// Passes news and wishes on until the tree is empty; the answer says how it ended.
async fn stay(
    inner: &Inner,
    attempt: u32,
    running: Running,
    wishes: &Wishes,
    stop_grace: Duration,
) -> String {
    let Running { mut keeper, agent, agent_process } = running;
    let mut wished = wishes.subscribe();
    let mut watched = true;
    let mut deadline: Option<Instant> = None;
    let mut left = Vec::new();
    let empty = loop {
        tokio::select! {
            report = keeper.hear() => match report {
                Ok(Some(Report::Exited { code, signal })) => {
                    wishes.exited(RawExit { code, signal });
                    hurry(&mut deadline, stop_grace + KEEPER_PATIENCE);
                }
                Ok(Some(Report::Left { pids })) => left = pids,
                Ok(Some(Report::Empty)) => break true,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break !left.is_empty(),
            },
            wish = next_wish(inner, &mut wished), if watched => {
                watched = wish != Wish::Dropped;
                let patience = obey(&mut keeper, wish, stop_grace).await;
                hurry(&mut deadline, patience);
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => break false,
        }
    };
    let mut detail = if empty { "ended".to_owned() } else { "the keeper was lost".to_owned() };
    if !empty {
        tracing::warn!(attempt, "a keeper was lost, ending its processes by their mark");
        let killed = end_orphans(inner, attempt, &mut keeper, agent, agent_process.as_ref()).await;
        wishes.exited(killed);
    }
    keeper.collect().await;
    // An agent that was never collected by its keeper, or nothing if it was.
    wishes.exited(RawExit::default());
    if !left.is_empty() {
        tracing::warn!(attempt, ?left, "processes of an agent are not ours to end");
        detail = format!("ended, but for {left:?}");
    }
    detail
}

/// Brings the deadline nearer, never farther.
fn hurry(deadline: &mut Option<Instant>, patience: Duration) {
    let due = Instant::now() + patience;
    *deadline = Some(deadline.map_or(due, |before| before.min(due)));
}

async fn next_wish(inner: &Inner, wished: &mut watch::Receiver<Wish>) -> Wish {
    tokio::select! {
        // A wish comes before the end of wishes.
        biased;
        changed = wished.changed() => match changed {
            Ok(()) => *wished.borrow_and_update(),
            Err(_) => Wish::Dropped,
        },
        () = inner.closed() => Wish::Dropped,
    }
}

/// Passes a wish on; the answer is how long the keeper has for it.
async fn obey(keeper: &mut Keeper, wish: Wish, stop_grace: Duration) -> Duration {
    match wish {
        Wish::Stop | Wish::StopNow => {
            let now = wish == Wish::StopNow;
            // A keeper that does not hear is met by the deadline.
            keeper.tell(&Order::Stop { now }, &[]).await.ok();
            if now { KEEPER_PATIENCE_NOW } else { stop_grace + KEEPER_PATIENCE }
        }
        Wish::None | Wish::Dropped => {
            keeper.let_go().await;
            KEEPER_PATIENCE
        }
    }
}

/// The keeper is dead or deaf: ends what it held, group first, then by the mark.
async fn end_orphans(
    inner: &Inner,
    attempt: u32,
    keeper: &mut Keeper,
    agent: i32,
    agent_process: Option<&OwnedFd>,
) -> RawExit {
    keeper.kill();
    // The signal goes through the descriptor first: if it arrives, the group is still the agent's.
    let alive =
        agent_process.is_some_and(|process| sys::pidfd_kill(process.as_fd(), Signal::SIGKILL).is_ok());
    if alive {
        killpg(Pid::from_raw(agent), Signal::SIGKILL).ok();
    }
    let report = inner.hunt(inner.prey(Some(attempt))).await;
    if !report.left.is_empty() {
        tracing::warn!(attempt, left = ?report.left, "processes of an agent could not be ended");
    }
    RawExit { code: None, signal: alive.then_some(Signal::SIGKILL as i32) }
}

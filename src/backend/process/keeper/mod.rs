//! The keeper: a small process between the daemon and one agent, which holds the agent's whole
//! tree together and ends with it.
//!
//! It is the same program as the daemon, run as the hidden subcommand `keeper`, and branches off
//! before any runtime starts. Its stdin is the control pipe. It waits for "go", starts the agent,
//! and from then on is the parent that every orphan of the tree falls to (a child subreaper), so
//! that no descendant escapes whatever it does with groups, sessions or parents.
//!
//! **Invariant:** one thread; no descriptor but the control pipe, the daemon's pidfd and the
//! signals; it never waits but in `poll`; it ends only when the tree is empty, or when what is left
//! is not ours to end, which it tells.

mod agent;
mod ending;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, chdir, getpid, getppid, setpgid};

use self::ending::{Cause, Graces, Phase};
use super::mark;
use super::procfs::{Stat, Table};
use super::talk::{Go, Order, Report, Unframer};
use crate::sys;

/// What the process is called in `ps`.
pub(super) const NAME: &std::ffi::CStr = c"hob-keeper";
/// Bytes read from the control pipe at once.
const READ_BYTES: usize = 64 << 10;
/// Between two rounds of killing, at first and at most; a death in between cuts it short.
const KILL_PAUSE_MIN: Duration = Duration::from_millis(1);
const KILL_PAUSE_MAX: Duration = Duration::from_millis(100);
/// How long processes that we may not signal are waited for once everything else is dead.
const DENIED_WAIT: Duration = Duration::from_secs(1);
/// How long a killed process may take to end (one that hangs in the kernel may never).
const KILL_TIME_MAX: Duration = Duration::from_secs(10);
/// The exit code when the keeper could not do its job (EX_OSERR).
const EXIT_FAILED: i32 = 71;
/// The exit code when it was not a daemon that started it (EX_USAGE).
const EXIT_USAGE: i32 = 64;

/// Runs the hidden subcommand `keeper PARENT`. Call it first thing in `main`.
#[expect(clippy::disallowed_methods, reason = "it stands for `main`: nothing is there to be unwound")]
pub fn keeper_main() -> ! {
    let parent = std::env::args().nth(2).and_then(|pid| pid.parse().ok());
    let Some(parent) = parent else {
        eprintln!("error: `keeper` is for the daemon's own use");
        std::process::exit(EXIT_USAGE);
    };
    match Keeper::begin(parent).and_then(Keeper::run) {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("error: the keeper failed: {error}");
            std::process::exit(EXIT_FAILED);
        }
    }
}

/// What a keeper waits on.
struct Keeper {
    control: UnixStream,
    parent: OwnedFd,
    signals: SignalFd,
    inbox: Unframer,
    /// Descriptors that came and were not used yet.
    received: Vec<OwnedFd>,
    /// The daemon is known to be gone, or to have let go.
    alone: bool,
    /// Until the next round of killing.
    pause: Duration,
}

/// What became ready.
struct Ready {
    control: bool,
    parent: bool,
    signals: bool,
}

/// An agent, and where its end stands.
struct Kept {
    agent: i32,
    agent_exited: bool,
    graces: Graces,
    phase: Phase,
}

impl Keeper {
    fn begin(parent: i32) -> io::Result<Self> {
        sys::close_from(3)?;
        let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        let process = sys::pidfd_open(parent)?;
        // Asked after the descriptor is open: had the daemon died before, we would have another.
        if getppid() != Pid::from_raw(parent) {
            return Err(io::Error::other("the daemon is gone"));
        }
        // Blocked rather than ignored: an ignored signal would stay so for the agent.
        SigSet::all().thread_set_mask()?;
        sys::default_disposition(Signal::SIGCHLD)?;
        let awaited = SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM]);
        let signals = SignalFd::with_flags(&awaited, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        prctl::set_child_subreaper(true)?;
        prctl::set_name(NAME)?;
        chdir("/")?;
        Ok(Self {
            control,
            parent: process,
            signals,
            inbox: Unframer::default(),
            received: Vec::new(),
            alone: false,
            pause: KILL_PAUSE_MIN,
        })
    }

    /// Waits for "go"; without one nothing was ever started.
    fn run(mut self) -> io::Result<()> {
        loop {
            while let Some(order) = self.inbox.order()? {
                match order {
                    Order::Probe { installation } => {
                        let marked = mark::set_own(installation, 0).is_some();
                        self.tell(&Report::Probed { marked });
                    }
                    Order::Go(go) => return self.start(*go),
                    Order::Stop { .. } => return Ok(()),
                }
            }
            let ready = self.wait(None)?;
            let told_to_end = ready.signals && self.drain_signals()?;
            self.listen(&ready)?;
            if self.alone || told_to_end {
                return Ok(());
            }
        }
    }

    fn start(mut self, go: Go) -> io::Result<()> {
        let graces = Graces { stop: go.stop_grace, orphan: go.orphan_grace };
        let stdio = <[OwnedFd; 3]>::try_from(std::mem::take(&mut self.received))
            .map_err(|_| io::Error::other("\"go\" came without the agent's three pipes"))?;
        let started = agent::start(go, &stdio);
        drop(stdio);
        match started {
            Ok(agent) => {
                self.tell(&agent.report);
                self.keep(Kept { agent: agent.pid, agent_exited: false, graces, phase: Phase::Running })
            }
            Err(failed) => {
                self.tell(&failed.report());
                Ok(())
            }
        }
    }

    /// Holds the tree until nothing is left of it.
    fn keep(mut self, mut kept: Kept) -> io::Result<()> {
        loop {
            if self.reap(&mut kept)? {
                self.tell(&Report::Empty);
                return Ok(());
            }
            kept.phase = kept.phase.at(Instant::now());
            let pause = match kept.phase {
                Phase::Running => None,
                Phase::Terminating { until } => Some(until.saturating_duration_since(Instant::now())),
                Phase::Killing { since } => {
                    if self.kill_round(since) {
                        return Ok(());
                    }
                    self.pause = (self.pause * 2).min(KILL_PAUSE_MAX);
                    Some(self.pause)
                }
            };
            self.hear(&mut kept, pause)?;
        }
    }

    /// Waits for news and draws the consequences.
    fn hear(&mut self, kept: &mut Kept, pause: Option<Duration>) -> io::Result<()> {
        let ready = self.wait(pause)?;
        if ready.signals && self.drain_signals()? {
            kept.end(Cause::Ordered);
        }
        let was_alone = self.alone;
        // A broken message is as good as a broken pipe.
        let heard = self.listen(&ready);
        while let Some(order) = self.inbox.order().unwrap_or(None) {
            match order {
                Order::Stop { now: false } => kept.end(Cause::Ordered),
                Order::Stop { now: true } => kept.end(Cause::OrderedNow),
                Order::Probe { .. } | Order::Go(_) => {}
            }
        }
        self.alone |= heard.is_err();
        if self.alone && !was_alone {
            kept.end(Cause::DaemonGone);
        }
        Ok(())
    }

    fn wait(&self, pause: Option<Duration>) -> io::Result<Ready> {
        let timeout = match pause {
            None => PollTimeout::NONE,
            // Rounded up: a poll that returns just before its time would spin.
            Some(pause) => {
                PollTimeout::try_from(pause + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if !self.alone {
            fds.push(PollFd::new(self.control.as_fd(), PollFlags::POLLIN));
            fds.push(PollFd::new(self.parent.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |index: usize| fds.get(index).and_then(PollFd::any).unwrap_or(false);
        Ok(Ready { signals: ready(0), control: ready(1), parent: ready(2) })
    }

    /// Takes what the daemon sent; notes if it is gone.
    fn listen(&mut self, ready: &Ready) -> io::Result<()> {
        if ready.control {
            let mut bytes = vec![0; READ_BYTES];
            match sys::receive(self.control.as_fd(), &mut bytes) {
                Ok((0, _)) => self.alone = true,
                Ok((length, fds)) => {
                    self.inbox.push(bytes.get(..length).unwrap_or_default());
                    self.received.extend(fds);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.alone |= ready.parent;
        Ok(())
    }

    /// Empties the queue of signals; true if TERM was among them.
    fn drain_signals(&mut self) -> io::Result<bool> {
        let mut told_to_end = false;
        while let Some(signal) = self.signals.read_signal()? {
            told_to_end |= signal.ssi_signo == Signal::SIGTERM as u32;
        }
        Ok(told_to_end)
    }

    /// Collects the dead. True if no child is left: the tree is empty.
    fn reap(&mut self, kept: &mut Kept) -> io::Result<bool> {
        let had_exited = kept.agent_exited;
        let empty = loop {
            let death = match sys::collect_any_child() {
                Ok(Some(death)) => death,
                Ok(None) => break false,
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => break true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.pause = KILL_PAUSE_MIN;
            if death.pid == kept.agent && !kept.agent_exited {
                kept.agent_exited = true;
                self.tell(&Report::Exited { code: death.code, signal: death.signal });
            }
        };
        if kept.agent_exited && !had_exited && !empty {
            kept.end(Cause::AgentExited);
        }
        Ok(empty)
    }

    /// Kills every descendant. True if there is no more to do: what lives is not ours to end.
    fn kill_round(&mut self, since: Instant) -> bool {
        // Many keepers may do this at once: each looks at its own. What it misses, it meets in the
        // next round.
        let denied = signal_descendants(&Table::below(getpid().as_raw()), Signal::SIGKILL);
        let waited = since.elapsed();
        let is_late = waited > KILL_TIME_MAX;
        if !is_late && (waited <= DENIED_WAIT || denied.is_empty()) {
            return false;
        }
        let alive = living();
        let given_up = is_late || (!alive.is_empty() && alive.is_subset(&denied));
        if given_up {
            self.tell(&Report::Left { pids: alive.into_iter().collect() });
        }
        given_up
    }

    /// Tells the daemon. If it does not hear any more, its pidfd says so.
    fn tell(&mut self, report: &Report) {
        if let Ok(frame) = report.encode() {
            self.control.write_all(&frame).ok();
        }
    }
}

impl Kept {
    /// Enters the next phase, with TERM where it begins.
    fn end(&mut self, cause: Cause) {
        let before = self.phase;
        self.phase = before.after(cause, self.graces, Instant::now());
        let begins = before == Phase::Running && matches!(self.phase, Phase::Terminating { .. });
        if begins && !self.agent_exited {
            let group = Pid::from_raw(self.agent);
            // ESRCH only means that the whole group has just gone.
            killpg(group, Signal::SIGTERM).ok();
            // One that is stopped could not end in an orderly way.
            killpg(group, Signal::SIGCONT).ok();
        }
        if cause == Cause::AgentExited && matches!(self.phase, Phase::Terminating { .. }) {
            // The agent was the one to end its helpers. It is gone: tell them ourselves.
            let table = Table::read();
            signal_descendants(&table, Signal::SIGTERM);
            signal_descendants(&table, Signal::SIGCONT);
        }
    }
}

/// Signals everything below this process; the answer is who may not be signalled by us.
fn signal_descendants(table: &Table, signal: Signal) -> BTreeSet<i32> {
    let below = table.descendants(getpid().as_raw());
    below.into_iter().filter(|stat| is_denied(stat, signal)).map(|stat| stat.pid).collect()
}

/// Signals one process, if it still is the one that was seen. True if that is not permitted.
fn is_denied(seen: &Stat, signal: Signal) -> bool {
    let Ok(process) = sys::pidfd_open(seen.pid) else { return false };
    if Stat::of(seen.pid).is_none_or(|now| now.start_time != seen.start_time) {
        return false;
    }
    sys::pidfd_kill(process.as_fd(), signal).is_err_and(|error| error.raw_os_error() == Some(libc::EPERM))
}

/// Everything below this process that has not ended.
fn living() -> BTreeSet<i32> {
    let table = Table::read();
    let below = table.descendants(getpid().as_raw());
    below.into_iter().filter(|stat| !stat.is_zombie()).map(|stat| stat.pid).collect()
}

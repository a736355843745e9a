//! The daemon as the first process of a container: it inherits every orphan there, and nobody else
//! collects them. So the daemon itself runs as a child, and the first process does nothing but
//! collect what ends and pass signals on. When the daemon ends, it ends with the same exit code, and
//! the kernel ends the rest of the container.

use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// The number of the first process.
pub(super) const PID: u32 = 1;
/// What the daemon listens for.
const PASSED_ON: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
/// Added to the number of the signal that ended the daemon, as a shell does.
const BY_SIGNAL: i32 = 128;
/// The exit code if the daemon cannot be started.
const FAILED: u8 = 1;

/// Runs the daemon in a child with the same arguments, and returns when that has ended.
pub(super) fn run() -> ExitCode {
    match supervise() {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(FAILED)),
        Err(error) => {
            eprintln!("error: the daemon cannot be started as a child of the first process: {error}");
            ExitCode::from(FAILED)
        }
    }
}

fn supervise() -> std::io::Result<i32> {
    let mut signals = SigSet::from_iter(PASSED_ON);
    signals.add(Signal::SIGCHLD);
    // Blocked before there is a child, so that none is lost. The child begins with none blocked.
    signals.thread_block()?;
    let daemon = start()?;
    loop {
        match signals.wait()? {
            Signal::SIGCHLD => {
                if let Some(code) = collect(daemon)? {
                    return Ok(code);
                }
            }
            signal => match kill(daemon, signal) {
                // It has just ended, and that will be told.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(errno.into()),
            },
        }
    }
}

fn start() -> std::io::Result<Pid> {
    #[expect(clippy::disallowed_methods, reason = "a daemon is no agent")]
    let mut command = Command::new("/proc/self/exe");
    let child = command.args(std::env::args_os().skip(1)).spawn()?;
    let pid = i32::try_from(child.id()).map_err(std::io::Error::other)?;
    Ok(Pid::from_raw(pid))
}

/// Collects everything that has ended; the exit code of the daemon if it is among that.
fn collect(daemon: Pid) -> Result<Option<i32>, Errno> {
    let mut code = None;
    loop {
        let ended = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(code),
            ended => ended?,
        };
        match ended {
            WaitStatus::Exited(pid, status) if pid == daemon => code = Some(status),
            WaitStatus::Signaled(pid, signal, _) if pid == daemon => code = Some(BY_SIGNAL + signal as i32),
            _ => {}
        }
    }
}

//! One daemon per state directory: a lock file beside the database, held for the daemon's life.
//!
//! It holds the pid and the path of the socket, a line each, so that a client that was told no
//! socket finds the daemon.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use crate::trust::open_own;

/// How long a lock is waited for that is held and whose holder is dead.
const LET_GO_TIME_MAX: Duration = Duration::from_secs(2);
/// Between two attempts.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Another daemon holds the state directory.
#[derive(Debug, thiserror::Error)]
#[error("a daemon runs here already: pid {pid} holds {}", lock.display())]
pub struct Held {
    /// The lock file.
    pub lock: PathBuf,
    /// What it says of its holder.
    pub pid: String,
}

impl Held {
    /// There is no such process any more.
    fn is_dead(&self) -> bool {
        let pid = self.pid.parse().ok().filter(|pid| *pid > 0).map(Pid::from_raw);
        pid.is_some_and(|pid| kill(pid, None) == Err(Errno::ESRCH))
    }
}

/// The lock of a state directory. Dropping it lets go.
#[derive(Debug)]
pub struct HomeLock {
    // Held, never read: the lock lives as long as the descriptor.
    _file: Flock<File>,
}

impl HomeLock {
    /// Takes the lock, and waits a moment where only the dead hold it: a process that a daemon was
    /// starting when it was killed has its descriptors until it executes its own program.
    ///
    /// # Errors
    /// [`Held`] where another daemon has it.
    pub async fn take_over(lock: &Path, socket: &Path) -> anyhow::Result<Self> {
        let until = Instant::now() + LET_GO_TIME_MAX;
        loop {
            match Self::take(lock, socket) {
                Err(error) if error.downcast_ref().is_some_and(Held::is_dead) && Instant::now() < until => {
                    sleep(LOOK_EVERY).await;
                }
                taken => return taken,
            }
        }
    }

    /// Takes the lock and writes down who holds it.
    ///
    /// # Errors
    /// [`Held`] where another daemon has it.
    pub fn take(lock: &Path, socket: &Path) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = open_own(lock, &mut options)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                let holder = format!("{}\n{}\n", std::process::id(), socket.display());
                let written = file.set_len(0).and_then(|()| file.rewind());
                let written = written.and_then(|()| file.write_all(holder.as_bytes()));
                written.with_context(|| format!("cannot write {}", lock.display()))?;
                Ok(Self { _file: file })
            }
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut text = String::new();
                file.read_to_string(&mut text).ok();
                let pid = text.lines().next().unwrap_or("unknown").to_owned();
                Err(Held { lock: lock.to_owned(), pid }.into())
            }
            Err((_, errno)) => Err(errno).with_context(|| format!("cannot lock {}", lock.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_holder_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hob.lock");
        let first = HomeLock::take(&path, Path::new("/run/hob.sock")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n/run/hob.sock\n", std::process::id()));
        let error = HomeLock::take(&path, Path::new("/run/other.sock")).unwrap_err();
        let held = error.downcast_ref::<Held>().unwrap();
        assert_eq!(held.pid, std::process::id().to_string());
        drop(first);
        // A child that a neighbour forks holds it, too, until it is executed.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while let Err(error) = HomeLock::take(&path, Path::new("/run/other.sock")) {
            assert!(std::time::Instant::now() < until, "{error:#}");
            std::thread::yield_now();
        }
    }

    #[tokio::test]
    async fn what_only_the_dead_hold_is_waited_for_and_what_a_daemon_holds_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (path, socket) = (dir.path().join("hob.lock"), Path::new("/run/hob.sock"));
        let first = HomeLock::take(&path, socket).unwrap();
        let error = HomeLock::take_over(&path, socket).await.unwrap_err();
        assert!(!error.downcast_ref::<Held>().unwrap().is_dead());
        // No process has so high a number.
        std::fs::write(&path, format!("{}\n/run/hob.sock\n", i32::MAX)).unwrap();
        assert!(HomeLock::take(&path, socket).unwrap_err().downcast_ref::<Held>().unwrap().is_dead());
        let (taken, ()) = tokio::join!(HomeLock::take_over(&path, socket), async { drop(first) });
        taken.unwrap();
    }
}

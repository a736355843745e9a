//! Looks at processes from outside, to check what the daemon promises about them.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::backend::process::mark;
use crate::cli::error::CliError;

/// How often it is looked again.
const PAUSE: Duration = Duration::from_millis(5);

/// The installation that the mark of an agent's process names.
pub(super) fn installation_of(pid: u32) -> Option<u32> {
    mark::read(pid).map(|mark| mark.installation)
}

/// Every process that carries the mark of an installation and is alive: agents, their keepers, and
/// whatever they started.
pub(super) fn marked(installation: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| installation_of(*pid) == Some(installation) && is_alive(*pid)).collect()
}

/// Whether a process is there and not a zombie.
pub(super) fn is_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

/// Kills a process as nothing can be killed harder.
pub(super) fn sigkill(pid: u32) -> Result<(), CliError> {
    let raw = Pid::from_raw(pid.cast_signed());
    kill(raw, Signal::SIGKILL).map_err(|error| CliError::failed(format!("cannot kill {pid}: {error}")))
}

/// How long it takes until no marked process is left; the ones that are left at the limit.
pub(super) async fn gone_within(installation: u32, limit: Duration) -> Result<Duration, Vec<u32>> {
    let began = Instant::now();
    loop {
        let left = marked(installation);
        if left.is_empty() {
            return Ok(began.elapsed());
        }
        if began.elapsed() > limit {
            return Err(left);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

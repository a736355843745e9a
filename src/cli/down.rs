//! `hob down`: stops the daemon and returns when its process is gone. It never starts one.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::Outcome;
use super::context::Ctx;
use super::error::{CliError, Exit};

/// How often the process is looked for while it ends.
const PAUSE: Duration = Duration::from_millis(10);

/// What an ordered stop may take besides the drain.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Arguments of `hob down`.
#[derive(Debug, Args)]
pub struct DownArgs {
    /// Let running turns end first, for at most this long
    #[arg(long, value_name = "SECS", conflicts_with = "now")]
    pub drain: Option<u64>,
    /// Skip every grace: agents are killed at once
    #[arg(long)]
    pub now: bool,
}

/// Exit 3 where no daemon runs.
pub async fn run(ctx: &mut Ctx, args: &DownArgs) -> Outcome {
    let mut link = ctx.link_to_holder().await?;
    let pid = link.hello.pid;
    let server = link.server_pid();
    let sign = sign_of_life(server, server.and_then(innermost_pid), pid);
    let mut params = json!({});
    if let Some(seconds) = args.drain {
        params["drain_s"] = json!(seconds);
    }
    if args.now {
        params["now"] = json!(true);
    }
    link.call::<Value>("daemon/shutdown", params).await?;
    // The daemon closes its connections last, so this needs no polling in the common case.
    let limit = STOP_TIMEOUT + Duration::from_secs(args.drain.unwrap_or_default());
    let gone = async {
        while link.event().await.is_ok() {}
        while match sign {
            SignOfLife::Process(pid) => is_alive(pid),
            SignOfLife::Socket => is_answered(&link.socket).await,
        } {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(limit, gone).await.map_err(|_| {
        CliError::new(Exit::TryAgain, format!("hobd (pid {pid}) is still stopping")).hint("hob down --now")
    })?;
    if ctx.globals.json {
        ctx.print(format_args!("{}\n", json!({"pid": pid})))?;
    } else {
        ctx.say(format_args!("hobd is down (pid {pid} is gone)"));
    }
    Ok(Exit::Done)
}

/// By what one sees here whether a daemon still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignOfLife {
    /// This process, by its number here.
    Process(u32),
    /// Its socket: its process cannot be seen.
    Socket,
}

/// Chooses it. A daemon in a container has another number there (`told`) than here, and none where
/// its container cannot be looked into. `server` is who listens: the daemon, whose innermost number
/// is then `told`, or systemd for it.
fn sign_of_life(server: Option<u32>, innermost: Option<u32>, told: u32) -> SignOfLife {
    match server {
        None => SignOfLife::Socket,
        Some(server) if innermost == Some(told) => SignOfLife::Process(server),
        Some(_) => SignOfLife::Process(told),
    }
}

/// The number of a process in the pid namespace that it lives in (`NSpid` in proc_pid_status(5)).
fn innermost_pid(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().last()?.parse().ok()
}

/// Whether somebody listens at the socket: the last that a daemon does is to take it away.
async fn is_answered(socket: &Path) -> bool {
    tokio::net::UnixStream::connect(socket).await.is_ok()
}

/// Whether the process is there and not a zombie that somebody forgot to collect.
fn is_alive(pid: u32) -> bool {
    let Ok(raw) = i32::try_from(pid) else { return false };
    if kill(Pid::from_raw(raw), None) == Err(Errno::ESRCH) {
        return false;
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_daemon_is_seen_by_the_number_that_it_has_here() {
        for (name, server, innermost, told, expected) in [
            ("beside us", Some(70), Some(70), 70, SignOfLife::Process(70)),
            ("in a container", Some(70), Some(2), 2, SignOfLife::Process(70)),
            ("where we cannot look", None, None, 2, SignOfLife::Socket),
            ("systemd listens", Some(1), Some(1), 70, SignOfLife::Process(70)),
            ("who listens is gone", Some(70), None, 70, SignOfLife::Process(70)),
        ] {
            assert_eq!(sign_of_life(server, innermost, told), expected, "{name}");
        }
        assert_eq!(innermost_pid(std::process::id()), Some(std::process::id()));
    }
}

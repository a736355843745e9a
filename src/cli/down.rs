//! `hob down`: stops the daemon and returns when its process is gone. It never starts one.

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
        while is_alive(pid) {
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

/// Whether the process is there and not a zombie that somebody forgot to collect.
fn is_alive(pid: u32) -> bool {
    let Ok(raw) = i32::try_from(pid) else { return false };
    if kill(Pid::from_raw(raw), None) == Err(Errno::ESRCH) {
        return false;
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

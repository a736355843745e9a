//! Where the daemon's own words go: stderr, and a file once it runs in the background.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use super::READY;
use crate::trust::open_own;

/// The environment variable with the filter, in the form that `tracing` documents.
const FILTER: &str = "HOB_LOG";

/// The log of a daemon in the background.
#[derive(Debug)]
pub struct LogFile(File);

/// Begins to log: to stderr, or to `logs/hobd.log` in the background.
pub(super) fn start(debug: bool, background: Option<&Path>) -> anyhow::Result<Option<LogFile>> {
    let default = if debug { "debug" } else { "info" };
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    // A second daemon in one process (tests run it as a library) logs with the first.
    let Some(logs) = background else {
        subscriber.with_writer(std::io::stderr).try_init().ok();
        return Ok(None);
    };
    let path = logs.join("hobd.log");
    let file = open_own(&path, OpenOptions::new().append(true).create(true).mode(0o600))?;
    let writer = file.try_clone().context("cannot share the log")?;
    subscriber.with_writer(Mutex::new(writer)).try_init().ok();
    Ok(Some(LogFile(file)))
}

/// Says that the daemon is ready. In the background it lets go of everything of its caller's then:
/// the end of its stdout is what the caller waits for.
pub(super) fn say_ready(log: Option<&LogFile>) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    // Nobody may be listening; that is theirs to decide.
    stdout.write_all(READY.as_bytes()).and_then(|()| stdout.flush()).ok();
    let Some(LogFile(file)) = log else { return Ok(()) };
    let nothing = OpenOptions::new().read(true).open("/dev/null").context("cannot open /dev/null")?;
    nix::unistd::dup2_stdin(&nothing)?;
    nix::unistd::dup2_stdout(file)?;
    nix::unistd::dup2_stderr(file)?;
    Ok(())
}

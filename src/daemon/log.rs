//! Where the daemon's own words go: stderr, and a file once it runs in the background.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use super::READY;

/// The environment variable with the filter, in the form that `tracing` documents.
const FILTER: &str = "HOB_LOG";

/// Begins to log to stderr.
pub(super) fn start(debug: bool) {
    let default = if debug { "debug" } else { "info" };
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new(default));
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // A second daemon in one process (tests run it as a library) logs with the first.
    subscriber.try_init().ok();
}

/// Says that the daemon is ready. In the background it lets go of everything of its caller's then:
/// the end of its stdout is what the caller waits for.
pub(super) fn say_ready(logs: &Path, background: bool) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    // Nobody may be listening; that is theirs to decide.
    stdout.write_all(READY.as_bytes()).and_then(|()| stdout.flush()).ok();
    if !background {
        return Ok(());
    }
    let path = logs.join("hobd.log");
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let nothing = OpenOptions::new().read(true).open("/dev/null").context("cannot open /dev/null")?;
    nix::unistd::dup2_stdin(&nothing)?;
    nix::unistd::dup2_stdout(&file)?;
    nix::unistd::dup2_stderr(&file)?;
    Ok(())
}

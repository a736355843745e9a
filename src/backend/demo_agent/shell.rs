//! Runs a shell command for the built-in agent, within bounds, and ends it when it is cancelled.

use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// How much of each output is kept, in bytes; the rest is read and dropped.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// What is read at once.
const READ_BYTES: usize = 4096;

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Output {
    /// The exit code; `None` if a signal ended it.
    pub(super) code: Option<i32>,
    /// The beginning of what it wrote.
    pub(super) stdout: String,
    /// The beginning of what it complained.
    pub(super) stderr: String,
}

/// The command's process group, which is ended with this.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // ESRCH only means that nothing of it is left.
            killpg(leader, Signal::SIGKILL).ok();
        }
    }
}

/// Runs a command. `None` if it was cancelled.
///
/// # Errors
/// If there is no shell.
pub(super) async fn run(
    command: &str,
    cwd: &Path,
    cancel: &CancellationToken,
) -> std::io::Result<Option<Output>> {
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .current_dir(cwd)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let leader = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let mut group = Group(leader);
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let finish = async {
        let (stdout, stderr, status) = tokio::join!(capture(out), capture(err), child.wait());
        status.map(|status| Output { code: status.code(), stdout, stderr })
    };
    match cancel.run_until_cancelled(finish).await {
        Some(output) => {
            // The number may be another's from here on.
            group.0 = None;
            output.map(Some)
        }
        None => Ok(None),
    }
}

async fn capture(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        let mut buffer = [0; READ_BYTES];
        while let Ok(n_bytes @ 1..) = pipe.read(&mut buffer).await {
            let room = OUTPUT_BYTES_MAX - kept.len();
            kept.extend_from_slice(&buffer[..n_bytes.min(room)]);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_and_code_come_back_within_bounds() {
        let cancel = CancellationToken::new();
        let command = "echo out; echo err >&2; exit 3";
        let output = run(command, Path::new("/"), &cancel).await.unwrap().unwrap();
        assert_eq!(output, Output { code: Some(3), stdout: "out\n".into(), stderr: "err\n".into() });
        let flood = run("yes | head -c 1000000", Path::new("/"), &cancel).await.unwrap().unwrap();
        assert_eq!(flood.stdout.len(), OUTPUT_BYTES_MAX);
    }

    #[tokio::test]
    async fn a_cancel_ends_the_command_and_its_children() {
        let cancel = CancellationToken::new();
        let directory = tempfile::tempdir().unwrap();
        let command = "sleep 600 & echo $! > pid; wait";
        let running = run(command, directory.path(), &cancel);
        let file = directory.path().join("pid");
        let canceller = async {
            let pid = loop {
                let text = std::fs::read_to_string(&file).unwrap_or_default();
                if text.ends_with('\n') {
                    break text.trim().parse::<i32>().unwrap();
                }
                tokio::task::yield_now().await;
            };
            cancel.cancel();
            pid
        };
        let (output, pid) = tokio::join!(running, canceller);
        assert_eq!(output.unwrap(), None);
        let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Killed, and perhaps not yet reaped by whoever inherits it.
        while !(state().is_empty() || state().contains(") Z ")) {
            tokio::task::yield_now().await;
        }
    }
}

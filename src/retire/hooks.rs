//! The person's own commands around the life of a worktree: run without a shell, bounded in time, ended
//! with everything that they started in their process group, their output put into the journal.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use crate::backend::process::agent_environment;
use crate::config::SharedConfig;
use crate::worktree::Known;

/// Bytes of a hook's output that are kept of each pipe.
const OUTPUT_BYTES_MAX: u64 = 16 << 10;

/// What a hook is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookEvent {
    /// A worktree was made.
    WorktreeCreated,
    /// A worktree is about to be moved into the trash.
    BeforeArchive,
}

impl HookEvent {
    fn name(self) -> &'static str {
        match self {
            Self::WorktreeCreated => "worktree_created",
            Self::BeforeArchive => "before_archive",
        }
    }
}

/// A hook that failed, or said something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hooked {
    /// What happened, with the beginning of what it said.
    pub text: String,
    /// It failed.
    pub failed: bool,
    /// It failed, and is configured to stand in the way of what it was run for.
    pub blocks: bool,
}

/// Runs hooks. Cheap to clone.
#[derive(Clone)]
pub struct Hooks {
    config: SharedConfig,
    env: BTreeMap<String, String>,
}

impl Hooks {
    /// Hooks of a configuration, which inherit from this environment what agents inherit.
    pub fn new(config: SharedConfig, env: BTreeMap<String, String>) -> Self {
        Self { config, env }
    }

    /// Runs the hook of an event, if there is one, in the worktree. Returns what there is to say of it.
    pub async fn run(&self, event: HookEvent, known: &Known, session: Option<String>) -> Option<Hooked> {
        let hooks = self.config.current().hooks.clone();
        let (words, blocks) = match event {
            HookEvent::WorktreeCreated => (hooks.worktree_created, false),
            HookEvent::BeforeArchive => (hooks.before_archive, hooks.before_archive_blocks),
        };
        let (program, arguments) = words.split_first()?;
        let mut command = self.command(program, event, known);
        command.args(arguments);
        if let Some(session) = session {
            command.env("HOB_SESSION", session);
        }
        let ran = finish(command, hooks.timeout).await;
        let failed = ran.is_err();
        let text = match ran {
            Ok(said) if said.is_empty() => return None,
            Ok(said) => format!("said: {said}"),
            Err(why) => why,
        };
        let text = format!("the hook `hooks.{}` {text}", event.name());
        Some(Hooked { text, failed, blocks: failed && blocks })
    }

    fn command(&self, program: &str, event: HookEvent, known: &Known) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(agent_environment(&[], &BTreeMap::new(), &self.env))
            .env("HOB_EVENT", event.name())
            .env("HOB_WORKTREE", &known.path)
            .env("HOB_WORKTREE_ID", &known.id)
            .env("HOB_REPO", &known.top)
            .env("HOB_BRANCH", &known.branch)
            .current_dir(&known.path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// Ends the whole group of a hook when it is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // An error only says that nobody is left in it.
            killpg(group, Signal::SIGKILL).ok();
        }
    }
}

/// Runs a command to its end, or to that of its time. Returns what it said; an error says what went wrong.
async fn finish(mut command: Command, timeout: Duration) -> Result<String, String> {
    let mut child = command.spawn().map_err(|error| format!("could not be started: {error}"))?;
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
    let _group = Group(group);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // What was said before its time was over is worth having.
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let ended = tokio::time::timeout(timeout, async {
        tokio::join!(child.wait(), drain(stdout, &mut out), drain(stderr, &mut err)).0
    })
    .await;
    let failed = match ended {
        Err(_) => Some(format!("was ended after {} s", timeout.as_secs_f32())),
        Ok(Err(error)) => Some(format!("was lost: {error}")),
        Ok(Ok(status)) if status.success() => None,
        Ok(Ok(status)) => Some(format!("failed ({status})")),
    };
    out.extend(err);
    let said = String::from_utf8_lossy(&out).trim().to_owned();
    match failed {
        None => Ok(said),
        Some(why) if said.is_empty() => Err(why),
        Some(why) => Err(format!("{why}: {said}")),
    }
}

/// The beginning of what a pipe says; the rest is read and forgotten.
async fn drain(pipe: Option<impl AsyncRead + Unpin>, said: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    // What came before an error is kept.
    (&mut pipe).take(OUTPUT_BYTES_MAX).read_to_end(said).await.ok();
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        command
    }

    #[tokio::test]
    async fn a_hook_that_fails_says_why_and_one_that_hangs_is_ended_with_its_children() {
        let limit = Duration::from_secs(20);
        assert_eq!(finish(shell("exit 0"), limit).await, Ok(String::new()));
        assert_eq!(finish(shell("echo well"), limit).await, Ok("well".to_owned()));
        let failed = finish(shell("echo out; echo why >&2; exit 3"), limit).await.unwrap_err();
        assert!(failed.contains("exit status: 3") && failed.ends_with("why"), "{failed}");
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let hung = format!("sleep 600 & echo $! > {}; echo hung; wait", pid.display());
        let ended = finish(shell(&hung), Duration::from_millis(500)).await.unwrap_err();
        assert!(ended.contains("was ended after") && ended.ends_with("hung"), "{ended}");
        let child: i32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        let is_gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        let until = std::time::Instant::now() + limit;
        while !is_gone() {
            assert!(std::time::Instant::now() < until, "the child of a hook lives on");
            tokio::task::yield_now().await;
        }
        let missing = finish(Command::new(dir.path().join("no-hook")), limit).await.unwrap_err();
        assert!(missing.contains("could not be started"), "{missing}");
    }
}

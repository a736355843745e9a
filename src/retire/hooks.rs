//! The person's own commands around the life of a worktree: run without a shell, bounded in time, ended
//! with everything that they started in their process group, their output put into the journal.

use std::collections::BTreeMap;
use std::io::PipeReader;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use crate::backend::process::{Leader, agent_environment};
use crate::config::SharedConfig;
use crate::sync::lock;
use crate::worktree::Known;

/// Bytes of a hook's output that are kept of each pipe.
const OUTPUT_BYTES_MAX: u64 = 16 << 10;
/// Bytes of a check's output that are kept: its end.
const TAIL_BYTES_MAX: usize = 16 << 10;
/// How long the last words of a check are read for when it has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// What a check begins with: where the daemon ends before it says "go", the line is never run.
const GATE: &str = r#"read -r go && exec sh -c "$0" </dev/null"#;

/// Names the arena in the environment of a check, and of everything below it.
pub const ARENA: &str = "HOB_ARENA";

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
        let mut command = self.command(program, event.name(), known);
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

    /// Starts a check of the person's, a line for the shell, which waits until it is told to go on, so
    /// that it can be written down first. It is bounded in time as a hook is, and
    /// whatever it starts in its process group ends with it.
    ///
    /// # Errors
    /// There is no shell, or no process for it.
    pub fn start_check(&self, ask: &CheckAsk) -> std::io::Result<RunningCheck> {
        let timeout = self.config.current().hooks.timeout;
        let mut command = self.command("sh", "check", &ask.known);
        command.current_dir(&ask.cwd);
        command.env(ARENA, &ask.arena).env("HOB_AGENT", &ask.agent).env("HOB_SESSION", &ask.session);
        RunningCheck::start(command, &ask.line, timeout)
    }

    fn command(&self, program: &str, event: &str, known: &Known) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(agent_environment(&[], &BTreeMap::new(), &self.env))
            .env("HOB_EVENT", event)
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

/// A check that is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckAsk {
    /// The line for the shell.
    pub line: String,
    /// The worktree that it judges.
    pub known: Known,
    /// Where in it.
    pub cwd: PathBuf,
    /// The arena that it is for.
    pub arena: String,
    /// The agent whose work it judges.
    pub agent: String,
    /// That one's session.
    pub session: String,
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// How it ended.
    pub end: CheckEnd,
    /// The end of what it said.
    pub output: String,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckEnd {
    /// With 0.
    Passed,
    /// With another code, or with none.
    Failed(Option<i32>),
    /// Its time was over.
    TimedOut,
}

/// A check on its way. Ends with everything that it started when it is dropped.
pub struct RunningCheck {
    child: Child,
    said: PipeReader,
    timeout: Duration,
    group: Group,
}

impl RunningCheck {
    /// Starts it so that its words all come by one pipe, in their order. `command` is the shell.
    fn start(mut command: Command, line: &str, timeout: Duration) -> std::io::Result<Self> {
        let (said, says) = std::io::pipe()?;
        command.args(["-c", GATE, line]);
        command.stdin(Stdio::piped()).stdout(says.try_clone()?).stderr(says);
        // The command goes with this function, and its ends of the pipe with it.
        let child = command.spawn()?;
        let group = Group(group_of(&child));
        Ok(Self { child, said, timeout, group })
    }

    /// Who leads its process group.
    pub fn leader(&self) -> Option<Leader> {
        Leader::of(self.group.0?.as_raw())
    }

    /// Lets it go on; what it came to.
    pub async fn finish(self) -> Checked {
        let Self { mut child, said, timeout, group } = self;
        if let Some(mut gate) = child.stdin.take() {
            // One that has ended already has its exit code.
            gate.write_all(b"go\n").await.ok();
        }
        let tail = Arc::new(Mutex::new(Vec::new()));
        let mut reading = tokio::spawn(keep_tail(said, Arc::clone(&tail)));
        let ended = tokio::time::timeout(timeout, child.wait()).await;
        // What it left running holds the pipe, and would work on in the worktree.
        drop(group);
        if tokio::time::timeout(LAST_WORDS, &mut reading).await.is_err() {
            reading.abort();
        }
        let end = match ended {
            Err(_) => CheckEnd::TimedOut,
            Ok(Ok(status)) if status.success() => CheckEnd::Passed,
            Ok(status) => CheckEnd::Failed(status.ok().and_then(|status| status.code())),
        };
        let output = String::from_utf8_lossy(&lock(&tail)).trim_end().to_owned();
        Checked { end, output }
    }
}

/// Keeps the end of what a pipe says.
async fn keep_tail(said: PipeReader, tail: Arc<Mutex<Vec<u8>>>) {
    let Ok(mut said) = pipe::Receiver::from_owned_fd(OwnedFd::from(said)) else { return };
    let mut piece = [0; 4096];
    while let Ok(n @ 1..) = said.read(&mut piece).await {
        let mut tail = lock(&tail);
        tail.extend_from_slice(&piece[..n]);
        let surplus = tail.len().saturating_sub(TAIL_BYTES_MAX);
        tail.drain(..surplus);
    }
}

fn group_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw)
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
/// Its end is that of its process: what it leaves running holds up nothing, and ends with its group.
async fn finish(mut command: Command, timeout: Duration) -> Result<String, String> {
    let mut child = command.spawn().map_err(|error| format!("could not be started: {error}"))?;
    let group = Group(group_of(&child));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // What was said before its time was over is worth having.
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let ended = {
        let said = async { tokio::join!(drain(stdout, &mut out), drain(stderr, &mut err)) };
        tokio::pin!(said);
        let mut is_heard = false;
        let ended = tokio::time::timeout(timeout, async {
            loop {
                tokio::select! {
                    status = child.wait() => return status,
                    _ = &mut said, if !is_heard => is_heard = true,
                }
            }
        })
        .await;
        drop(group);
        if !is_heard {
            // Somebody who left the group may hold the pipes on.
            tokio::time::timeout(LAST_WORDS, said).await.ok();
        }
        ended
    };
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
        let ended = finish(shell(&hung), Duration::from_secs(2)).await.unwrap_err();
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
        // What it leaves running does not hold it up, in its group or out of it.
        for leaves in ["sleep 600 & echo started", "setsid sleep 30 & echo started"] {
            let began = std::time::Instant::now();
            assert_eq!(finish(shell(leaves), limit).await, Ok("started".to_owned()));
            assert!(began.elapsed() < limit / 2, "{leaves} took {:?}", began.elapsed());
        }
        let missing = finish(Command::new(dir.path().join("no-hook")), limit).await.unwrap_err();
        assert!(missing.contains("could not be started"), "{missing}");
    }

    #[tokio::test]
    async fn a_check_passes_fails_or_runs_out_of_time_and_leaves_nothing_running() {
        let limit = Duration::from_secs(20);
        let run = async |script: &str, limit| {
            let mut sh = Command::new("sh");
            sh.process_group(0).kill_on_drop(true);
            RunningCheck::start(sh, script, limit).unwrap().finish().await
        };
        let passed = run("echo out; echo err >&2; echo out", limit).await;
        assert_eq!(passed, Checked { end: CheckEnd::Passed, output: "out\nerr\nout".to_owned() });
        let failed = run("echo no; exit 7", limit).await;
        assert_eq!(failed, Checked { end: CheckEnd::Failed(Some(7)), output: "no".to_owned() });
        let killed = run("kill -9 $$", limit).await;
        assert_eq!(killed.end, CheckEnd::Failed(None));
        // What it leaves behind does not hold it up: the whole group ends with it.
        let left = run("sleep 600 & echo started", limit).await;
        assert_eq!(left, Checked { end: CheckEnd::Passed, output: "started".to_owned() });
        let hung = run("echo hung; sleep 600", Duration::from_secs(2)).await;
        assert_eq!(hung, Checked { end: CheckEnd::TimedOut, output: "hung".to_owned() });
        let long = run("head -c 100000 /dev/zero | tr '\\0' x; echo end", limit).await;
        assert!(
            long.output.len() <= TAIL_BYTES_MAX && long.output.ends_with("xend"),
            "{}",
            long.output.len()
        );
    }

    #[tokio::test]
    async fn a_check_that_is_not_let_go_on_runs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("ran");
        let mut sh = Command::new("sh");
        sh.process_group(0);
        let line = format!("touch {}", mark.display());
        let mut waits = RunningCheck::start(sh, &line, Duration::from_secs(20)).unwrap();
        assert!(waits.leader().is_some(), "it waits, and can be written down");
        // As when the daemon ends.
        drop(waits.child.stdin.take());
        assert!(!waits.child.wait().await.unwrap().success());
        assert!(!mark.exists());
    }
}

//! The person's own commands around the life of a worktree: run without a shell, bounded in time, their
//! output put into the journal. Each has a keeper, as an agent has: what it leaves running ends with it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use hob_actors::ports::chain;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::check::{CheckAsk, RunningCheck};
use crate::backend::process::{Process, ProcessHandle, RawExit, SpawnRequest, Spawner, agent_environment};
use crate::config::{SharedConfig, find_program_on};
use crate::worktree::Known;

/// Bytes of a hook's output that are kept of each pipe.
const OUTPUT_BYTES_MAX: u64 = 16 << 10;
/// From TERM to KILL, for a hook whose time is over and for what one leaves.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// How long it may take until nothing is left of one, and its pipes are read to their end.
const REST_TIME_MAX: Duration = Duration::from_secs(10);
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
    spawner: Spawner,
    /// Says where the daemon listens, so that a `hob` in a hook finds it.
    daemon: BTreeMap<String, String>,
}

impl Hooks {
    /// Hooks of a configuration, which inherit from `env` what agents inherit, and get what `daemon` sets.
    pub fn new(
        config: SharedConfig,
        env: BTreeMap<String, String>,
        spawner: Spawner,
        daemon: BTreeMap<String, String>,
    ) -> Self {
        Self { config, env, spawner, daemon }
    }

    /// Whether something is to be run then.
    pub fn has(&self, event: HookEvent) -> bool {
        !self.words(event).is_empty()
    }

    fn words(&self, event: HookEvent) -> Vec<String> {
        let hooks = &self.config.current().hooks;
        match event {
            HookEvent::WorktreeCreated => hooks.worktree_created.clone(),
            HookEvent::BeforeArchive => hooks.before_archive.clone(),
        }
    }

    /// Runs the hook of an event, if there is one, in the worktree. Returns what there is to say of it.
    pub async fn run(&self, event: HookEvent, known: &Known, session: Option<String>) -> Option<Hooked> {
        let words = self.words(event);
        let (program, arguments) = words.split_first()?;
        let hooks = self.config.current().hooks.clone();
        let blocks = match event {
            HookEvent::WorktreeCreated => false,
            HookEvent::BeforeArchive => hooks.before_archive_blocks,
        };
        let mut request = self.request(event.name(), known, &known.path);
        request.args = arguments.to_vec();
        request.env.extend(session.map(|session| ("HOB_SESSION".to_owned(), session)));
        let ran = match self.spawn(program, request).await {
            Ok(process) => finish(process, hooks.timeout).await,
            Err(why) => Err(format!("could not be started: {why}")),
        };
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
    /// that it can be written down first. It is bounded in time as a hook is, and whatever it starts ends
    /// with it.
    ///
    /// # Errors
    /// Why there is no shell, or no process for it.
    pub async fn start_check(&self, ask: &CheckAsk) -> Result<RunningCheck, String> {
        let timeout = self.config.current().hooks.timeout;
        let mut request = self.request("check", &ask.known, &ask.cwd);
        let named = [(ARENA, &ask.arena), ("HOB_AGENT", &ask.agent), ("HOB_SESSION", &ask.session)];
        request.env.extend(named.map(|(name, value)| (name.to_owned(), value.clone())));
        request.args = RunningCheck::arguments(&ask.line);
        Ok(RunningCheck::of(self.spawn("sh", request).await?, timeout))
    }

    fn request(&self, event: &str, known: &Known, cwd: &Path) -> SpawnRequest {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut env = agent_environment(&[], &BTreeMap::new(), &self.env);
        env.extend(self.daemon.clone());
        let own = [
            ("HOB_EVENT", event.to_owned()),
            ("HOB_WORKTREE", text(&known.path)),
            ("HOB_WORKTREE_ID", known.id.clone()),
            ("HOB_REPO", text(&known.top)),
            ("HOB_BRANCH", known.branch.clone()),
        ];
        env.extend(own.map(|(name, value)| (name.to_owned(), value)));
        SpawnRequest {
            label: format!("{event} of {}", known.id),
            env,
            cwd: cwd.to_owned(),
            stop_grace: STOP_GRACE,
            is_persons: true,
            ..SpawnRequest::default()
        }
    }

    async fn spawn(&self, program: &str, mut request: SpawnRequest) -> Result<Process, String> {
        let search = request.env.get("PATH").cloned().unwrap_or_default();
        let program = if program.contains('/') {
            request.cwd.join(program).display().to_string()
        } else {
            program.to_owned()
        };
        let looking = tokio::task::spawn_blocking(move || find_program_on(&program, &search));
        request.program = looking.await.unwrap_or_else(|_| Err("it was not looked for".to_owned()))?;
        self.spawner.spawn(request).await.map_err(|error| chain(&error))
    }
}

/// Waits for the end of a process, or that of its time; then for that of what it left running. `None` if
/// its time was over.
pub(super) async fn ended(handle: &ProcessHandle, timeout: Duration) -> Option<RawExit> {
    let exit = tokio::time::timeout(timeout, handle.exited()).await.ok();
    if exit.is_none() {
        handle.stop(false);
    }
    // What is not gone by then hangs in the kernel, and the keeper tells of it.
    tokio::time::timeout(REST_TIME_MAX, handle.gone()).await.ok();
    exit
}

/// Lets a hook run to its end, or to that of its time. Returns what it said; an error says what went wrong.
async fn finish(process: Process, timeout: Duration) -> Result<String, String> {
    let Process { stdin, stdout, stderr, handle, .. } = process;
    drop(stdin);
    // What was said before its time was over is worth having.
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = {
        let said = async { tokio::join!(drain(stdout, &mut out), drain(stderr, &mut err)) };
        let ended = ended(&handle, timeout);
        tokio::pin!(said, ended);
        let mut is_heard = false;
        let exit = loop {
            tokio::select! {
                exit = &mut ended => break exit,
                _ = &mut said, if !is_heard => is_heard = true,
            }
        };
        if !is_heard {
            tokio::time::timeout(REST_TIME_MAX, said).await.ok();
        }
        exit
    };
    let failed = match exit {
        None => Some(format!("was ended after {} s", timeout.as_secs_f32())),
        Some(RawExit { code: Some(0), .. }) => None,
        Some(RawExit { code: Some(code), .. }) => Some(format!("failed (exit status: {code})")),
        Some(RawExit { signal: Some(signal), .. }) => Some(format!("failed (signal: {signal})")),
        Some(RawExit { code: None, signal: None }) => Some("was lost".to_owned()),
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
async fn drain(mut pipe: impl AsyncRead + Unpin, said: &mut Vec<u8>) {
    // What came before an error is kept.
    (&mut pipe).take(OUTPUT_BYTES_MAX).read_to_end(said).await.ok();
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await.ok();
}

//! The check of an arena: a line of the person's for the shell, in the worktree that it judges.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;

use super::hooks::ended;
use crate::backend::process::{Leader, Process, RawExit};
use crate::sync::lock;
use crate::worktree::Known;

/// Bytes of a check's output that are kept: its end.
const TAIL_BYTES_MAX: usize = 16 << 10;
/// How long the last words of a check are read for when nothing is left of it.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// What a check begins with: where the daemon ends before it says "go", the line is never run. All its
/// words come by one pipe, in their order.
const GATE: &str = r#"read -r go && exec sh -c "$0" </dev/null 2>&1"#;

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
    process: Process,
    timeout: Duration,
}

impl RunningCheck {
    /// What the shell is told that runs a line.
    pub(super) fn arguments(line: &str) -> Vec<String> {
        ["-c", GATE, line].map(str::to_owned).to_vec()
    }

    pub(super) fn of(process: Process, timeout: Duration) -> Self {
        Self { process, timeout }
    }

    /// Who leads its process group.
    pub fn leader(&self) -> Option<Leader> {
        Leader::of(self.process.pid.cast_signed())
    }

    /// Lets it go on; what it came to.
    pub async fn finish(self) -> Checked {
        let Process { mut stdin, stdout, handle, .. } = self.process;
        // One that has ended already has its exit code.
        stdin.write_all(b"go\n").await.ok();
        drop(stdin);
        let tail = Arc::new(Mutex::new(Vec::new()));
        let mut reading = tokio::spawn(keep_tail(stdout, Arc::clone(&tail)));
        let exit = ended(&handle, self.timeout).await;
        if tokio::time::timeout(LAST_WORDS, &mut reading).await.is_err() {
            reading.abort();
        }
        let end = match exit {
            None => CheckEnd::TimedOut,
            Some(RawExit { code: Some(0), .. }) => CheckEnd::Passed,
            Some(RawExit { code, .. }) => CheckEnd::Failed(code),
        };
        let output = String::from_utf8_lossy(&lock(&tail)).trim_end().to_owned();
        Checked { end, output }
    }
}

/// Keeps the end of what a pipe says.
async fn keep_tail(mut said: pipe::Receiver, tail: Arc<Mutex<Vec<u8>>>) {
    let mut piece = [0; 4096];
    while let Ok(n @ 1..) = said.read(&mut piece).await {
        let mut tail = lock(&tail);
        tail.extend_from_slice(&piece[..n]);
        let surplus = tail.len().saturating_sub(TAIL_BYTES_MAX);
        tail.drain(..surplus);
    }
}

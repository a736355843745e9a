//! The steps of the demo. Each does something and checks what it promises; its text says what was
//! seen, its error what was expected and what was seen instead.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Demo;
use super::play::Played;
use super::processes;
use crate::cli::error::CliError;
use crate::cli::event::EventRow;
use crate::cli::render::duration;
use crate::cli::{permission, ps};
use crate::control::wire::{AgentSessionRow, ChatRow, IdOr, PermissionRow, SessionRow};

/// How soon an agent session may say that its turn is over, and how often it is asked.
const SETTLED: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

/// The least number of pieces that makes an answer a stream.
const PIECES_MIN: usize = 5;

/// What the built-in agent is asked, in the words that it obeys.
pub(super) mod prompts {
    pub(in super::super) const STREAM: &str = "slow: 24 40";
    pub(in super::super) const WRITE: &str = "write: hello.txt: written by the agent";
    pub(in super::super) const COUNT: &str = "count";
    pub(in super::super) const ASK: &str = "ask: may I go on?";
    pub(in super::super) const LONG: &str = "slow: 600 50";
    pub(in super::super) const QUEUED: &str = "say: I waited, and nothing was lost";
}

/// Who plays, and what was seen of them.
#[derive(Debug, Default)]
pub(super) struct Cast {
    pub(super) session: String,
    pub(super) worktree: PathBuf,
    pub(super) first: String,
    pub(super) second: String,
    pub(super) pid: Option<u32>,
    pub(super) installation: u32,
    pub(super) prompts: u64,
    pub(super) at_work: Vec<String>,
    pub(super) queued: String,
    /// The worktree that was deleted.
    pub(super) removed: String,
    /// Every task that was submitted.
    pub(super) tasks: Vec<String>,
    /// Every event that was seen live, as it came, by number.
    pub(super) seen: BTreeMap<i64, String>,
}

impl Cast {
    /// What a chat is called in the demo.
    pub(super) fn name(&self, chat: &str) -> &'static str {
        if chat == self.second { "second chat" } else { "first chat" }
    }
}

pub(super) fn check(is_so: bool, expected: &str, seen: impl std::fmt::Display) -> Result<(), CliError> {
    if is_so { Ok(()) } else { Err(CliError::failed(format!("expected {expected}\nsaw {seen}"))) }
}

pub(super) async fn daemon(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let began = Instant::now();
    demo.stage.start_daemon().await?;
    let took = began.elapsed();
    let link = demo.stage.link().await?;
    check(
        Some(link.hello.pid) == demo.stage.daemon_pid(),
        "the daemon that was started to answer",
        link.hello.pid,
    )?;
    Ok(format!(
        "hobd {} is ready after {}: pid {}, {}",
        link.hello.version,
        millis(took),
        link.hello.pid,
        link.socket.display()
    ))
}

pub(super) async fn session(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let link = demo.stage.link().await?;
    let params = json!({"repo": demo.stage.repo(), "title": "the demo"});
    let session: SessionRow = link.call("session/create", params).await?;
    let Some(IdOr::Whole(worktree)) = session.worktree else {
        return Err(CliError::failed("expected the session to have a worktree, saw none"));
    };
    let path = PathBuf::from(&worktree.path);
    check(path.join("README.md").is_file(), "a checkout of the repository in the worktree", path.display())?;
    for chat in ["first", "second"] {
        let made: ChatRow = link.call("chat/create", json!({"session": session.id, "title": chat})).await?;
        if chat == "first" { demo.cast.first = made.id } else { demo.cast.second = made.id }
    }
    demo.cast.session = session.id.clone();
    demo.cast.worktree = path;
    Ok(format!("session {}, branch {}\n{}", session.id, worktree.branch, worktree.path))
}

pub(super) async fn streaming(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let chat = demo.cast.first.clone();
    let played = demo.play(&chat, prompts::STREAM).await?;
    let pieces: Vec<_> =
        played.seen.iter().filter(|(event, _)| event.kind == "text").map(|(_, at)| *at).collect();
    check(
        pieces.len() >= PIECES_MIN,
        "an answer in several pieces",
        format_args!("{} pieces", pieces.len()),
    )?;
    let spread = pieces[pieces.len() - 1] - pieces[0];
    check(!spread.is_zero(), "the pieces one after the other", "all of them at once")?;
    let agent = demo.live(&chat).await?;
    demo.cast.pid = agent.pid;
    demo.cast.installation = agent
        .pid
        .and_then(processes::installation_of)
        .ok_or_else(|| CliError::failed("expected a process of the agent that carries a mark, saw none"))?;
    demo.cast.prompts += 1;
    Ok(format!("{} pieces over {}; task {} completed", pieces.len(), millis(spread), played.task))
}

pub(super) async fn worktree(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let chat = demo.cast.first.clone();
    demo.play(&chat, prompts::WRITE).await?;
    demo.cast.prompts += 1;
    let (inside, outside) = (demo.cast.worktree.join("hello.txt"), demo.stage.repo().join("hello.txt"));
    let written = std::fs::read_to_string(&inside).unwrap_or_default();
    check(
        written.contains("written by the agent"),
        "hello.txt in the worktree",
        format_args!("{written:?}"),
    )?;
    check(!outside.exists(), "no hello.txt in the checkout", outside.display())?;
    Ok("hello.txt is in the worktree and not in the checkout".to_owned())
}

pub(super) async fn warm(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let chat = demo.cast.first.clone();
    let played = demo.play(&chat, prompts::COUNT).await?;
    demo.cast.prompts += 1;
    let counted = counted(&played)?;
    check(counted == demo.cast.prompts, "the agent to count every prompt of the chat", counted)?;
    check(played.context == "warm", "context: warm", &played.context)?;
    let pid = demo.live(&chat).await?.pid;
    check(pid == demo.cast.pid, &format!("the same process, {:?}", demo.cast.pid), format_args!("{pid:?}"))?;
    Ok(format!("{counted} prompts counted, all by pid {}", pid.unwrap_or_default()))
}

pub(super) async fn second_chat(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let chat = demo.cast.second.clone();
    let counted = counted(&demo.play(&chat, prompts::COUNT).await?)?;
    check(counted == 1, "a count of 1 in a new chat", counted)?;
    let pid = demo.live(&chat).await?.pid;
    check(pid.is_some() && pid != demo.cast.pid, "a process of its own", format_args!("{pid:?}"))?;
    Ok(format!("1 prompt counted, by pid {}; the worktree is the same", pid.unwrap_or_default()))
}

pub(super) async fn permission(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let chat = demo.cast.second.clone();
    let mut playing = demo.begin(&chat, prompts::ASK).await?;
    let asked = demo.until(&mut playing, |event| event.kind == "permission_requested").await?;
    let link = demo.stage.link().await?;
    let inbox: Vec<PermissionRow> = link.call("permission/list", json!({"state": "pending"})).await?;
    check(inbox.len() == 1, "one question in the inbox", inbox.len())?;
    check(inbox[0].id == asked.text("permission"), "the question that was asked", &inbox[0].id)?;
    let option = permission::Pick::Allow.from(&inbox[0].options)?.id.clone();
    let params = json!({"permission": inbox[0].id, "option": option});
    link.call::<Value>("permission/answer", params).await?;
    let played = demo.end(playing).await?;
    check(played.state == "completed", "the turn to go on and be completed", &played.state)?;
    let all: Vec<PermissionRow> = link.call("permission/list", json!({"chat": chat})).await?;
    let states: Vec<_> = all.iter().map(|row| row.state.as_str()).collect();
    check(states == ["answered"], "the question to be answered", states.join(" "))?;
    Ok(format!("{} was answered `{option}`, and the turn went on", inbox[0].id))
}

pub(super) async fn ps(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let are_idle = |rows: &[AgentSessionRow]| rows.len() == 2 && rows.iter().all(|row| row.status == "idle");
    let rows = demo.pool_until(false, are_idle).await?;
    demo.show.block(&ps::render(&rows, false))?;
    let alive = rows.iter().filter(|row| row.pid.is_some_and(processes::is_alive)).count();
    check(are_idle(&rows) && alive == 2, "two idle agents with a process each", alive)?;
    Ok("two agents are warm and idle".to_owned())
}

impl Demo<'_> {
    /// The live agent session of a chat.
    pub(super) async fn live(&self, chat: &str) -> Result<AgentSessionRow, CliError> {
        let link = self.stage.link().await?;
        let rows: Vec<AgentSessionRow> = link.call("pool/list", json!({})).await?;
        let row = rows.into_iter().find(|row| row.chat == chat);
        row.ok_or_else(|| CliError::failed("expected a live agent in the chat, saw none"))
    }

    /// The agent sessions, once they are as expected; as they are when that takes too long. What
    /// an agent session says of itself may come a moment after what its task says.
    pub(super) async fn pool_until(
        &self,
        all: bool,
        is_so: impl Fn(&[AgentSessionRow]) -> bool,
    ) -> Result<Vec<AgentSessionRow>, CliError> {
        let link = self.stage.link().await?;
        let began = Instant::now();
        loop {
            let rows: Vec<AgentSessionRow> = link.call("pool/list", json!({"all": all})).await?;
            if is_so(&rows) || began.elapsed() > SETTLED {
                return Ok(rows);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

pub(super) fn is_text(event: &EventRow) -> bool {
    event.kind == "text"
}

/// The first number in the answer to `count`.
pub(super) fn counted(played: &Played) -> Result<u64, CliError> {
    let digits = played.text.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty());
    let number = digits.and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| CliError::failed(format!("expected a number\nsaw {:?}", played.text)))
}

pub(super) fn millis(time: Duration) -> String {
    duration(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

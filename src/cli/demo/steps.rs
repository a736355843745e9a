//! The steps of the demo. Each does something and checks what it promises; its text says what was
//! seen, its error what was expected and what was seen instead.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Demo;
use super::play::Played;
use super::processes;
use crate::cli::error::CliError;
use crate::cli::event::EventRow;
use crate::cli::link::Link;
use crate::cli::render::{duration, one_line};
use crate::cli::{log, permission, ps, task};
use crate::control::wire::{AgentSessionRow, ChatRow, IdOr, PermissionRow, SessionRow, TaskRow};

/// How soon nothing of an agent's may be left when the daemon is killed.
const ORPHANS_GONE: Duration = Duration::from_secs(1);

/// How soon nothing of an agent's may be left after an ordered stop.
const STOPPED_GONE: Duration = Duration::from_secs(2);

/// How long a queued task may take to run after a restart.
const QUEUED_TIMEOUT_MS: u64 = 20_000;

/// How soon an agent session may say that its turn is over, and how often it is asked.
const SETTLED: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);

/// The least number of pieces that makes an answer a stream.
const PIECES_MIN: usize = 5;

/// How many lines of the journal are shown.
const LINES_SHOWN: usize = 8;

/// What the demo agent is asked. It obeys the directives of docs/demo-agent.
mod prompts {
    pub(super) const STREAM: &str = "slow: 24 40";
    pub(super) const WRITE: &str = "write: hello.txt: written by the agent";
    pub(super) const COUNT: &str = "count";
    pub(super) const ASK: &str = "ask: may I go on?";
    pub(super) const LONG: &str = "slow: 600 50";
    pub(super) const QUEUED: &str = "say: I waited, and nothing was lost";
}

/// Who plays, and what was seen of them.
#[derive(Debug, Default)]
pub(super) struct Cast {
    session: String,
    worktree: PathBuf,
    first: String,
    second: String,
    pid: Option<u32>,
    installation: u32,
    prompts: u64,
    at_work: Vec<String>,
    queued: String,
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

fn check(is_so: bool, expected: &str, seen: impl std::fmt::Display) -> Result<(), CliError> {
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

pub(super) async fn kill_agent(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let chat = demo.cast.first.clone();
    let mut playing = demo.begin(&chat, prompts::LONG).await?;
    demo.until(&mut playing, is_text).await?;
    demo.cast.prompts += 1;
    let pid = demo.live(&chat).await?.pid.unwrap_or_default();
    processes::sigkill(pid)?;
    let played = demo.end(playing).await?;
    check(played.state == "interrupted", "the task to be interrupted", &played.state)?;
    let is_it = |row: &AgentSessionRow| row.chat == chat && row.status == "crashed";
    let rows = demo.pool_until(true, |rows| rows.iter().any(is_it)).await?;
    let row = rows.iter().find(|row| row.chat == chat);
    let exit = row.and_then(|row| row.last_exit.as_ref()).map(|exit| exit.detail.clone()).unwrap_or_default();
    let status = row.map(|row| row.status.clone()).unwrap_or_default();
    check(
        status == "crashed" && exit.contains("SIGKILL"),
        "`crashed` with the signal in hob ps -a",
        format_args!("{status}: {exit}"),
    )?;
    Ok(format!("pid {pid} killed; task {} is interrupted, hob ps -a says: {status}, {exit}", played.task))
}

pub(super) async fn recover(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let chat = demo.cast.first.clone();
    let played = demo.play(&chat, prompts::COUNT).await?;
    demo.cast.prompts += 1;
    let counted = counted(&played)?;
    check(
        matches!(played.context.as_str(), "loaded" | "resumed"),
        "context: loaded or resumed",
        &played.context,
    )?;
    check(counted == demo.cast.prompts, &format!("a count of {}", demo.cast.prompts), counted)?;
    let pid = demo.live(&chat).await?.pid;
    check(pid.is_some() && pid != demo.cast.pid, "a new process", format_args!("{pid:?}"))?;
    Ok(format!(
        "pid {} has the context again ({}): {counted} prompts counted",
        pid.unwrap_or_default(),
        played.context
    ))
}

pub(super) async fn kill_daemon(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let (first, second) = (demo.cast.first.clone(), demo.cast.second.clone());
    for chat in [&first, &second] {
        let mut playing = demo.begin(chat, prompts::LONG).await?;
        demo.until(&mut playing, is_text).await?;
        demo.cast.at_work.push(playing.task.id);
    }
    let queued = demo.begin(&first, prompts::QUEUED).await?;
    check(queued.task.state == "queued", "a third task to wait behind the first", &queued.task.state)?;
    demo.cast.queued = queued.task.id;
    let at_work = processes::marked(demo.cast.installation).len();
    let pid = demo.stage.daemon_pid().unwrap_or_default();
    demo.stage.kill_daemon()?;
    match processes::gone_within(demo.cast.installation, ORPHANS_GONE).await {
        Ok(took) => Ok(format!(
            "hobd {pid} killed; all {at_work} processes of the agents were gone {} later",
            millis(took)
        )),
        Err(left) => Err(CliError::failed(format!("expected no process to be left after 1 s\nsaw {left:?}"))),
    }
}

pub(super) async fn account(demo: &mut Demo<'_>) -> Result<String, CliError> {
    demo.stage.start_daemon().await?;
    let link = demo.stage.link().await?;
    let wait = json!({"task": demo.cast.queued, "timeout_ms": QUEUED_TIMEOUT_MS});
    let queued: TaskRow = link.call("task/wait", wait).await?;
    check(queued.state == "completed", "the queued task to be run and completed", &queued.state)?;
    for id in &demo.cast.at_work {
        let row: TaskRow = link.call("task/show", json!({"task": id})).await?;
        check(row.state == "interrupted", &format!("task {id} to be interrupted"), &row.state)?;
    }
    let tasks: Vec<TaskRow> = link.call("task/list", json!({"session": demo.cast.session})).await?;
    let mut listed: Vec<_> = tasks.iter().map(|task| task.id.clone()).collect();
    listed.sort_unstable();
    let mut submitted = demo.cast.tasks.clone();
    submitted.sort_unstable();
    check(listed == submitted, "every submitted task once", format_args!("{listed:?}"))?;
    check(
        tasks.iter().all(|task| task::is_terminal(&task.state)),
        "every task to have ended",
        "one that has not",
    )?;
    let answer = one_line(queued.text.as_deref().unwrap_or_default(), 60);
    Ok(format!(
        "the two at work are interrupted, not run again; the one queued was run: “{answer}”\n{} tasks, each accounted for once",
        tasks.len()
    ))
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    next: Option<i64>,
}

pub(super) async fn journal(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let link = demo.stage.link().await?;
    let events = replay(&link).await?;
    let in_order = events.windows(2).all(|pair| pair[0].seq < pair[1].seq);
    check(in_order, "numbers that only grow", "one that does not")?;
    for (seq, json) in &demo.cast.seen {
        let again = events.iter().find(|event| event.seq == *seq).map(EventRow::json);
        check(again == Some(json), &format!("event {seq} as it was seen live"), again.unwrap_or("nothing"))?;
    }
    for task in &demo.cast.tasks {
        let ends = events
            .iter()
            .filter(|event| event.task.as_ref() == Some(task) && event.task_end().is_some())
            .count();
        check(ends == 1, &format!("one end of task {task}"), ends)?;
    }
    let count = |kind: &str| events.iter().filter(|event| event.kind == kind).count();
    let (started, ended) = (count("turn_started"), count("turn_ended"));
    check(started == ended, &format!("{started} ends for {started} turns"), ended)?;
    let mut lines = log::Lines::default();
    let text: String = events.iter().map(|event| lines.push(event)).collect::<String>() + &lines.flush();
    let shown: Vec<_> = text.lines().collect();
    let shown = &shown[shown.len().saturating_sub(LINES_SHOWN)..];
    demo.show.block(&format!("…\n{}\n", shown.join("\n")))?;
    let (seen, tasks) = (demo.cast.seen.len(), demo.cast.tasks.len());
    Ok(format!(
        "{} events in order; the {seen} seen live are the same; {tasks} tasks and {ended} turns end once each",
        events.len()
    ))
}

async fn replay(link: &Link) -> Result<Vec<EventRow>, CliError> {
    let (mut events, mut after) = (Vec::new(), Some(0));
    while let Some(cursor) = after {
        let page: Page = link.call("events/list", json!({"after": cursor, "limit": 200})).await?;
        for raw in page.events {
            events.push(EventRow::read(raw)?);
        }
        after = page.next;
    }
    Ok(events)
}

pub(super) async fn down(demo: &mut Demo<'_>) -> Result<String, CliError> {
    let link = demo.stage.link().await?;
    link.call::<Value>("daemon/shutdown", json!({})).await?;
    let status = demo.stage.daemon_ended().await?;
    check(status.success(), "the daemon to end well", status)?;
    check(!demo.stage.socket().exists(), "no socket to be left", demo.stage.socket().display())?;
    if let Err(left) = processes::gone_within(demo.cast.installation, STOPPED_GONE).await {
        return Err(CliError::failed(format!("expected no process to be left\nsaw {left:?}")));
    }
    let is_gone = demo.stage.clear()?;
    let place = demo.stage.dir().display();
    Ok(if is_gone {
        format!("no process, no socket; {place} is gone")
    } else {
        format!("no process, no socket; kept: {place}")
    })
}

impl Demo<'_> {
    /// The live agent session of a chat.
    async fn live(&self, chat: &str) -> Result<AgentSessionRow, CliError> {
        let link = self.stage.link().await?;
        let rows: Vec<AgentSessionRow> = link.call("pool/list", json!({})).await?;
        let row = rows.into_iter().find(|row| row.chat == chat);
        row.ok_or_else(|| CliError::failed("expected a live agent in the chat, saw none"))
    }

    /// The agent sessions, once they are as expected; as they are when that takes too long. What
    /// an agent session says of itself may come a moment after what its task says.
    async fn pool_until(
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

fn is_text(event: &EventRow) -> bool {
    event.kind == "text"
}

/// The first number in the answer to `count`.
fn counted(played: &Played) -> Result<u64, CliError> {
    let digits = played.text.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty());
    let number = digits.and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| CliError::failed(format!("expected a number\nsaw {:?}", played.text)))
}

fn millis(time: Duration) -> String {
    duration(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

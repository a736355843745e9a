//! `pool/*`: agent sessions as they are right now.
//!
//! What is recorded comes from the store, what is true this moment from the tree; the tree wins.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_actors::event::AgentStatus;
use hob_actors::id::{AgentKey, TaskId};
use hob_actors::ports::{Machine as _, ProcessTree};
use hob_actors::tree::LiveView;
use tokio::time::Instant;

use super::{Call, Done, chats, submit};
use crate::backend::process;
use crate::control::audience::Pin;
use crate::control::error::RpcFailure;
use crate::control::params::{PoolAct, PoolList, PoolPin};
use crate::control::wire::{AgentSessionRow, TaskRow};
use crate::store::words;

/// How long a list waits for the record of what the tree knows already.
const RECORD_TIMEOUT: Duration = Duration::from_millis(500);
/// What is said of a task that the dispatcher has handed out.
const STARTING: &str = "starting";
/// What a restart may take beyond the stop and the start: the records in between.
const RESTART_MARGIN: Duration = Duration::from_secs(30);

/// `pool/list`
pub(crate) async fn list(call: &Call, params: PoolList) -> Done<Vec<AgentSessionRow>> {
    let mut rows = agree(call).await?;
    if !params.all {
        rows.retain(is_live);
    }
    weigh(&mut rows).await;
    place(call, &mut rows).await;
    Ok(rows)
}

/// Says of each whether the worktree that it works in is there.
async fn place(call: &Call, rows: &mut [AgentSessionRow]) {
    let mut known: BTreeMap<String, Option<String>> = BTreeMap::new();
    for row in rows.iter_mut().filter(|row| row.status != "closed") {
        if !known.contains_key(&row.session) {
            let place = call.services().pending.place_of(&row.session).await;
            known.insert(row.session.clone(), place.err());
        }
        row.misplaced = known.get(&row.session).cloned().flatten();
    }
}

/// `pool/evict`: resolves when the process is gone.
pub(crate) async fn evict(call: &Call, params: PoolAct) -> Done<AgentSessionRow> {
    let key = known(call, &params.chat, &params.agent).await?;
    call.services().tree.evict(key.clone(), params.force).await??;
    one(call, &key).await
}

/// `pool/restart`: resolves when the new process is up, or could not be brought up.
pub(crate) async fn restart(call: &Call, params: PoolAct) -> Done<AgentSessionRow> {
    call.check_open()?;
    let PoolAct { chat, agent, force } = params;
    let session = chats::find(call, &chat).await?.session;
    submit::check_agent(call, &agent).await?;
    let services = call.services();
    let alone = services.flights.session(&session).await;
    submit::open_chat(call, &chat).await?;
    drop(alone);
    let config = services.config.current();
    let process = config.agent(&agent).map_or(&config.process, |agent| &agent.process);
    let limit = process.start_timeout + process.stop_grace + RESTART_MARGIN;
    let key = AgentKey::new(chat, agent);
    services.tree.restart(key.clone(), force, limit).await??;
    one(call, &key).await
}

/// `pool/pin`: starts nothing.
pub(crate) async fn pin(call: &Call, params: PoolPin) -> Done<AgentSessionRow> {
    let key = known(call, &params.chat, &params.agent).await?;
    let audience = call.services().audience.clone();
    call.connection.pin(key.clone(), || Pin::take(audience, key.clone()))?;
    call.services().tree.touch(key.clone());
    one(call, &key).await
}

/// `pool/unpin`: gives the pin of this connection back, if it holds one.
pub(crate) async fn unpin(call: &Call, params: PoolPin) -> Done<AgentSessionRow> {
    let key = known(call, &params.chat, &params.agent).await?;
    call.connection.unpin(&key);
    one(call, &key).await
}

/// An agent session that has had a process.
async fn known(call: &Call, chat: &str, agent: &str) -> Done<AgentKey> {
    chats::find(call, chat).await?;
    match call.services().store.agent_session(chat, agent).await? {
        Some(_) => Ok(AgentKey::new(chat, agent)),
        None => {
            let failure = RpcFailure::not_found("agent session", &format!("{chat} {agent}"));
            Err(failure.hint(format!("hob chat show {chat}")))
        }
    }
}

/// One agent session as it is now.
async fn one(call: &Call, key: &AgentKey) -> Done<AgentSessionRow> {
    let row = call.services().store.agent_session(key.chat.as_str(), key.agent.as_str()).await?;
    let row = row.ok_or_else(|| RpcFailure::not_found("agent session", &key.to_string()))?;
    let mut rows = [row];
    Now::look(call).await.merge(&mut rows);
    weigh(&mut rows).await;
    let [row] = rows;
    Ok(row)
}

/// What is recorded and what the tree knows, once the record has caught up: how a process ended is
/// written down a moment after the tree knows that it did.
pub(super) async fn agree(call: &Call) -> Done<Vec<AgentSessionRow>> {
    let store = &call.services().store;
    let mut head = store.head();
    let deadline = Instant::now() + RECORD_TIMEOUT;
    loop {
        head.borrow_and_update();
        let now = Now::look(call).await;
        let mut rows = store.agent_sessions(true).await?;
        let is_ahead = now.is_ahead_of(&rows);
        if !is_ahead || tokio::time::timeout_at(deadline, head.changed()).await.is_err() {
            now.merge(&mut rows);
            return Ok(rows);
        }
    }
}

/// Whether it has a process, is about to, or is kept from it by its failures.
fn is_live(row: &AgentSessionRow) -> bool {
    row.pid.is_some()
        || matches!(row.status.as_str(), "starting" | "idle" | "busy" | "backoff" | "circuit_open")
}

/// What the tree knows at one moment.
pub(crate) struct Now {
    live: Vec<LiveView>,
    waiting: BTreeMap<TaskId, (AgentKey, &'static str)>,
}

impl Now {
    /// Asks the tree. While a part of it is being restarted, what is recorded must do.
    pub(crate) async fn look(call: &Call) -> Self {
        let tree = &call.services().tree;
        let (live, waiting) = tokio::join!(tree.live(), tree.waiting());
        Self { live: live.unwrap_or_default(), waiting: waiting.unwrap_or_default() }
    }

    /// Whether a process has ended whose end is not in these rows yet.
    fn is_ahead_of(&self, rows: &[AgentSessionRow]) -> bool {
        let has_ended = |view: &&LiveView| {
            matches!(view.status, AgentStatus::Crashed | AgentStatus::Evicted | AgentStatus::Closed)
        };
        let is_missing = |view: &LiveView| {
            let row = rows.iter().find(|row| is_of(&view.key, row));
            row.is_some_and(|row| matches!(row.status.as_str(), "starting" | "idle" | "busy"))
        };
        self.live.iter().filter(has_ended).any(is_missing)
    }

    /// Puts the present into rows of the past.
    pub(crate) fn merge(&self, rows: &mut [AgentSessionRow]) {
        for row in rows {
            if let Some(view) = self.live.iter().find(|view| is_of(&view.key, row)) {
                take(row, view);
                let shares = |other: &&LiveView| other.pid == view.pid && other.key != view.key;
                let n_others = self.live.iter().filter(shares).count();
                let n_others = if view.pid.is_some() { n_others } else { 0 };
                row.shared_with = u32::try_from(n_others).unwrap_or(u32::MAX);
            }
            // What is on its way to the agent, or there, waits no more.
            let waits = |(key, what): &&(AgentKey, &str)| is_of(key, row) && *what != STARTING;
            row.queued = row.queued.max(self.waiting.values().filter(waits).count() as u64);
        }
    }

    /// Says of waiting tasks what they wait for.
    pub(crate) fn explain(&self, rows: &mut [TaskRow]) {
        for row in rows.iter_mut().filter(|row| row.state == "queued") {
            row.waiting = self.waiting.get(row.id.as_str()).map(|(_, what)| (*what).to_owned());
        }
    }
}

fn is_of(key: &AgentKey, row: &AgentSessionRow) -> bool {
    key.chat.as_str() == row.chat && key.agent.as_str() == row.agent
}

fn take(row: &mut AgentSessionRow, view: &LiveView) {
    // An actor that has not started anything yet knows less than the record.
    if view.status != AgentStatus::Evicted || is_live(row) {
        words::agent_status(view.status).clone_into(&mut row.status);
    }
    row.generation = view.generation.0;
    row.pid = view.pid;
    row.idle_ms = view.idle_ms;
    row.turn = view.turn.as_ref().map(ToString::to_string);
    row.restarts = view.restarts;
    row.retry_in_ms = view.retry_in_ms;
    (row.crashes, row.start_failures) = view.failures;
    row.busy = view.busy.words().into_iter().map(str::to_owned).collect();
    row.reason.clone_from(&view.reason);
    if let Some(context) = view.context {
        row.context = Some(words::context(context).to_owned());
    }
}

/// Fills in what the process trees hold. Walks /proc, so not on this thread.
pub(crate) async fn weigh(rows: &mut [AgentSessionRow]) {
    let pids: Vec<u32> = rows.iter().filter_map(|row| row.pid).collect();
    if pids.is_empty() {
        return;
    }
    let trees = process::ThisMachine.trees(pids.clone()).await;
    let by_pid: BTreeMap<u32, ProcessTree> =
        pids.into_iter().zip(trees).filter_map(|(pid, tree)| Some((pid, tree?))).collect();
    for row in rows {
        let tree = row.pid.and_then(|pid| by_pid.get(&pid));
        row.rss_bytes = tree.map(|tree| tree.rss_bytes);
        row.pss_bytes = tree.map(|tree| tree.pss_bytes);
        row.descendants = tree.map(|tree| tree.descendants.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hob_actors::event::Context;
    use hob_actors::id::Generation;
    use hob_actors::session::busy::Busy;

    fn row(chat: &str, agent: &str) -> AgentSessionRow {
        AgentSessionRow {
            chat: chat.into(),
            agent: agent.into(),
            session: "s-1".into(),
            backend: "acp".into(),
            status: "crashed".into(),
            generation: 1,
            pid: None,
            shared_with: 0,
            backend_session: None,
            config_hash: None,
            worktree: None,
            idle_ms: None,
            queued: 0,
            turn: None,
            restarts: 0,
            context: None,
            rss_bytes: None,
            pss_bytes: None,
            descendants: None,
            reason: None,
            misplaced: None,
            retry_in_ms: None,
            crashes: 0,
            start_failures: 0,
            busy: Vec::new(),
            last_exit: None,
        }
    }

    fn view(status: AgentStatus) -> LiveView {
        LiveView {
            key: AgentKey::new("c-1", "goose"),
            status,
            generation: Generation(2),
            pid: None,
            idle_ms: None,
            turn: None,
            restarts: 0,
            context: None,
            busy: Busy::default(),
            reason: None,
            retry_in_ms: None,
            failures: (0, 0),
        }
    }

    #[test]
    fn a_list_waits_for_the_record_of_an_end_and_for_nothing_else() {
        let cases = [
            (AgentStatus::Crashed, "busy", true),
            (AgentStatus::Crashed, "idle", true),
            (AgentStatus::Crashed, "crashed", false),
            (AgentStatus::Evicted, "idle", true),
            (AgentStatus::Evicted, "crashed", false),
            (AgentStatus::Closed, "busy", true),
            (AgentStatus::Busy, "idle", false),
        ];
        for (status, recorded, is_ahead) in cases {
            let now = Now { live: vec![view(status)], waiting: BTreeMap::new() };
            let mut row = row("c-1", "goose");
            row.status = recorded.into();
            assert_eq!(now.is_ahead_of(&[row]), is_ahead, "{status:?} over {recorded}");
        }
    }

    #[test]
    fn an_actor_that_has_done_nothing_yet_does_not_hide_how_the_last_process_ended() {
        let now = Now { live: vec![view(AgentStatus::Evicted)], waiting: BTreeMap::new() };
        let mut rows = [row("c-1", "goose")];
        now.merge(&mut rows);
        assert_eq!(rows[0].status, "crashed");
    }

    #[test]
    fn the_present_is_put_into_the_row_of_its_own_key() {
        let view = LiveView {
            pid: Some(42),
            turn: Some("u-1".into()),
            context: Some(Context::Loaded),
            ..view(AgentStatus::Busy)
        };
        let waiting = [("t-2".into(), (AgentKey::new("c-1", "goose"), "turn"))];
        let now = Now { live: vec![view], waiting: waiting.into_iter().collect() };
        let mut rows = [row("c-1", "goose"), row("c-1", "qwen"), row("c-2", "goose")];
        now.merge(&mut rows);
        let first = &rows[0];
        assert_eq!((first.status.as_str(), first.pid, first.generation), ("busy", Some(42), 2));
        assert_eq!((first.turn.as_deref(), first.context.as_deref()), (Some("u-1"), Some("loaded")));
        assert_eq!(first.queued, 1);
        assert_eq!(rows[1..], [row("c-1", "qwen"), row("c-2", "goose")]);
    }

    #[test]
    fn what_has_a_process_or_would_have_one_is_shown() {
        let cases = [
            ("starting", true),
            ("idle", true),
            ("busy", true),
            ("backoff", true),
            ("evicted", false),
            ("crashed", false),
            ("circuit_open", true),
            ("closed", false),
        ];
        for (status, live) in cases {
            let mut row = row("c-1", "goose");
            row.status = status.into();
            assert_eq!(is_live(&row), live, "{status}");
        }
    }
}

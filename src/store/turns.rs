//! Turns: begun with `running`, ended exactly once together with their task, its open questions and
//! the events that tell of it, in one transaction.

use hob_actors::event::{Context, Event, Outcome, TaskState, Usage};
use hob_actors::id::{AgentKey, Generation, TaskId, TurnId};
use hob_actors::ports::{Ended, Route, TurnEnd, TurnName};
use hob_actors::session::final_text::FinalText;
use rusqlite::{Connection, params};

use super::command::Tx;
use super::permissions;
use super::sql::{self, Result, integer, natural};
use super::tasks::{self, TaskRef};
use super::{StoreError, ids, payload, words};

/// How a task ends, and its turn if one is open.
pub(super) struct Ending<'a> {
    pub(super) outcome: Outcome,
    pub(super) stop_reason: Option<&'a str>,
    pub(super) error: Option<&'a str>,
    /// Why the task ended, where the turn does not say it.
    pub(super) reason: Option<&'a str>,
    pub(super) usage: Usage,
    /// `None`: as long as the clock says.
    pub(super) duration_ms: Option<u64>,
    pub(super) first_token_ms: Option<u64>,
    /// The agent's last message; `None` is what the journal has of it.
    pub(super) text: Option<&'a str>,
}

impl<'a> Ending<'a> {
    /// An end by our own word.
    pub(super) fn by_us(outcome: Outcome, reason: &'a str) -> Self {
        Self {
            outcome,
            stop_reason: None,
            error: (outcome != Outcome::Completed).then_some(reason),
            reason: Some(reason),
            usage: Usage::default(),
            duration_ms: None,
            first_token_ms: None,
            text: None,
        }
    }

    fn of(end: &'a TurnEnd) -> Self {
        Self {
            outcome: end.outcome,
            stop_reason: end.stop_reason.as_deref(),
            error: end.error.as_deref(),
            reason: end.error.as_deref(),
            usage: end.usage.clone(),
            duration_ms: Some(end.duration_ms),
            first_token_ms: end.first_token_ms,
            text: Some(&end.text),
        }
    }
}

/// A turn that has not ended.
struct OpenTurn {
    id: TurnId,
    generation: Generation,
    started_at: i64,
}

fn open_turn(conn: &Connection, task: &TaskId) -> Result<Option<OpenTurn>> {
    let sql = "SELECT id, generation, started_at FROM turns WHERE task_id = ?1 AND ended_at IS NULL";
    sql::one(conn, sql, [task.as_str()], |row| {
        Ok(OpenTurn {
            id: row.get::<_, String>(0)?.into(),
            generation: Generation(natural(row.get(1)?)),
            started_at: row.get(2)?,
        })
    })
}

/// `dispatched` to `running`, with the turn; none if the task is over.
pub(super) fn start(
    tx: &mut Tx<'_>,
    id: &TaskId,
    generation: Generation,
    (context, route): (Context, Route),
) -> Result<Option<TurnId>> {
    let task = tasks::known(tx.conn, id)?;
    if task.state.is_terminal() {
        return Ok(None);
    }
    if task.state != TaskState::Dispatched || task.generation != Some(generation) {
        let state = words::task_state(task.state);
        return Err(StoreError::Conflict(format!(
            "task {id} is {state} and not dispatched to backend {generation}"
        )));
    }
    let attempt = sql::count(tx.conn, "SELECT count(*) FROM turns WHERE task_id = ?1", [id.as_str()])? + 1;
    let turn = TurnId::from(ids::unused(tx.conn, "turns", "u-")?);
    let now = tx.now().0;
    let lost = if context == Context::Reset { why_lost(tx.conn, &task.key)? } else { None };
    sql::run(
        tx.conn,
        "INSERT INTO turns (id, task_id, attempt, generation, context, started_at, context_lost)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            turn.as_str(),
            id.as_str(),
            integer(attempt),
            integer(generation.0),
            words::context(context),
            now,
            lost
        ],
    )?;
    let sql = "UPDATE tasks SET state = 'running', started_at = coalesce(started_at, ?2), backend = ?3
               WHERE id = ?1";
    sql::run(tx.conn, sql, params![id.as_str(), now, route.word()])?;
    if route == Route::Warm {
        // What is kept is not what a run of its own remembers.
        let sql = "UPDATE agent_sessions SET context = ?3 WHERE chat_id = ?1 AND agent = ?2";
        let key = &task.key;
        sql::run(tx.conn, sql, params![key.chat.as_str(), key.agent.as_str(), words::context(context)])?;
    }
    let scope = task.scope(Some(turn.clone()));
    tasks::told(tx, &scope, Some(TaskState::Dispatched), TaskState::Running, None)?;
    let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
    tx.event(&scope, &Event::TurnStarted { attempt, context, lost })?;
    Ok(Some(turn))
}

/// Why an agent lost what it remembered, as was told last.
fn why_lost(conn: &Connection, key: &AgentKey) -> Result<Option<String>> {
    let sql = "SELECT payload ->> '$.reason' FROM events
               WHERE chat_id = ?1 AND agent = ?2 AND type = 'context_reset' ORDER BY seq DESC LIMIT 1";
    sql::one(conn, sql, [key.chat.as_str(), key.agent.as_str()], |row| row.get(0))
}

/// Ends a turn and its task, if it is this turn of this backend that is open. An end that fits
/// nothing, of a task that is not over, is refused: taken for done it would leave the task open for ever.
pub(super) fn end_turn(tx: &mut Tx<'_>, end: &TurnEnd) -> Result<Ended> {
    let task = tasks::known(tx.conn, &end.task)?;
    let TurnEnd { turn, generation, .. } = end;
    match open_turn(tx.conn, &end.task)? {
        Some(open) if open.id == *turn && open.generation == *generation => {
            self::end(tx, &task, &Ending::of(end))?;
            Ok(Ended::Now)
        }
        Some(OpenTurn { id, generation: of, .. }) => Err(StoreError::Conflict(format!(
            "turn {id} of backend {of} is open in task {}, and not turn {turn} of backend {generation}",
            task.id
        ))),
        None if task.state.is_terminal() => Ok(Ended::Before),
        None => {
            let state = words::task_state(task.state);
            Err(StoreError::Conflict(format!("task {} is {state} and has no open turn", task.id)))
        }
    }
}

/// Ends a turn in which nothing ran, and queues its task again.
pub(super) fn retract(tx: &mut Tx<'_>, of: &TurnName, why: &str) -> Result<()> {
    let task = tasks::known(tx.conn, &of.task)?;
    let open = open_turn(tx.conn, &of.task)?;
    let Some(open) = open.filter(|open| open.id == of.turn && open.generation == of.generation) else {
        return Err(StoreError::Conflict(format!("turn {} of task {} is not open", of.turn, task.id)));
    };
    permissions::settle_turn(tx, &task, &open.id)?;
    end_open_turn(tx, &task, &open, &Ending::by_us(Outcome::Failed, why))?;
    let sql = "UPDATE tasks SET state = 'queued', generation = NULL WHERE id = ?1";
    sql::run(tx.conn, sql, [of.task.as_str()])?;
    let scope = task.scope(Some(open.id));
    tasks::told(tx, &scope, Some(task.state), TaskState::Queued, Some(why))
}

/// Ends a task, and its turn if one is open.
pub(super) fn end_task(tx: &mut Tx<'_>, id: &TaskId, outcome: Outcome, reason: &str) -> Result<Ended> {
    let task = tasks::known(tx.conn, id)?;
    if task.state.is_terminal() {
        return Ok(Ended::Before);
    }
    end(tx, &task, &Ending::by_us(outcome, reason))?;
    Ok(Ended::Now)
}

/// Ends a task that is not terminal, with its open turn if there is one.
pub(super) fn end(tx: &mut Tx<'_>, task: &TaskRef, ending: &Ending<'_>) -> Result<()> {
    let open = open_turn(tx.conn, &task.id)?;
    if let Some(open) = &open {
        permissions::settle_turn(tx, task, &open.id)?;
        end_open_turn(tx, task, open, ending)?;
        if mutant!("two_transactions") {
            tx.conn.execute_batch("COMMIT; BEGIN IMMEDIATE; SAVEPOINT command")?;
            crash_point!("turn.ended_alone");
        }
    }
    let journalled = match (&open, ending.text) {
        (Some(open), None) => Some(final_text(tx.conn, task, &open.id)?).filter(|text| !text.is_empty()),
        _ => None,
    };
    let to = TaskState::from(ending.outcome);
    sql::run(
        tx.conn,
        "UPDATE tasks SET state = ?2, ended_at = ?3, stop_reason = ?4, error = ?5, text = ?6 WHERE id = ?1",
        params![
            task.id.as_str(),
            words::task_state(to),
            tx.now().0,
            ending.stop_reason,
            ending.error,
            ending.text.or(journalled.as_deref()),
        ],
    )?;
    let scope = task.scope(open.map(|open| open.id));
    tasks::told(tx, &scope, Some(task.state), to, ending.reason)
}

/// What the journal has of the last message of a turn.
fn final_text(conn: &Connection, task: &TaskRef, turn: &TurnId) -> Result<String> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Piece {
        text: Option<String>,
        message: Option<String>,
    }
    let mut text = FinalText::default();
    let mut statement = conn.prepare_cached(
        "SELECT type, payload FROM events WHERE task_id = ?1 AND turn_id = ?2 AND type IN ('text', 'tool_call')
         ORDER BY seq",
    )?;
    let mut rows = statement.query([task.id.as_str(), turn.as_str()])?;
    while let Some(row) = rows.next()? {
        let payload: Option<String> = row.get(1)?;
        if row.get::<_, String>(0)? == "tool_call" {
            text.begin_anew();
            continue;
        }
        // One that cannot be read costs itself alone.
        let piece: Piece =
            serde_json::from_str(&payload::readable(&payload.unwrap_or_default())).unwrap_or_default();
        text.say(&piece.text.unwrap_or_default(), piece.message.as_deref());
    }
    Ok(text.take())
}

fn end_open_turn(tx: &mut Tx<'_>, task: &TaskRef, open: &OpenTurn, ending: &Ending<'_>) -> Result<()> {
    let now = tx.now().0;
    let duration_ms = ending.duration_ms.unwrap_or_else(|| natural(now - open.started_at));
    let usage = &ending.usage;
    sql::run(
        tx.conn,
        "UPDATE turns SET ended_at = ?2, outcome = ?3, stop_reason = ?4, error = ?5, duration_ms = ?6,
            first_token_ms = ?7, input = ?8, output = ?9, reasoning = ?10, cached_read = ?11, cached_write = ?12,
            context_used = ?13, context_size = ?14, cost = ?15, currency = ?16
         WHERE id = ?1",
        params![
            open.id.as_str(),
            now,
            words::outcome(ending.outcome),
            ending.stop_reason,
            ending.error,
            integer(duration_ms),
            ending.first_token_ms.map(integer),
            usage.input.map(integer),
            usage.output.map(integer),
            usage.reasoning.map(integer),
            usage.cached_read.map(integer),
            usage.cached_write.map(integer),
            usage.context_used.map(integer),
            usage.context_size.map(integer),
            usage.cost,
            usage.currency,
        ],
    )?;
    if ending.outcome == Outcome::Completed {
        let sql =
            "UPDATE agent_sessions SET has_history = 1 WHERE chat_id = ?1 AND agent = ?2 AND generation = ?3
             AND NOT EXISTS (SELECT 1 FROM tasks WHERE id = ?4 AND backend = 'oneshot')";
        let (key, generation) = (&task.key, integer(open.generation.0));
        let bound = params![key.chat.as_str(), key.agent.as_str(), generation, task.id.as_str()];
        sql::run(tx.conn, sql, bound)?;
    }
    let event = Event::TurnEnded {
        outcome: ending.outcome,
        stop_reason: ending.stop_reason.map(str::to_owned),
        error: ending.error.map(str::to_owned),
        usage: usage.clone(),
        duration_ms,
        first_token_ms: ending.first_token_ms,
    };
    tx.event(&task.scope(Some(open.id.clone())), &event)?;
    Ok(())
}

/// From the start of an open turn to its last sign of life, for a turn whose end nobody saw.
pub(super) fn last_sign_ms(conn: &Connection, task: &TaskId) -> Result<Option<u64>> {
    let sql = "SELECT e.at - u.started_at FROM turns AS u JOIN events AS e ON e.task_id = u.task_id
               WHERE u.task_id = ?1 AND u.ended_at IS NULL ORDER BY e.seq DESC LIMIT 1";
    Ok(sql::one(conn, sql, [task.as_str()], |row| row.get::<_, i64>(0))?.map(natural))
}

//! What agents offer to be chosen, and what a person chose for an agent session.

use hob_actors::event::{Event, Scope};
use hob_actors::id::{AgentKey, Generation};
use hob_actors::ports::Choice;
use rusqlite::{Connection, params};

use super::command::Tx;
use super::reader::Reply;
use super::sql::{self, Result};
use super::{Store, StoreError, agents, payload};

/// The events of one kind of one agent session. The list of kinds is the index's, which is used for
/// no query that does not repeat it.
const OF_KIND: &str = "chat_id = ?1 AND agent = ?2 AND type = ?3 AND type IN ('mode', 'models')";

/// What is known of one thing that an agent offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// The value that the agent said last in that chat.
    pub current: Option<String>,
    /// The value that a new conversation begins with, as far as one did.
    pub initial: Option<String>,
    /// The values, in JSON as the agent sent them.
    pub available: Option<String>,
}

/// What an agent offers in a chat, and what was chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offered {
    /// Modes.
    pub mode: Offer,
    /// Models.
    pub model: Offer,
    /// What a person chose there.
    pub choice: Choice,
}

/// Takes note of what an agent offers, if an event tells of that.
pub(super) fn note(tx: &Tx<'_>, scope: &Scope, event: &Event) -> Result<()> {
    let (Event::Mode { current, available: Some(available) }
    | Event::Models { current, available: Some(available) }) = event
    else {
        return Ok(());
    };
    let (Some(chat), Some(agent)) = (&scope.chat, &scope.agent) else { return Ok(()) };
    let kind = payload::kind(event);
    // The first word of a first backend is of a new conversation; what comes later may have been chosen.
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM events WHERE {OF_KIND} LIMIT 2)");
    let is_first = scope.generation == Some(Generation(1))
        && sql::one(tx.conn, &sql, [chat.as_str(), agent.as_str(), kind], |row| row.get(0))? == Some(1);
    sql::run(
        tx.conn,
        "INSERT INTO offers (agent, kind, current, available) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET available = excluded.available,
             current = CASE WHEN ?5 THEN excluded.current ELSE current END",
        params![agent.as_str(), kind, current, available.as_str(), is_first],
    )?;
    Ok(())
}

/// Remembers what was chosen, and tells of it.
pub(super) fn choose(tx: &mut Tx<'_>, key: &AgentKey, choice: &Choice) -> Result<()> {
    let record = agents::record(tx, key)?;
    sql::run(
        tx.conn,
        "UPDATE agent_sessions SET mode = ?3, model = ?4 WHERE chat_id = ?1 AND agent = ?2",
        params![key.chat.as_str(), key.agent.as_str(), choice.mode, choice.model],
    )?;
    let scope = agents::scope(key, &record.session, record.generation);
    // The agent may have told so itself.
    let is_told = |kind, value: &String| {
        Ok::<_, StoreError>(newest(tx.conn, key, kind, "current")?.as_ref() == Some(value))
    };
    let mut events = Vec::new();
    if let Some(mode) = choice.mode.clone().filter(|_| choice.mode != record.choice.mode)
        && !is_told("mode", &mode)?
    {
        events.push(Event::Mode { current: Some(mode), available: None });
    }
    if let Some(model) = choice.model.clone().filter(|_| choice.model != record.choice.model)
        && !is_told("models", &model)?
    {
        events.push(Event::Models { current: Some(model), available: None });
    }
    for event in events {
        tx.event(&scope, &event)?;
    }
    Ok(())
}

fn offered(conn: &Connection, key: &AgentKey) -> Result<Offered> {
    let [chat, agent] = [key.chat.as_str(), key.agent.as_str()];
    let sql = "SELECT mode, model FROM agent_sessions WHERE chat_id = ?1 AND agent = ?2";
    let choice =
        sql::one(conn, sql, [chat, agent], |row| Ok(Choice { mode: row.get(0)?, model: row.get(1)? }))?;
    Ok(Offered {
        mode: offer(conn, key, "mode")?,
        model: offer(conn, key, "models")?,
        choice: choice.unwrap_or_default(),
    })
}

/// A member of the newest event of that kind which has it.
fn newest(conn: &Connection, key: &AgentKey, kind: &str, member: &str) -> Result<Option<String>> {
    let sql = format!(
        "SELECT json_extract(payload, '$.{member}') FROM events
         WHERE {OF_KIND} AND json_extract(payload, '$.{member}') IS NOT NULL
         ORDER BY seq DESC LIMIT 1"
    );
    Ok(sql::one(conn, &sql, [key.chat.as_str(), key.agent.as_str(), kind], |row| row.get(0))?.flatten())
}

fn offer(conn: &Connection, key: &AgentKey, kind: &str) -> Result<Offer> {
    let sql = "SELECT current, available FROM offers WHERE agent = ?1 AND kind = ?2";
    let elsewhere = sql::one(conn, sql, [key.agent.as_str(), kind], |row| {
        Ok((row.get::<_, Option<String>>(0)?, row.get::<_, String>(1)?))
    })?;
    let (initial, available) = elsewhere.map_or((None, None), |(initial, all)| (initial, Some(all)));
    Ok(Offer {
        current: newest(conn, key, kind, "current")?,
        initial,
        available: newest(conn, key, kind, "available")?.or(available),
    })
}

impl Store {
    /// What an agent offers in a chat, and what was chosen there.
    pub fn offered(&self, chat: &str, agent: &str) -> Reply<Offered> {
        let key = AgentKey::new(chat, agent);
        self.read("read what the agent offers", move |conn| offered(conn, &key))
    }
}

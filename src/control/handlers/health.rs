//! `health/*`: how server processes are, and what went wrong with those before them.
//!
//! Where an agent session stands comes from the same rows as `pool/list`, how its process is from
//! the health actor.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_actors::health;
use hob_actors::tree::HealthView;
use tokio::time::Instant;

use super::{Call, Done, pool};
use crate::control::params::Nothing;
use crate::control::wire::{AgentSessionRow, ExitRow, FailureRow, HealthRow, Moment};
use crate::store::words;

/// `health/list`
pub(crate) async fn list(call: &Call, _: Nothing) -> Done<Vec<HealthRow>> {
    let sessions = pool::agree(call).await?;
    // While the health actor is being restarted nobody knows; the rest of the story is there.
    let views = call.services().tree.health().await.unwrap_or_default();
    let views: BTreeMap<_, _> =
        views.iter().map(|view| ((view.key.chat.as_str(), view.key.agent.as_str()), view)).collect();
    let clock = Clock { moment: Moment::now(), instant: Instant::now() };
    let rows = sessions.into_iter().filter_map(|session| {
        let view = views.get(&(session.chat.as_str(), session.agent.as_str())).copied();
        is_worth_a_row(&session, view).then(|| row(session, view, clock))
    });
    Ok(rows.collect())
}

/// One moment by both clocks.
#[derive(Debug, Clone, Copy)]
struct Clock {
    moment: Moment,
    instant: Instant,
}

impl Clock {
    /// When something of the past was, by the wall clock as it stands now.
    fn moment_of(self, instant: Instant) -> Moment {
        let ago = self.instant.saturating_duration_since(instant);
        Moment(self.moment.0.saturating_sub(millis(ago)))
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Who has a process, who is in trouble, and who was.
fn is_worth_a_row(session: &AgentSessionRow, view: Option<&HealthView>) -> bool {
    let had_trouble = |view: &HealthView| view.last_end.is_some() || view.last_failure.is_some();
    match session.status.as_str() {
        "closed" => false,
        "evicted" => view.is_some_and(had_trouble),
        _ => true,
    }
}

fn row(session: AgentSessionRow, view: Option<&HealthView>, clock: Clock) -> HealthRow {
    let live = matches!(session.status.as_str(), "starting" | "idle" | "busy" | "backoff");
    let end = view.and_then(|view| view.last_end.as_ref());
    let exit = end.and_then(|end| Some(words::exit_row(end.exit.as_ref()?, Some(clock.moment_of(end.at)))));
    // What was before this daemon is in the record, where it still stands like that.
    let recorded = session.last_exit.filter(|_| session.status != "evicted");
    let last_exit = exit.or(recorded.filter(|_| end.is_none() && !live)).map(shortened);
    let reason = session.reason.or_else(|| end.map(|end| end.why.clone()));
    let reason = reason.or_else(|| last_exit.as_ref().map(|exit| exit.detail.clone()));
    let tail = view.map(|view| view.stderr_tail.clone()).filter(|tail| !tail.is_empty());
    let tail = tail.or_else(|| last_exit.as_ref().map(|exit| exit.stderr_tail.clone()));
    let state = view.and_then(|view| view.state).filter(|_| live);
    HealthRow {
        chat: session.chat,
        agent: session.agent,
        session: session.session,
        status: session.status,
        generation: session.generation,
        pid: session.pid,
        state: state.map(|state| words::health(state).to_owned()),
        since: view.filter(|_| state.is_some()).map(|view| clock.moment_of(view.since)),
        failures: view.map_or(0, |view| view.failures),
        last_failure: view.and_then(|view| view.last_failure.as_ref()).map(|failure| FailureRow {
            class: words::failure(failure.class).to_owned(),
            message: failure.message.clone(),
            at: clock.moment_of(failure.at),
        }),
        restarts: view.map_or(0, |view| view.restarts),
        reason,
        retry_in_ms: session.retry_in_ms,
        last_exit,
        stderr_tail: tail.unwrap_or_default(),
    }
}

fn shortened(exit: ExitRow) -> ExitRow {
    ExitRow { stderr_tail: health::shown(&exit.stderr_tail).to_owned(), ..exit }
}

#[cfg(test)]
mod tests;

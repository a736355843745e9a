//! Decides when a turn that is alive counts as stuck; performs nothing.
//!
//! What is open in the turn decides which limit holds: a waiting question before a tool in flight
//! before the silence of the model. The limit is counted from when that began, or from the last
//! progress, whichever is later; at half of it the person is warned, at the whole of it the turn is
//! cancelled. What becomes of a cancel that is not honoured is not decided here.
//!
//! To carry it out, call [`next`] when a turn begins, whenever a tool call or a question opens or
//! closes, after every step, and at the instant that [`Step::Sleep`] names. Progress alone needs no
//! call: it only moves that instant away, and the call at the old one finds that out.

use tokio::time::Instant;

use crate::ports::WatchdogRules;
use crate::words::duration;

/// What is known of a turn in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// When it last came forward: its prompt was sent, the agent said something, called a tool or
    /// told of one, changed its plan, or was given the answer to a question. Probes, usage and
    /// other news that come by themselves are none.
    pub progress: Instant,
    /// When the oldest tool call that is still open began.
    pub tool: Option<Instant>,
    /// When the oldest question that is still open was asked.
    pub question: Option<Instant>,
    /// The last step that was taken in this turn.
    pub stage: Stage,
}

/// How far a turn is up the ladder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stage {
    /// Nothing was done.
    #[default]
    Quiet,
    /// The person was warned, then. Progress since takes the turn back to the start.
    Warned(Instant),
    /// The turn was cancelled: the rest is the way of every cancel.
    Cancelled,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this instant.
    Sleep(Instant),
    /// Tell the person.
    Warn(String),
    /// Cancel the turn.
    Cancel(String),
    /// Nothing at all, until something opens or closes.
    Off,
}

/// The next step for a turn, at `now`.
pub fn next(facts: &Facts, rules: &WatchdogRules, now: Instant) -> Step {
    let (limit, began, what) = match (facts.question, facts.tool) {
        (Some(asked), _) => (rules.permission, asked, "a question of the agent has waited"),
        (None, Some(called)) => (rules.tool, called, "a tool has been running without a word"),
        (None, None) => (rules.silence, facts.progress, "nothing was heard of the agent"),
    };
    let Some(limit) = limit.filter(|_| facts.stage != Stage::Cancelled) else { return Step::Off };
    let from = began.max(facts.progress);
    let warned = matches!(facts.stage, Stage::Warned(at) if at >= from);
    let (due, of) = if warned { (limit, "the limit") } else { (limit / 2, "half of the limit") };
    let stuck = now.saturating_duration_since(from);
    if stuck < due {
        return match from.checked_add(due) {
            Some(at) => Step::Sleep(at),
            // Beyond every clock.
            None => Step::Off,
        };
    }
    let words = format!("{what} for {}, {of} of {}", duration(stuck), duration(limit));
    if warned { Step::Cancel(words) } else { Step::Warn(words) }
}

#[cfg(test)]
mod tests;

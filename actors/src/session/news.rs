//! What a session actor does with news of its agent: stamps it with the turn it belongs to and
//! passes it to the journal, or to the rules.

use std::sync::Arc;

use ractor::ActorRef;

use super::actor::{Memory, SessionMsg};
use super::state::Observation;
use super::turn::belongs_to_turn;
use crate::event::{Event, Exit, Level, NewEvent};
use crate::health::messages::EndCause;
use crate::id::Generation;
use crate::ports::{AUTH_REQUIRED, News, Permit, Route, Settled};

/// An error that comes sooner than this is no work that failed.
const AT_ONCE: std::time::Duration = std::time::Duration::from_millis(100);
/// Of so many in a row the last one is taken for a conversation that is lost.
const REFUSED_MAX: u32 = 2;

impl Memory {
    pub(super) fn heard(
        &mut self,
        me: &ActorRef<SessionMsg>,
        generation: Generation,
        news: News,
        permit: Permit,
    ) {
        // `Begun` comes before any news of its generation, through the same mailbox.
        if generation != self.generation && !crate::mutant::hears_old_generations() {
            return;
        }
        match news {
            News::Said(event) => self.said(me, event, permit),
            News::Asked(number, ask) => self.asked(me, number, ask),
            News::Withdrew(number) => self.withdrew(me, number),
            News::Spent(usage) => {
                if let Some(turn) = &mut self.turn {
                    turn.spent.add(&usage);
                }
            }
            News::Settled(settled) => self.settled(me, settled),
            News::LogIn { prompt, why } => self.logged_out(me, prompt, why),
            News::Lost { prompt, why } => {
                if self.is_awaited(prompt) {
                    self.lost(me, why);
                }
            }
            News::Hung(how) => {
                let (produced, after) = (self.produced(), self.crashed_if_up(None, &how));
                self.end_cause = EndCause::Crashed;
                self.saw(me, Observation::Hung { produced, how, after });
            }
            News::Exited(exit) => self.exited(me, exit),
        }
    }

    pub(super) fn produced(&self) -> bool {
        self.turn.as_ref().is_some_and(super::turn::Turn::produced)
    }

    fn said(&mut self, me: &ActorRef<SessionMsg>, event: Event, permit: Permit) {
        let mut is_watched_anew = false;
        // With its answer the agent is done with the turn, which is only looked at now.
        let is_open = !self.looks.is_answered();
        let scope = match self.turn.as_mut().filter(|_| is_open) {
            Some(turn) => {
                let now = Self::now();
                turn.note(&event, now);
                is_watched_anew = turn.note_tool(&event, now);
                self.pulse.beat();
                turn.scope.clone()
            }
            None if belongs_to_turn(&event) => {
                self.late();
                return;
            }
            None => Arc::new(self.scope_of_news()),
        };
        let mode = match &event {
            Event::Mode { current, .. } => current.clone(),
            _ => None,
        };
        self.args.ports.store.append(NewEvent { scope, event }, permit);
        if let Some(mode) = mode {
            self.follow(me, mode);
        }
        if is_watched_anew {
            self.watch(me);
        }
    }

    /// Output outside of any turn: counted, told once, never attributed to another turn.
    fn late(&mut self) {
        self.told += 1;
        tracing::debug!(key = %self.args.key, n_late = self.told, "output outside of a turn was dropped");
        if self.told == 1 {
            let text = "the agent went on after the end of its turn; what it said was dropped";
            self.notice(Level::Info, text.into());
        }
    }

    fn settled(&mut self, me: &ActorRef<SessionMsg>, settled: Settled) {
        if !self.is_awaited(settled.prompt) {
            return;
        }
        if let Err(why) = &settled.result
            && self.is_refused_again()
        {
            return self.lost(me, why.clone());
        }
        self.n_refused = if settled.result.is_ok() { 0 } else { self.n_refused };
        self.settled_usage = settled.usage;
        self.failures.worked();
        self.answered(me, settled.result);
    }

    /// Whether an error came at once, without anything done, and not for the first time: what an agent
    /// answers to a prompt is news of its health, too.
    fn is_refused_again(&mut self) -> bool {
        let Some(turn) = &self.turn else { return false };
        if turn.produced() || Self::now() - turn.since > AT_ONCE {
            return false;
        }
        self.n_refused += 1;
        self.n_refused >= REFUSED_MAX
    }

    /// The agent knows nothing of the conversation. The prompt is sent once more, to another process that
    /// takes it up again; the second time that is how the turn ends.
    fn lost(&mut self, me: &ActorRef<SessionMsg>, why: String) {
        let task = self.card.as_ref().map(|card| card.task.clone());
        let may_try = self.sent_again != task && !self.produced() && self.turn_route() == Route::Warm;
        if !may_try {
            return self.answered(me, Err(why));
        }
        self.sent_again = task;
        self.n_refused = 0;
        self.end_cause = EndCause::Ill;
        self.notice(
            Level::Warning,
            format!("the conversation is taken up again, and the prompt sent once more: {why}"),
        );
        self.saw(me, Observation::Lost { why });
    }

    /// False of a prompt that was given up, or of the turn before.
    fn is_awaited(&self, prompt: u64) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.prompt == prompt) && !self.looks.is_answered()
    }

    /// The process knows nothing of a log-in that is made elsewhere, and is no crash.
    fn logged_out(&mut self, me: &ActorRef<SessionMsg>, prompt: u64, why: String) {
        if self.is_awaited(prompt) {
            let why = format!("{AUTH_REQUIRED}: {why}");
            self.unfit(&why);
            self.saw(me, Observation::LoggedOut { why });
        }
    }
}

/// How a process ended, in words.
pub fn describe(exit: &Exit) -> String {
    match (exit.signal, exit.code) {
        (Some(signal), _) => format!("the agent was killed by signal {signal}"),
        (None, Some(code)) => format!("the agent exited with code {code}"),
        (None, None) => "the agent ended".into(),
    }
}

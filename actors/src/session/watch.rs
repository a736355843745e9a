//! The watchdog of a turn, carried out: asks [`watchdog`] whenever something opens or closes, and at
//! the instants that it names.

use ractor::ActorRef;

use super::actor::{Memory, SessionMsg};
use super::state::Request;
use crate::event::Level;
use crate::health::watchdog::{self, Facts, Stage, Step};
use crate::id::TurnId;

impl Memory {
    /// The same for the turn that was meant, if it is still open.
    pub(super) fn watch_turn(&mut self, me: &ActorRef<SessionMsg>, of: &TurnId) {
        if self.turn.as_ref().is_some_and(|turn| turn.id == *of) {
            self.watch(me);
        }
    }

    /// Takes whatever step is due for the open turn, and comes back when the next may be.
    pub(super) fn watch(&mut self, me: &ActorRef<SessionMsg>) {
        if let Some(before) = self.watching.take() {
            before.abort();
        }
        let rules = self.args.ports.settings.agent(&self.args.key.agent).watchdog;
        while let Some(turn) = &mut self.turn {
            let facts = Facts {
                progress: turn.progress,
                tool: turn.oldest_tool(),
                question: turn.oldest_question(),
                stage: turn.stage,
            };
            match watchdog::next(&facts, &rules, Self::now()) {
                Step::Sleep(at) => {
                    let (turn, to) = (turn.id.clone(), me.clone());
                    self.watching = Some(self.spawn(me, async move {
                        tokio::time::sleep_until(at).await;
                        to.cast(SessionMsg::Watch(turn)).ok();
                    }));
                    return;
                }
                Step::Warn(why) => {
                    turn.stage = Stage::Warned(Self::now());
                    self.notice(Level::Warning, why);
                }
                Step::Cancel(why) => {
                    turn.stage = Stage::Cancelled;
                    let turn = turn.id.clone();
                    self.notice(Level::Warning, format!("the turn is given up: {why}"));
                    self.ask(me, Request::GiveUp { turn, why });
                    return;
                }
                Step::Off => return,
            }
        }
    }
}

//! Another mode or model for an agent session: in place where the running backend can, and with the
//! next start where it cannot.
//!
//! **Invariant:** what the agent refused is not remembered, and what may or may not have come through
//! is put right by another start before the next turn.

use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorRef, RpcReplyPort};

use super::actor::{Memory, SessionMsg};
use super::state::Backend;
use crate::id::Generation;
use crate::ports::{Agent, Choice, NotChosen};

/// How long a running agent may take to say that it works that way now.
pub const CHOOSE_TIME_MAX: Duration = Duration::from_secs(10);

/// Why an agent session goes on as it did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unchanged {
    /// The agent said no.
    #[error("the agent refused it: {0}")]
    Refused(String),
    /// The agent said no to a part of it.
    #[error("the agent took only a part of it: {0}")]
    InPart(String),
    /// The agent said nothing.
    #[error("the agent gave no answer within {} s", CHOOSE_TIME_MAX.as_secs())]
    Unanswered,
    /// It could not be written down.
    #[error("it could not be recorded: {0}")]
    Unrecorded(String),
}

/// A choice of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Everything that is chosen from now on.
    pub choice: Choice,
    /// What of it is new; `None` if something is not chosen any more, which takes another start.
    pub asked: Option<Choice>,
}

/// What a choice came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// The backend of that generation works that way now.
    InPlace(Generation),
    /// The next start will.
    WithAStart,
    /// Everything is as it was.
    Refused,
    /// It is not wanted any more, and nobody knows how the backend of that generation works.
    Unknown(Generation),
}

impl Memory {
    /// The mode and model that a start would use.
    pub(super) fn wanted(&self) -> Choice {
        let recorded = || self.record.as_ref().map(|record| record.choice.clone());
        self.choice.clone().or_else(recorded).unwrap_or_default()
    }

    /// Asks the running backend, where it can be asked, and then remembers.
    pub(super) fn choose(
        &mut self,
        me: &ActorRef<SessionMsg>,
        Chosen { choice, asked }: Chosen,
        reply: RpcReplyPort<Result<(), Unchanged>>,
    ) {
        let (key, generation) = (self.args.key.clone(), self.generation);
        let (store, to) = (self.args.ports.store.clone(), me.clone());
        let asking = self.up_to_date().zip(asked).map(|(agent, asked)| agent.choose(&asked));
        self.choosing += 1;
        self.spawn(me, async move {
            let asked = match asking {
                Some(asking) => ask(asking).await,
                None => Ok(false),
            };
            let came = match asked {
                Ok(in_place) => match store.choose(key, choice.clone()).await {
                    Ok(()) if in_place => Ok(Came::InPlace(generation)),
                    Ok(()) => Ok(Came::WithAStart),
                    Err(error) => Err(Unchanged::Unrecorded(error.chain())),
                },
                Err(unchanged) => Err(unchanged),
            };
            let told = match &came {
                Ok(came) => *came,
                Err(Unchanged::Refused(_)) => Came::Refused,
                Err(_) => Came::Unknown(generation),
            };
            to.cast(SessionMsg::Chosen(choice, told)).ok();
            reply.send(came.map(drop)).ok();
        });
    }

    /// The running backend, if a start would bring up the same one.
    fn up_to_date(&self) -> Option<Arc<dyn Agent>> {
        let is_it = self.machine.backend == Backend::Up && self.present_hash()? == self.config_hash;
        self.agent.clone().filter(|_| is_it)
    }

    /// An agent may leave a mode by itself, as after a plan that was agreed to: what was chosen before
    /// is over then, and no start brings it back.
    pub(super) fn follow(&mut self, me: &ActorRef<SessionMsg>, mode: String) {
        let wanted = self.wanted();
        let is_left = wanted.mode.as_ref().is_some_and(|chosen| *chosen != mode);
        // What is told of a choice under way is that choice, and what waits for another start is not
        // what the agent works with.
        if !is_left || self.choosing > 0 || self.up_to_date().is_none() {
            return;
        }
        let choice = Choice { mode: Some(mode), ..wanted };
        let (store, key) = (self.args.ports.store.clone(), self.args.key.clone());
        self.came(choice.clone(), Came::InPlace(self.generation));
        let written = store.choose(key.clone(), choice);
        self.spawn(me, async move {
            if let Err(error) = written.await {
                tracing::warn!(%key, error = error.chain(), "the mode that an agent went to is not remembered");
            }
        });
    }

    /// A choice came to this.
    pub(super) fn chosen(&mut self, choice: Choice, came: Came) {
        self.choosing -= 1;
        self.came(choice, came);
    }

    fn came(&mut self, choice: Choice, came: Came) {
        match came {
            Came::InPlace(generation) => {
                // Whoever was started meanwhile, or has another configuration by now, is started again.
                let works_so = generation == self.generation && self.up_to_date().is_some();
                self.choice = Some(choice);
                if let Some(hash) = self.present_hash().filter(|_| works_so) {
                    self.config_hash = hash;
                }
            }
            Came::WithAStart => self.choice = Some(choice),
            Came::Refused => {}
            Came::Unknown(generation) if generation == self.generation => self.config_hash.clear(),
            Came::Unknown(_) => {}
        }
    }
}

/// Whether the agent works that way now; false if it takes another start.
async fn ask(asking: impl Future<Output = Result<(), NotChosen>>) -> Result<bool, Unchanged> {
    match tokio::time::timeout(CHOOSE_TIME_MAX, asking).await {
        Ok(Ok(())) => Ok(true),
        Ok(Err(NotChosen::NeedsStart)) => Ok(false),
        Ok(Err(NotChosen::Refused(why))) => Err(Unchanged::Refused(why)),
        Ok(Err(NotChosen::InPart(why))) => Err(Unchanged::InPart(why)),
        Err(_) => Err(Unchanged::Unanswered),
    }
}

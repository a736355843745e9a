//! A fake of the looks around turns: remembers them, and takes as long as the script says.

use std::future::Future;
use std::pin::Pin;

use super::World;
use crate::id::{AgentKey, Generation, TaskId};
use crate::ports::{Snapshots, TurnRef};

impl World {
    fn place_now(&self) -> Result<(), String> {
        self.script().place_is_gone.map_or(Ok(()), |why| Err(why.to_owned()))
    }

    /// A prompt reached an agent: it is one of a turn that was opened for that very process.
    pub(super) fn prompted(&self, key: &AgentKey, generation: Generation, text: &str) {
        let mut memory = self.memory();
        let of_key = |task: &TaskId| memory.tasks.iter().any(|card| card.task == *task && card.key == *key);
        let open = memory.open_turns.iter().find(|(_, task)| of_key(task));
        let under = open.and_then(|(turn, _)| memory.opened_under.get(turn).copied());
        if under != Some(generation) {
            memory.faults.push(format!("{text:?} went to process {generation} of a turn under {under:?}"));
        }
        memory.prompts.push((key.clone(), text.to_owned()));
    }

    fn look(&self, of: &TurnRef, when: &'static str) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.memory().looks.push((of.turn.clone(), when));
        let takes = self.script().look_takes;
        Box::pin(async move {
            tokio::task::yield_now().await;
            tokio::time::sleep(takes).await;
        })
    }
}

impl Snapshots for World {
    fn place(&self, _: AgentKey) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let this = self.clone();
        Box::pin(async move { this.place_now() })
    }

    fn before_turn(&self, turn: TurnRef) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        if let Err(why) = self.place_now() {
            return Box::pin(async move {
                tokio::task::yield_now().await;
                Err(why)
            });
        }
        let look = self.look(&turn, "before");
        Box::pin(async move {
            look.await;
            Ok(())
        })
    }

    fn after_turn(&self, turn: TurnRef) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.look(&turn, "after")
    }
}

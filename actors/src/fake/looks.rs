//! A fake of the looks around turns: remembers them, and takes as long as the script says.

use std::future::Future;
use std::pin::Pin;

use super::World;
use crate::ports::{Snapshots, TurnRef};

impl World {
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
    fn before_turn(&self, turn: TurnRef) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.look(&turn, "before")
    }

    fn after_turn(&self, turn: TurnRef) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.look(&turn, "after")
    }
}

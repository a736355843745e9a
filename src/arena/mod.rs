//! Arenas: one prompt, several agents, one baseline, and a person who takes over the best. Runs the
//! checks and takes up those that a crash cut off; what is decided, [`judge`] decides.
//!
//! ```text
//! start ─▶ a worktree per agent ─▶ one commit ─▶ tasks run as any others ─▶ check ─▶ show ─▶ adopt
//!          └ all equal, or none ┘   └ arena, sessions, chats, tasks ┘       └ here ┘
//! ```
//!
//! **Invariants:** a check runs when its task is terminal and never beside it; its outcome is recorded
//! once; what is not recorded is run again at the next start, when what is left of it has been ended.

pub mod judge;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hob_actors::id::TaskId;
use hob_actors::ports::{Store as _, chain};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::backend::process::Leader;
use crate::control::wire::{Moment, is_terminal};
use crate::retire::{ARENA, CheckAsk, CheckEnd, Checked, Hooks};
use crate::store::{Reply, Store, StoreError, StoredArena, StoredCheck, StoredEntry};
use crate::sync::lock;

/// Checks that run at once, of all arenas.
const CHECKS_MAX: usize = 4;
/// Between two tries to write down what a check came to.
const WRITE_AGAIN: Duration = Duration::from_millis(500);
/// A waiting check looks at its task at most once in this time, however fast the journal grows.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Runs the checks of arenas. Cheap to clone.
#[derive(Clone)]
pub struct Arenas(Arc<Inner>);

struct Inner {
    store: Store,
    hooks: Hooks,
    slots: Semaphore,
    /// They end with the daemon.
    watchers: Mutex<JoinSet<()>>,
}

impl Arenas {
    /// Over the store and the person's commands.
    pub fn new(store: Store, hooks: Hooks) -> Self {
        let slots = Semaphore::new(CHECKS_MAX);
        Self(Arc::new(Inner { store, hooks, slots, watchers: Mutex::default() }))
    }

    /// Takes up the checks that the last daemon did not come to.
    ///
    /// # Errors
    /// The arenas cannot be read.
    pub async fn resume(&self) -> Result<(), StoreError> {
        for arena in self.0.store.arenas_to_check().await? {
            for entry in arena.entries.iter().filter(|entry| entry.check.is_none()) {
                let leader = entry.check_leader.as_deref().and_then(|leader| leader.parse::<Leader>().ok());
                // It outlived the daemon, and the next one is not to run beside it.
                let mark = format!("{ARENA}={}", arena.id);
                if leader.is_some_and(|leader| leader.end_group(&mark)) {
                    tracing::info!(arena = arena.id, agent = entry.agent, "a check that was left is ended");
                }
            }
            self.watch(&arena);
        }
        Ok(())
    }

    /// From now on the check of each entry is run when its turn has ended.
    pub fn watch(&self, arena: &StoredArena) {
        let Some(line) = arena.check.as_ref().filter(|_| arena.state == "open") else { return };
        let mut watchers = lock(&self.0.watchers);
        while watchers.try_join_next().is_some() {}
        for entry in arena.entries.iter().filter(|entry| entry.check.is_none()) {
            let (arenas, arena, agent, line) =
                (self.clone(), arena.id.clone(), entry.agent.clone(), line.clone());
            watchers.spawn(async move {
                if let Err(error) = arenas.check(&arena, &agent, line).await {
                    tracing::warn!(%arena, %agent, error = %chain(&error), "no check was run");
                }
            });
        }
    }

    /// Ends what is being checked; the next start runs it again.
    pub async fn stop(&self) {
        let mut watchers = std::mem::take(&mut *lock(&self.0.watchers));
        watchers.shutdown().await;
    }

    /// Waits for the end of an entry's task, runs the check and records what it came to.
    async fn check(&self, arena: &str, agent: &str, line: String) -> Result<(), StoreError> {
        let Some(entry) = self.ended(arena, agent).await? else { return Ok(()) };
        // The semaphore is never closed.
        let _slot = self.0.slots.acquire().await;
        let failed = |output: String| Checked { end: CheckEnd::Failed(None), output };
        let checked = match self.ask(arena, &entry, line).await? {
            Some(ask) => match self.0.hooks.start_check(&ask).await {
                Ok(running) => {
                    let leader = running.leader().map(|leader| leader.to_string());
                    insist(|| self.0.store.check_begins(arena, agent, leader.clone())).await?;
                    running.finish().await
                }
                Err(error) => failed(format!("the check could not be started: {error}")),
            },
            None => failed("its worktree is gone".to_owned()),
        };
        let (outcome, exit_code) = match checked.end {
            CheckEnd::Passed => ("passed", Some(0)),
            CheckEnd::Failed(code) => ("failed", code),
            CheckEnd::TimedOut => ("timed_out", None),
        };
        let check = StoredCheck {
            outcome: outcome.to_owned(),
            exit_code,
            output: checked.output,
            ended_at: Moment::now(),
        };
        insist(|| self.0.store.check_ended(arena, agent, check.clone())).await
    }

    /// The entry once nothing will change its task any more; `None` if there is nothing to check then.
    async fn ended(&self, arena: &str, agent: &str) -> Result<Option<StoredEntry>, StoreError> {
        let Some(task) = self.entry(arena, agent).await?.and_then(|entry| entry.task) else {
            return Ok(None);
        };
        let mut head = self.0.store.head();
        loop {
            head.borrow_and_update();
            // One that was deleted will not change either.
            let row = self.0.store.task_row(&task.id).await?;
            if row.is_none_or(|row| is_terminal(&row.state)) {
                break;
            }
            if head.changed().await.is_err() {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        let entry = self.entry(arena, agent).await?;
        let is_due = |entry: &StoredEntry| {
            judge::check(entry.task.as_ref(), entry.check.as_ref()) == judge::Check::Due
        };
        Ok(entry.filter(is_due))
    }

    /// The entry, as long as its arena is not decided.
    async fn entry(&self, arena: &str, agent: &str) -> Result<Option<StoredEntry>, StoreError> {
        let arena = self.0.store.arena(arena).await?.filter(|arena| arena.state == "open");
        Ok(arena.and_then(|arena| arena.entries.into_iter().find(|entry| entry.agent == agent)))
    }

    /// What is to be run, and where; `None` if its worktree is gone.
    async fn ask(
        &self,
        arena: &str,
        entry: &StoredEntry,
        line: String,
    ) -> Result<Option<CheckAsk>, StoreError> {
        let (Some(session), Some(task)) = (&entry.session, &entry.task) else { return Ok(None) };
        let Some(found) = self.0.store.worktree_of_session(session).await? else { return Ok(None) };
        let card = self.0.store.task(TaskId::from(task.id.as_str())).await;
        let cwd = card.ok().flatten().map_or_else(|| found.known.path.clone(), |card| card.cwd);
        let cwd = if cwd.is_dir() { cwd } else { found.known.path.clone() };
        Ok(Some(CheckAsk {
            line,
            known: found.known,
            cwd,
            arena: arena.to_owned(),
            agent: entry.agent.clone(),
            session: session.clone(),
        }))
    }
}

/// Writes it. What cannot be written for a reason that passes, as on a full disk, is tried again: a
/// check without an outcome would stand in the way of every decision.
async fn insist(write: impl Fn() -> Reply<()>) -> Result<(), StoreError> {
    loop {
        match write().await {
            Err(error) if error.is_passing() => {
                tracing::warn!(error = %chain(&error), "a check could not be recorded, trying again");
                tokio::time::sleep(WRITE_AGAIN).await;
            }
            done => return done,
        }
    }
}

//! How an agent session looks from outside, and telling the pool of each change.

use super::actor::{Memory, View};
use super::state::{Backend, Job};
use crate::event::{AgentStatus, Scope};
use crate::id::Generation;
use crate::links::tell;
use crate::pool::actor::PoolMsg;

impl Memory {
    /// How this agent session looks from outside.
    pub fn view(&self) -> View {
        let status = match (self.machine.backend, &self.machine.job) {
            (Backend::Down, _) => self.resting,
            (Backend::Starting { .. }, _) => AgentStatus::Starting,
            (Backend::Up, Job::None) => AgentStatus::Idle,
            (Backend::Up | Backend::Stopping { .. }, _) => AgentStatus::Busy,
        };
        View {
            status,
            live: self.machine.may_own_process(),
            generation: self.generation,
            pid: self.pid,
            host: self.host.clone(),
            task: self.machine.job.task().cloned(),
            turn: self.machine.job.running_turn().cloned(),
            context: self.context,
            restarts: self.begun.saturating_sub(1),
            leaving: self.machine.leaving.is_some(),
            busy: self.busy(),
            reason: (self.machine.backend == Backend::Down && !self.failure.is_empty())
                .then(|| self.failure.clone()),
            retry_at: self.retry_at(),
            failures: self.failures.totals(),
        }
    }

    /// What it was handed out for has come. The pool keeps a place for it until it hears that, and how
    /// it looks is told before, even if nothing has changed.
    pub(super) fn taken(&mut self, number: u64) {
        self.reported = None;
        self.report();
        tell(&self.args.links.pool, PoolMsg::Taken(self.args.key.clone(), number));
    }

    pub(super) fn report(&mut self) {
        let view = self.view();
        if self.reported.as_ref() != Some(&view) {
            self.reported = Some(view.clone());
            tell(&self.args.links.pool, PoolMsg::Moved(self.args.key.clone(), view));
        }
    }

    /// What an event of this agent session is about, outside of any turn.
    pub(super) fn scope(&self, generation: Generation) -> Scope {
        Scope {
            session: self.record.as_ref().map(|record| record.session.clone()),
            chat: Some(self.args.key.chat.clone()),
            agent: Some(self.args.key.agent.clone()),
            generation: Some(generation),
            task: None,
            turn: None,
        }
    }

    /// What news outside of any turn are about: the task that waits for the agent, so that whoever asked
    /// hears of it.
    pub(super) fn scope_of_news(&self) -> Scope {
        let waits = match &self.machine.job {
            Job::Waiting(task) | Job::Dispatching { task, .. } | Job::Opening { task, .. } => {
                Some(task.clone())
            }
            Job::None | Job::Running { .. } | Job::Ending(_) => None,
        };
        Scope { task: waits, ..self.scope(self.generation) }
    }
}

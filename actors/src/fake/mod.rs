//! Fakes of the ports: they obey, remember, and yield, because a fake that never yields hides
//! ordering bugs. For tests only. The agents are in [`puppet`].

mod looks;
mod puppet;
mod script;
mod surroundings;
mod worktrees;

pub use script::Script;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event::{AgentStatus, Context, NewEvent, Outcome, TaskState};
use crate::id::{AgentKey, ChatId, Generation, PermissionId, TaskId, TurnId};
use crate::ports::{
    AgentMove, AgentRecord, Answer, Asked, BackendOpened, Choice, Ended, News, NewsSink, PermissionAsk,
    Permit, PortError, Ports, Route, StandingAnswer, Store, TaskCard, TurnEnd, TurnName, TurnRef,
};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers after others had a chance to run.
fn later<T: Send + 'static>(value: Result<T, PortError>) -> Answer<T> {
    Box::pin(async move {
        tokio::task::yield_now().await;
        value
    })
}

/// The chosen option of a question, and who chose it.
pub type Resolution = (Option<String>, String);

/// What a fake world remembers.
#[derive(Default)]
pub struct Remembered {
    /// Tasks, in order of acceptance.
    pub tasks: Vec<TaskCard>,
    /// Turn ends by task: more than one is a bug.
    pub turn_ends: Vec<(TaskId, Outcome)>,
    /// What each turn that ended had cost.
    pub turn_costs: Vec<(TaskId, Option<f64>)>,
    /// Ends of tasks without a turn.
    pub task_ends: Vec<(TaskId, Outcome, String)>,
    /// Agent sessions.
    pub agents: BTreeMap<AgentKey, AgentRecord>,
    /// Every move of an agent session.
    pub moves: Vec<(AgentKey, AgentStatus)>,
    /// Every streamed event.
    pub events: Vec<NewEvent>,
    /// Questions and what they were answered.
    pub permissions: Vec<(PermissionId, Option<Resolution>)>,
    /// What holds for an agent session of the like of a question.
    pub remembered: BTreeMap<(AgentKey, String), StandingAnswer>,
    /// Prompts that reached an agent.
    pub prompts: Vec<(AgentKey, String)>,
    /// Cancels that reached an agent.
    pub cancels: usize,
    /// What running agents were asked to work with.
    pub chosen: Vec<Choice>,
    /// Answers that reached an agent.
    pub answers: Vec<(u64, Option<String>)>,
    /// Looks at the files around turns, in order.
    pub looks: Vec<(TurnId, &'static str)>,
    /// What was done with worktrees, in order.
    pub reaped: Vec<String>,
    /// Processes that are alive.
    pub alive: BTreeSet<(AgentKey, Generation)>,
    /// Which kind of backend ran which task, and what it remembered then.
    pub routes: Vec<(TaskId, Route, Context)>,
    /// Open turns.
    pub open_turns: BTreeMap<TurnId, TaskId>,
    /// The generation that each turn was opened under.
    pub opened_under: BTreeMap<TurnId, Generation>,
    /// What no correct tree does: a test that provokes none expects none.
    pub faults: Vec<String>,
    /// Starts so far; the n-th has the pid n.
    pub n_starts: u32,
    n_turns: u64,
    /// Stands for the number of the journal's newest event.
    n_changes: i64,
    refusals: usize,
}

/// A whole fake world.
#[derive(Clone)]
pub struct World {
    memory: Arc<Mutex<Remembered>>,
    script: Arc<Mutex<Script>>,
    sinks: Arc<Mutex<BTreeMap<AgentKey, NewsSink>>>,
}

impl World {
    /// A world whose agents follow `script`.
    pub fn new(script: Script) -> Self {
        Self { memory: Arc::default(), script: Arc::new(Mutex::new(script)), sinks: Arc::default() }
    }

    /// Its ports.
    pub fn ports(&self) -> Ports {
        Ports {
            store: Arc::new(self.clone()),
            backend: Arc::new(self.clone()),
            settings: Arc::new(self.clone()),
            audience: Arc::new(self.clone()),
            machine: Arc::new(self.clone()),
            snapshots: Arc::new(self.clone()),
            worktrees: Arc::new(self.clone()),
        }
    }

    /// What it remembers.
    pub fn memory(&self) -> MutexGuard<'_, Remembered> {
        lock(&self.memory)
    }

    /// What its agents do from now on.
    pub fn script(&self) -> MutexGuard<'_, Script> {
        lock(&self.script)
    }

    /// Makes the next `n` writes fail.
    pub fn refuse(&self, n: usize) {
        self.memory().refusals = n;
    }

    /// Adds a queued task and returns its card.
    pub fn add_task(&self, chat: &str, agent: &str) -> TaskCard {
        let mut memory = self.memory();
        let order = i64::try_from(memory.tasks.len()).unwrap_or(i64::MAX);
        let card = TaskCard {
            task: format!("t-{order}").into(),
            key: AgentKey::new(chat, agent),
            session: "s-1".into(),
            order,
            state: TaskState::Queued,
            prompt: format!("say: {order}").into(),
            permissions: None,
            no_wait: false,
            no_retry: false,
            is_delegated: false,
            cwd: "/nowhere".into(),
            route: Route::Warm,
            as_of: memory.n_changes,
        };
        memory.tasks.push(card.clone());
        card
    }

    /// Says something in the name of a running agent.
    pub fn tell(&self, key: &AgentKey, news: News) {
        let sink = lock(&self.sinks).get(key).cloned();
        if let Some(sink) = sink {
            sink(news, Permit::free());
        }
    }

    /// What a running agent says its news to; it stays good to say things when that has ended.
    pub fn voice(&self, key: &AgentKey) -> Option<NewsSink> {
        lock(&self.sinks).get(key).cloned()
    }

    /// Where a task stands.
    pub fn state(&self, task: &TaskId) -> Option<TaskState> {
        self.memory().tasks.iter().find(|card| card.task == *task).map(|card| card.state)
    }

    fn write<T: Send + 'static>(&self, change: impl FnOnce(&mut Remembered) -> T) -> Answer<T> {
        let mut memory = self.memory();
        if memory.refusals > 0 {
            memory.refusals -= 1;
            return later(Err(PortError::new("write", "refused by the test").passing(true)));
        }
        let value = change(&mut memory);
        drop(memory);
        later(Ok(value))
    }
}

impl Remembered {
    fn set(&mut self, task: &TaskId, to: TaskState) {
        if let Some(card) = self.tasks.iter_mut().find(|card| card.task == *task) {
            card.state = to;
        }
    }

    fn is_open(&self, task: &TaskId) -> bool {
        self.tasks.iter().any(|card| card.task == *task && !card.state.is_terminal())
    }
}

impl Store for World {
    fn open_tasks(&self) -> Answer<Vec<TaskCard>> {
        self.write(|memory| {
            let open = memory.tasks.iter().filter(|card| !card.state.is_terminal());
            open.map(|card| TaskCard { as_of: memory.n_changes, ..card.clone() }).collect()
        })
    }

    fn task(&self, task: TaskId) -> Answer<Option<TaskCard>> {
        self.write(move |memory| {
            let found = memory.tasks.iter().find(|card| card.task == task);
            found.map(|card| TaskCard { as_of: memory.n_changes, ..card.clone() })
        })
    }

    fn agent_record(&self, key: AgentKey) -> Answer<AgentRecord> {
        self.write(move |memory| {
            let record = memory.agents.entry(key).or_insert_with(|| AgentRecord {
                session: "s-1".into(),
                generation: Generation::default(),
                backend_session: None,
                ever_started: true,
                has_history: false,
                cwd: "/nowhere".into(),
                status: None,
                config_hash: None,
                choice: Choice::default(),
            });
            record.clone()
        })
    }

    fn choose(&self, key: AgentKey, choice: Choice) -> Answer<()> {
        self.write(move |memory| {
            if let Some(record) = memory.agents.get_mut(&key) {
                record.choice = choice;
            }
        })
    }

    fn begin_generation(&self, key: AgentKey) -> Answer<Generation> {
        self.write(move |memory| {
            memory.moves.push((key.clone(), AgentStatus::Starting));
            let record = memory.agents.get_mut(&key);
            record.map_or(Generation(1), |record| {
                record.generation.0 += 1;
                record.generation
            })
        })
    }

    fn backend_opened(&self, opened: BackendOpened) -> Answer<()> {
        self.write(move |memory| {
            memory.moves.push((opened.key.clone(), AgentStatus::Idle));
            if let Some(record) = memory.agents.get_mut(&opened.key) {
                record.backend_session = opened.backend_session.or(record.backend_session.take());
            }
        })
    }

    fn forget_backend_session(&self, key: AgentKey) -> Answer<()> {
        self.write(move |memory| {
            if let Some(record) = memory.agents.get_mut(&key) {
                record.backend_session = None;
            }
        })
    }

    fn move_agent(&self, step: AgentMove) -> Answer<()> {
        self.write(move |memory| memory.moves.push((step.key, step.to)))
    }

    fn dispatch_task(&self, task: TaskId, _: Generation) -> Answer<bool> {
        self.write(move |memory| {
            let queued = memory.tasks.iter().any(|card| card.task == task && card.state == TaskState::Queued);
            if queued {
                memory.set(&task, TaskState::Dispatched);
            }
            queued
        })
    }

    fn start_turn(
        &self,
        task: TaskId,
        of: Generation,
        context: Context,
        route: Route,
    ) -> Answer<Option<TurnId>> {
        self.write(move |memory| {
            if !memory.is_open(&task) {
                return None;
            }
            memory.routes.push((task.clone(), route, context));
            memory.n_turns += 1;
            let turn = TurnId::from(format!("u-{}", memory.n_turns));
            memory.set(&task, TaskState::Running);
            memory.opened_under.insert(turn.clone(), of);
            memory.open_turns.insert(turn.clone(), task);
            Some(turn)
        })
    }

    fn end_turn(&self, end: TurnEnd) -> Answer<Ended> {
        let after = self.script().ended_after;
        let written = self.write(move |memory| {
            if memory.opened_under.get(&end.turn) != Some(&end.generation) {
                memory.faults.push(format!("{} is ended under {}", end.turn, end.generation));
                return Err(PortError::new("end the turn", "it is another backend's"));
            }
            if memory.open_turns.remove(&end.turn).is_none() {
                return Ok(Ended::Before);
            }
            memory.set(&end.task, end.outcome.into());
            memory.turn_costs.push((end.task.clone(), end.usage.cost));
            memory.turn_ends.push((end.task, end.outcome));
            Ok(Ended::Now)
        });
        Box::pin(async move {
            tokio::time::sleep(after).await;
            written.await?
        })
    }

    fn retract_turn(&self, of: TurnName, _why: String) -> Answer<()> {
        self.write(move |memory| {
            memory.open_turns.remove(&of.turn);
            memory.set(&of.task, TaskState::Queued);
        })
    }

    fn end_task(&self, task: TaskId, outcome: Outcome, reason: String) -> Answer<Ended> {
        self.write(move |memory| {
            if !memory.is_open(&task) {
                return Ended::Before;
            }
            memory.open_turns.retain(|_, of| *of != task);
            memory.set(&task, outcome.into());
            memory.task_ends.push((task, outcome, reason));
            Ended::Now
        })
    }

    fn set_held(&self, chat: ChatId, held: bool) -> Answer<i64> {
        self.write(move |memory| {
            memory.n_changes += 1;
            let (from, to) = if held {
                (TaskState::Queued, TaskState::Held)
            } else {
                (TaskState::Held, TaskState::Queued)
            };
            for card in memory.tasks.iter_mut().filter(|card| card.key.chat == chat && card.state == from) {
                card.state = to;
            }
            memory.n_changes
        })
    }

    fn append(&self, event: NewEvent, _: Permit) {
        self.memory().events.push(event);
    }

    fn remember_answer(&self, key: AgentKey, kind: String, said: StandingAnswer) -> Answer<()> {
        self.write(move |memory| {
            memory.remembered.insert((key, kind), said);
        })
    }

    fn ask_permission(&self, of: TurnRef, ask: PermissionAsk) -> Answer<Asked> {
        let after = self.script().recorded_after;
        let written = self.write(|memory| {
            let id = PermissionId::from(format!("p-{}", memory.permissions.len()));
            memory.permissions.push((id.clone(), None));
            Asked { id, standing: memory.remembered.get(&(of.key, ask.like())).copied() }
        });
        Box::pin(async move {
            tokio::time::sleep(after).await;
            written.await
        })
    }

    fn resolve_permission(
        &self,
        permission: PermissionId,
        option: Option<String>,
        by: String,
    ) -> Answer<bool> {
        self.write(move |memory| {
            let open =
                memory.permissions.iter_mut().find(|(id, answer)| *id == permission && answer.is_none());
            open.map(|(_, answer)| *answer = Some((option, by))).is_some()
        })
    }
}

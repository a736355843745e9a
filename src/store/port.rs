//! The store as the tree sees it: [`hob_actors::ports::Store`], each method one command.

use hob_actors::event::{AgentStatus, Context, NewEvent, Outcome};
use hob_actors::id::{AgentKey, ChatId, Generation, PermissionId, TaskId, TurnId};
use hob_actors::ports::{
    self, AgentMove, AgentRecord, Answer, Asked, BackendOpened, Choice, Ended, PermissionAsk, Permit,
    PortError, Route, StandingAnswer, TaskCard, TurnEnd, TurnName, TurnRef,
};

use super::command::{Command, Weight};
use super::permissions::{self, Question};
use super::reader::Reply;
use super::{Store, agents, chats, offers, remembered, tasks, turns};

impl Store {
    /// The answer of a command that is in line already.
    fn answer<T: Send + 'static>(&self, action: &'static str, reply: Reply<T>) -> Answer<T> {
        let store = self.clone();
        Box::pin(async move {
            reply.await.map_err(|error| {
                let passing = store.may_pass(&error);
                PortError::new(action, error).passing(passing)
            })
        })
    }

    fn change<T: Send + 'static>(
        &self,
        action: &'static str,
        call: impl FnOnce(&mut super::Tx<'_>) -> super::sql::Result<T> + Send + 'static,
    ) -> Answer<T> {
        self.answer(action, self.write(action, call))
    }
}

impl ports::Store for Store {
    fn open_tasks(&self) -> Answer<Vec<TaskCard>> {
        let action = "list the open tasks";
        self.answer(action, self.look_in_line(action, tasks::open_cards))
    }

    fn task(&self, task: TaskId) -> Answer<Option<TaskCard>> {
        let action = "read the task";
        self.answer(action, self.look_in_line(action, move |tx| tasks::card(tx, &task)))
    }

    fn agent_record(&self, key: AgentKey) -> Answer<AgentRecord> {
        self.change("read the record of the agent session", move |tx| agents::record(tx, &key))
    }

    fn begin_generation(&self, key: AgentKey) -> Answer<Generation> {
        self.change("record the start of a backend", move |tx| agents::begin_generation(tx, &key))
    }

    fn backend_opened(&self, opened: BackendOpened) -> Answer<()> {
        self.change("record the opened backend", move |tx| agents::opened(tx, &opened))
    }

    fn choose(&self, key: AgentKey, choice: Choice) -> Answer<()> {
        self.change("remember the chosen mode and model", move |tx| offers::choose(tx, &key, &choice))
    }

    fn forget_backend_session(&self, key: AgentKey) -> Answer<()> {
        self.change("forget the lost conversation", move |tx| agents::forget_backend_session(tx, &key))
    }

    fn move_agent(&self, step: AgentMove) -> Answer<()> {
        let action = "record the state of the agent session";
        // Before and after every turn: a sync here would stand between the prompt and its answer,
        // and a start finds nothing running anyway.
        let weight = match step.to {
            AgentStatus::Busy | AgentStatus::Idle => Weight::Passing,
            _ => Weight::Durable,
        };
        self.answer(action, self.call(action, weight, move |tx| agents::step(tx, &step)))
    }

    fn dispatch_task(&self, task: TaskId, generation: Generation) -> Answer<bool> {
        self.change("record the dispatch of the task", move |tx| tasks::dispatch(tx, &task, generation))
    }

    fn start_turn(
        &self,
        task: TaskId,
        of: Generation,
        context: Context,
        route: Route,
    ) -> Answer<Option<TurnId>> {
        self.change("record the start of the turn", move |tx| turns::start(tx, &task, of, (context, route)))
    }

    fn end_turn(&self, end: TurnEnd) -> Answer<Ended> {
        self.change("record the end of the turn", move |tx| turns::end_turn(tx, &end))
    }

    fn retract_turn(&self, of: TurnName, why: String) -> Answer<()> {
        self.change("take the turn back", move |tx| turns::retract(tx, &of, &why))
    }

    fn end_task(&self, task: TaskId, outcome: Outcome, reason: String) -> Answer<Ended> {
        self.change("record the end of the task", move |tx| turns::end_task(tx, &task, outcome, &reason))
    }

    fn set_held(&self, chat: ChatId, held: bool) -> Answer<i64> {
        self.change("hold or release the chat", move |tx| chats::set_held(tx, chat.as_str(), held))
    }

    fn append(&self, event: NewEvent, permit: Permit) {
        // If the writer has ended the event is lost with the daemon, which `failed` brings down.
        self.0.commands.send(Command::Append(event, permit)).ok();
    }

    fn remember_answer(&self, key: AgentKey, kind: String, said: StandingAnswer) -> Answer<()> {
        self.change("remember the answer", move |tx| remembered::remember(tx, &key, &kind, said))
    }

    fn ask_permission(&self, of: TurnRef, ask: PermissionAsk) -> Answer<Asked> {
        let question = Question { of, ask };
        self.change("record the question", move |tx| permissions::ask(tx, &question))
    }

    fn resolve_permission(
        &self,
        permission: PermissionId,
        option: Option<String>,
        by: String,
    ) -> Answer<bool> {
        self.change("record the answer", move |tx| {
            permissions::resolve(tx, &permission, option.as_deref(), &by)
        })
    }
}

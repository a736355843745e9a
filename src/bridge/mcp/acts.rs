//! What each tool does: a call or two of the control socket.

use std::path::Path;

use rmcp::model::CallToolResult;
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Value, json};

use super::answer;
use super::progress::Progress;
use super::tools::{Arena, Call, NewTask, TaskResult};
use super::wait::{Cancels, Wait};
use super::{Opened, Server, Trouble};
use crate::control::wire::TaskRow;

/// Who makes the tasks, in the words of the contract.
const SOURCE: &str = "mcp";
/// What to do with a task that goes on.
const ASK_LATER: &str = "; ask `task_result` for its answer";

type Done = Result<CallToolResult, Trouble>;

impl Server {
    /// Does what a call asks for.
    pub(super) async fn act(&self, call: Call, context: &RequestContext<RoleServer>) -> Done {
        match call {
            Call::NewTask(asked) => self.new_task(asked, context).await,
            Call::TaskResult(asked) => self.task_result(asked, context).await,
            Call::TaskStatus(asked) => {
                let task: TaskRow = self.call("task/show", json!({"task": asked.task})).await?;
                Ok(answer::status(&task, ASK_LATER))
            }
            Call::CancelTask(asked) => {
                let task: TaskRow = self.call("task/cancel", json!({"task": asked.task})).await?;
                Ok(answer::status(&task, " and will be cancelled"))
            }
            Call::ListAgents(_) => Ok(answer::list("agents", self.call("agent/list", json!({})).await?)),
            Call::ListSessions(asked) => {
                let params = json!({"all": asked.all.unwrap_or(false)});
                Ok(answer::list("sessions", self.call("session/list", params).await?))
            }
            Call::Arena(asked) => self.arena(asked, context).await,
        }
    }

    /// One call on a connection of its own.
    async fn call<T: serde::de::DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, Trouble> {
        let opened = self.door.open().await?;
        Ok(opened.client.call(method, &params).await?)
    }

    async fn new_task(&self, asked: NewTask, context: &RequestContext<RoleServer>) -> Done {
        let opened = self.door.open().await?;
        let mut params = self.place(&opened, asked.repo, asked.session);
        params["prompt"] = Value::from(asked.prompt);
        params["source"] = Value::from(SOURCE);
        params["agent"] = Value::from(asked.agent);
        params["new"] = Value::from(asked.new.unwrap_or(false));
        let task: TaskRow = opened.client.call("task/submit", &params).await?;
        drop(opened);
        if !asked.wait.unwrap_or(true) {
            return Ok(answer::status(&task, ASK_LATER));
        }
        let ended = self.wait_for(&task.id, context, Cancels::Task).await?;
        Ok(answer::result(&ended))
    }

    async fn task_result(&self, asked: TaskResult, context: &RequestContext<RoleServer>) -> Done {
        let task: TaskRow = self.call("task/show", json!({"task": asked.task})).await?;
        if answer::is_terminal(&task.state) {
            return Ok(answer::result(&task));
        }
        if !asked.wait.unwrap_or(true) {
            return Ok(answer::status(&task, ASK_LATER));
        }
        Ok(answer::result(&self.wait_for(&task.id, context, Cancels::Wait).await?))
    }

    async fn arena(&self, asked: Arena, context: &RequestContext<RoleServer>) -> Done {
        let opened = self.door.open().await?;
        let mut params = self.place(&opened, asked.repo, asked.session);
        params["prompt"] = Value::from(asked.prompt);
        params["agents"] = Value::from(asked.agents);
        for (name, value) in
            [("carry_changes", asked.carry_changes.map(Value::from)), ("check", asked.check.map(Value::from))]
        {
            if let Some(value) = value {
                params[name] = value;
            }
        }
        let mut arena: Value = opened.client.call("arena/start", &params).await?;
        drop(opened);
        if asked.wait.unwrap_or(true) {
            self.wait_for_all(&entries(&arena), context).await?;
            arena = self.call("arena/show", json!({"arena": arena["id"]})).await?;
        }
        Ok(CallToolResult::structured(json!({"arena": arena})))
    }

    /// Waits for the tasks of an arena; a cancel is for all of them.
    async fn wait_for_all(
        &self,
        tasks: &[String],
        context: &RequestContext<RoleServer>,
    ) -> Result<(), Trouble> {
        let mut progress = Progress::default();
        for (n, task) in tasks.iter().enumerate() {
            let waited = Wait::new(self, task, context, Cancels::Task, &mut progress).run().await;
            if let Err(trouble) = waited {
                if context.ct.is_cancelled() && !self.gone.is_cancelled() {
                    for left in &tasks[n + 1..] {
                        self.call::<Value>("task/cancel", json!({"task": left})).await?;
                    }
                }
                return Err(trouble);
            }
        }
        Ok(())
    }

    /// Where the work is to be done: the place that was named, else our working directory. An
    /// agent that names none works in its own session, which the daemon knows.
    fn place(&self, opened: &Opened, repo: Option<String>, session: Option<String>) -> Value {
        let mut params = json!({});
        match (repo, session) {
            (None, None) if opened.is_agent => {}
            (None, None) => params["repo"] = Value::from(text(&self.cwd)),
            (repo, session) => {
                // Both at once are for the daemon to refuse.
                if let Some(repo) = repo {
                    params["repo"] = Value::from(text(&self.cwd.join(repo)));
                }
                if let Some(session) = session {
                    params["session"] = Value::from(session);
                }
            }
        }
        params
    }

    async fn wait_for(
        &self,
        task: &str,
        context: &RequestContext<RoleServer>,
        cancels: Cancels,
    ) -> Result<TaskRow, Trouble> {
        Wait::new(self, task, context, cancels, &mut Progress::default()).run().await
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The tasks of an arena.
fn entries(arena: &Value) -> Vec<String> {
    let entries = arena["entries"].as_array().into_iter().flatten();
    entries.filter_map(|entry| Some(entry["task"].as_str()?.to_owned())).collect()
}

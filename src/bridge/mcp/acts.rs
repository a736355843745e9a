//! What each tool does: a call or two of the control socket.

use std::path::Path;
use std::time::Duration;

use rmcp::model::CallToolResult;
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Value, json};

use super::answer;
use super::progress::Progress;
use super::tools::{Arena, Call, NewTask, TaskResult};
use super::wait::{self, Cancels, Wait};
use super::{Opened, Server, Trouble};
use crate::control::wire::{TaskRow, is_terminal};
use crate::path_text;

/// Who makes the tasks, in the words of the contract.
const SOURCE: &str = "mcp";
/// How often a check that runs is looked at.
const CHECK_PAUSE: Duration = Duration::from_millis(500);
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
        if is_terminal(&task.state) {
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
        if params.as_object().is_none_or(serde_json::Map::is_empty) {
            // To an agent its own session is listed, and no other.
            let sessions: Value = opened.client.call("session/list", &json!({})).await?;
            params["session"] = sessions[0]["id"].clone();
        }
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
            let mut progress = Progress::default();
            self.wait_for_all(&tasks_of(&arena), context, &mut progress).await?;
            self.wait_for_checks(&arena["id"], context, &mut progress).await?;
            arena = self.call("arena/show", json!({"arena": arena["id"]})).await?;
        }
        Ok(CallToolResult::structured(json!({"arena": arena})))
    }

    /// Waits for the tasks of an arena; a cancel is for all of them.
    async fn wait_for_all(
        &self,
        tasks: &[String],
        context: &RequestContext<RoleServer>,
        progress: &mut Progress,
    ) -> Result<(), Trouble> {
        for (n, task) in tasks.iter().enumerate() {
            let waited = Wait::new(self, task, context, Cancels::Task, progress).run().await;
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

    /// Waits until nothing runs any more that judges the entries of an arena.
    async fn wait_for_checks(
        &self,
        arena: &Value,
        context: &RequestContext<RoleServer>,
        progress: &mut Progress,
    ) -> Result<(), Trouble> {
        let token = context.meta.get_progress_token();
        let mut alive = wait::alive_after(Duration::ZERO);
        loop {
            let shown: Value = self.call("arena/show", json!({"arena": arena, "brief": true})).await?;
            if !is_checking(&shown) {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(CHECK_PAUSE) => {}
                _ = alive.tick(), if token.is_some() => {
                    wait::tell(context, token.as_ref(), progress.checking()).await;
                }
                () = context.ct.cancelled() => return Err(Trouble::new("the request was cancelled", None)),
                () = self.gone.cancelled() => return Err(Trouble::new("the client went away", None)),
            }
        }
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
    path_text::text(path)
}

fn entries(arena: &Value) -> impl Iterator<Item = &Value> {
    arena["entries"].as_array().into_iter().flatten()
}

/// The tasks of an arena.
fn tasks_of(arena: &Value) -> Vec<String> {
    entries(arena).filter_map(|entry| Some(entry["task"].as_str()?.to_owned())).collect()
}

/// Whether the check of an entry is still to come, or under way.
fn is_checking(arena: &Value) -> bool {
    entries(arena).any(|entry| matches!(entry["check"]["state"].as_str(), Some("waiting" | "running")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arena_tells_its_tasks_and_whether_one_is_still_checked() {
        let cases = [
            (
                json!({"entries": [{"task": "t-1"}, {"task": "t-2", "check": null}]}),
                vec!["t-1", "t-2"],
                false,
            ),
            (json!({"entries": [{"task": "t-1", "check": {"state": "passed"}}]}), vec!["t-1"], false),
            (json!({"entries": [{"task": null, "check": {"state": "waiting"}}]}), vec![], true),
            (json!({"entries": [{"task": "t-1", "check": {"state": "running"}}]}), vec!["t-1"], true),
            (json!({}), vec![], false),
        ];
        for (arena, tasks, checking) in cases {
            assert_eq!(
                (tasks_of(&arena), is_checking(&arena)),
                (tasks.iter().map(|id| (*id).to_owned()).collect(), checking),
                "{arena}"
            );
        }
    }
}

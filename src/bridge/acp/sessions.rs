//! The methods that make, find and leave sessions: an ACP session is a chat, and has its id.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use agent_client_protocol_schema::v1::{ListSessionsResponse, SessionInfo};
use serde::de::IgnoredAny;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::chat::{Chat, Command};
use super::error::{bad_param, from_hob, unknown_session};
use super::open::Opened;
use super::params::{self, check_cwd};
use super::{Bridge, note};
use crate::control::wire::{ChatRow, Moment, SessionRow, TaskRow};
use crate::jsonrpc::{RequestId, RpcError};
use crate::path_text;
use crate::store::fresh_id;

/// The tasks that are looked at for titles.
const TASKS_LOOKED_AT: usize = 200;
/// The longest title, in characters.
const TITLE_CHARS_MAX: usize = 80;

impl Bridge {
    /// `session/new`: a fresh chat, in the session that was named to us, else in that of the
    /// checkout.
    pub(super) async fn new_session(self: Arc<Self>, id: RequestId, raw: Option<Box<RawValue>>) {
        if let Err(error) = self.try_new(&id, raw.as_deref()).await {
            self.editor.refuse(&id, error);
        }
    }

    async fn try_new(&self, id: &RequestId, raw: Option<&RawValue>) -> Result<(), RpcError> {
        let params: params::Place = params::read(raw)?;
        let cwd = check_cwd(&params.cwd).await?;
        mention_servers(params.mcp_servers.len());
        // An id of our own, so that a broken connection makes no second chat.
        let mut wanted = json!({"id": fresh_id("c-")});
        match &self.options.session {
            Some(session) => wanted["session"] = json!(session),
            None => wanted["repo"] = json!(path_text::text(&cwd)),
        }
        let row: ChatRow = self.door.call("chat/create", wanted).await.map_err(|error| from_hob(&error))?;
        let commands = self.attach(&row.id).await?;
        commands.send(Command::Open(id.clone(), Opened::New)).map_err(|_| unknown_session(&row.id))
    }

    /// `session/load` and `session/resume`
    pub(super) async fn known_session(
        self: Arc<Self>,
        id: RequestId,
        opened: Opened,
        raw: Option<Box<RawValue>>,
    ) {
        if let Err(error) = self.try_known(&id, opened, raw.as_deref()).await {
            self.editor.refuse(&id, error);
        }
    }

    async fn try_known(
        &self,
        id: &RequestId,
        opened: Opened,
        raw: Option<&RawValue>,
    ) -> Result<(), RpcError> {
        let params: params::Known = params::read(raw)?;
        check_cwd(&params.cwd).await?;
        mention_servers(params.mcp_servers.len());
        let chat = self.check_chat(&params.session_id).await?;
        let commands = self.attach(&params.session_id).await?;
        // Who attaches to a session uses it.
        let used: Result<IgnoredAny, _> =
            self.door.call("session/resolve", json!({"session": chat.session})).await;
        used.map_err(|error| from_hob(&error))?;
        let opened = Command::Open(id.clone(), opened);
        commands.send(opened).map_err(|_| unknown_session(&params.session_id))
    }

    /// There must be such a chat, and it must be open.
    async fn check_chat(&self, chat: &str) -> Result<ChatRow, RpcError> {
        match self.door.call::<ChatRow>("chat/show", json!({"chat": chat})).await {
            Ok(row) if row.state == "open" => Ok(row),
            Ok(_) => Err(unknown_session(chat)),
            Err(error) if error.is_not_found() => Err(unknown_session(chat)),
            Err(error) => Err(from_hob(&error)),
        }
    }

    /// The way to a chat, which is attached to where it was not yet.
    async fn attach(&self, chat: &str) -> Result<mpsc::UnboundedSender<Command>, RpcError> {
        // Of two loads of one chat, the second finds what the first made.
        let _alone = self.attaching.lock().await;
        if let Some(commands) = self.chat(chat) {
            return Ok(commands);
        }
        let attached =
            Chat::attach(self.editor.clone(), self.door.clone(), chat, self.options.agent.clone()).await?;
        let (commands, obeyed) = mpsc::unbounded_channel();
        self.insert(chat, commands.clone());
        self.spawn(attached.run(obeyed));
        Ok(commands)
    }

    /// `session/close`: what runs is cancelled and its agent let go; the chat can be loaded again.
    pub(super) async fn close_session(self: Arc<Self>, id: RequestId, raw: Option<Box<RawValue>>) {
        let closed = async {
            let params: params::OfSession = params::read(raw.as_deref())?;
            let chat = params.session_id;
            let attached = self.remove(&chat);
            if attached.is_some_and(|commands| commands.send(Command::Close(id.clone())).is_ok()) {
                return Ok(());
            }
            self.check_chat(&chat).await?;
            self.editor.answer(&id, Ok(&json!({})));
            Ok(())
        };
        if let Err(error) = closed.await {
            self.editor.refuse(&id, error);
        }
    }

    /// `session/list`
    pub(super) async fn list_sessions(self: Arc<Self>, id: RequestId, raw: Option<Box<RawValue>>) {
        let listed = self.try_list(raw.as_deref()).await;
        self.editor.answer(&id, listed.as_ref().map_err(Clone::clone));
    }

    async fn try_list(&self, raw: Option<&RawValue>) -> Result<ListSessionsResponse, RpcError> {
        let params: params::List = params::read(raw)?;
        if params.cursor.is_some() {
            return Err(bad_param("cursor", "none was given out: every session is on the first page"));
        }
        let cwd = match &params.cwd {
            Some(cwd) => Some(check_cwd(cwd).await?),
            None => None,
        };
        let failed = |error| from_hob(&error);
        let sessions: Vec<SessionRow> = self.door.call("session/list", json!({})).await.map_err(failed)?;
        let chats: Vec<ChatRow> = self.door.call("chat/list", json!({})).await.map_err(failed)?;
        let tasks: Vec<TaskRow> =
            self.door.call("task/list", json!({"limit": TASKS_LOOKED_AT})).await.map_err(failed)?;
        Ok(ListSessionsResponse::new(infos(&sessions, &chats, &tasks, cwd.as_deref())))
    }
}

fn mention_servers(n: usize) {
    if n > 0 {
        note(format_args!(
            "{n} MCP servers of the client are not passed on: agents have those of their configuration"
        ));
    }
}

/// The chats as sessions, the last used one first. With `cwd` only those of the checkout around it,
/// which are told to be there.
fn infos(
    sessions: &[SessionRow],
    chats: &[ChatRow],
    tasks: &[TaskRow],
    cwd: Option<&Path>,
) -> Vec<SessionInfo> {
    let by_id: BTreeMap<&str, &SessionRow> = sessions.iter().map(|row| (row.id.as_str(), row)).collect();
    let mut found: Vec<(Moment, SessionInfo)> = Vec::new();
    for chat in chats {
        let Some(session) = by_id.get(chat.session.as_str()) else { continue };
        let place = match cwd {
            Some(cwd) if !cwd.starts_with(&session.repo) => continue,
            Some(cwd) => cwd.to_owned(),
            None => path_text::path(&session.repo),
        };
        // The newest comes first.
        let mut own = tasks.iter().filter(|task| task.chat == chat.id);
        let used =
            own.clone().next().map_or(chat.created_at, |task| task.ended_at.unwrap_or(task.created_at));
        let first = own.next_back().map(|task| title(&task.prompt));
        let title = chat.title.clone().or(first).or_else(|| session.title.clone());
        found
            .push((used, SessionInfo::new(chat.id.clone(), place).title(title).updated_at(used.to_string())));
    }
    found.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
    found.into_iter().map(|(_, info)| info).collect()
}

/// The beginning of a prompt, on one line.
fn title(prompt: &str) -> String {
    let mut words = prompt.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = words.char_indices().nth(TITLE_CHARS_MAX) {
        words.truncate(cut);
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn rows<T: serde::de::DeserializeOwned>(rows: Value) -> Vec<T> {
        serde_json::from_value(rows).unwrap()
    }

    fn at(second: u32) -> String {
        format!("2026-11-22T14:03:{second:02}.000Z")
    }

    #[test]
    fn chats_are_listed_by_their_last_use_and_by_their_checkout() {
        let session = |id: &str, repo: &str| {
            json!({"id": id, "repo": repo, "title": null, "base": null, "state": "open", "created_at": at(0),
                "closed_at": null, "worktree": null, "chats": [], "usage": {}})
        };
        let chat = |id: &str, session: &str, title: Value| {
            json!({"id": id, "session": session, "title": title, "state": "open", "created_at": at(1),
                "held": false, "agents": []})
        };
        let task = |chat: &str, prompt: &str, second: u32| {
            json!({"id": "t", "chat": chat, "session": "s", "agent": "a", "state": "queued", "waiting": null,
                "backend": null, "source": "chat", "prompt": prompt, "request_id": null, "parent": null,
                "created_at": at(second), "started_at": null, "ended_at": null, "turn": null,
                "outcome": null, "text": null, "usage": {}})
        };
        let sessions = rows(json!([session("s-1", "/src/one"), session("s-2", "/src/two")]));
        let chats = rows(json!([
            chat("c-1", "s-1", json!(null)),
            chat("c-2", "s-2", json!("named")),
            chat("c-3", "s-1", json!(null)),
            chat("c-4", "s-of-a-closed-one", json!(null)),
        ]));
        let tasks: Vec<TaskRow> =
            rows(json!([task("c-1", "second", 9), task("c-2", "x", 8), task("c-1", "the\n first", 7)]));
        let shown = |cwd: Option<&str>| -> Vec<(String, String, Option<String>)> {
            infos(&sessions, &chats, &tasks, cwd.map(Path::new))
                .into_iter()
                .map(|info| (info.session_id.to_string(), info.cwd.display().to_string(), info.title))
                .collect()
        };
        let row = |id: &str, cwd: &str, title: Option<&str>| {
            (id.to_owned(), cwd.to_owned(), title.map(str::to_owned))
        };
        assert_eq!(
            shown(None),
            [
                row("c-1", "/src/one", Some("the first")),
                row("c-2", "/src/two", Some("named")),
                row("c-3", "/src/one", None),
            ]
        );
        assert_eq!(
            shown(Some("/src/one/deep")),
            [row("c-1", "/src/one/deep", Some("the first")), row("c-3", "/src/one/deep", None)]
        );
        assert!(shown(Some("/src")).is_empty());
    }

    #[test]
    fn a_title_is_short() {
        assert_eq!(title(&"é".repeat(100)).chars().count(), TITLE_CHARS_MAX + 1);
    }
}

//! Tests of the store against real files.

mod agents;
mod arenas;
mod history;
mod journal;
mod looks;
mod remembered;
mod sessions;
mod tasks;
mod upgrade;
mod writer;

use std::path::Path;
use std::sync::Arc;

use hob_actors::event::{Context, Event, NewEvent, Outcome, Scope, Usage};
use hob_actors::id::{AgentKey, Generation, TaskId, TurnId};
use hob_actors::ports::{Permit, Route, Store as _, TurnEnd};
use tempfile::TempDir;

use super::*;
use crate::control::wire::TaskRow;

/// A store in a directory of its own, with one session `s` and one chat `c`.
struct Stage {
    store: Store,
    dir: TempDir,
}

impl Stage {
    async fn set() -> Self {
        let dir = TempDir::new().unwrap();
        let store = Store::open(&dir.path().join("hob.db")).unwrap();
        let stage = Self { store, dir };
        stage.session("s").await;
        stage.chat("c").await;
        stage
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("hob.db")
    }

    /// Closes the store and opens it again.
    async fn reopen(&mut self) {
        self.store.close().await.unwrap();
        self.store = Store::open(&self.path()).unwrap();
    }

    async fn session(&self, id: &str) {
        let worktree = worktree(&format!("w-{id}"));
        begin(&self.store, &worktree).await.unwrap();
        let new = NewSession {
            id: Some(id.to_owned()),
            repo: "/repo".to_owned(),
            title: None,
            base: None,
            carry_changes: false,
            origin: None,
            worktree,
        };
        self.store.create_session(new).await.unwrap();
    }

    async fn chat(&self, id: &str) {
        let new = NewChat { id: Some(id.to_owned()), session: "s".to_owned(), title: None };
        self.store.create_chat(new).await.unwrap();
    }

    async fn submit(&self, prompt: &str) -> TaskId {
        self.store.submit(prompt_to("c", prompt)).await.unwrap().task.id.into()
    }

    /// Submits, dispatches and starts a task.
    async fn running(&self, prompt: &str) -> (TaskId, TurnId) {
        let task = self.submit(prompt).await;
        assert!(self.store.dispatch_task(task.clone(), Generation(1)).await.unwrap());
        let turn =
            self.store.start_turn(task.clone(), Generation(1), Context::Fresh, Route::Warm).await.unwrap();
        (task, turn.expect("the task is open"))
    }

    async fn task(&self, id: &TaskId) -> TaskRow {
        self.store.task_row(id.as_str()).await.unwrap().unwrap()
    }

    /// Every event, parsed.
    async fn journal(&self) -> Vec<serde_json::Value> {
        self.events(EventFilter::default()).await
    }

    async fn events(&self, filter: EventFilter) -> Vec<serde_json::Value> {
        let (mut found, mut after) = (Vec::new(), 0);
        loop {
            let page = self.store.events(filter.clone(), after, 100).await.unwrap();
            found.extend(page.events.iter().map(|event| serde_json::from_str(&event.json).unwrap()));
            if page.scanned_to == page.head {
                return found;
            }
            after = page.scanned_to;
        }
    }

    /// The types of the events of a task, in order.
    async fn told_of(&self, task: &TaskId) -> Vec<String> {
        let filter = EventFilter { task: Some(task.as_str().to_owned()), ..EventFilter::default() };
        self.events(filter).await.iter().map(sketch).collect()
    }
}

/// An event in a word or two.
fn sketch(event: &serde_json::Value) -> String {
    let kind = event["type"].as_str().unwrap();
    match event["to"].as_str() {
        Some(to) => format!("{kind} {to}"),
        None => kind.to_owned(),
    }
}

fn worktree(id: &str) -> WorktreeFacts {
    WorktreeFacts {
        baseline: None,
        id: id.to_owned(),
        path: format!("/worktrees/{id}"),
        branch: format!("hob/{id}"),
        base_commit: "c0ffee".to_owned(),
        common_dir: "/repo/.git".to_owned(),
        identity: crate::worktree::Identity { device: u64::MAX, inode: 7, ..Default::default() },
    }
}

fn begin(store: &Store, facts: &WorktreeFacts) -> Reply<()> {
    store.begin_worktree(NewWorktree {
        id: facts.id.clone(),
        repo: "/repo".to_owned(),
        path: facts.path.clone(),
        branch: facts.branch.clone(),
    })
}

fn prompt_to(chat: &str, prompt: &str) -> NewTask {
    NewTask {
        request: None,
        chat: chat.to_owned(),
        agent: "demo".to_owned(),
        prompt: prompt.to_owned(),
        source: "chat".to_owned(),
        permissions: None,
        no_wait: false,
        no_retry: false,
        hold: false,
        parent: None,
        backend: None,
        uses: true,
    }
}

fn key() -> AgentKey {
    AgentKey::new("c", "demo")
}

fn ending(task: &TaskId, turn: &TurnId, outcome: Outcome) -> TurnEnd {
    TurnEnd {
        task: task.clone(),
        turn: turn.clone(),
        generation: Generation(1),
        outcome,
        stop_reason: Some("end_turn".to_owned()),
        error: None,
        usage: Usage {
            input: Some(3),
            cost: Some(0.5),
            currency: Some("USD".to_owned()),
            ..Usage::default()
        },
        duration_ms: 12,
        first_token_ms: Some(4),
        text: "done".to_owned(),
    }
}

fn text(scope: &Arc<Scope>, text: &str) -> NewEvent {
    NewEvent { scope: Arc::clone(scope), event: Event::Text { text: text.to_owned(), message: None } }
}

fn scope_of(task: &TaskId, turn: &TurnId) -> Arc<Scope> {
    Arc::new(Scope {
        session: Some("s".into()),
        chat: Some("c".into()),
        agent: Some("demo".into()),
        generation: Some(Generation(1)),
        task: Some(task.clone()),
        turn: Some(turn.clone()),
    })
}

/// Looks into the file with a connection of the test's own.
fn peek(path: &Path) -> rusqlite::Connection {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    conn
}

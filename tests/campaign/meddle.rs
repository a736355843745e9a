//! Whoever interferes while the others work: lets agents go and starts them again by force, pins them,
//! holds and releases, makes sessions and deletes them, applies, undoes, and adopts an arena while its
//! agents are at work. Each act may be refused for what it is; none may fail by a fault of the daemon,
//! and no task may be left by any.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use super::facts::Submit;
use super::load::{Line, Shared};
use super::stage::FAULT;
use crate::support::demo::DEMO;

/// The longest pause between two acts.
const PAUSE_MAX_MS: u64 = 120;
/// From one step of an act to the next: shorter and longer than a start or a turn's opening.
const STEP_MAX_MS: u64 = 40;
/// Sessions and arenas cost a worktree each.
const MADE_MAX: usize = 12;

/// What is done next.
#[derive(Debug, Clone, Copy)]
enum Act {
    Evict,
    Restart,
    Pin,
    HoldAndRelease,
    Session,
    Apply,
    Undo,
    Arena,
}

/// With their weights.
const ACTS: &[(u32, Act)] = &[
    (3, Act::Evict),
    (5, Act::Restart),
    (2, Act::Pin),
    (6, Act::HoldAndRelease),
    (1, Act::Session),
    (2, Act::Apply),
    (2, Act::Undo),
    (1, Act::Arena),
];

/// One who interferes.
pub struct Meddler {
    line: Line,
    shared: Arc<Shared>,
    /// The chats of the others, with the agent of each.
    chats: Vec<(String, &'static str)>,
    rng: Rng,
    n_made: usize,
}

impl Meddler {
    /// One who interferes in these chats, of which the first so many are the built-in agent's.
    pub fn new(shared: &Arc<Shared>, chats: &[String], n_demo: usize, rng: Rng) -> Self {
        let agent = |n: usize| if n < n_demo { DEMO } else { FAULT };
        let chats = chats.iter().enumerate().map(|(n, chat)| (chat.clone(), agent(n))).collect();
        Self { line: Line::new(shared), shared: shared.clone(), chats, rng, n_made: 0 }
    }

    /// Interferes until the others finish.
    pub fn work(mut self) {
        while !self.shared.is_closing() {
            let act = self.next();
            self.act(act);
            self.pause(PAUSE_MAX_MS);
        }
    }

    fn next(&mut self) -> Act {
        let mut left = self.rng.u32(0..ACTS.iter().map(|(weight, _)| weight).sum());
        let hit = ACTS.iter().find(|(weight, _)| {
            let is_it = left < *weight;
            left = left.saturating_sub(*weight);
            is_it
        });
        hit.map_or(Act::Restart, |(_, act)| *act)
    }

    fn pause(&mut self, max_ms: u64) {
        std::thread::sleep(Duration::from_millis(self.rng.u64(0..max_ms)));
    }

    fn act(&mut self, act: Act) {
        let (chat, agent) = self.rng.choice(&self.chats).cloned().unwrap_or_default();
        let whom = json!({ "chat": chat, "agent": agent });
        match act {
            Act::Evict | Act::Restart => {
                let method = if matches!(act, Act::Evict) { "pool/evict" } else { "pool/restart" };
                let force = self.rng.u8(0..4) > 0;
                self.may(method, &json!({ "chat": chat, "agent": agent, "force": force }));
            }
            Act::Pin => {
                self.may("pool/pin", &whom);
                self.pause(STEP_MAX_MS);
                self.may("pool/unpin", &whom);
            }
            Act::HoldAndRelease => {
                let chat = json!({ "chat": chat });
                self.line.insist("task/hold", &chat);
                self.pause(STEP_MAX_MS);
                // Of two who hold, the last one releases.
                self.line.insist("task/release", &chat);
            }
            Act::Apply | Act::Undo => self.changes(&chat, matches!(act, Act::Undo)),
            Act::Session if self.n_made < MADE_MAX => self.session(),
            Act::Arena if self.n_made < MADE_MAX => self.arena(),
            Act::Session | Act::Arena => {}
        }
    }

    /// Asks for what there may be a reason to refuse; a fault of the daemon is none.
    fn may(&mut self, method: &str, params: &Value) -> Option<Value> {
        match self.line.ask(method, params) {
            Ok(answer) => Some(answer),
            Err(refused) if refused.kind != "internal" && refused.kind != "silence" => None,
            Err(refused) => {
                let words = format!("{method} {params}: {refused}");
                self.shared.note(|facts| facts.complaints.push(words));
                None
            }
        }
    }

    fn changes(&mut self, chat: &str, undo: bool) {
        let Some(row) = self.may("chat/show", &json!({ "chat": chat })) else { return };
        let session = row["session"].clone();
        if !undo {
            self.may("change/apply", &json!({ "session": session }));
            return;
        }
        let tasks = self.may("task/list", &json!({ "chat": chat, "limit": 5 })).unwrap_or_default();
        let turns = tasks.as_array().into_iter().flatten().filter_map(|task| task["turn"].as_str());
        let turns: Vec<_> = turns.map(str::to_owned).collect();
        if let Some(turn) = self.rng.choice(&turns).cloned() {
            self.may("change/undo", &json!({ "session": session, "turn": turn }));
        }
    }

    /// Any repository of the others.
    fn repo(&mut self) -> Option<Value> {
        let sessions = self.may("session/list", &json!({}))?;
        sessions.as_array()?.first().map(|session| session["repo"].clone())
    }

    /// A session of its own, deleted at any moment of what goes on in it.
    fn session(&mut self) {
        self.n_made += 1;
        let Some(repo) = self.repo() else { return };
        let Some(made) = self.may("session/create", &json!({ "repo": repo })) else { return };
        let session = made["id"].clone();
        if let Some(chat) = self.may("chat/create", &json!({ "session": session })) {
            let request = format!("r-99-{}", self.n_made);
            let request_id = request.clone();
            let submit = Submit {
                request: request_id,
                breaks: true,
                cancelled: true,
                deleted: true,
                ..Submit::default()
            };
            self.shared.note(|facts| facts.submits.push(submit));
            let prompt = format!("[{request}]\nwrite: made.txt: hello ;; slow: 20 10");
            let params =
                json!({ "chat": chat["id"], "agent": DEMO, "prompt": prompt, "request_id": request });
            self.may("task/submit", &params);
        }
        self.pause(STEP_MAX_MS * 8);
        let id = session.as_str().unwrap_or_default().to_owned();
        self.shared.note(|facts| facts.deleted.push(id));
        let params = json!({ "session": session, "discard_changes": true, "discard_unpushed": true });
        self.may("session/delete", &params);
    }

    /// An arena, adopted while its agents may be at work.
    fn arena(&mut self) {
        self.n_made += 1;
        let Some(repo) = self.repo() else { return };
        let params = json!({ "repo": repo, "agents": [DEMO, FAULT], "prompt": "slow: 10 10" });
        let Some(made) = self.may("arena/start", &params) else { return };
        self.pause(STEP_MAX_MS * 12);
        self.may("arena/adopt", &json!({ "arena": made["id"], "agent": DEMO }));
    }
}

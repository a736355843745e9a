//! Every act of a person at every step of the opening and of the ending of a turn. The step is held up, and
//! the act comes again and again meanwhile: no turn is left without its end, the chat goes on, and nothing
//! fails by a fault of the daemon.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, say};
use crate::support::home::Setup;
use crate::support::wait::until;

/// Steps of a turn, from the start of its agent to its end.
const STEPS: [&str; 16] = [
    "committed/record the process",
    "keeper.spawned",
    "go.sent",
    "agent.recorded",
    "committed/record the start of a backend",
    "committed/record the opened backend",
    "uncommitted/record the dispatch of the task",
    "committed/record the dispatch of the task",
    "uncommitted/record the start of the turn",
    "committed/record the start of the turn",
    "prompt.unsent",
    "prompt.sent",
    "uncommitted/record the end of the turn",
    "committed/record the end of the turn",
    "agent.exited",
    "agent.gone",
];
/// What every turn is asked, and who else is asked it in an arena.
const PROMPT: &str = "write: made.txt: hello ;; slow: 3 10";
const RIVAL: &str = "rival";
/// How long each of them is held up.
const HELD_MS: u64 = 60;
/// From one act to the next, and how many there are: the last one comes when all is over.
const BETWEEN: Duration = Duration::from_millis(25);
const ACTS_MAX: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Evict,
    Restart,
    Pin,
    HoldAndRelease,
    Cancel,
    Apply,
    Undo,
    Create,
    Adopt,
    Delete,
}

const ACTS: [Act; 10] = [
    Act::Evict,
    Act::Restart,
    Act::Pin,
    Act::HoldAndRelease,
    Act::Cancel,
    Act::Apply,
    Act::Undo,
    Act::Create,
    Act::Adopt,
    Act::Delete,
];

struct Scene {
    daemon: TestDaemon,
    step: &'static str,
}

/// A chat with a task that was just submitted, by hand or for an arena.
struct Running {
    repo: String,
    arena: Option<String>,
    session: String,
    chat: String,
    task: String,
}

impl Scene {
    fn set(step: &'static str) -> Self {
        let at = format!("{step}:1:{HELD_MS}");
        let rival =
            format!("[agents.{RIVAL}]\ncommand = [\"{}\", \"demo-agent\"]", env!("CARGO_BIN_EXE_hob"));
        let home = Setup::new().config("[pool]\nmax_live = 4").config(&rival).home();
        let daemon = TestDaemon::start_with(home, move |command| {
            command.env("HOB_PAUSE_AT", &at);
        });
        Self { daemon, step }
    }

    /// Asks for what there may be a reason to refuse; a fault of the daemon is none.
    fn may(&self, method: &str, params: Value) -> Option<Value> {
        match self.daemon.try_rpc(method, params.clone()) {
            Ok(answer) => Some(answer),
            Err(error) if error.code == -32603 => panic!("{}: {method} {params}: {error:?}", self.step),
            Err(_) => None,
        }
    }

    fn act(&self, act: Act, of: &Running) {
        let whom = json!({"chat": of.chat, "agent": DEMO});
        match act {
            Act::Evict => {
                drop(self.may("pool/evict", json!({"chat": of.chat, "agent": DEMO, "force": true})))
            }
            Act::Restart => {
                self.may("pool/restart", json!({"chat": of.chat, "agent": DEMO, "force": true}));
            }
            Act::Pin => {
                self.may("pool/pin", whom.clone());
                self.may("pool/unpin", whom);
            }
            Act::HoldAndRelease => {
                self.may("task/hold", json!({"chat": of.chat}));
                self.may("task/release", json!({"chat": of.chat}));
            }
            Act::Cancel => drop(self.may("task/cancel", json!({"task": of.task}))),
            Act::Apply => drop(self.may("change/apply", json!({"session": of.session}))),
            Act::Undo => {
                let shown = self.may("task/show", json!({"task": of.task})).unwrap_or_default();
                if let Some(turn) = shown["turn"].as_str() {
                    self.may("change/undo", json!({"session": of.session, "turn": turn}));
                }
            }
            Act::Create => {
                self.may("session/create", json!({"repo": of.repo, "carry_changes": true}));
            }
            Act::Adopt => drop(self.may("arena/adopt", json!({"arena": of.arena, "agent": DEMO}))),
            Act::Delete => {
                let params =
                    json!({"session": of.session, "discard_changes": true, "discard_unpushed": true});
                self.may("session/delete", params);
            }
        }
    }

    fn begin(&self, act: Act) -> Running {
        let number = std::fs::read_dir(self.daemon.root()).unwrap().count();
        let repo = self.daemon.repo(&format!("repo-{number}"));
        if act == Act::Adopt {
            return self.begin_arena(repo.str());
        }
        let session = self.daemon.session(&repo);
        let chat = self.daemon.chat(&session);
        let task = self.daemon.submit(&chat, DEMO, PROMPT);
        Running { repo: repo.str().to_owned(), arena: None, session: session.id, chat, task }
    }

    fn begin_arena(&self, repo: &str) -> Running {
        let asked = json!({"agents": [DEMO, RIVAL], "prompt": PROMPT, "repo": repo});
        let arena = self.daemon.rpc("arena/start", asked);
        let of = |name: &str| arena["entries"][0][name].as_str().unwrap().to_owned();
        Running {
            repo: repo.to_owned(),
            arena: arena["id"].as_str().map(str::to_owned),
            session: of("session"),
            chat: of("chat"),
            task: of("task"),
        }
    }

    fn meet(&self, act: Act) {
        let running = self.begin(act);
        for _ in 0..ACTS_MAX {
            self.act(act, &running);
            std::thread::sleep(BETWEEN);
        }
        let is_there = self.may("session/show", json!({"session": running.session})).is_some();
        if !is_there {
            assert_eq!(act, Act::Delete, "{}", self.step);
            return;
        }
        self.daemon.wait_task(&running.task);
        assert_eq!(self.daemon.ask(&running.chat, DEMO, &say("again")), "again", "{}: {act:?}", self.step);
        until(&format!("the end of every turn, {}: {act:?}", self.step), || {
            let of = |kind: &str| self.daemon.events(json!({"chat": running.chat, "types": [kind]})).len();
            let n_started = of("turn_started");
            (n_started > 0 && n_started == of("turn_ended")).then_some(())
        });
    }
}

#[test]
#[cfg_attr(not(feature = "campaign"), ignore = "needs the cargo feature `campaign`")]
fn every_act_at_every_step_of_a_turn_leaves_no_turn_without_its_end() {
    for step in STEPS {
        let scene = Scene::set(step);
        for act in ACTS {
            scene.meet(act);
        }
    }
}

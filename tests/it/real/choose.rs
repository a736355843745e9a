//! Another mode or model for a chat: in place, with its effect, over an eviction and over a restart
//! of the daemon.

use serde_json::{Value, json};

use crate::support::agents::{CAREFUL_MODE, Consent, RealAgent};
use crate::support::daemon::TestDaemon;
use crate::support::home::Setup;
use crate::support::model::{MODEL_NAME, OTHER_MODEL_NAME};

/// A mode of each agent in which it writes no files, and one in which it does without asking.
fn modes(agent: RealAgent) -> (&'static str, &'static str) {
    match agent {
        RealAgent::Goose => ("chat", "auto"),
        RealAgent::Qwen => ("plan", "yolo"),
        RealAgent::Opencode | RealAgent::OpencodeServer => (CAREFUL_MODE, "build"),
    }
}

struct Stage {
    daemon: TestDaemon,
    agent: RealAgent,
    chat: String,
}

impl Stage {
    fn new(agent: RealAgent) -> Self {
        let daemon = Setup::new().real(agent, Consent::Assumes).start();
        let chat = daemon.lone_chat();
        Self { daemon, agent, chat }
    }

    fn offers(&self) -> Value {
        self.daemon.rpc("chat/offers", json!({"chat": self.chat, "agent": self.agent.name()}))
    }

    fn choose(&self, what: Value) -> Value {
        let mut params = json!({"chat": self.chat, "agent": self.agent.name()});
        params.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        self.daemon.rpc("chat/choose", params)
    }

    fn pid(&self) -> u32 {
        self.daemon.agent_pid(&self.chat, self.agent.name())
    }

    /// Whether a turn that is to write a file does.
    fn writes(&self, name: &str) -> bool {
        let task = self.daemon.run(&self.chat, self.agent.name(), &format!("write: {name}: said so"));
        let session = self.daemon.rpc("session/show", json!({"session": task["session"]}));
        std::path::Path::new(session["worktree"]["path"].as_str().unwrap()).join(name).exists()
    }

    fn evict(&self) {
        self.daemon.rpc("pool/evict", json!({"chat": self.chat, "agent": self.agent.name()}));
    }
}

fn a_mode(agent: RealAgent) {
    let mut stage = Stage::new(agent);
    let (careful, bold) = modes(agent);
    // Nothing is known of it before it was started once.
    assert_eq!(stage.offers()["mode"]["available"], Value::Null);
    assert!(stage.writes("first.txt"));
    let before = stage.offers();
    let offered = before["mode"]["available"].as_array().unwrap_or_else(|| panic!("{before:#}"));
    assert!(offered.iter().any(|mode| mode["id"] == careful), "{before:#}");
    assert_eq!((&before["mode"]["current"], &before["mode"]["chosen"]), (&json!(bold), &Value::Null));

    let pid = stage.pid();
    let chosen = stage.choose(json!({"mode": careful}));
    assert_eq!((&chosen["mode"]["current"], &chosen["mode"]["chosen"]), (&json!(careful), &json!(careful)));
    assert!(!stage.writes("careful.txt"), "the mode has an effect");
    assert_eq!(stage.pid(), pid, "it was set in place");
    stage.evict();
    assert!(!stage.writes("evicted.txt"), "it is remembered");
    stage.daemon.sigkill();
    stage.daemon.start_again();
    assert!(!stage.writes("restarted.txt"), "and outlives the daemon");
    assert_eq!(stage.offers()["mode"]["chosen"], careful);

    let pid = stage.pid();
    stage.choose(json!({"mode": bold}));
    assert!(stage.writes("bold.txt"));
    assert_eq!(stage.pid(), pid);
    let refused =
        stage.daemon.try_rpc("chat/choose", json!({"chat": stage.chat, "mode": "warp"})).unwrap_err();
    assert_eq!(refused.code, -32602, "{refused:?}");
    assert!(refused.message.contains("`warp`") && refused.message.contains(careful), "{refused:?}");
    assert_eq!(stage.offers()["mode"]["chosen"], bold);
    // Left to the configuration again, which says nothing of it: the agent begins as it does by itself.
    stage.choose(json!({"mode": null}));
    assert_eq!(stage.offers()["mode"]["chosen"], Value::Null);
    assert_eq!(stage.daemon.ask(&stage.chat, agent.name(), "say: well"), "well");
}

#[test]
fn a_mode_of_goose() {
    a_mode(RealAgent::Goose);
}

#[test]
fn a_mode_of_qwen() {
    a_mode(RealAgent::Qwen);
}

#[test]
fn a_mode_of_opencode() {
    a_mode(RealAgent::Opencode);
}

#[test]
fn a_mode_of_opencode_as_a_server() {
    a_mode(RealAgent::OpencodeServer);
}

fn a_model(agent: RealAgent, id: impl Fn(&str) -> String) {
    let stage = Stage::new(agent);
    let asks = |words: &str, name: &str| {
        let directive = format!("say: {words}");
        assert_eq!(stage.daemon.ask(&stage.chat, agent.name(), &directive), words);
        assert_eq!(stage.daemon.model().wait_for(&directive, |_| true).model, name, "{words}");
    };
    asks("first", MODEL_NAME);
    let offers = stage.offers();
    assert_eq!(offers["model"]["current"], json!(id(MODEL_NAME)), "{offers:#}");
    let pid = stage.pid();
    let other = stage.choose(json!({"model": id(OTHER_MODEL_NAME)}));
    assert_eq!(other["model"]["current"], json!(id(OTHER_MODEL_NAME)), "{other:#}");
    asks("second", OTHER_MODEL_NAME);
    assert_eq!(stage.pid(), pid, "it was set in place");
    stage.evict();
    asks("third", OTHER_MODEL_NAME);
    stage.choose(json!({"model": id(MODEL_NAME)}));
    asks("fourth", MODEL_NAME);
    // Another chat is none of this one's business.
    let other = stage.daemon.lone_chat();
    assert_eq!(stage.daemon.ask(&other, agent.name(), "say: fifth"), "fifth");
    assert_eq!(stage.daemon.model().wait_for("say: fifth", |_| true).model, MODEL_NAME);
}

#[test]
fn a_model_of_goose() {
    a_model(RealAgent::Goose, str::to_owned);
}

#[test]
fn a_model_of_opencode() {
    a_model(RealAgent::Opencode, |name| format!("scripted/{name}"));
}

#[test]
fn a_model_of_opencode_as_a_server() {
    a_model(RealAgent::OpencodeServer, |name| format!("scripted/{name}"));
}

/// A run of its own has the chosen model in its command line.
#[test]
fn a_model_of_a_one_shot_run() {
    let agent = RealAgent::Goose;
    let stage = Stage::new(agent);
    stage.choose(json!({"model": OTHER_MODEL_NAME}));
    for prompt in ["say: alone", "say: once more"] {
        let params =
            json!({"chat": stage.chat, "agent": agent.name(), "prompt": prompt, "backend": "oneshot"});
        let task = stage.daemon.rpc("task/submit", params);
        let ended = stage.daemon.wait_task(task["id"].as_str().unwrap());
        assert_eq!(
            (&ended["state"], &ended["backend"]),
            (&json!("completed"), &json!("oneshot")),
            "{ended:#}"
        );
        assert_eq!(stage.daemon.model().wait_for(prompt, |_| true).model, OTHER_MODEL_NAME);
    }
}

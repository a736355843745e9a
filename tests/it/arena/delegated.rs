//! Arenas that an agent starts: in its own session, in its own name, within its limits.

use std::fs;

use serde_json::{Value, json};

use super::{Ring, SIGN};
use crate::support::daemon::Session;

/// An agent that calls the socket from inside of its turn.
struct Inside {
    ring: Ring,
    session: Session,
    chat: String,
}

impl Inside {
    fn set(config: &str) -> Self {
        let ring = Ring::set(config);
        let session = ring.daemon.session(&ring.repo);
        let chat = ring.daemon.chat(&session);
        Self { ring, session, chat }
    }

    /// What the call is answered with: its result, or what the command line says of its error.
    #[track_caller]
    fn call(&self, method: &str, params: &Value) -> Result<Value, String> {
        let program = env!("CARGO_BIN_EXE_hob");
        let socket = self.ring.daemon.socket();
        let answer = self.ring.daemon.root().join("answer");
        let line = format!(
            "shell: {program} --socket {} --no-start rpc {method} '{params}' > {1} 2>&1; true",
            socket.display(),
            answer.display()
        );
        self.ring.daemon.ask(&self.chat, "left", &line);
        let said = fs::read_to_string(answer).unwrap();
        serde_json::from_str(&said).map_err(|_| said)
    }
}

#[test]
fn an_agent_has_arenas_of_its_own_and_sees_no_others() {
    let inside = Inside::set("");
    let persons = inside.ring.run(SIGN, json!({}));
    let agents = json!(["left", "right"]);
    let made = inside.call("arena/start", &json!({"agents": agents, "prompt": SIGN})).unwrap();
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!(made["repo"], inside.session.worktree.to_str().unwrap());
    inside.ring.wait(&id);
    let task = inside.ring.daemon.rpc("task/show", json!({"task": made["entries"][0]["task"]}));
    assert_eq!((&task["source"], &task["parent"]), (&json!("mcp"), &made["parent"]), "{task:#}");

    let listed = inside.call("arena/list", &json!({})).unwrap();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &json!(id)), "{listed:#}");
    assert_eq!(inside.call("arena/show", &json!({"arena": id})).unwrap()["entries"][0]["files"], 1);
    for method in ["arena/show", "arena/adopt"] {
        let mut params = json!({"arena": persons["id"]});
        if method == "arena/adopt" {
            params["agent"] = json!("left");
        }
        let refused = inside.call(method, &params).unwrap_err();
        assert!(refused.contains("not of your making"), "{method}: {refused}");
    }
    for (more, word) in [
        (json!({"repo": inside.ring.repo.str()}), "own session only"),
        (json!({"session": "s-other"}), "own session only"),
        (json!({"check": "true"}), "may not have a command run"),
        (json!({"permissions": "allow"}), "may not allow"),
    ] {
        let mut params = more;
        (params["agents"], params["prompt"]) = (agents.clone(), json!(SIGN));
        let refused = inside.call("arena/start", &params).unwrap_err();
        assert!(refused.contains(word), "{params}: {refused}");
    }
    let adopted = inside.call("arena/adopt", &json!({"arena": id, "agent": "right"})).unwrap();
    assert_eq!(adopted["applied"], json!(["who.txt"]));
    assert_eq!(fs::read_to_string(inside.session.worktree.join("who.txt")).unwrap(), "right\n");
}

#[test]
fn every_entry_counts_against_the_limits_of_its_maker() {
    let inside = Inside::set("[dispatch]\nmax_children = 1");
    let params = json!({"agents": ["left", "right"], "prompt": SIGN});
    let refused = inside.call("arena/start", &params).unwrap_err();
    assert!(refused.contains("as many tasks as allowed are alive"), "{refused}");
    assert_eq!(inside.ring.daemon.rpc("arena/list", json!({})), json!([]));
    assert_eq!(inside.ring.daemon.rpc("session/list", json!({})).as_array().unwrap().len(), 1);
}

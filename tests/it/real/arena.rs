//! An arena of goose, qwen and opencode at once.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::LONG;
use crate::support::agents::{Consent, RealAgent};
use crate::support::home::Setup;

const AGENTS: [RealAgent; 3] = [RealAgent::Goose, RealAgent::Qwen, RealAgent::Opencode];

fn entry<'a>(arena: &'a Value, agent: &str) -> &'a Value {
    let found = arena["entries"].as_array().unwrap().iter().find(|entry| entry["agent"] == agent);
    found.unwrap_or_else(|| panic!("no {agent} in {arena:#}"))
}

#[test]
fn three_agents_compete_one_is_adopted_and_nothing_of_the_others_is_lost() {
    let mut setup = Setup::new().config("[reaper]\ninterval = \"1h\"");
    for agent in AGENTS {
        setup = setup.real(agent, Consent::Assumes);
    }
    let mut daemon = setup.start();
    let repo = daemon.repo("repo");
    fs::write(repo.path.join("README.md"), "changed by hand\n").unwrap();
    let hob = |daemon: &crate::support::daemon::TestDaemon, arguments: &[&str]| {
        let mut command = daemon.hob_command(arguments);
        crate::support::home::Ran::of(command.current_dir(&repo.path).output().unwrap())
    };
    let check = "grep -q 'changed by hand' README.md && cat notes.txt && test $HOB_AGENT = qwen";
    let prompt = "write: notes.txt: from the arena ;; usage: 700 30 ;; say: done";
    let names: Vec<&str> = AGENTS.iter().flat_map(|agent| ["-a", agent.name()]).collect();
    let run =
        [&["--json", "arena", "run", "--carry-changes", "--check", check], &names[..], &[prompt]].concat();
    let ran =
        hob(&daemon, &run).ok().says(&["qwen: completed, check passed", "goose: completed, check failed"]);
    let arena: Value = serde_json::from_str(&ran.stdout).unwrap();
    let id = arena["id"].as_str().unwrap();
    let trees = AGENTS.map(|agent| {
        let row = entry(&arena, agent.name());
        assert_eq!((&row["state"], &row["files"]), (&json!("completed"), &json!(1)), "{row:#}");
        assert_eq!(row["check"]["state"] == "passed", agent == RealAgent::Qwen, "{row:#}");
        assert!(row["check"]["output"].as_str().unwrap().contains("from the arena"), "{row:#}");
        repo.git(&["rev-parse", &format!("refs/hob/baseline/{}^{{tree}}", row["worktree"].as_str().unwrap())])
    });
    assert!(trees.iter().all(|tree| *tree == trees[0]), "one baseline: {trees:?}");
    assert!(!repo.path.join("notes.txt").exists());

    hob(&daemon, &["arena", "adopt", id, "qwen"]).ok();
    assert_eq!(fs::read_to_string(repo.path.join("notes.txt")).unwrap().trim_end(), "from the arena");
    for agent in [RealAgent::Goose, RealAgent::Opencode] {
        let row = entry(&arena, agent.name());
        let session = row["session"].as_str().unwrap();
        let closed = daemon.rpc("session/show", json!({"session": session}));
        assert_eq!(closed["state"], "closed");
        let reap = || daemon.rpc("worktree/reap", json!({"worktree": row["worktree"]}))[0].clone();
        if agent == RealAgent::Opencode {
            // What is in nobody's checkout is kept until somebody gives it up, and then a ref has it.
            fs::write(Path::new(closed["worktree"]["path"].as_str().unwrap()).join("notes.txt"), "its own")
                .unwrap();
            assert_eq!(reap()["action"], "kept", "{row:#}");
            let discarded = daemon.rpc("change/discard", json!({"session": session}));
            let kept = format!("{}:notes.txt", discarded["rescue_ref"].as_str().unwrap());
            assert_eq!(repo.git(&["show", &kept]), "its own");
        }
        // What goose wrote is byte for byte what was adopted.
        let reaped = reap();
        assert_eq!(reaped["action"], "archived", "{reaped:#}");
        assert!(repo.git(&["ls-tree", "-r", reaped["salvage_ref"].as_str().unwrap()]).contains("README.md"));
        hob(&daemon, &["worktree", "restore", row["worktree"].as_str().unwrap()]).ok();
        let back = daemon.rpc("session/show", json!({"session": session}));
        assert!(back["state"] == "open" && Path::new(back["worktree"]["path"].as_str().unwrap()).is_dir());
    }

    // And in the middle of the next one the daemon is killed.
    let params = json!({
        "agents": AGENTS.map(RealAgent::name), "prompt": LONG, "repo": repo.str(), "check": "echo judged",
    });
    let second = daemon.rpc("arena/start", params);
    for agent in AGENTS {
        daemon.wait_event(entry(&second, agent.name())["task"].as_str().unwrap(), "text");
    }
    daemon.sigkill();
    daemon.wait_nothing_left();
    daemon.start_again();
    let second = crate::support::wait::until("the checks after the crash", || {
        let row = daemon.rpc("arena/show", json!({"arena": second["id"]}));
        let judged = |entry: &Value| entry["check"]["state"] == "passed";
        row["entries"].as_array().unwrap().iter().all(judged).then_some(row)
    });
    for agent in AGENTS {
        let row = entry(&second, agent.name());
        assert_eq!((&row["state"], &row["files"]), (&json!("interrupted"), &json!(0)), "{row:#}");
    }
}

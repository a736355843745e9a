//! An arena of goose, qwen and the server of opencode at once.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::LONG;
use crate::support::agents::{Consent, RealAgent};
use crate::support::daemon::TestDaemon;
use crate::support::home::{Ran, Setup};
use crate::support::repo::Repo;
use crate::support::wait::until;

const AGENTS: [RealAgent; 3] = [RealAgent::Goose, RealAgent::Qwen, RealAgent::OpencodeServer];

/// A daemon with all three, and a checkout with a change of the user's.
fn ring() -> (TestDaemon, Repo) {
    let mut setup = Setup::new().config("[reaper]\ninterval = \"1h\"");
    for agent in AGENTS {
        setup = setup.real(agent, Consent::Assumes);
    }
    let daemon = setup.start();
    let repo = daemon.repo("repo");
    fs::write(repo.path.join("README.md"), "changed by hand\n").unwrap();
    (daemon, repo)
}

fn entry(arena: &Value, agent: RealAgent) -> &Value {
    let found = arena["entries"].as_array().unwrap().iter().find(|entry| entry["agent"] == agent.name());
    found.unwrap_or_else(|| panic!("no {agent:?} in {arena:#}"))
}

/// `hob`, in the user's checkout.
fn hob(daemon: &TestDaemon, repo: &Repo, arguments: &[&str]) -> Ran {
    Ran::of(daemon.hob_command(arguments).current_dir(&repo.path).output().unwrap())
}

/// The loser's worktree goes when nothing of it would be lost, and comes back.
fn is_retired(daemon: &TestDaemon, repo: &Repo, loser: &Value) {
    let session = json!({"session": loser["session"]});
    let closed = daemon.rpc("session/show", session.clone());
    assert_eq!(closed["state"], "closed");
    let worktree = Path::new(closed["worktree"]["path"].as_str().unwrap());
    let reap = || daemon.rpc("worktree/reap", json!({"worktree": loser["worktree"]}))[0].clone();
    if loser["agent"] == RealAgent::OpencodeServer.name() {
        // What is in nobody's checkout is kept until somebody gives it up, and then a ref has it.
        fs::write(worktree.join("notes.txt"), "its own").unwrap();
        assert_eq!(reap()["action"], "kept", "{loser:#}");
        let discarded = daemon.rpc("change/discard", session.clone());
        let kept = format!("{}:notes.txt", discarded["rescue_ref"].as_str().unwrap());
        assert_eq!(repo.git(&["show", &kept]), "its own");
    }
    // What goose wrote is byte for byte what was adopted.
    let reaped = reap();
    assert_eq!(reaped["action"], "archived", "{reaped:#}");
    assert!(!worktree.exists());
    assert!(repo.git(&["ls-tree", "-r", reaped["salvage_ref"].as_str().unwrap()]).contains("README.md"));
    hob(daemon, repo, &["worktree", "restore", loser["worktree"].as_str().unwrap()]).ok();
    let back = daemon.rpc("session/show", session);
    assert!(back["state"] == "open" && worktree.is_dir(), "{back:#}");
}

#[test]
fn three_agents_compete_one_is_adopted_and_nothing_of_the_others_is_lost() {
    let (daemon, repo) = ring();
    let check = "grep -q 'changed by hand' README.md && cat notes.txt && test $HOB_AGENT = qwen";
    let prompt = "write: notes.txt: from the arena ;; usage: 700 30 ;; say: done";
    let names: Vec<&str> = AGENTS.iter().flat_map(|agent| ["-a", agent.name()]).collect();
    let run =
        [&["--json", "arena", "run", "--carry-changes", "--check", check], &names[..], &[prompt]].concat();
    let ran = hob(&daemon, &repo, &run).ok();
    let ran = ran.says(&["qwen: completed, check passed", "goose: completed, check failed"]);
    let arena: Value = serde_json::from_str(&ran.stdout).unwrap();
    let trees = AGENTS.map(|agent| {
        let row = entry(&arena, agent);
        assert_eq!((&row["state"], &row["files"]), (&json!("completed"), &json!(1)), "{row:#}");
        assert_eq!(row["check"]["state"] == "passed", agent == RealAgent::Qwen, "{row:#}");
        assert!(row["check"]["output"].as_str().unwrap().contains("from the arena"), "{row:#}");
        assert!(row["usage"]["output"].as_u64() >= Some(30), "{row:#}");
        let baseline = format!("refs/hob/baseline/{}^{{tree}}", row["worktree"].as_str().unwrap());
        repo.git(&["rev-parse", &baseline])
    });
    assert!(trees.iter().all(|tree| *tree == trees[0]), "one baseline: {trees:?}");
    assert!(!repo.path.join("notes.txt").exists());

    hob(&daemon, &repo, &["arena", "adopt", arena["id"].as_str().unwrap(), "qwen"]).ok();
    assert_eq!(fs::read_to_string(repo.path.join("notes.txt")).unwrap().trim_end(), "from the arena");
    assert_eq!(fs::read_to_string(repo.path.join("README.md")).unwrap(), "changed by hand\n");
    is_retired(&daemon, &repo, entry(&arena, RealAgent::Goose));
    is_retired(&daemon, &repo, entry(&arena, RealAgent::OpencodeServer));
}

#[test]
fn a_killed_daemon_leaves_nothing_of_three_agents_and_judges_what_they_had() {
    let (mut daemon, repo) = ring();
    let params = json!({
        "agents": AGENTS.map(RealAgent::name), "prompt": LONG, "repo": repo.str(), "check": "echo judged",
    });
    let arena = daemon.rpc("arena/start", params);
    for agent in AGENTS {
        daemon.wait_event(entry(&arena, agent)["task"].as_str().unwrap(), "text");
    }
    daemon.sigkill();
    daemon.wait_nothing_left();
    daemon.start_again();
    let arena = until("the checks after the crash", || {
        let row = daemon.rpc("arena/show", json!({"arena": arena["id"]}));
        let judged = |entry: &Value| entry["check"]["state"] == "passed";
        row["entries"].as_array().unwrap().iter().all(judged).then_some(row)
    });
    for agent in AGENTS {
        let row = entry(&arena, agent);
        assert_eq!((&row["state"], &row["files"]), (&json!("interrupted"), &json!(0)), "{row:#}");
        assert_eq!(row["check"]["output"], "judged", "{row:#}");
    }
}

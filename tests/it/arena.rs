//! Arenas on two copies of the built-in agent: one baseline, checks, the winner adopted, the others
//! closed; and everything that can go wrong on the way.

mod bad_input;
mod bridged;
mod crashes;
mod delegated;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, say};
use crate::support::home::{Ran, Setup};
use crate::support::leftovers;
use crate::support::repo::Repo;
use crate::support::wait::{PATIENCE, until};

/// Writes the agent's own name, so that entries differ.
const SIGN: &str = "shell: echo $WHO > who.txt";

/// A daemon with two agents that differ in name only, and a repository of the user's.
struct Ring {
    daemon: TestDaemon,
    repo: Repo,
}

impl Ring {
    fn set(config: &str) -> Self {
        let mut setup = Setup::new().config("[reaper]\ninterval = \"1h\"").config(config);
        for name in ["left", "right"] {
            let program = env!("CARGO_BIN_EXE_hob");
            let agent = format!(
                "[agents.{name}]\ncommand = [\"{program}\", \"demo-agent\"]\nenv = {{ WHO = \"{name}\", \
                 HOB_DEMO_STATE = \"{}\" }}",
                setup.root().join(name).display()
            );
            setup = setup.config(&agent);
        }
        let daemon = setup.start();
        let repo = daemon.repo("repo");
        Self { daemon, repo }
    }

    /// `hob`, in the user's checkout.
    fn hob(&self, arguments: &[&str]) -> Ran {
        let mut command = self.daemon.hob_command(arguments);
        Ran::of(command.current_dir(&self.repo.path).output().unwrap())
    }

    /// Starts an arena of both; its id.
    #[track_caller]
    fn start(&self, prompt: &str, mut more: Value) -> String {
        more["agents"] = json!(["left", "right"]);
        more["prompt"] = json!(prompt);
        more["repo"] = json!(self.repo.str());
        self.daemon.rpc("arena/start", more)["id"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn show(&self, arena: &str) -> Value {
        self.daemon.rpc("arena/show", json!({"arena": arena}))
    }

    /// Waits until every task of an arena is terminal and every check is done.
    #[track_caller]
    fn wait(&self, arena: &str) -> Value {
        until(&format!("the end of {arena}"), || {
            let row = self.daemon.rpc("arena/show", json!({"arena": arena, "brief": true}));
            let ended = |entry: &Value| {
                let check = entry["check"]["state"].as_str().unwrap_or("none");
                crate::support::daemon::is_terminal(entry) && !["waiting", "running"].contains(&check)
            };
            row["entries"].as_array().unwrap().iter().all(ended).then_some(())
        });
        self.show(arena)
    }

    /// Starts an arena and waits for its end.
    #[track_caller]
    fn run(&self, prompt: &str, more: Value) -> Value {
        self.wait(&self.start(prompt, more))
    }

    fn checkout(&self, path: &str) -> String {
        fs::read_to_string(self.repo.path.join(path)).unwrap_or_default()
    }

    fn worktree(&self, entry: &Value) -> PathBuf {
        let rows = self.daemon.rpc("worktree/list", json!({"all": true}));
        let found = rows.as_array().unwrap().iter().find(|row| row["id"] == entry["worktree"]);
        found.unwrap_or_else(|| panic!("{entry:#}: {rows:#}"))["path"].as_str().unwrap().into()
    }

    #[track_caller]
    fn session(&self, entry: &Value) -> Value {
        self.daemon.rpc("session/show", json!({"session": entry["session"]}))
    }

    /// Nothing of an arena was left: no session, no worktree, no branch, no ref.
    #[track_caller]
    fn nothing_was_made(&self) {
        assert_eq!(self.daemon.rpc("session/list", json!({"all": true})), json!([]));
        assert_eq!(self.daemon.rpc("worktree/list", json!({"all": true})), json!([]));
        assert_eq!(self.daemon.rpc("arena/list", json!({})), json!([]));
        assert_eq!(self.repo.git(&["for-each-ref", "refs/heads/hob"]), "");
        assert_eq!(self.repo.git(&["worktree", "list"]).lines().count(), 1);
    }
}

/// `left` and `right`, in this order.
fn both(arena: &Value) -> (&Value, &Value) {
    let entries = arena["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 2, "{arena:#}");
    (&entries[0], &entries[1])
}

#[test]
fn both_start_from_the_same_are_judged_and_the_better_one_is_adopted() {
    let ring = Ring::set("");
    fs::write(ring.repo.path.join("README.md"), "changed by hand\n").unwrap();
    fs::write(ring.repo.path.join("notes"), "untracked\n").unwrap();
    let check = "cat README.md notes; grep -q left who.txt";
    let ran = ring
        .hob(&["arena", "run", "-a", "left", "-a", "right", "--carry-changes", "--check", check, SIGN])
        .ok()
        .says(&["left: completed, check passed", "right: completed, check failed (1)", "hob arena adopt a-"]);
    for word in ["AGENT", "passed", "failed (1)", "+1 -0", "right: the check failed (1)"] {
        assert!(ran.stdout.contains(word), "{word:?} is missing in {ran:?}");
    }
    let listed = ring.daemon.rpc("arena/list", json!({}));
    let id = listed[0]["id"].as_str().unwrap();
    let arena = ring.show(id);
    let (left, right) = both(&arena);
    assert_eq!(arena["base_commit"], ring.repo.git(&["rev-parse", "HEAD"]), "{arena:#}");
    for entry in [left, right] {
        assert_eq!((&entry["files"], &entry["insertions"]), (&json!(1), &json!(1)), "{entry:#}");
        // What was carried is there, and is nobody's change.
        assert_eq!(entry["check"]["output"], "changed by hand\nuntracked", "{entry:#}");
        assert_eq!(fs::read_to_string(ring.worktree(entry).join("notes")).unwrap(), "untracked\n");
        let task = ring.daemon.rpc("task/show", json!({"task": entry["task"]}));
        assert_eq!(task["source"], "arena");
    }
    let tree = |entry: &Value| {
        let name = format!("refs/hob/baseline/{}^{{tree}}", entry["worktree"].as_str().unwrap());
        ring.repo.git(&["rev-parse", &name])
    };
    assert_eq!(tree(left), tree(right));
    let exits = (&left["check"]["exit_code"], &right["check"]["exit_code"]);
    assert_eq!(exits, (&json!(0), &json!(1)));

    let adopted = ring.hob(&["arena", "adopt", &id[..5], "left"]).ok();
    assert!(adopted.stdout.contains("applied who.txt"), "{adopted:?}");
    assert_eq!((ring.checkout("who.txt"), ring.checkout("notes")), ("left\n".into(), "untracked\n".into()));
    let decided = ring.show(id);
    assert_eq!((&decided["state"], &decided["winner"]), (&json!("adopted"), &json!("left")));
    assert_eq!(both(&decided).0["files"], 1, "the comparison stays as it was: {decided:#}");
    assert_eq!(
        (&ring.session(left)["state"], &ring.session(right)["state"]),
        (&json!("open"), &json!("closed"))
    );
    ring.hob(&["arena", "adopt", id, "right"]).exit(6).says(&["decided", "`left` was adopted"]);
    assert_eq!(ring.checkout("who.txt"), "left\n");
}

#[test]
fn of_those_who_are_not_adopted_nothing_runs_on_in_a_chat_that_somebody_made_there() {
    let ring = Ring::set("");
    let arena = ring.run(SIGN, json!({}));
    let (_, right) = both(&arena);
    let chat = ring.daemon.rpc("chat/create", json!({"session": right["session"]}));
    let chat = chat["id"].as_str().unwrap();
    assert_eq!(ring.daemon.ask(chat, DEMO, &say("well")), "well");
    let pid = ring.daemon.agent_pid(chat, DEMO);
    ring.hob(&["arena", "adopt", arena["id"].as_str().unwrap(), "left"]).ok();
    until("its process to be gone", || (!leftovers::is_alive(pid)).then_some(()));
    assert_eq!(ring.daemon.agent_session(chat, DEMO)["status"], "closed");
}

#[test]
fn the_others_are_kept_like_every_orphan_and_can_be_opened_again() {
    let ring = Ring::set("");
    let arena = ring.run(SIGN, json!({}));
    let (_, right) = both(&arena);
    ring.hob(&["arena", "adopt", arena["id"].as_str().unwrap(), "left"]).ok();
    let reaped = ring.daemon.rpc("worktree/reap", json!({"worktree": right["worktree"]}));
    assert_eq!(reaped[0]["action"], "kept", "{reaped:#}");
    let listed = ring.hob(&["worktree", "ls"]).ok();
    assert!(listed.stdout.contains("orphaned") && listed.stdout.contains("pending"), "{listed:?}");
    assert_eq!(fs::read_to_string(ring.worktree(right).join("who.txt")).unwrap(), "right\n");

    let session = right["session"].as_str().unwrap();
    ring.hob(&["session", "reopen", session]).ok();
    let pending = ring.daemon.rpc("change/list", json!({"session": session}));
    assert_eq!(pending[0]["path"], "who.txt", "{pending:#}");
    // And what nobody wants goes by the ordinary rules, with a ref that keeps it.
    ring.daemon.rpc("session/close", json!({"session": session}));
    let discarded = ring.daemon.rpc("change/discard", json!({"session": session}));
    let reaped = ring.daemon.rpc("worktree/reap", json!({"worktree": right["worktree"]}));
    assert_eq!(reaped[0]["action"], "archived", "{reaped:#}");
    let rescue = discarded["rescue_ref"].as_str().unwrap();
    assert_eq!(ring.repo.git(&["show", &format!("{rescue}:who.txt")]), "right");
}

#[test]
fn a_part_is_adopted_by_path_and_the_rest_stays_pending() {
    let ring = Ring::set("");
    let arena = ring.run("shell: mkdir -p src; echo $WHO > src/a; echo $WHO > b", json!({}));
    let id = arena["id"].as_str().unwrap();
    fs::create_dir(ring.repo.path.join("src")).unwrap();
    let mut command = ring.daemon.hob_command(&["arena", "adopt", id, "right", "a"]);
    Ran::of(command.current_dir(ring.repo.path.join("src")).output().unwrap()).ok();
    assert_eq!((ring.checkout("src/a"), ring.checkout("b")), ("right\n".into(), String::new()));
    // The winner is what the person works on now.
    let rest = ring.hob(&["apply"]).ok();
    assert!(rest.stdout.contains("applied b"), "{rest:?}");
}

#[test]
fn a_conflict_exits_6_changes_nothing_and_decides_nothing() {
    let ring = Ring::set("");
    let arena = ring.run("shell: echo $WHO > README.md; echo new > new.txt", json!({}));
    let id = arena["id"].as_str().unwrap();
    fs::write(ring.repo.path.join("README.md"), "mine\n").unwrap();
    ring.hob(&["arena", "adopt", id, "left"]).exit(6).says(&["conflict README.md", "nothing was applied"]);
    assert_eq!((ring.checkout("README.md"), ring.checkout("new.txt")), ("mine\n".into(), String::new()));
    let arena = ring.show(id);
    assert_eq!(arena["state"], "open");
    assert_eq!(ring.session(both(&arena).1)["state"], "open");
    ring.repo.git(&["checkout", "--quiet", "README.md"]);
    ring.hob(&["arena", "adopt", id, "left"]).ok();
    assert_eq!(ring.checkout("README.md"), "left\n");
}

#[test]
fn nothing_is_adopted_while_somebody_works_or_is_judged() {
    let ring = Ring::set("");
    let gate = ring.daemon.root().join("gate");
    let check = format!("until [ -e {} ]; do sleep 0.02; done", gate.display());
    let id = ring.start("slow: 4000 25", json!({"check": check}));
    let arena = ring.show(&id);
    let (left, right) = both(&arena);
    for entry in [left, right] {
        ring.daemon.wait_event(entry["task"].as_str().unwrap(), "text");
    }
    let adopt = || ring.daemon.try_rpc("arena/adopt", json!({"arena": id, "agent": "left"}));
    let refused = adopt().unwrap_err();
    assert_eq!((refused.code, refused.kind.as_str()), (-32003, "conflict"), "{refused}");
    assert!(refused.message.contains("`left` is still running"), "{refused}");
    for entry in [left, right] {
        ring.daemon.rpc("task/cancel", json!({"task": entry["task"]}));
        ring.daemon.wait_task(entry["task"].as_str().unwrap());
    }
    let ended = ring.wait(&id);
    assert_eq!(both(&ended).0["check"]["state"], "skipped", "{ended:#}");

    let id = ring.start(SIGN, json!({"check": check}));
    let judged = until("both checks to run", || {
        let arena = ring.show(&id);
        let running = |entry: &Value| entry["check"]["state"] == "running";
        arena["entries"].as_array().unwrap().iter().all(running).then_some(arena)
    });
    let adopt = || ring.daemon.try_rpc("arena/adopt", json!({"arena": id, "agent": "left"}));
    let refused = adopt().unwrap_err();
    assert!(refused.kind == "conflict" && refused.message.contains("check of `left`"), "{refused}");
    fs::write(gate, "").unwrap();
    ring.wait(&id);
    // Somebody asks an entry for more meanwhile.
    let chat = both(&judged).1["chat"].as_str().unwrap();
    let task = ring.daemon.submit(chat, "right", "slow: 4000 25");
    ring.daemon.wait_event(&task, "text");
    let refused = adopt().unwrap_err();
    assert!(refused.message.contains("`right` is still running"), "{refused}");
    ring.daemon.rpc("task/cancel", json!({"task": task}));
    ring.daemon.wait_task(&task);
    assert_eq!(adopt().unwrap()["applied"], json!(["who.txt"]));
}

#[test]
fn a_check_that_hangs_is_ended() {
    let ring = Ring::set("[hooks]\ntimeout = \"2s\"");
    let arena = ring.run(SIGN, json!({"check": "echo begun; sleep 86422"}));
    for entry in [both(&arena).0, both(&arena).1] {
        let check = &entry["check"];
        assert_eq!((&check["state"], &check["output"]), (&json!("timed_out"), &json!("begun")), "{check:#}");
    }
    until("the sleeps to be gone", || {
        ring.daemon.processes().iter().all(|process| process.command != "sleep 86422").then_some(())
    });
}

#[test]
fn the_same_request_makes_one_arena_also_after_a_restart() {
    let mut ring = Ring::set("");
    let first = ring.start(SIGN, json!({"request_id": "r-1"}));
    assert_eq!(ring.start(SIGN, json!({"request_id": "r-1"})), first);
    ring.wait(&first);
    ring.daemon.stop();
    ring.daemon.start_again();
    assert_eq!(ring.start(SIGN, json!({"request_id": "r-1"})), first);
    assert_eq!(ring.daemon.rpc("session/list", json!({"all": true})).as_array().unwrap().len(), 2);
    assert_eq!(ring.daemon.rpc("task/list", json!({})).as_array().unwrap().len(), 2);
}

#[test]
fn a_detached_arena_prints_its_id_and_is_listed() {
    let ring = Ring::set("");
    let mut arguments = vec!["arena", "run", "--detach", "-a", "left", "-a", "right", SIGN];
    let id = ring.hob(&arguments).ok().stdout.trim().to_owned();
    assert!(id.starts_with("a-") && id.len() == 10, "{id}");
    let listed = ring.hob(&["arena", "ls"]).ok();
    assert!(listed.stdout.contains(&id) && listed.stdout.contains("left right"), "{listed:?}");
    ring.wait(&id);
    // An entry is not what a bare `hob diff` in the checkout is about.
    ring.hob(&["diff"]).exit(5);

    arguments[2] = "--json";
    let shown: Value = serde_json::from_str(&ring.hob(&arguments).ok().stdout).unwrap();
    assert_eq!(shown["entries"][1]["agent"], "right", "{shown:#}");
    assert_eq!(shown["entries"][1]["files"], 1, "{shown:#}");
}

#[test]
fn ctrl_c_cancels_every_entry() {
    let ring = Ring::set("");
    let mut command =
        ring.daemon.hob_command(&["arena", "run", "-a", "left", "-a", "right", "slow: 4000 25"]);
    let told = ring.daemon.root().join("told");
    let says = |word: &str| fs::read_to_string(&told).unwrap().contains(word);
    command.current_dir(&ring.repo.path).stdout(Stdio::piped()).stderr(fs::File::create(&told).unwrap());
    let child = command.spawn().unwrap();
    until("both to run", || (says("left: running") && says("right: running")).then_some(()));
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap()).exit(130);
    assert!(says("cancelling") && says("left: cancelled") && ran.stdout.contains("cancelled"), "{ran:?}");
    let id = ring.daemon.rpc("arena/list", json!({}))[0]["id"].as_str().unwrap().to_owned();
    let arena = ring.show(&id);
    assert_eq!(
        (&both(&arena).0["state"], &both(&arena).1["state"]),
        (&json!("cancelled"), &json!("cancelled"))
    );
}

#[test]
fn in_a_session_its_worktree_is_what_is_started_from_and_adopted_into() {
    let ring = Ring::set("");
    let session = ring.daemon.session(&ring.repo);
    fs::write(session.worktree.join("half.txt"), "half done\n").unwrap();
    let ran = ring
        .hob(&["arena", "run", "-a", "left", "-a", "right", "-s", &session.id, "--carry-changes", SIGN])
        .ok();
    assert!(ran.stdout.contains(session.worktree.to_str().unwrap()), "{ran:?}");
    let arena = ring.daemon.rpc("arena/list", json!({}))[0].clone();
    assert!(ring.worktree(both(&arena).0).join("half.txt").exists());
    let id = arena["id"].as_str().unwrap();
    let task = ring.daemon.submit(&ring.daemon.chat(&session), "left", "slow: 4000 25");
    ring.daemon.wait_event(&task, "text");
    ring.hob(&["arena", "adopt", id, "right"]).exit(4).says(&["a turn is under way"]);
    ring.daemon.rpc("task/cancel", json!({"task": task}));
    ring.daemon.wait_task(&task);
    ring.hob(&["arena", "adopt", id, "right"]).ok();
    assert_eq!(fs::read_to_string(session.worktree.join("who.txt")).unwrap(), "right\n");
    assert_eq!(ring.checkout("who.txt"), "", "the user's own checkout is not touched");
    let pending = ring.daemon.rpc("change/list", json!({"session": session.id}));
    assert_eq!(pending.as_array().unwrap().len(), 2, "{pending:#}");

    ring.daemon.rpc("session/close", json!({"session": session.id}));
    let params = json!({"session": session.id, "agents": ["left", "right"], "prompt": SIGN});
    let closed = ring.daemon.try_rpc("arena/start", params).unwrap_err();
    assert_eq!(closed.kind, "conflict", "{closed}");
}

#[test]
fn limits_hold_for_entries_as_for_everybody() {
    let ring = Ring::set("[dispatch]\nmax_running = 1");
    let arena = ring.run("slow: 3 20 ;; say: done", json!({}));
    let turns = ring.daemon.events(json!({"types": ["turn_started", "turn_ended"]}));
    let kinds: Vec<&str> = turns.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["turn_started", "turn_ended", "turn_started", "turn_ended"]);
    assert_eq!(both(&arena).1["text"].as_str().map(|text| text.ends_with("done")), Some(true), "{arena:#}");
    assert!(PATIENCE.as_millis() as u64 > both(&arena).0["duration_ms"].as_u64().unwrap());
}

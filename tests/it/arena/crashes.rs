//! SIGKILL of the daemon in the middle of an arena: of its turns, and of its checks.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{Ring, SIGN, both};
use crate::support::home::Ran;
use crate::support::leftovers;
use crate::support::wait::until;

#[test]
fn killed_in_mid_turn_the_tasks_are_told_the_checks_run_and_the_arena_goes_on() {
    let mut ring = Ring::set("");
    let prompt = "shell: echo $WHO > who.txt ;; slow: 4000 25";
    let mut command = ring.daemon.hob_command(&[
        "arena",
        "run",
        "-a",
        "left",
        "-a",
        "right",
        "--check",
        "cat who.txt",
        prompt,
    ]);
    command.current_dir(&ring.repo.path).stdout(Stdio::piped()).stderr(Stdio::piped());
    let waiting = command.spawn().unwrap();
    let arena =
        until("the arena", || ring.daemon.rpc("arena/list", json!({})).as_array().unwrap().first().cloned());
    let id = arena["id"].as_str().unwrap().to_owned();
    for entry in [both(&arena).0, both(&arena).1] {
        ring.daemon.wait_event(entry["task"].as_str().unwrap(), "text");
    }
    ring.daemon.sigkill();
    ring.daemon.start_again();
    let arena = ring.wait(&id);
    let (left, right) = both(&arena);
    for (entry, name) in [(left, "left"), (right, "right")] {
        assert_eq!(entry["state"], "interrupted", "{entry:#}");
        let check = &entry["check"];
        assert_eq!((&check["state"], &check["output"]), (&json!("passed"), &json!(name)), "{entry:#}");
    }
    // Who waits for it sees all of that.
    let ran = Ran::of(waiting.wait_with_output().unwrap()).exit(1);
    assert!(ran.stderr.contains("left: interrupted, check passed"), "{ran:?}");
    assert!(ran.stdout.contains("interrupted"), "{ran:?}");
    // The arena is as whole as the others: a retry runs in it, and it is adopted.
    let retried = ring.daemon.rpc("task/retry", json!({"task": left["task"]}));
    ring.daemon.rpc("task/cancel", json!({"task": retried["id"]}));
    ring.daemon.wait_task(retried["id"].as_str().unwrap());
    ring.hob(&["arena", "adopt", &id, "right"]).ok();
    assert_eq!(ring.checkout("who.txt"), "right\n");
}

#[test]
fn killed_in_mid_check_the_check_is_run_again_and_its_outcome_is_kept() {
    let mut ring = Ring::set("");
    let (runs, gate) = (ring.daemon.root().join("runs"), ring.daemon.root().join("gate"));
    let check =
        format!("echo $$ >> {}; until [ -e {} ]; do sleep 0.02; done", runs.display(), gate.display());
    let id = ring.start(SIGN, json!({"check": check}));
    let pids = || -> Vec<u32> {
        let lines = fs::read_to_string(&runs).unwrap_or_default();
        lines.lines().filter_map(|line| line.parse().ok()).collect()
    };
    let n_runs = || pids().len();
    until("both checks to run", || (n_runs() == 2).then_some(()));
    ring.daemon.sigkill();
    ring.daemon.start_again();
    until("both checks to run again", || (n_runs() == 4).then_some(()));
    // Those that outlived the daemon are ended, although what they wait for never came.
    let left = pids()[..2].to_vec();
    until("the first checks to be gone", || left.iter().all(|pid| !leftovers::is_alive(*pid)).then_some(()));
    fs::write(&gate, "").unwrap();
    let arena = ring.wait(&id);
    let states =
        |arena: &Value| (both(arena).0["check"]["state"].clone(), both(arena).1["check"]["state"].clone());
    assert_eq!(states(&arena), (json!("passed"), json!("passed")));
    ring.daemon.stop();
    ring.daemon.start_again();
    assert_eq!(states(&ring.show(&id)), (json!("passed"), json!("passed")));
    // What was recorded is not run again: the next arena's checks come and go meanwhile.
    ring.run(SIGN, json!({"check": format!("echo $$ >> {}", runs.display())}));
    assert_eq!(n_runs(), 6);
}

#[test]
fn killed_while_it_is_made_an_arena_is_there_whole_or_not_at_all() {
    let names: Vec<String> = (0..8).map(|n| format!("n{n}")).collect();
    let program = env!("CARGO_BIN_EXE_hob");
    let agent = |name: &String| format!("[agents.{name}]\ncommand = [\"{program}\", \"demo-agent\"]\n");
    let mut ring = Ring::set(&names.iter().map(agent).collect::<String>());
    let params = json!({"agents": names, "prompt": "say: here", "repo": ring.repo.str()});
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "arena/start", "params": params});
    let mut client = ring.daemon.connect();
    client.send(format!("{request}\n").as_bytes()).unwrap();
    let worktrees = ring.daemon.hob_home().join("worktrees");
    until("the first worktree", || {
        let names = fs::read_dir(&worktrees).ok()?.flatten().map(|found| found.file_name());
        names.into_iter().find(|name| name.to_string_lossy().starts_with("w-")).map(drop)
    });
    ring.daemon.sigkill();
    ring.daemon.start_again();

    let arenas = ring.daemon.rpc("arena/list", json!({}));
    let sessions = ring.daemon.rpc("session/list", json!({"all": true}));
    match arenas.as_array().unwrap().as_slice() {
        [] => {
            assert_eq!(sessions, json!([]), "no session without its arena");
            assert_eq!(ring.daemon.rpc("task/list", json!({})), json!([]));
            let rows = ring.daemon.rpc("worktree/list", json!({}));
            for row in rows.as_array().unwrap() {
                assert_eq!(row["state"], "orphaned", "what was made is for the reaper: {row:#}");
            }
        }
        [arena] => {
            assert_eq!(arena["entries"].as_array().unwrap().len(), 8, "{arena:#}");
            assert_eq!(sessions.as_array().unwrap().len(), 8);
            let ended = ring.wait(arena["id"].as_str().unwrap());
            assert!(ended["entries"].as_array().unwrap().iter().all(|entry| entry["session"].is_string()));
        }
        more => panic!("one request made {} arenas", more.len()),
    }
    // Asked again, it is made.
    let arena = ring.daemon.rpc("arena/start", params);
    ring.wait(arena["id"].as_str().unwrap());
}

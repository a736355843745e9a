//! opencode, driven in each way that there is: the same prompts must be told the same, apart from
//! what a way cannot tell. What each tells is a table in docs/agents.md, which this test makes.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::agents::{Consent, RealAgent};
use crate::support::daemon::TestDaemon;
use crate::support::home::Setup;

/// The prompts, with how a reader of the table would call them.
const PROMPTS: [(&str, &str); 6] = [
    ("text", "say: hello there"),
    ("reasoning, then text", "think: hm ;; say: hello there"),
    ("a file written", "write: a.txt: one"),
    ("a command that fails", "shell: echo hi; exit 3"),
    ("a file read", "read: README.md"),
    ("the model says 401", "error: 401 no"),
];

/// What is told of a turn, whichever agent runs it.
const OF_A_TURN: [&str; 7] = ["text", "reasoning", "tool_call", "tool_update", "usage", "plan", "turn_ended"];

/// Where the table stands in the document.
const BEGIN: &str = "<!-- begin: made by tests/it/real/ways.rs -->";
const END: &str = "<!-- end -->";

fn word(event: &Value) -> String {
    let text = |field: &str| event[field].as_str().unwrap_or("?").to_owned();
    match event["type"].as_str().unwrap() {
        "tool_call" => format!("tool_call {}", text("kind")),
        "tool_update" => format!("tool_update {}", text("status")),
        "turn_ended" => format!("turn_ended {}", text("outcome")),
        kind => kind.to_owned(),
    }
}

/// A way to drive it: the agent, and the backend that is asked for.
type Way = (RealAgent, &'static str);

const WAYS: [Way; 3] =
    [(RealAgent::OpencodeServer, "warm"), (RealAgent::Opencode, "warm"), (RealAgent::Opencode, "oneshot")];

/// What a run that says nothing before a part is whole cannot tell.
const NOT_OF_A_RUN: &str = "tool_update in_progress";

/// The prompt whose run has no step that came to its end, and so tells of no tokens.
const WITHOUT_A_STEP: &str = "the model says 401";

/// The events of a turn by kind, in order; repeated ones once.
fn told(daemon: &TestDaemon, (agent, backend): Way, prompt: &str) -> Vec<String> {
    let repo = daemon.repo(&format!("{}-{backend}-{}", agent.name(), prompt.len()));
    let session = daemon.session(&repo);
    std::fs::write(session.worktree.join("README.md"), "read me\n").unwrap();
    let chat = daemon.chat(&session);
    let params = json!({"chat": chat, "agent": agent.name(), "prompt": prompt, "backend": backend});
    let task = daemon.rpc("task/submit", params);
    let task = daemon.wait_task(task["id"].as_str().unwrap());
    let mut words: Vec<_> =
        daemon.events(json!({"task": task["id"], "types": OF_A_TURN})).iter().map(word).collect();
    words.dedup();
    words
}

fn table() -> (String, Vec<[Vec<String>; 3]>) {
    let daemons = WAYS.map(|(agent, _)| Setup::new().real(agent, Consent::Assumes).start());
    let mut table = String::from("| prompt | server | ACP | one-shot |\n|---|---|---|---|\n");
    let mut rows = Vec::new();
    for (name, prompt) in PROMPTS {
        let row = [0, 1, 2].map(|n| told(&daemons[n], WAYS[n], prompt));
        let cells: Vec<_> = row.iter().map(|words| words.join(", ")).collect();
        writeln!(table, "| {name} | {} |", cells.join(" | ")).unwrap();
        rows.push(row);
    }
    (table, rows)
}

#[test]
fn the_same_prompt_is_told_the_same_whichever_way_opencode_is_driven() {
    let (table, rows) = table();
    for (row, (name, _)) in rows.iter().zip(PROMPTS) {
        let [server, acp, oneshot] = row;
        assert_eq!(server, acp, "{name}: the server on the left, ACP on the right\n{table}");
        let can_be_told =
            |word: &&String| *word != NOT_OF_A_RUN && !(name == WITHOUT_A_STEP && *word == "usage");
        let of_a_run: Vec<&String> = server.iter().filter(can_be_told).collect();
        assert_eq!(
            of_a_run,
            oneshot.iter().collect::<Vec<_>>(),
            "{name}: the server on the left, a run on the right\n{table}"
        );
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/agents.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).expect("the document has a place for the table");
    let (_, after) = rest.split_once(END).expect("and its end");
    let made = format!("{before}{BEGIN}\n{table}{END}{after}");
    if std::env::var_os("HOB_WRITE_TABLES").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    assert!(made == document, "HOB_WRITE_TABLES=1 puts this into docs/agents.md:\n{table}");
}

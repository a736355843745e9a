//! What an agent may do on the control socket. The built-in one calls `hob` as a shell command.

use serde_json::{Value, json};

use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, say};
use crate::support::home::Setup;
use crate::support::wait::until;

/// Everybody may run shell commands.
const ALLOW: &str = "[permissions]\ndefault = \"allow\"";

/// A call of the control socket as a shell command, and the file that says what came of it.
fn rpc(daemon: &TestDaemon, method: &str, params: &Value, file: &str) -> String {
    let (hob, socket) = (env!("CARGO_BIN_EXE_hob"), daemon.socket());
    let socket = socket.display();
    format!(
        "{hob} --no-start --socket {socket} --json rpc {method} '{params}' >{file}.new 2>&1; mv {file}.new {file}"
    )
}

/// Has the built-in agent of a chat make a call, and reads what came of it.
struct Asker<'a> {
    daemon: &'a TestDaemon,
    chat: String,
    session: String,
    worktree: std::path::PathBuf,
}

impl<'a> Asker<'a> {
    fn new(daemon: &'a TestDaemon) -> Self {
        Self::of(daemon, "repo")
    }

    /// One of another repository, so with a process of its own.
    fn of(daemon: &'a TestDaemon, repo: &str) -> Self {
        let session = daemon.session(&daemon.repo(repo));
        let chat = daemon.chat(&session);
        Self { daemon, chat, session: session.id, worktree: session.worktree }
    }

    fn ask(&self, method: &str, params: Value) -> (Value, String) {
        let command = rpc(self.daemon, method, &params, "answer");
        let task = self.daemon.run(&self.chat, DEMO, &format!("shell: {command}"));
        let said =
            std::fs::read_to_string(self.worktree.join("answer")).unwrap_or_else(|e| panic!("{e}: {task:#}"));
        std::fs::remove_file(self.worktree.join("answer")).unwrap();
        (task, said)
    }
}

#[test]
fn the_hob_that_an_agent_types_finds_its_own_daemon_and_starts_no_other() {
    let daemon = Setup::new().config(ALLOW).start();
    let asker = Asker::new(&daemon);
    let (hob, hobd) = (env!("CARGO_BIN_EXE_hob"), env!("CARGO_BIN_EXE_hobd"));
    let run = |command: &str| {
        let line = format!("shell: {{ {command}; echo exit $?; }} >said.new 2>&1; mv said.new said");
        daemon.run(&asker.chat, DEMO, &line);
        std::fs::read_to_string(asker.worktree.join("said")).unwrap()
    };
    // As it is typed: HOB_HOME is not passed on to agents, and its default is the person's home.
    let said = run(&format!("{hob} session ls"));
    assert!(said.contains(&asker.session) && said.contains("exit 0"), "{said}");
    // An agent that forgets the socket, or wants a home of its own, is refused by both programs.
    let elsewhere = daemon.root().join("elsewhere");
    let home = format!("HOB_HOME={}", elsewhere.display());
    for command in [
        format!("env -u HOB_SOCKET {hob} up"),
        format!("env -u HOB_SOCKET {hob} prompt hello"),
        format!("env -u HOB_SOCKET {home} {hob} up"),
        format!("env -u HOB_SOCKET {home} {hobd}"),
        format!("env -i PATH=\"$PATH\" {home} {hob} up"),
    ] {
        let said = run(&command);
        assert!(said.contains("an agent may not start a daemon"), "{command}: {said}");
        assert!(said.contains("exit 4"), "{command}: {said}");
    }
    assert!(!elsewhere.join("hob.db").exists());
    assert!(!daemon.user_home().join(".local/state/hob/hob.db").exists());
}

#[test]
fn an_agent_makes_tasks_in_new_chats_of_its_own_session_and_minds_those() {
    let daemon = Setup::new().config(ALLOW).start();
    let asker = Asker::new(&daemon);
    let (parent, said) = asker.ask("task/submit", json!({"agent": DEMO, "prompt": say("child")}));
    let child: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!((&child["source"], &child["parent"]), (&json!("mcp"), &parent["id"]), "{child:#}");
    assert_eq!(child["session"], asker.session);
    assert_ne!(child["chat"], asker.chat);
    assert_eq!(daemon.wait_task(child["id"].as_str().unwrap())["text"], "child");

    let own = json!({"task": child["id"]});
    for method in ["task/show", "task/wait", "task/cancel"] {
        let (_, said) = asker.ask(method, own.clone());
        assert!(said.contains("\"completed\""), "{method}: {said}");
    }
    assert!(asker.ask("events/subscribe", own).1.contains("subscription"));
    assert!(asker.ask("agent/list", json!({})).1.contains(DEMO));
    let other = daemon.session(&daemon.repo("other")).id;
    let (_, sessions) = asker.ask("session/list", json!({}));
    assert!(sessions.contains(&asker.session) && !sessions.contains(&other), "{sessions}");
}

#[test]
fn no_limit_that_an_agent_sets_makes_it_the_owner_or_the_owner_an_agent() {
    let daemon = Setup::new().config(ALLOW).start();
    let asker = Asker::new(&daemon);
    let (hob, pid) = (env!("CARGO_BIN_EXE_hob"), daemon.pid());
    let ask = |asker: &Asker<'_>, set: &str, method: &str, params: &Value| {
        let call = format!("{hob} --json rpc {method} '{params}'");
        let line = format!("shell: {{ {set}; {call}; }} >said.new 2>&1; mv said.new said");
        daemon.run(&asker.chat, DEMO, &line);
        std::fs::read_to_string(asker.worktree.join("said")).unwrap()
    };
    let own = "own=$(prlimit --locks --raw --noheadings --output HARD)";
    let child = json!({"agent": DEMO, "prompt": say("child")});
    for set in [
        // As privileged users can.
        "prlimit --pid $$ --locks=unlimited:unlimited",
        "prlimit --pid $$ --locks=5:5",
        &format!("{own}; prlimit --pid {pid} --locks=$own:$own"),
        &format!("prlimit --pid {pid} --locks=5:5"),
    ] {
        let said = ask(&asker, set, "daemon/status", &json!({}));
        assert!(said.contains("an agent may not call daemon/status"), "{set}: {said}");
        let said = ask(&asker, set, "task/submit", &child);
        assert!(said.contains("\"mcp\""), "it is known whose it is: {set}: {said}");
        assert!(daemon.rpc("session/list", json!({})).is_array(), "{set}");
        daemon.hob(&["ps"]).ok();
    }
    // Nobody can be marked any more. Agents are known all the same, and it is said.
    let later = Asker::of(&daemon, "later");
    for set in ["true", "unset HOB_MARK"] {
        let said = ask(&later, set, "daemon/status", &json!({}));
        assert!(said.contains("an agent may not call daemon/status"), "{set}: {said}");
    }
    assert_eq!(daemon.rpc("daemon/status", json!({}))["containment"], "weak");
}

#[test]
fn an_agent_is_forbidden_everything_else() {
    let daemon = Setup::new().config(ALLOW).start();
    let asker = Asker::new(&daemon);
    let stranger = daemon.lone_chat();
    let foreign = daemon.run(&stranger, DEMO, &say("not yours"));
    let (task, session) = (foreign["id"].clone(), foreign["session"].clone());
    let cases = [
        ("task/show", json!({"task": task})),
        ("task/wait", json!({"task": task})),
        ("task/cancel", json!({"task": task})),
        ("task/retry", json!({"task": task})),
        ("events/subscribe", json!({"task": task})),
        ("events/subscribe", json!({})),
        ("events/list", json!({})),
        ("session/show", json!({"session": session})),
        ("task/submit", json!({"prompt": "x", "chat": stranger})),
        ("task/submit", json!({"prompt": "x", "session": session})),
        ("task/submit", json!({"prompt": "x", "source": "chat"})),
        ("task/submit", json!({"prompt": "x", "permissions": "allow"})),
        ("permission/list", json!({})),
        ("daemon/shutdown", json!({})),
    ];
    for (method, params) in cases {
        let (_, said) = asker.ask(method, params.clone());
        assert!(said.contains("error: ") && !said.contains("\"id\""), "{method} {params}: {said}");
        assert!(said.contains("agent") || said.contains("of your making"), "{method} {params}: {said}");
    }
}

#[test]
fn a_request_id_reaches_nobody_elses_task_and_claims_none() {
    let daemon = Setup::new().config(ALLOW).start();
    let asker = Asker::new(&daemon);
    let person = daemon.lone_chat();
    let submit = |request: &str, text: &str| {
        daemon.rpc(
            "task/submit",
            json!({"chat": person, "agent": DEMO, "prompt": say(text), "request_id": request}),
        )
    };
    let child =
        |request: &str, text: &str| json!({"agent": DEMO, "prompt": say(text), "request_id": request});
    let answer =
        |said: &str| -> Value { serde_json::from_str(said).unwrap_or_else(|e| panic!("{e}: {said}")) };

    // The person was first.
    let first = submit("r-1", "a secret");
    let (parent, said) = asker.ask("task/submit", child("r-1", "mine"));
    assert!(!said.contains("a secret"), "{said}");
    let own = answer(&said);
    assert_eq!((&own["parent"], &own["session"]), (&parent["id"], &json!(asker.session)), "{own:#}");
    assert_eq!(submit("r-1", "again")["id"], first["id"]);
    // The agent was first.
    let claimed = answer(&asker.ask("task/submit", child("r-2", "squatted")).1);
    let mine = submit("r-2", "the person's own");
    assert_ne!(mine["id"], claimed["id"]);
    assert_eq!(daemon.wait_task(mine["id"].as_str().unwrap())["text"], "the person's own");

    // To one turn it is one request, and an id that reads like something of ours is only an id.
    let twice = rpc(&daemon, "task/submit", &child("r-3", "once"), "first");
    let again = rpc(&daemon, "task/submit", &child("r-3", "once"), "second");
    let strange = rpc(&daemon, "task/submit", &child("family of $T", "strange"), "third");
    let strange = format!("timeout 20 {}", strange.replace("$T", "'\"$T\"'"));
    let id = r#"T=$(sed -n 's/.*"parent":"\([^"]*\)".*/\1/p' first)"#;
    daemon.run(&asker.chat, DEMO, &format!("shell: {twice}; {again}; {id}; {strange}"));
    let read = |name: &str| answer(&std::fs::read_to_string(asker.worktree.join(name)).unwrap());
    assert_eq!(read("first")["id"], read("second")["id"]);
    assert_eq!(
        read("third")["request_id"],
        format!("family of {}", read("first")["parent"].as_str().unwrap())
    );
}

#[test]
fn an_agent_hears_the_same_of_what_is_not_its_own_and_of_what_is_not_there() {
    let daemon = Setup::new().config(ALLOW).start();
    let asker = Asker::new(&daemon);
    let foreign = daemon.run(&daemon.lone_chat(), DEMO, &say("not yours"));
    let id = foreign["id"].as_str().unwrap();
    for method in ["task/show", "task/wait", "task/cancel", "events/subscribe"] {
        let there = asker.ask(method, json!({"task": id})).1;
        let nowhere = asker.ask(method, json!({"task": "t-nowhere"})).1;
        assert!(there.contains("of your making"), "{there}");
        assert_eq!(there.replace(id, "t-nowhere"), nowhere, "{method}");
    }
    // And a task of its own opens no door to a chat or a session of others.
    let own: Value =
        serde_json::from_str(&asker.ask("task/submit", json!({"prompt": say("x"), "agent": DEMO})).1)
            .unwrap();
    for (key, there, nowhere) in
        [("chat", &foreign["chat"], "c-no"), ("session", &foreign["session"], "s-no")]
    {
        let there = asker.ask("events/subscribe", json!({"task": own["id"], key: there})).1;
        let nowhere = asker.ask("events/subscribe", json!({"task": own["id"], key: nowhere})).1;
        assert!(there.contains("in another place"), "{there}");
        assert_eq!(there, nowhere, "{key}");
    }
}

#[test]
fn with_one_slot_a_turn_that_waits_and_its_child_both_finish() {
    let daemon =
        Setup::new().config(ALLOW).config("[dispatch]\nmax_running = 1\n[pool]\nmax_live = 1").start();
    let asker = Asker::new(&daemon);
    let submit = rpc(&daemon, "task/submit", &json!({"agent": DEMO, "prompt": say("child")}), "child");
    let wait = rpc(&daemon, "task/wait", &json!({"task": "$T"}), "ended").replace("$T", "'\"$T\"'");
    let id = r#"T=$(sed -n 's/^{"id":"\([^"]*\)".*/\1/p' child)"#;
    let parent = daemon.submit(&asker.chat, DEMO, &format!("shell: {submit}; {id}; {wait}"));
    let older = until("the child to be made", || {
        let rows = daemon.rpc("task/list", json!({}));
        rows.as_array().unwrap().iter().find(|row| row["source"] == "mcp").map(|row| row["id"].clone())
    });
    assert_eq!(daemon.wait_task(&parent)["state"], "completed");
    assert_eq!(daemon.wait_task(older.as_str().unwrap())["state"], "completed");
    let ended = std::fs::read_to_string(asker.worktree.join("ended")).unwrap();
    assert!(ended.contains("\"completed\""), "{ended}");
}

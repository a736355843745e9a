//! A daemon with a misbehaving agent in one chat and a good one in another, for tests of what the
//! one does and the other must not notice.

use serde_json::{Value, json};

use super::daemon::{TestDaemon, kill};
use super::demo::{DEMO, say};
use super::fault;
use super::growth::Growth;
use super::home::Setup;
use super::leftovers;
use super::wait::until;

/// What an agent may cost the daemon, whatever it does. The promise.
const GROWTH_BYTES_MAX: u64 = 16 << 20;

/// The name that the misbehaving agent is configured under.
pub const FAULT: &str = "fault";

/// A daemon, a bad agent and a good one.
pub struct Stage {
    /// The daemon.
    pub daemon: TestDaemon,
    /// The chat of the bad agent.
    pub chat: String,
    neighbour: String,
    neighbour_pid: u32,
    growth: Growth,
}

impl Stage {
    /// The bad agent is started in this mode.
    pub fn with(mode: &str) -> Self {
        Self::configured(mode, "")
    }

    /// The same, with more configuration, of an agent that was started once in this installation and
    /// was well then: its failures may pass.
    pub fn spoilt(mode: &str, config: &str) -> Self {
        let stage = Self::configured("well", config);
        let other = stage.daemon.lone_chat();
        stage.daemon.ask(&other, FAULT, "hello");
        stage.daemon.rpc("chat/close", json!({"chat": other}));
        stage.reconfigure(&mode.split(' ').collect::<Vec<_>>());
        stage
    }

    /// The same, with more configuration.
    pub fn configured(mode: &str, config: &str) -> Self {
        let words: Vec<&str> = mode.split(' ').collect();
        let setup = Setup::new()
            .config("[process]\ncancel_grace = \"500ms\"\nstop_grace = \"500ms\"")
            .config("[restart]\nmax = 2\nbackoff_min = \"10ms\"\nbackoff_max = \"50ms\"")
            .fault(FAULT, &words)
            .config(config);
        Self::of(setup)
    }

    /// On a setup of the test's own, with an agent called [`FAULT`].
    pub fn of(setup: Setup) -> Self {
        let daemon = setup.start();
        let (chat, neighbour) = (daemon.lone_chat(), daemon.lone_chat());
        daemon.ask(&neighbour, DEMO, &say("before"));
        let neighbour_pid = daemon.agent_pid(&neighbour, DEMO);
        let growth = Growth::watch(daemon.pid());
        Self { daemon, chat, neighbour, neighbour_pid, growth }
    }

    /// Gives the bad agent something to do.
    #[track_caller]
    pub fn submit(&self) -> String {
        self.prompt("do it")
    }

    /// Gives the bad agent a prompt of the test's own.
    #[track_caller]
    pub fn prompt(&self, prompt: &str) -> String {
        self.daemon.submit(&self.chat, FAULT, prompt)
    }

    /// Gives the bad agent a prompt that must complete, and returns what it said.
    #[track_caller]
    pub fn ask(&self, prompt: &str) -> String {
        self.daemon.ask(&self.chat, FAULT, prompt)
    }

    /// Gives the bad agent a prompt, and waits until it has said something.
    #[track_caller]
    pub fn prompt_and_hear(&self, prompt: &str) -> String {
        let task = self.prompt(prompt);
        self.daemon.wait_event(&task, "text");
        task
    }

    /// The row of the bad agent.
    #[track_caller]
    pub fn agent(&self) -> Value {
        self.daemon.agent_session(&self.chat, FAULT)
    }

    /// The process of the bad agent.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.daemon.agent_pid(&self.chat, FAULT)
    }

    /// Kills the process of the bad agent, and waits until that is known.
    #[track_caller]
    pub fn kill_agent(&self) -> u32 {
        let pid = self.pid();
        kill(pid);
        until("the end of the agent to be known", || (self.agent()["pid"] != pid).then_some(()));
        pid
    }

    /// Waits until the bad agent stands like this, and returns its row.
    #[track_caller]
    pub fn wait_status(&self, status: &str) -> Value {
        until(&format!("the agent to be {status}"), || {
            let rows = self.daemon.rpc("pool/list", json!({"all": true}));
            let is_it = |row: &&Value| row["chat"] == *self.chat && row["status"] == status;
            rows.as_array().unwrap().iter().find(is_it).cloned()
        })
    }

    /// Waits until a task waits for this.
    #[track_caller]
    pub fn wait_waiting(&self, task: &str, what: &str) {
        until(&format!("{task} to wait for {what}"), || {
            let row = self.daemon.rpc("task/show", json!({"task": task}));
            (row["waiting"] == what).then_some(())
        });
    }

    /// Lets the daemon read a configuration in which the bad agent is started like this.
    #[track_caller]
    pub fn reconfigure(&self, arguments: &[&str]) {
        let path = self.daemon.hob_home().join("config.toml");
        let mut config: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
        let command = fault::config(arguments).remove("command").unwrap();
        config["agents"][FAULT]["command"] = command;
        self.daemon.write_config(&config.to_string());
        self.daemon.hob(&["reload"]).ok();
    }

    /// Waits until a process is no more.
    #[track_caller]
    pub fn wait_gone(&self, pid: u32) {
        until(&format!("process {pid} to be gone"), || (!leftovers::is_alive(pid)).then_some(()));
    }

    /// The chat beside it answers, from the process that it always had.
    #[track_caller]
    pub fn neighbour_is_well(&self) {
        assert_eq!(self.daemon.ask(&self.neighbour, DEMO, &say("well")), "well");
        assert_eq!(self.daemon.agent_pid(&self.neighbour, DEMO), self.neighbour_pid);
    }

    /// Everything of a type in the bad agent's chat.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        self.daemon.events(json!({"chat": self.chat, "types": [kind]}))
    }

    /// The moves of the bad agent to a status.
    pub fn moves(&self, to: &str) -> Vec<Value> {
        let moves = self.events("agent_state").into_iter();
        moves.filter(|event| event["to"] == to).collect()
    }

    /// All that the bad agent said in a task.
    pub fn said(&self, task: &str) -> String {
        let events = self.daemon.events(json!({"task": task, "types": ["text"]}));
        events.iter().filter_map(|event| event["text"].as_str()).collect()
    }

    /// What the journal said beside the answer, to the person.
    #[track_caller]
    pub fn notice_says(&self, word: &str) {
        let notices = self.events("notice");
        let said = |event: &Value| event["text"].as_str().is_some_and(|text| text.contains(word));
        assert!(notices.iter().any(said), "no notice says {word:?}: {notices:#?}");
    }

    /// Nobody else noticed, and it cost nothing.
    #[track_caller]
    pub fn end(self) {
        self.neighbour_is_well();
        self.growth.stays_under(GROWTH_BYTES_MAX);
    }
}

//! Real agents that are let go and come back: for being idle, for the cap, for falling silent.

use serde_json::json;

use super::{LONG, contexts};
use crate::support::agents::{Consent, RealAgent};
use crate::support::daemon::{TestDaemon, suspend};
use crate::support::home::Setup;
use crate::support::wait::until;

fn start(agent: RealAgent, config: &str) -> TestDaemon {
    Setup::new().config(config).real(agent, Consent::Assumes).start()
}

/// It is evicted when it was idle for two seconds, not while a longer turn streams, and remembers.
fn evicted_when_idle(agent: RealAgent) {
    let daemon = start(agent, "[pool]\nidle_ttl = \"2s\"");
    let chat = daemon.lone_chat();
    let task = daemon.run(&chat, agent.name(), "slow: 160 25");
    assert_eq!(task["state"], "completed", "{task:#}");
    until("its eviction", || {
        (daemon.agent_session(&chat, agent.name())["status"] == "evicted").then_some(())
    });
    let events = daemon.events(json!({"chat": chat, "types": ["agent_state", "turn_ended"]}));
    let ended = events.iter().position(|event| event["type"] == "turn_ended").unwrap();
    let evicted = events.iter().position(|event| event["to"] == "evicted").unwrap();
    assert!(ended < evicted, "{events:#?}");
    assert_eq!(daemon.ask(&chat, agent.name(), "count"), "prompts=2");
    let began = contexts(&daemon, &chat);
    assert!(["loaded", "resumed"].contains(&began[1].as_str()), "{began:?}");
}

/// With two places and three chats the least recently used one goes.
fn least_recent_goes(agent: RealAgent) {
    let daemon = start(agent, "[pool]\nmax_live = 2");
    let [first, second, third] = [(); 3].map(|()| daemon.lone_chat());
    for chat in [&first, &second, &first, &third] {
        assert_eq!(daemon.ask(chat, agent.name(), "say: here"), "here");
    }
    let status = |chat: &str| daemon.agent_session(chat, agent.name())["status"].clone();
    until("the last to rest", || (status(&third) == "idle").then_some(()));
    assert_eq!([status(&first), status(&second), status(&third)], ["idle", "evicted", "idle"]);
}

/// Stopped in mid-turn, it is restarted after the grace; the task is told, the next prompt answered.
fn stopped_mid_turn(agent: RealAgent) {
    let health = "[health]\ninterval = \"300ms\"\ntimeout = \"2s\"\nfailures_max = 2\nstale_grace = \"1s\"";
    let daemon = start(agent, &format!("[process]\nstop_grace = \"500ms\"\n{health}"));
    let chat = daemon.lone_chat();
    let task = daemon.submit(&chat, agent.name(), LONG);
    daemon.wait_event(&task, "text");
    suspend(daemon.agent_pid(&chat, agent.name()));
    let row = daemon.wait_task(&task);
    assert_eq!(row["state"], "interrupted", "{row:#}");
    assert_eq!(daemon.ask(&chat, agent.name(), "say: back"), "back");
    assert_eq!(daemon.events(json!({"task": task, "types": ["turn_ended"]})).len(), 1);
}

macro_rules! real_agents {
    ($($name:ident: $agent:expr,)*) => {$(
        mod $name {
            use super::RealAgent;

            #[test]
            fn idle_for_too_long_it_is_evicted_and_remembers() {
                super::evicted_when_idle($agent);
            }

            #[test]
            fn the_least_recently_used_goes() {
                super::least_recent_goes($agent);
            }

            #[test]
            fn stopped_in_mid_turn_it_is_restarted() {
                super::stopped_mid_turn($agent);
            }
        }
    )*};
}

real_agents! {
    goose: RealAgent::Goose,
    qwen: RealAgent::Qwen,
    opencode: RealAgent::Opencode,
}

//! Agents that hob knows by name: found by what is there, driven in the way that the installed one
//! knows, and named with what installs them where nothing is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::daemon::TestDaemon;
use crate::support::fault;
use crate::support::home::{Ran, Setup};

/// A daemon whose PATH has these scripts, and the ordinary programs where none of them is an agent.
fn with_programs(scripts: &[(&str, &str)], config: &str) -> TestDaemon {
    let home = Setup::new().config(config).home();
    let programs = home.root().join("programs");
    fs::create_dir(&programs).unwrap();
    for (name, script) in scripts {
        write_program(&programs.join(name), script);
    }
    let path = format!("{}:/usr/bin:/bin", programs.display());
    TestDaemon::start_with(home, move |command| {
        command.env("PATH", &path);
    })
}

fn write_program(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A shell line that goes on as the agent that misbehaves on demand.
fn goes_on_as(words: &[&str]) -> String {
    let config = fault::config(words);
    let words =
        config["command"].as_array().unwrap().iter().map(|word| format!("'{}'", word.as_str().unwrap()));
    format!("exec {}", words.collect::<Vec<_>>().join(" "))
}

fn prompt(daemon: &TestDaemon, agent: Option<&str>) -> Ran {
    let repo: PathBuf = daemon.repo(agent.unwrap_or("repo")).path.clone();
    let mut words = vec!["prompt", "--new", "-C", repo.to_str().unwrap()];
    words.extend(agent.iter().flat_map(|agent| ["-a", *agent]));
    words.push("hello");
    daemon.hob(&words)
}

#[test]
fn without_an_agent_a_prompt_says_what_can_be_installed_and_the_built_in_one_keeps_silent() {
    let daemon = with_programs(&[], "");
    let told = ["no agent is installed", "npm install -g @qwen-code/qwen-code", "hob prompt -a demo"];
    prompt(&daemon, None).exit(69).says(&told);
    assert_eq!(daemon.rpc("session/list", json!({})), json!([]), "nothing is made for it");
    prompt(&daemon, Some("demo")).ok();
    prompt(&daemon, Some("claude")).exit(69).says(&["claude-agent-acp", "npm install -g"]);
}

#[test]
fn the_built_in_agent_answers_where_it_is_configured() {
    for config in ["default_agent = \"demo\"", "[agents.demo]"] {
        prompt(&with_programs(&[], config), None).ok();
    }
}

#[test]
fn of_several_programs_for_one_name_the_one_that_is_there_is_taken() {
    let well = goes_on_as(&["well"]);
    let broken = "echo wrong program >&2; exit 1";
    for scripts in [
        vec![("claude-code-acp", well.as_str())],
        vec![("claude-agent-acp", well.as_str()), ("claude-code-acp", broken)],
    ] {
        assert_eq!(prompt(&with_programs(&scripts, ""), Some("claude")).ok().stdout, "well\n");
    }
}

#[test]
fn a_flag_that_the_installed_one_does_not_know_yet_is_given_by_its_older_name() {
    let old = format!(
        "case \"$1\" in --acp) echo 'Unknown argument: acp' >&2; exit 1;; --experimental-acp) {};; esac",
        goes_on_as(&["well"])
    );
    let daemon = with_programs(&[("gemini", &old)], "");
    let ran = prompt(&daemon, Some("gemini")).ok().says(&["`gemini --experimental-acp` is used"]);
    assert_eq!(ran.stdout, "well\n");
}

#[test]
fn a_newer_opencode_is_named_and_driven_over_acp() {
    let serve = match fault::server(&["html"]) {
        toml::Value::Array(words) => {
            words.iter().map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        }
        other => panic!("{other}"),
    };
    let newer = |acp: &str| {
        format!(
            "case \"$1\" in --version) echo 2.0.3;; acp) {acp};; serve) exec {} \"$@\";; esac",
            serve.join(" ")
        )
    };
    let daemon = with_programs(&[("opencode", &newer(&goes_on_as(&["well"])))], "");
    let told = ["opencode 2.0.3 is not supported", "`opencode acp` is used"];
    assert_eq!(prompt(&daemon, Some("opencode")).ok().says(&told).stdout, "well\n");

    let daemon = with_programs(&[("opencode", &newer("exit 1"))], "");
    let told = ["opencode 2.0.3 is not supported", "`npm install -g opencode-ai@1` installs one"];
    prompt(&daemon, Some("opencode")).says(&told);
}

#[test]
fn a_fence_that_is_not_there_refuses_the_agent_and_is_told_before() {
    let daemon = with_programs(&[], "[agents.demo]\nsandbox = \"worktree\"");
    prompt(&daemon, Some("demo")).exit(69).says(&["fences nothing in", "sandbox = \"off\""]);
    for words in [&["config", "check"], &["config", "show"]] {
        daemon.hob(words).ok().says(&["warning: ", "agents.demo.sandbox", "config.toml:"]);
    }
    assert!(daemon.hob(&["status"]).ok().stdout.contains("agents.demo.sandbox"));
    assert!(daemon.log().contains("agents.demo.sandbox"));
}

#[test]
fn a_rule_that_can_never_match_is_told_at_the_reload() {
    let daemon = with_programs(&[], "");
    daemon.write_config("[agents.goose.permissions]\nswitch_mode = \"reject\"\n");
    let told = daemon.hob(&["reload"]).ok().stdout;
    assert!(told.contains("agents.goose.permissions.switch_mode never matches"), "{told}");
}

#[test]
fn a_chat_keeps_its_agent_until_another_one_is_named() {
    let daemon = with_programs(&[("goose", &goes_on_as(&["well"]))], "");
    let chat = daemon.lone_chat();
    let agents = |words: &[&str]| {
        let mut all = vec!["prompt", "-c", &chat, "--detach"];
        all.extend(words);
        let task = daemon.hob(&all).ok().stdout.trim().to_owned();
        daemon.wait_task(&task)["agent"].as_str().unwrap().to_owned()
    };
    assert_eq!(agents(&["hello"]), "goose", "the first that is there");
    assert_eq!(agents(&["-a", "demo", "say: x"]), "demo");
    assert_eq!(agents(&["say: y"]), "demo");
    assert_eq!(agents(&["-a", "goose", "hello"]), "goose");
    assert_eq!(agents(&["hello"]), "goose");
}

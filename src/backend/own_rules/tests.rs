//! What is read of the files of each agent, and where they are looked for.

use std::fs;

use super::places::{self, Program};
use super::reading::{Shape, rules};
use super::*;
use crate::config::Config;
use crate::control::wire::Effect;

/// What a text says, a line for each rule, sorted.
fn read(shape: Shape, text: &str) -> Vec<String> {
    let rules = rules(shape, text).unwrap();
    let mut lines: Vec<_> =
        rules.into_iter().map(|rule| format!("{} {}", rule.effect.as_str(), rule.what)).collect();
    lines.sort();
    lines
}

#[test]
fn the_rules_of_every_known_file_are_read() {
    let permissions = "user:\n  always_allow:\n  - shell\n  ask_before:\n  - write\n  never_allow: []\nsmart_approve:\n  always_allow:\n  - tree\n";
    let opencode = r#"{ // a comment
        "permission": {"edit": "allow", "bash": {"git *": "allow", "*": "ask"}, "webfetch": "deny"},
        "agent": {"build": {"permission": "allow"}},
    }"#;
    let settings = r#"{"permissions": {"allow": ["Bash(git *)"], "deny": ["Read(.env)"], "defaultMode": "acceptEdits"},
        "tools": {"allowed": ["ls"], "exclude": ["rm"], "approvalMode": "yolo"}}"#;
    let cases: &[(Shape, &str, &[&str])] = &[
        (Shape::GoosePermissions, permissions, &["allow tree", "allow shell", "ask write"]),
        (Shape::GoosePermissions, "", &[]),
        (Shape::GooseConfig, "GOOSE_PROVIDER: x\nGOOSE_MODE: auto\n", &["allow everything"]),
        (Shape::GooseConfig, "GOOSE_PROVIDER: x\n", &[]),
        (Shape::GooseMode, "approve", &["ask everything"]),
        (Shape::GooseMode, "smart_approve", &["allow what goose takes for harmless"]),
        (
            Shape::Opencode,
            opencode,
            &[
                "ask bash *",
                "allow bash git *",
                "allow edit",
                "reject webfetch",
                "allow everything (agent build)",
            ],
        ),
        (Shape::Opencode, r#"{"permission": "allow"}"#, &["allow everything"]),
        (Shape::Opencode, "{}", &[]),
        (Shape::OpencodePermissions, r#"{"*": "deny"}"#, &["reject everything"]),
        (
            Shape::Settings,
            settings,
            &[
                "allow Bash(git *)",
                "reject Read(.env)",
                "allow ls",
                "reject rm",
                "allow everything",
                "allow edits of files",
            ],
        ),
        (Shape::Settings, r#"{"permissions": "none", "tools": []}"#, &[]),
        (Shape::Codex, "approval_policy = \"never\"\n", &["allow what its sandbox lets through"]),
        (Shape::Codex, "model = \"x\"\n", &[]),
    ];
    for (shape, text, expected) in cases {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(read(*shape, text), expected, "{shape:?} {text}");
    }
}

#[test]
fn a_text_that_cannot_be_read_says_why() {
    for (shape, text) in [
        (Shape::GoosePermissions, "user: [\n"),
        (Shape::Opencode, "{\"permission\": "),
        (Shape::Settings, "not json"),
        (Shape::Codex, "approval_policy = "),
    ] {
        assert!(!rules(shape, text).unwrap_err().is_empty(), "{shape:?}");
    }
}

fn agent(written: &str) -> AgentConfig {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("config.toml");
    fs::write(&path, written).unwrap();
    let config = Config::load(Some(&path), &BTreeMap::new()).unwrap().config;
    config.agents.values().find(|agent| agent.configured).unwrap().clone()
}

#[test]
fn an_agent_is_known_by_what_is_started_and_else_by_its_name() {
    for (written, expected) in [
        ("[agents.mine]\ncommand = [\"/opt/bin/goose\", \"acp\"]", Some(Program::Goose)),
        ("[agents.qwen]\ncommand = [\"node\", \"cli.js\", \"--acp\"]", Some(Program::Qwen)),
        ("[agents.claude]\n", Some(Program::Claude)),
        ("[agents.mine]\ncommand = [\"sh\"]", None),
    ] {
        assert_eq!(places::program(&agent(written)), expected, "{written}");
    }
}

#[test]
fn files_of_the_person_and_of_the_directory_are_told_and_none_is_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let (home, work) = (root.path().join("home"), root.path().join("work/deep"));
    fs::create_dir_all(home.join(".config/opencode")).unwrap();
    fs::create_dir_all(&work).unwrap();
    fs::write(home.join(".config/opencode/opencode.json"), r#"{"permission": "ask"}"#).unwrap();
    fs::write(root.path().join("work/opencode.json"), r#"{"permission": {"bash": "allow"}}"#).unwrap();
    nix::unistd::mkfifo(&work.join("opencode.jsonc"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let env = BTreeMap::from([
        ("HOME".to_owned(), home.display().to_string()),
        ("OPENCODE_PERMISSION".to_owned(), r#"{"edit":"allow"}"#.to_owned()),
    ]);

    let found = of(&agent("[agents.opencode]\n"), &env, Some(&work));
    let told: Vec<_> = found.rules.iter().map(|rule| (rule.what.as_str(), rule.effect)).collect();
    let expected = [
        ("everything", Effect::Allow),
        ("everything", Effect::Ask),
        ("bash", Effect::Allow),
        ("edit", Effect::Allow),
    ];
    assert_eq!(told, expected);
    assert_eq!((&*found.rules[0].source, &*found.rules[3].source), ("its default", "$OPENCODE_PERMISSION"));
    assert_eq!(found.rules[3].source, "$OPENCODE_PERMISSION");
    assert_eq!(found.unread.len(), 1, "{found:?}");
    assert!(found.unread[0].source.ends_with("deep/opencode.jsonc"), "{found:?}");

    let nobody = of(&agent("[agents.mine]\ncommand = [\"sh\"]"), &env, Some(&work));
    assert_eq!(nobody, OwnRules::default());
}

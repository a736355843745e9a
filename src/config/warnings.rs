//! What may be written and does not do what its writer expects. Pure.

use std::collections::BTreeMap;

use super::error::dotted;
use super::{AgentConfig, BackendKind, Config, Origin, Sandbox};
use crate::backend::known;

/// What a person should know of what they wrote, each with where they wrote it.
pub(super) fn of(config: &Config, origins: &BTreeMap<String, Origin>) -> Vec<String> {
    let mut found = Vec::new();
    for agent in config.agents.values() {
        sandbox(agent, &mut found);
        rules(agent, origins, &mut found);
    }
    let placed = |(key, message): (Vec<String>, String)| {
        let key = dotted(&key);
        match origins.get(&key) {
            Some(Origin::Default | Origin::Known) | None => format!("{key} {message}"),
            Some(written @ (Origin::File { .. } | Origin::Variable(_))) => {
                format!("{written}: {key} {message}")
            }
        }
    };
    found.into_iter().map(placed).collect()
}

/// A key and what is to be said of it.
type Found = Vec<(Vec<String>, String)>;

fn key(agent: &AgentConfig, rest: &[&str]) -> Vec<String> {
    let words = ["agents", &agent.name].into_iter().chain(rest.iter().copied());
    words.map(str::to_owned).collect()
}

fn sandbox(agent: &AgentConfig, found: &mut Found) {
    match agent.sandbox {
        Sandbox::Off => {}
        Sandbox::Worktree => {
            let message = format!(
                "cannot be kept: this version of hob fences nothing in, so {} is not started",
                agent.name
            );
            found.push((key(agent, &["sandbox"]), message));
        }
    }
}

/// Rules of the agent's own section that no question of it can ever match.
fn rules(agent: &AgentConfig, origins: &BTreeMap<String, Origin>, found: &mut Found) {
    let never = known::find(&agent.name).map_or(&[][..], |known| known.never_asks);
    for (kind, _) in agent.permissions.by_kind() {
        let key = key(agent, &["permissions", kind]);
        let is_own = origins.contains_key(&dotted(&key));
        let message = match agent.backend {
            BackendKind::Oneshot => "never matches: a one-shot run asks nothing".to_owned(),
            BackendKind::Acp | BackendKind::Opencode if never.contains(&kind) => {
                let instead = match kind {
                    "delete" | "move" => "; it does that in its shell, which is `execute`",
                    _ => "",
                };
                format!("never matches: {} asks about no tool of that kind{instead}", agent.name)
            }
            BackendKind::Acp | BackendKind::Opencode => continue,
        };
        if is_own {
            found.push((key, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn warned(text: &str) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        let loaded = Config::load(Some(Path::new(&path)), &BTreeMap::new()).unwrap();
        let prefix = format!("{}:", path.display());
        loaded.config.warnings.into_iter().map(|said| said.replace(&prefix, "")).collect()
    }

    #[test]
    fn a_rule_that_no_question_can_match_is_told_where_it_stands() {
        let text = "[permissions]\ndelete = \"reject\"\n[agents.goose.permissions]\nexecute = \"reject\"\ndelete = \"reject\"\n";
        assert_eq!(
            warned(text),
            ["5: agents.goose.permissions.delete never matches: goose asks about no tool of that kind; it \
             does that in its shell, which is `execute`"]
        );
        let text = "[agents.one]\nbackend = \"oneshot\"\noneshot = [\"x\", \"{prompt}\"]\npermissions = { edit = \"ask\" }\n";
        assert_eq!(
            warned(text),
            ["4: agents.one.permissions.edit never matches: a one-shot run asks nothing"]
        );
    }

    #[test]
    fn what_does_what_it_says_is_not_warned_of() {
        assert_eq!(warned("[permissions]\nexecute = \"reject\"\n"), [""; 0]);
        assert_eq!(warned("[agents.mine]\ncommand = [\"x\"]\npermissions = { move = \"ask\" }\n"), [""; 0]);
        assert_eq!(warned("[agents.goose]\nsandbox = \"off\"\n"), [""; 0]);
    }

    #[test]
    fn a_fence_that_is_not_there_is_told() {
        let said = warned("[agents.goose]\nsandbox = \"worktree\"\n");
        assert!(said[0].starts_with("2: agents.goose.sandbox cannot be kept"), "{said:?}");
    }
}

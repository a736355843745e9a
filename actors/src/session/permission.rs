//! Decides who answers a question of an agent; asks nobody.

use crate::event::PermissionOption;
use crate::id::PermissionId;
use crate::ports::{PermissionPolicy, PermissionRules};

/// How long an answered kind of question stays answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remember {
    /// Not at all.
    Once,
    /// For the turn.
    Turn,
    /// For the chat, as long as this actor lives.
    Chat,
}

/// What became of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// It was passed on to the agent.
    Accepted,
    /// The question was settled before.
    Late,
    /// The agent does not offer that; these it does.
    NotOffered(Vec<String>),
}

/// An answer to a question of the agent.
#[derive(Debug, Clone)]
pub struct PermissionReply {
    /// The question.
    pub permission: PermissionId,
    /// The id, or the kind, of one of its options.
    pub option: String,
    /// Who answers.
    pub by: String,
    /// For how long.
    pub remember: Remember,
}

/// What is known when an agent asks.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The rules of the agent.
    pub rules: &'a PermissionRules,
    /// What the task was submitted with.
    pub task: Option<PermissionPolicy>,
    /// What a person said before of this kind of tool, for the turn or the chat: an option kind.
    pub remembered: Option<&'a str>,
    /// The kind of tool.
    pub kind: &'a str,
    /// Whether somebody watches who can answer.
    pub watched: bool,
    /// The answers that the agent offers.
    pub options: &'a [PermissionOption],
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A person.
    Ask,
    /// A rule: with the id of this option, or with "cancelled" where none offered fits.
    Answer {
        /// The chosen option.
        option: Option<String>,
        /// The rule, for the journal.
        by: &'static str,
    },
}

/// Who answers: what a person said before, then the task's word, then the configuration; and
/// where that says "ask" and nobody watches, the policy for unattended work.
pub fn decide(facts: &Facts<'_>) -> Verdict {
    if let Some(kind) = facts.remembered {
        let option = facts.options.iter().find(|option| option.kind == kind);
        return Verdict::Answer {
            option: option.map(|o| o.id.clone()).or_else(|| like(facts.options, kind)),
            by: "remembered",
        };
    }
    let configured = facts.rules.by_kind.get(facts.kind).copied().unwrap_or(facts.rules.default);
    match facts.task.unwrap_or(configured) {
        PermissionPolicy::Ask if facts.watched => Verdict::Ask,
        PermissionPolicy::Ask => unattended(facts.rules, facts.options),
        policy => Verdict::Answer { option: choose(facts.options, policy), by: "policy" },
    }
}

/// What is answered when nobody is left to ask, or nobody answered in time.
pub fn unattended(rules: &PermissionRules, options: &[PermissionOption]) -> Verdict {
    Verdict::Answer { option: choose(options, rules.unattended), by: "unattended" }
}

/// The offered option that says `policy` for the shortest time. By kind, never by position.
pub fn choose(options: &[PermissionOption], policy: PermissionPolicy) -> Option<String> {
    let kinds = match policy {
        PermissionPolicy::Allow => ["allow_once", "allow_always"],
        PermissionPolicy::Reject | PermissionPolicy::Ask => ["reject_once", "reject_always"],
    };
    kinds.iter().find_map(|kind| options.iter().find(|o| o.kind == *kind)).map(|o| o.id.clone())
}

fn like(options: &[PermissionOption], kind: &str) -> Option<String> {
    let policy = if kind.starts_with("allow") { PermissionPolicy::Allow } else { PermissionPolicy::Reject };
    choose(options, policy)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use PermissionPolicy::{Allow, Ask, Reject};

    fn options(kinds: &[&str]) -> Vec<PermissionOption> {
        kinds
            .iter()
            .map(|kind| PermissionOption {
                id: format!("id-{kind}"),
                name: (*kind).into(),
                kind: (*kind).into(),
            })
            .collect()
    }

    fn rules(default: PermissionPolicy, by_kind: &[(&str, PermissionPolicy)]) -> PermissionRules {
        let by_kind: BTreeMap<_, _> =
            by_kind.iter().map(|(kind, policy)| ((*kind).to_owned(), *policy)).collect();
        PermissionRules { default, by_kind, unattended: Reject, deadline: Duration::from_secs(1800) }
    }

    const ALL: [&str; 4] = ["allow_always", "allow_once", "reject_once", "reject_always"];

    /// Judges a question of kind `edit` for which `offered` is offered.
    fn judge(
        rules: &PermissionRules,
        task: Option<PermissionPolicy>,
        remembered: Option<&str>,
        watched: bool,
        offered: &[&str],
    ) -> Verdict {
        let options = options(offered);
        decide(&Facts { rules, task, remembered, kind: "edit", watched, options: &options })
    }

    fn answer(option: &str, by: &'static str) -> Verdict {
        Verdict::Answer { option: Some(format!("id-{option}")), by }
    }

    #[test]
    fn a_person_is_asked_only_while_one_watches() {
        let rules = rules(Ask, &[]);
        assert_eq!(judge(&rules, None, None, true, &ALL), Verdict::Ask);
        assert_eq!(judge(&rules, None, None, false, &ALL), answer("reject_once", "unattended"));
    }

    #[test]
    fn the_rule_for_the_tool_kind_comes_before_the_default() {
        assert_eq!(judge(&rules(Allow, &[]), None, None, true, &ALL), answer("allow_once", "policy"));
        let by_kind = rules(Allow, &[("edit", Reject)]);
        assert_eq!(judge(&by_kind, None, None, true, &ALL), answer("reject_once", "policy"));
    }

    #[test]
    fn the_word_of_the_task_comes_before_the_configuration() {
        assert_eq!(judge(&rules(Ask, &[]), Some(Allow), None, false, &ALL), answer("allow_once", "policy"));
        let unwatched = judge(&rules(Allow, &[]), Some(Ask), None, false, &ALL);
        assert_eq!(unwatched, answer("reject_once", "unattended"));
    }

    #[test]
    fn what_a_person_said_before_comes_first() {
        let said = Some("allow_always");
        let same = judge(&rules(Ask, &[]), Some(Reject), said, true, &ALL);
        assert_eq!(same, answer("allow_always", "remembered"));
        let nearest = judge(&rules(Ask, &[]), None, said, true, &ALL[1..]);
        assert_eq!(nearest, answer("allow_once", "remembered"));
    }

    #[test]
    fn the_option_is_chosen_by_kind_and_cancelled_where_none_fits() {
        assert_eq!(judge(&rules(Allow, &[]), None, None, true, &ALL[..1]), answer("allow_always", "policy"));
        let none = judge(&rules(Reject, &[]), None, None, true, &ALL[..2]);
        assert_eq!(none, Verdict::Answer { option: None, by: "policy" });
    }
}

//! What rules said no to in a turn, told at its end with what would change that. Pure.

use std::collections::BTreeMap;

use super::permission::{POLICY, UNATTENDED};
use super::turn::Question;

/// The questions of a turn that a rule said no to, by tool kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    by_policy: BTreeMap<String, usize>,
    unattended: usize,
}

impl Refused {
    /// Takes note of an answer.
    pub fn note(&mut self, question: &Question, option: Option<&str>, by: &str) {
        let chosen = question.options.iter().find(|offered| Some(offered.id.as_str()) == option);
        if chosen.is_some_and(|chosen| chosen.kind.starts_with("allow")) {
            return;
        }
        match by {
            POLICY => *self.by_policy.entry(question.kind.clone()).or_default() += 1,
            UNATTENDED => self.unattended += 1,
            _ => {}
        }
    }

    /// What is said of it at the end of the turn; `None` if there was nothing. `task_says`: the task
    /// was submitted with an answer to all questions.
    pub fn told(&self, task_says: bool) -> Option<String> {
        let policy = self.by_policy.iter().map(|(kind, n)| {
            let rule = if task_says {
                "the task's own `permissions`".to_owned()
            } else {
                format!("`permissions.{kind}` or `permissions.default`")
            };
            format!("{} of the kind `{kind}`, by {rule}", questions(*n))
        });
        let unattended = (self.unattended > 0).then(|| {
            format!(
                "{}, because nobody watched: `permissions.unattended = \"wait\"` keeps them open until they are \
                 answered (`hob permission ls`)",
                questions(self.unattended)
            )
        });
        let parts: Vec<String> = policy.chain(unattended).collect();
        (!parts.is_empty()).then(|| format!("rejected without you: {}", parts.join("; ")))
    }
}

fn questions(n: usize) -> String {
    if n == 1 { "1 question".to_owned() } else { format!("{n} questions") }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::event::PermissionOption;

    fn question(kind: &str) -> Question {
        let option =
            |id: &str, kind: &str| PermissionOption { id: id.into(), name: id.into(), kind: kind.into() };
        Question {
            number: 1,
            like: kind.into(),
            kind: kind.into(),
            options: vec![option("y", "allow_once"), option("n", "reject_once")],
            since: Instant::now(),
        }
    }

    #[test]
    fn only_what_a_rule_said_no_to_is_told() {
        let mut refused = Refused::default();
        refused.note(&question("edit"), Some("y"), POLICY);
        refused.note(&question("edit"), Some("n"), "anna");
        refused.note(&question("edit"), None, "cancelled");
        assert_eq!(refused.told(false), None);
        refused.note(&question("execute"), Some("n"), POLICY);
        refused.note(&question("execute"), None, POLICY);
        let told = refused.told(false).unwrap();
        assert!(told.contains("2 questions of the kind `execute`, by `permissions.execute`"), "{told}");
        assert!(refused.told(true).unwrap().contains("the task's own `permissions`"));
        let mut alone = Refused::default();
        alone.note(&question("edit"), Some("n"), UNATTENDED);
        let told = alone.told(false).unwrap();
        assert!(told.contains("1 question, because nobody watched") && told.contains("\"wait\""), "{told}");
    }
}

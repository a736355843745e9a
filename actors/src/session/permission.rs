//! Decides who answers a question of an agent; asks nobody.

use crate::event::PermissionOption;
use crate::id::PermissionId;
use crate::ports::{PermissionPolicy, PermissionRules, StandingAnswer, Unattended};

/// Who answered, in the journal: a rule of the person's.
pub const POLICY: &str = "policy";
/// The same: nobody was there.
pub const UNATTENDED: &str = "unattended";

/// How long an answered kind of question stays answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remember {
    /// Not at all.
    Once,
    /// For the turn.
    Turn,
    /// For this agent in the chat, whatever dies.
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
    /// The agent offers no yes but one that it would keep for others.
    OnlyAlways,
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
    /// For how long; where nothing is said, as long as the option says.
    pub remember: Option<Remember>,
}

/// What is known when an agent asks.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The rules of the agent.
    pub rules: &'a PermissionRules,
    /// What the task was submitted with.
    pub task: Option<PermissionPolicy>,
    /// What a person said in this turn of this kind of tool.
    pub in_turn: Option<StandingAnswer>,
    /// What a person said in this chat of this kind of tool.
    pub in_chat: Option<StandingAnswer>,
    /// The kind of tool.
    pub kind: &'a str,
    /// Whether somebody watches who can answer.
    pub watched: bool,
    /// Whether no person asked for the work.
    pub is_delegated: bool,
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
    /// A rule says yes, and the agent offers none but one that it would keep: "cancelled".
    CannotAllow {
        /// The rule, for the journal.
        by: &'static str,
    },
}

/// What an answer of a person comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The option that was chosen, for the inbox and the journal.
    pub option: String,
    /// The option that the agent is told; "cancelled" where there is none that it would not keep.
    pub told: Option<String>,
    /// What is answered to questions of this kind from now on.
    pub standing: Option<(StandingAnswer, Remember)>,
}

/// Who answers: the task's word, or the configuration's no, then what a person said before, then
/// the configuration; and where that says "ask" and nobody watches, the policy for unattended work.
pub fn decide(facts: &Facts<'_>) -> Verdict {
    let configured = facts.rules.by_kind.get(facts.kind).copied().unwrap_or(facts.rules.default);
    let standing = match (facts.task, configured) {
        // Who submitted it wants to be asked anew, and may have answered since.
        (Some(PermissionPolicy::Ask), _) => facts.in_turn,
        (Some(PermissionPolicy::Allow | PermissionPolicy::Reject), _) => None,
        (None, PermissionPolicy::Reject) => None,
        (None, PermissionPolicy::Ask | PermissionPolicy::Allow) => facts.in_turn.or(facts.in_chat),
    };
    match (standing, facts.task.unwrap_or(configured)) {
        (Some(said), _) => answer(facts.options, said.policy(), "remembered"),
        (None, PermissionPolicy::Ask)
            if facts.watched || facts.rules.unattended.waits(facts.is_delegated) =>
        {
            Verdict::Ask
        }
        (None, PermissionPolicy::Ask) => unattended(facts.rules, facts.options),
        (None, policy) => answer(facts.options, policy, POLICY),
    }
}

/// What is answered when nobody is left to ask, or nobody answered in time.
pub fn unattended(rules: &PermissionRules, options: &[PermissionOption]) -> Verdict {
    let policy = match rules.unattended {
        Unattended::Allow => PermissionPolicy::Allow,
        // A wait that is over ends with the safe answer.
        Unattended::Reject | Unattended::Wait | Unattended::BySource => PermissionPolicy::Reject,
    };
    answer(options, policy, UNATTENDED)
}

fn answer(options: &[PermissionOption], policy: PermissionPolicy, by: &'static str) -> Verdict {
    let option = once(options, policy);
    let is_kept = option.is_none() && options.iter().any(|option| option.kind == "allow_always");
    if is_kept && policy == PermissionPolicy::Allow {
        return Verdict::CannotAllow { by };
    }
    Verdict::Answer { option, by }
}

/// The offered option that says `policy` and that the agent forgets again. By kind, never by
/// position. What an agent keeps holds for tasks, chats and daemons that nobody was asked about.
fn once(options: &[PermissionOption], policy: PermissionPolicy) -> Option<String> {
    let kind = match policy {
        PermissionPolicy::Allow => "allow_once",
        PermissionPolicy::Reject | PermissionPolicy::Ask => "reject_once",
    };
    options.iter().find(|option| option.kind == kind).map(|option| option.id.clone())
}

/// What an answer of a person comes to: hob remembers, and the agent is told for this once.
///
/// # Errors
/// The option is not offered, or it cannot be given.
pub fn accept(reply: &PermissionReply, options: &[PermissionOption]) -> Result<Accepted, Answered> {
    let is_meant = |option: &&PermissionOption| option.id == reply.option || option.kind == reply.option;
    let Some(chosen) = options.iter().find(is_meant) else {
        return Err(Answered::NotOffered(options.iter().map(|option| option.id.clone()).collect()));
    };
    let (said, is_always) = match chosen.kind.as_str() {
        "allow_once" => (Some(StandingAnswer::Allow), false),
        "allow_always" => (Some(StandingAnswer::Allow), true),
        "reject_once" => (Some(StandingAnswer::Reject), false),
        "reject_always" => (Some(StandingAnswer::Reject), true),
        // A word of the agent's own: nobody knows what the like of it would be.
        _ => (None, false),
    };
    let told = match (said, is_always) {
        (Some(said), true) => once(options, said.policy()),
        (_, _) => Some(chosen.id.clone()),
    };
    if told.is_none() && said == Some(StandingAnswer::Allow) {
        return Err(Answered::OnlyAlways);
    }
    let remember = match (reply.remember, is_always) {
        (Some(Remember::Once), _) | (None, false) => None,
        (None, true) => Some(Remember::Chat),
        (Some(remember @ (Remember::Turn | Remember::Chat)), _) => Some(remember),
    };
    // Where there are several ways to say yes, it is a choice between things, and not a permission.
    let n_yes = options.iter().filter(|option| option.kind == "allow_once").count();
    let standing = said.zip(remember).filter(|_| n_yes < 2);
    Ok(Accepted { option: chosen.id.clone(), told, standing })
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
        PermissionRules { default, by_kind, unattended: Unattended::Reject, deadline: None }
    }

    const ALL: [&str; 4] = ["allow_always", "allow_once", "reject_once", "reject_always"];

    /// Judges a question of kind `edit` for which `offered` is offered.
    fn judge(
        rules: &PermissionRules,
        task: Option<PermissionPolicy>,
        in_chat: Option<StandingAnswer>,
        watched: bool,
        offered: &[&str],
    ) -> Verdict {
        let options = options(offered);
        let facts = Facts {
            rules,
            task,
            in_turn: None,
            in_chat,
            kind: "edit",
            watched,
            is_delegated: false,
            options: &options,
        };
        decide(&facts)
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
    fn a_question_that_nobody_watches_waits_where_a_person_asked_for_the_work() {
        let no = answer("reject_once", UNATTENDED);
        let yes = answer("allow_once", UNATTENDED);
        let half_an_hour = Some(Duration::from_secs(1800));
        // What is configured, whether another made the task, who answers, how long it is waited for.
        let cases = [
            (Unattended::BySource, false, Verdict::Ask, None),
            (Unattended::BySource, true, no.clone(), half_an_hour),
            (Unattended::Wait, false, Verdict::Ask, None),
            (Unattended::Wait, true, Verdict::Ask, None),
            (Unattended::Reject, false, no, half_an_hour),
            (Unattended::Allow, true, yes, half_an_hour),
        ];
        let options = options(&ALL);
        for (unattended, is_delegated, expected, deadline) in cases {
            let rules = PermissionRules { unattended, ..rules(Ask, &[]) };
            let facts = Facts {
                rules: &rules,
                task: None,
                in_turn: None,
                in_chat: None,
                kind: "edit",
                watched: false,
                is_delegated,
                options: &options,
            };
            assert_eq!(decide(&facts), expected, "{unattended:?} {is_delegated}");
            assert_eq!(rules.deadline(is_delegated), deadline, "{unattended:?} {is_delegated}");
            let minute = Some(Duration::from_secs(60));
            let hurried = PermissionRules { deadline: minute, ..rules.clone() };
            assert_eq!(hurried.deadline(is_delegated), minute);
        }
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
    fn what_a_person_said_before_comes_below_the_tasks_word_and_a_configured_no() {
        let said = Some(StandingAnswer::Allow);
        let yes = answer("allow_once", "remembered");
        let no = answer("reject_once", "policy");
        assert_eq!(judge(&rules(Ask, &[]), None, said, true, &ALL), yes);
        assert_eq!(judge(&rules(Ask, &[]), None, said, false, &ALL), yes);
        assert_eq!(judge(&rules(Ask, &[]), Some(Reject), said, true, &ALL), no);
        assert_eq!(judge(&rules(Ask, &[("edit", Reject)]), None, said, true, &ALL), no);
        assert_eq!(judge(&rules(Reject, &[]), None, said, true, &ALL), no);
        assert_eq!(judge(&rules(Ask, &[]), Some(Ask), said, true, &ALL), Verdict::Ask);
        let never = Some(StandingAnswer::Reject);
        assert_eq!(judge(&rules(Allow, &[]), None, never, true, &ALL), answer("reject_once", "remembered"));
        assert_eq!(judge(&rules(Ask, &[]), Some(Allow), never, true, &ALL), answer("allow_once", "policy"));
    }

    #[test]
    fn what_was_said_in_the_turn_is_newer_than_the_task_that_wants_to_be_asked() {
        let options = options(&ALL);
        let rules = rules(Ask, &[]);
        let facts = |task| Facts {
            rules: &rules,
            task,
            in_turn: Some(StandingAnswer::Allow),
            in_chat: Some(StandingAnswer::Reject),
            kind: "edit",
            watched: true,
            is_delegated: false,
            options: &options,
        };
        assert_eq!(decide(&facts(Some(Ask))), answer("allow_once", "remembered"));
        assert_eq!(decide(&facts(None)), answer("allow_once", "remembered"));
        assert_eq!(decide(&facts(Some(Reject))), answer("reject_once", "policy"));
    }

    #[test]
    fn the_option_is_chosen_by_kind_and_cancelled_where_none_fits() {
        let none = judge(&rules(Reject, &[]), None, None, true, &ALL[..2]);
        assert_eq!(none, Verdict::Answer { option: None, by: "policy" });
        let cannot = judge(&rules(Allow, &[]), None, None, true, &ALL[..1]);
        assert_eq!(cannot, Verdict::CannotAllow { by: "policy" });
        let forgotten = judge(&rules(Reject, &[]), None, None, true, &["allow_once", "reject_always"]);
        assert_eq!(forgotten, Verdict::Answer { option: None, by: "policy" });
    }

    fn reply(option: &str, remember: Option<Remember>) -> PermissionReply {
        PermissionReply { permission: "p-1".into(), option: option.into(), by: "test".into(), remember }
    }

    /// What the agent is told, and what is remembered.
    type Told = (Option<String>, Option<(StandingAnswer, Remember)>);

    /// What follows when `chosen` of `offered` is chosen.
    fn told(offered: &[&str], chosen: &str, remember: Option<Remember>) -> Result<Told, Answered> {
        accept(&reply(chosen, remember), &options(offered)).map(|accepted| {
            assert_eq!(accepted.option, format!("id-{chosen}"));
            (accepted.told, accepted.standing)
        })
    }

    #[test]
    fn an_always_is_told_as_once_and_remembered_by_us() {
        use Remember::{Chat, Once, Turn};
        use StandingAnswer as Said;
        let id = |kind: &str| Some(format!("id-{kind}"));
        let cases = [
            ("allow_always", None, id("allow_once"), Some((Said::Allow, Chat))),
            ("allow_always", Some(Turn), id("allow_once"), Some((Said::Allow, Turn))),
            ("allow_always", Some(Once), id("allow_once"), None),
            ("allow_once", None, id("allow_once"), None),
            ("allow_once", Some(Chat), id("allow_once"), Some((Said::Allow, Chat))),
            ("reject_always", None, id("reject_once"), Some((Said::Reject, Chat))),
            ("reject_once", Some(Turn), id("reject_once"), Some((Said::Reject, Turn))),
        ];
        for (chosen, remember, expected, standing) in cases {
            let came = told(&ALL, chosen, remember);
            assert_eq!(came, Ok((expected, standing)), "{chosen} {remember:?}");
        }
    }

    #[test]
    fn where_nothing_else_is_offered_a_no_is_a_cancel_and_a_yes_is_not_given() {
        let no = told(&["allow_once", "reject_always"], "reject_always", None);
        assert_eq!(no, Ok((None, Some((StandingAnswer::Reject, Remember::Chat)))));
        assert_eq!(told(&["allow_always", "reject_once"], "allow_always", None), Err(Answered::OnlyAlways));
        let unknown = told(&ALL, "maybe", None);
        assert!(matches!(unknown, Err(Answered::NotOffered(offered)) if offered.len() == ALL.len()));
    }

    #[test]
    fn a_choice_between_things_is_not_remembered() {
        let three = ["allow_once", "allow_once", "reject_once"];
        assert_eq!(told(&three, "allow_once", Some(Remember::Chat)).unwrap().1, None);
        assert_eq!(told(&["own-word", "reject_once"], "own-word", Some(Remember::Chat)).unwrap().1, None);
    }

    proptest::proptest! {
        #[test]
        fn no_agent_is_ever_told_what_it_would_keep(
            kinds in proptest::collection::vec("allow_once|allow_always|reject_once|reject_always|else", 0..6),
            chosen in "allow_once|allow_always|reject_once|reject_always|else",
            (default, kind) in (0..3usize, 0..3usize),
            (task, said, watched) in (0..4usize, 0..3usize, proptest::bool::ANY),
        ) {
            let policies = [Allow, Ask, Reject];
            let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
            let rules = rules(policies[default], &[("edit", policies[kind])]);
            let said = [None, Some(StandingAnswer::Allow), Some(StandingAnswer::Reject)][said];
            let by_rule = match judge(&rules, policies.get(task).copied(), said, watched, &kinds) {
                Verdict::Answer { option, .. } => option,
                Verdict::Ask | Verdict::CannotAllow { .. } => None,
            };
            let by_hand = accept(&reply(&chosen, None), &options(&kinds)).ok().and_then(|it| it.told);
            for told in [by_rule, by_hand].into_iter().flatten() {
                proptest::prop_assert!(!told.ends_with("_always"), "{}", told);
            }
        }
    }
}

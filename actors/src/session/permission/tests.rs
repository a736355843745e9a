//! Who answers, and what an answer comes to, as tables.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use PermissionPolicy::{Allow, Ask, Reject};

fn options(kinds: &[&str]) -> Vec<PermissionOption> {
    kinds
        .iter()
        .map(|kind| PermissionOption { id: format!("id-{kind}"), name: (*kind).into(), kind: (*kind).into() })
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

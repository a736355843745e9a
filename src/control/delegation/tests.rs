//! What an agent may submit, and how large a family may grow.

use super::*;
use crate::config::Config;
use crate::control::error::Kind;
use crate::control::wire::{Moment, UsageRow};

fn task(id: &str, parent: Option<&str>, source: &str) -> TaskRow {
    TaskRow {
        id: id.into(),
        chat: "c-1".into(),
        session: "s-1".into(),
        agent: "goose".into(),
        state: "running".into(),
        waiting: None,
        backend: None,
        source: source.into(),
        prompt: "x".into(),
        request_id: None,
        parent: parent.map(str::to_owned),
        created_at: Moment(0),
        started_at: None,
        ended_at: None,
        turn: None,
        context_lost: None,
        rejected: 0,
        outcome: None,
        text: None,
        usage: UsageRow::default(),
        turns: None,
    }
}

fn caller() -> Caller {
    Caller { task: task("t-1", None, "chat") }
}

#[test]
fn an_agent_submits_to_new_chats_of_its_own_session_in_its_own_name() {
    let asked = TaskSubmit { prompt: "x".into(), agent: Some("qwen".into()), ..TaskSubmit::default() };
    let narrowed = narrow(&caller(), asked.clone()).expect("allowed");
    let expected = TaskSubmit {
        session: Some("s-1".into()),
        new: true,
        source: Some(Source::Mcp),
        parent: Some("t-1".into()),
        ..asked
    };
    assert_eq!(narrowed, expected);
}

#[test]
fn an_agent_gets_no_further_than_its_own_session() {
    let base = TaskSubmit { prompt: "x".into(), ..TaskSubmit::default() };
    let asked = [
        TaskSubmit { session: Some("s-2".into()), ..base.clone() },
        TaskSubmit { chat: Some("c-1".into()), ..base.clone() },
        TaskSubmit { repo: Some("/r".into()), ..base.clone() },
        TaskSubmit { source: Some(Source::Chat), ..base.clone() },
        TaskSubmit { permissions: Some(Policy::Allow), ..base.clone() },
        TaskSubmit { parent: Some("t-9".into()), ..base },
    ];
    for params in asked {
        let failure = narrow(&caller(), params.clone()).expect_err("must be refused");
        assert_eq!(failure.kind(), Kind::Forbidden, "{params:?}");
    }
}

#[test]
fn a_family_is_what_agents_made_below_its_root() {
    let tasks = vec![
        task("t-5", Some("t-4"), "mcp"),
        task("t-4", Some("t-1"), "mcp"),
        task("t-3", Some("t-2"), "mcp"),
        task("t-2", None, "chat"),
        task("t-6", Some("t-1"), "chat"),
        task("t-1", None, "chat"),
        task("t-x", Some("t-y"), "mcp"),
        task("t-y", Some("t-x"), "mcp"),
    ];
    let ids: Vec<String> = descendants("t-1", tasks).into_iter().map(|task| task.id).collect();
    assert_eq!(ids, ["t-5", "t-4"]);
}

#[test]
fn a_family_grows_up_to_its_limits() {
    let limits = Config::default().dispatch;
    let (depth, alive, total) = (limits.max_depth, limits.max_children, limits.max_children_total);
    let cases = [
        (Counts { depth, alive: alive - 1, total: total - 1 }, None),
        (Counts { depth: depth + 1, alive: 0, total: 0 }, Some("depth")),
        (Counts { depth: 1, alive, total: alive }, Some("children")),
        (Counts { depth: 1, alive: 0, total }, Some("children_total")),
    ];
    for (counts, reason) in cases {
        let judged = judge(counts, &limits).err().map(|failure| failure.data.reasons);
        assert_eq!(judged, reason.map(|reason| vec![reason.to_owned()]), "{counts:?}");
    }
}

#[test]
fn each_agent_in_between_is_a_level_and_a_retry_is_none() {
    let at = |id: &str, chat: &str, source: &str| TaskRow { chat: chat.into(), ..task(id, None, source) };
    let (person, again) = (at("t-1", "c-1", "chat"), at("t-2", "c-1", "chat"));
    let (child, child_again) = (at("t-3", "c-3", "mcp"), at("t-4", "c-3", "mcp"));
    let grandchild = at("t-5", "c-5", "mcp");
    let cases: [(&str, &TaskRow, Vec<TaskRow>, usize); 6] = [
        ("a person's", &person, vec![], 0),
        ("a person's, again", &again, vec![person.clone()], 0),
        ("its child", &child, vec![person.clone()], 1),
        ("a child of the retry", &child, vec![again.clone(), person.clone()], 1),
        ("the child again", &child_again, vec![child.clone(), person.clone()], 1),
        ("a child of that", &grandchild, vec![child_again.clone(), child.clone(), person.clone()], 2),
    ];
    for (name, task, above, expected) in cases {
        assert_eq!(depth(task, &above), expected, "{name}");
    }
}

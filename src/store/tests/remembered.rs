//! Answers that are remembered for a chat.

use super::*;
use hob_actors::event::PermissionOption;
use hob_actors::ports::{PermissionAsk, StandingAnswer, TurnRef};

fn question(kind: &str) -> PermissionAsk {
    let option = PermissionOption { id: "y".into(), name: "Yes".into(), kind: "allow_once".into() };
    PermissionAsk {
        title: "write".into(),
        kind: kind.into(),
        options: vec![option],
        call: None,
        input: None,
        content: None,
    }
}

#[tokio::test]
async fn an_answer_for_the_chat_outlives_the_store_and_holds_for_that_agent_and_kind_alone() {
    let mut stage = Stage::set().await;
    stage.chat("c-2").await;
    stage.store.remember_answer(key(), "edit".into(), StandingAnswer::Allow).await.unwrap();
    stage.store.remember_answer(key(), "execute".into(), StandingAnswer::Allow).await.unwrap();
    stage.store.remember_answer(key(), "execute".into(), StandingAnswer::Reject).await.unwrap();
    stage.reopen().await;
    let (task, turn) = stage.running("x").await;
    let elsewhere = AgentKey::new("c-2", "demo");
    let other = AgentKey::new("c", "goose");
    let cases = [
        (key(), "edit", Some(StandingAnswer::Allow)),
        (key(), "execute", Some(StandingAnswer::Reject)),
        (key(), "fetch", None),
        (elsewhere, "edit", None),
        (other, "edit", None),
    ];
    for (key, kind, expected) in cases {
        let of =
            TurnRef { turn: turn.clone(), task: task.clone(), key: key.clone(), generation: Generation(1) };
        let asked = stage.store.ask_permission(of, question(kind)).await.unwrap();
        assert_eq!(asked.standing, expected, "{key} {kind}");
    }
}

#[tokio::test]
async fn what_is_remembered_is_listed_and_forgotten_again() {
    let stage = Stage::set().await;
    for kind in ["edit", "execute"] {
        stage.store.remember_answer(key(), kind.into(), StandingAnswer::Allow).await.unwrap();
    }
    let which = |chat: &str, kind: Option<&str>| Which {
        chat: Some(chat.into()),
        agent: None,
        kind: kind.map(Into::into),
    };
    let kinds = |rows: Vec<crate::control::wire::RememberedRow>| {
        rows.into_iter().map(|row| row.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(stage.store.remembered(Which::default()).await.unwrap()), ["edit", "execute"]);
    assert!(stage.store.forget_remembered(which("c-other", None)).await.unwrap().is_empty());
    assert_eq!(kinds(stage.store.forget_remembered(which("c", Some("edit"))).await.unwrap()), ["edit"]);
    assert_eq!(kinds(stage.store.remembered(which("c", None)).await.unwrap()), ["execute"]);
}

//! Arenas: recorded whole or not at all, judged once, decided once.

use super::*;

fn request(id: &str) -> Request {
    Request { owner: Owner::Person, id: id.to_owned() }
}

/// An arena of `left` and `right`, whose worktrees are begun.
async fn planned(stage: &Stage, id: &str) -> NewArena {
    let mut entries = Vec::new();
    for agent in ["left", "right"] {
        let name = format!("{id}-{agent}");
        let worktree = worktree(&format!("w-{name}"));
        begin(&stage.store, &worktree).await.unwrap();
        entries.push(NewEntry {
            session: NewSession {
                id: Some(format!("s-{name}")),
                repo: "/repo".to_owned(),
                title: None,
                base: None,
                carry_changes: false,
                origin: Some("arena".to_owned()),
                worktree,
            },
            chat: NewChat { id: Some(format!("c-{name}")), session: format!("s-{name}"), title: None },
            subdir: "sub".to_owned(),
            task: NewTask { agent: agent.to_owned(), ..prompt_to(&format!("c-{name}"), "compete") },
        });
    }
    NewArena {
        id: id.to_owned(),
        request: Some(request(&format!("r-{id}"))),
        repo: "/repo".to_owned(),
        base_commit: "c0ffee".to_owned(),
        prompt: "compete".to_owned(),
        carry_changes: false,
        check: Some("true".to_owned()),
        parent: None,
        entries,
    }
}

/// Decides `a`.
async fn adopt(stage: &Stage, winner: &str, figures: Vec<(String, Figures)>) -> Result<(), StoreError> {
    let adoption = Adoption { arena: "a".to_owned(), winner: winner.to_owned(), figures };
    stage.store.record_applied("w-a-right", None, Some(adoption)).await
}

async fn stored(stage: &Stage, id: &str) -> StoredArena {
    stage.store.arena(id).await.unwrap().unwrap()
}

fn check(outcome: &str) -> StoredCheck {
    let ended_at = crate::control::wire::Moment(9);
    StoredCheck { outcome: outcome.to_owned(), exit_code: Some(1), output: "said".to_owned(), ended_at }
}

#[tokio::test]
async fn an_arena_is_recorded_with_all_of_its_entries() {
    let mut stage = Stage::set().await;
    let submitted = stage.store.create_arena(planned(&stage, "a").await).await.unwrap();
    assert_eq!(submitted.len(), 2);
    assert!(submitted[1].card.cwd.ends_with("w-a-right/sub"), "{:?}", submitted[1].card.cwd);
    stage.reopen().await;
    let arena = stored(&stage, "a").await;
    let agents: Vec<&str> = arena.entries.iter().map(|entry| &*entry.agent).collect();
    assert_eq!((arena.state.as_str(), agents), ("open", vec!["left", "right"]));
    assert_eq!(arena.entries[0].worktree.as_deref(), Some("w-a-left"));
    assert_eq!(arena.entries[1].task.as_ref().map(|task| &*task.state), Some("queued"));
    assert_eq!(stage.store.arena_of_request(&request("r-a")).await.unwrap().as_deref(), Some("a"));
    assert_eq!(stage.store.find_prefix(Kind::Arena, "a").await.unwrap(), ["a"]);
}

#[tokio::test]
async fn where_one_entry_cannot_be_recorded_nothing_is() {
    let stage = Stage::set().await;
    let before = stage.journal().await.len();
    let mut arena = planned(&stage, "a").await;
    // A chat that is there already, in another session.
    arena.entries[1].chat.id = Some("c".to_owned());
    assert!(matches!(stage.store.create_arena(arena).await, Err(StoreError::Conflict(_))));
    assert!(stage.store.arena("a").await.unwrap().is_none());
    assert!(stage.store.session("s-a-left").await.unwrap().is_none());
    assert!(stage.store.open_tasks().await.unwrap().is_empty());
    assert_eq!(stage.journal().await.len(), before);
    // And a request makes one arena, whatever the caller looked up before.
    stage.store.create_arena(planned(&stage, "b").await).await.unwrap();
    let again = NewArena { request: Some(request("r-b")), ..planned(&stage, "d").await };
    assert!(matches!(stage.store.create_arena(again).await, Err(StoreError::Conflict(_))));
}

#[tokio::test]
async fn the_first_outcome_of_a_check_stands_and_is_told() {
    let stage = Stage::set().await;
    stage.store.create_arena(planned(&stage, "a").await).await.unwrap();
    stage.store.check_begins("a", "left", Some("7 8 boot".to_owned())).await.unwrap();
    let begun = stored(&stage, "a").await.entries.swap_remove(0);
    assert!(begun.check_started_at.is_some() && begun.check_leader.as_deref() == Some("7 8 boot"));
    stage.store.check_ended("a", "left", check("failed")).await.unwrap();
    stage.store.check_ended("a", "left", check("passed")).await.unwrap();
    let arena = stored(&stage, "a").await;
    assert_eq!(arena.entries[0].check, Some(check("failed")));
    assert_eq!(arena.entries[1].check, None);
    let task = TaskId::from(arena.entries[0].task.as_ref().unwrap().id.as_str());
    assert_eq!(stage.told_of(&task).await, ["task_state queued", "notice"]);
}

#[tokio::test]
async fn a_decision_closes_the_others_in_the_same_step_and_is_made_once() {
    let stage = Stage::set().await;
    stage.store.create_arena(planned(&stage, "a").await).await.unwrap();
    let figures = Figures { files: 2, insertions: 7, deletions: 1 };
    adopt(&stage, "right", vec![("right".to_owned(), figures)]).await.unwrap();
    let again = adopt(&stage, "left", Vec::new()).await;
    assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
    let arena = stored(&stage, "a").await;
    let won: Vec<bool> = arena.entries.iter().map(|entry| entry.won).collect();
    assert_eq!((arena.state.as_str(), won), ("adopted", vec![false, true]));
    assert_eq!(arena.entries[1].figures, Some(figures));
    let state = async |id: &str| stage.store.session(id).await.unwrap().unwrap().state;
    assert_eq!((state("s-a-left").await, state("s-a-right").await), ("closed".to_owned(), "open".to_owned()));
    let lost = stage.store.worktree("w-a-left").await.unwrap().unwrap();
    assert_eq!(lost.state, "orphaned");
}

#[tokio::test]
async fn an_arena_remembers_who_took_part_when_their_sessions_are_deleted() {
    let stage = Stage::set().await;
    stage.store.create_arena(planned(&stage, "a").await).await.unwrap();
    adopt(&stage, "left", Vec::new()).await.unwrap();
    stage.store.delete_session("s-a-left").await.unwrap();
    let arena = stored(&stage, "a").await;
    let left = &arena.entries[0];
    assert_eq!((left.session.as_ref(), left.task.as_ref(), left.won), (None, None, true));
}

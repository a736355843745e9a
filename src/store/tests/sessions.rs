//! Sessions, chats and worktrees.

use super::*;
use crate::control::wire::IdOr;

#[tokio::test]
async fn a_session_is_shown_whole_and_listed_by_ids() {
    let stage = Stage::set().await;
    let row = stage.store.session("s").await.unwrap().unwrap();
    let Some(IdOr::Whole(worktree)) = row.worktree else { panic!() };
    assert_eq!((worktree.state.as_str(), worktree.base_commit.as_str()), ("active", "c0ffee"));
    assert!(matches!(&row.chats[..], [IdOr::Whole(chat)] if chat.id == "c"));
    let listed = stage.store.sessions(false).await.unwrap();
    assert_eq!(listed[0].worktree, Some(IdOr::Id("w-s".to_owned())));
    assert_eq!(listed[0].chats, [IdOr::Id("c".to_owned())]);
    assert!(stage.store.session("none").await.unwrap().is_none());
    // All 64 bits of a device survive.
    assert_eq!(stage.store.worktree_facts("w-s").await.unwrap(), Some(worktree_of_stage()));
}

fn worktree_of_stage() -> WorktreeFacts {
    super::worktree("w-s")
}

#[tokio::test]
async fn a_session_needs_a_worktree_that_was_begun_and_an_id_that_is_free() {
    let stage = Stage::set().await;
    let new = |id: Option<&str>, worktree: WorktreeFacts| NewSession {
        id: id.map(str::to_owned),
        repo: "/repo".to_owned(),
        title: Some("t".to_owned()),
        base: None,
        carry_changes: true,
        origin: None,
        worktree,
    };
    let missing = stage.store.create_session(new(Some("x"), worktree("w-none"))).await;
    assert!(matches!(missing, Err(StoreError::NotFound { .. })));
    assert!(stage.store.session("x").await.unwrap().is_none(), "half a session was left");
    let fresh = worktree("w-x");
    begin(&stage.store, &fresh).await.unwrap();
    assert!(matches!(begin(&stage.store, &fresh).await, Err(StoreError::Conflict(_))));
    let taken = stage.store.create_session(new(Some("s"), fresh.clone())).await;
    assert!(matches!(taken, Err(StoreError::Conflict(_))));
    let made = stage.store.create_session(new(None, fresh)).await.unwrap();
    assert!(made.id.starts_with("s-") && made.id.len() == 10);
    let params = stage.store.session_params(&made.id).await.unwrap().unwrap();
    assert_eq!((params.title.as_deref(), params.carry_changes), (Some("t"), true));
}

#[tokio::test]
async fn a_worktree_that_was_not_made_is_forgotten_and_its_path_is_free() {
    let stage = Stage::set().await;
    let half = worktree("w-half");
    begin(&stage.store, &half).await.unwrap();
    stage.store.abandon_worktree("w-half").await.unwrap();
    stage.store.abandon_worktree("w-s").await.unwrap();
    assert!(stage.store.worktree("w-half").await.unwrap().is_none());
    assert!(stage.store.worktree("w-s").await.unwrap().is_some(), "a made worktree was forgotten");
    begin(&stage.store, &half).await.unwrap();
}

#[tokio::test]
async fn closing_a_session_cancels_closes_orphans_and_tells_and_reopening_takes_the_worktree_back() {
    let stage = Stage::set().await;
    stage.store.begin_generation(key()).await.unwrap();
    let (running, _) = stage.running("running").await;
    let waiting = stage.submit("waiting").await;
    let row = stage.store.close_session("s").await.unwrap();
    let Some(IdOr::Whole(worktree)) = &row.worktree else { panic!() };
    assert_eq!((row.state.as_str(), worktree.state.as_str()), ("closed", "orphaned"));
    assert!(row.closed_at.is_some());
    assert_eq!(stage.task(&running).await.state, "cancelled");
    assert_eq!(stage.told_of(&waiting).await, ["task_state queued", "task_state cancelled"]);
    let told: Vec<String> = stage.journal().await.iter().map(sketch).collect();
    assert_eq!(told[told.len() - 2..], ["agent_state closed", "worktree_state orphaned"]);

    let n_events = told.len();
    assert_eq!(stage.store.close_session("s").await.unwrap(), row);
    assert_eq!(stage.journal().await.len(), n_events, "a second close told of something");
    assert!(stage.store.sessions(false).await.unwrap().is_empty());
    let into_closed = NewChat { session: "s".to_owned(), ..NewChat::default() };
    assert!(matches!(stage.store.create_chat(into_closed).await, Err(StoreError::Conflict(_))));

    let row = stage.store.reopen_session("s").await.unwrap();
    let Some(IdOr::Whole(worktree)) = row.worktree else { panic!() };
    assert_eq!((row.state.as_str(), worktree.state.as_str(), row.closed_at), ("open", "active", None));
    assert!(matches!(stage.store.close_session("none").await, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn a_session_whose_worktree_is_gone_is_not_reopened() {
    let stage = Stage::set().await;
    stage.store.close_session("s").await.unwrap();
    peek(&stage.path()).execute("UPDATE worktrees SET state = 'archived'", []).unwrap();
    assert!(matches!(stage.store.reopen_session("s").await, Err(StoreError::Conflict(_))));
    assert_eq!(stage.store.session("s").await.unwrap().unwrap().state, "closed");
}

#[tokio::test]
async fn a_chat_made_again_is_the_same_chat_or_a_conflict() {
    let stage = Stage::set().await;
    let new = NewChat { id: Some("c".to_owned()), session: "s".to_owned(), title: None };
    assert_eq!(
        stage.store.create_chat(new.clone()).await.unwrap(),
        stage.store.chat("c").await.unwrap().unwrap()
    );
    let other = NewChat { title: Some("other".to_owned()), ..new };
    assert!(matches!(stage.store.create_chat(other).await, Err(StoreError::Conflict(_))));
    let fresh = NewChat { session: "s".to_owned(), ..NewChat::default() };
    assert!(stage.store.create_chat(fresh).await.unwrap().id.starts_with("c-"));
    stage.store.close_chat("c").await.unwrap();
    assert_eq!(stage.store.chats(Some("s"), false).await.unwrap().len(), 1);
    assert_eq!(stage.store.chats(None, true).await.unwrap().len(), 2);
}

async fn made(stage: &Stage, id: &str, origin: Option<&str>) {
    let worktree = worktree(id);
    begin(&stage.store, &worktree).await.unwrap();
    let new = NewSession {
        id: Some(id.to_owned()),
        repo: "/mine".to_owned(),
        title: None,
        base: None,
        carry_changes: false,
        origin: origin.map(str::to_owned),
        worktree,
    };
    stage.store.create_session(new).await.unwrap();
    let chat = NewChat { id: Some(format!("c-{id}")), session: id.to_owned(), title: None };
    stage.store.create_chat(chat).await.unwrap();
}

#[tokio::test]
async fn the_session_that_was_used_last_is_found_whatever_the_clock_says() {
    let mut stage = Stage::set().await;
    let last = async |stage: &Stage| stage.store.last_used_session("/mine").await.unwrap().map(|row| row.id);
    assert_eq!(last(&stage).await, None);
    for (id, origin) in [("z", None), ("a", Some("prompt")), ("entry", Some("arena"))] {
        made(&stage, id, origin).await;
    }
    assert_eq!(last(&stage).await.as_deref(), Some("a"), "made last, but for an arena's entry");
    // A clock that was ahead once: all rows bear one time from then on, and older ones a later one.
    let path = stage.path();
    peek(&path).execute_batch("UPDATE sessions SET created_at = 1; UPDATE chats SET created_at = 1").unwrap();
    peek(&path).execute_batch("UPDATE sessions SET created_at = 9e14 WHERE id = 'z'").unwrap();
    let prompt = |session: &str, uses| NewTask { uses, ..prompt_to(&format!("c-{session}"), "x") };
    stage.store.submit(prompt("z", true)).await.unwrap();
    assert_eq!(last(&stage).await.as_deref(), Some("z"));
    stage.store.submit(prompt("a", false)).await.unwrap();
    stage.store.submit(prompt("entry", true)).await.unwrap();
    stage.store.use_session("entry").await.unwrap();
    assert_eq!(last(&stage).await.as_deref(), Some("z"), "neither an agent's prompt nor an arena's entry");
    stage.store.use_session("a").await.unwrap();
    stage.reopen().await;
    assert_eq!(last(&stage).await.as_deref(), Some("a"));
    stage.store.close_session("a").await.unwrap();
    assert_eq!(last(&stage).await.as_deref(), Some("z"));
    assert!(stage.store.use_session("nowhere").await.is_err());
    let listed = stage.store.sessions(true).await.unwrap();
    let mine: Vec<&str> =
        listed.iter().filter(|row| row.repo == "/mine").map(|row| row.id.as_str()).collect();
    assert_eq!(mine, ["z", "a", "entry"], "in the order in which they were made");
}

#[tokio::test]
async fn a_worktree_outlives_its_session() {
    let stage = Stage::set().await;
    stage.store.agent_record(key()).await.unwrap();
    stage.store.close().await.unwrap();
    let conn = peek(&stage.path());
    conn.execute_batch(
        "PRAGMA foreign_keys = ON; DELETE FROM worktrees WHERE id = 'w-x'; DELETE FROM sessions",
    )
    .unwrap();
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM worktrees WHERE session_id IS NULL"), 1);
    assert_eq!(count("SELECT count(*) FROM chats") + count("SELECT count(*) FROM agent_sessions"), 0);
}

#[tokio::test]
async fn the_database_is_told_in_figures() {
    let stage = Stage::set().await;
    stage.submit("x").await;
    let status = stage.store.status().await.unwrap();
    assert_eq!((status.sessions, status.chats, status.queued), (1, 1, 1));
    assert_eq!((status.schema, status.path.ends_with("hob.db")), (migrate::SCHEMA as u64, true));
    assert!(status.size_bytes > 0);
}

#[tokio::test]
async fn what_is_begun_with_a_worktree_fits_where_it_stands_now() {
    use TombstoneKind::{Drop, Purge, Remove, Restore};
    let stage = Stage::set().await;
    let store = &stage.store;
    let refuses = async |kinds: &[TombstoneKind]| {
        for kind in kinds {
            let begun = store.begin_with_worktree("w-s", *kind, "a test").await;
            assert!(matches!(begun, Err(StoreError::Conflict(_))), "{kind:?}: {begun:?}");
        }
    };
    refuses(&[Purge, Drop]).await;
    store.begin_with_worktree("w-s", Remove, "a test").await.unwrap();
    refuses(&[Remove, Restore]).await;
    store.worktree_archived("w-s", Some("refs/x"), None).await.unwrap();
    refuses(&[Remove, Drop]).await;
    store.begin_with_worktree("w-s", Purge, "a test").await.unwrap();
    refuses(&[Restore, Purge]).await;
    store.worktree_purged("w-s").await.unwrap();
    refuses(&[Remove, Purge]).await;
    store.begin_with_worktree("w-s", Drop, "a test").await.unwrap();
    refuses(&[Restore]).await;
    store.salvage_dropped("w-s").await.unwrap();
    store.begin_with_worktree("w-s", Restore, "a test").await.unwrap();
}

#[tokio::test]
async fn a_session_is_not_reopened_on_a_worktree_that_is_about_to_go() {
    let stage = Stage::set().await;
    stage.store.close_session("s").await.unwrap();
    stage.store.begin_with_worktree("w-s", TombstoneKind::Remove, "a test").await.unwrap();
    assert!(matches!(stage.store.reopen_session("s").await, Err(StoreError::Conflict(_))));
    stage.store.nothing_begun("w-s").await.unwrap();
    assert_eq!(stage.store.reopen_session("s").await.unwrap().state, "open");
}

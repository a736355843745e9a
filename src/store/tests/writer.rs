//! The writing thread: groups, durability, failures.

use super::*;
use crate::store::command::{Tx, Weight};

async fn synchronous(store: &Store, weight: Weight) -> i64 {
    let pragma =
        |tx: &mut Tx<'_>| Ok(tx.conn.query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0))?);
    store.call("look", weight, pragma).await.unwrap()
}

#[tokio::test]
async fn state_is_committed_full_and_what_is_only_streamed_or_read_or_passes_is_not() {
    let stage = Stage::set().await;
    let (full, normal) = (2, 1);
    assert_eq!(synchronous(&stage.store, Weight::Durable).await, full);
    assert_eq!(synchronous(&stage.store, Weight::Reads).await, normal);
    assert_eq!(synchronous(&stage.store, Weight::Durable).await, full);
    assert_eq!(synchronous(&stage.store, Weight::Passing).await, normal);
}

#[tokio::test]
async fn a_command_that_fails_takes_no_neighbour_with_it() {
    let stage = Stage::set().await;
    let scope = Arc::new(Scope::default());
    // All of these are in line together.
    let before = stage.store.submit(prompt_to("c", "before"));
    stage.store.append(text(&scope, "one"), Permit::free());
    let failing = stage.store.write("fail on purpose", |tx| {
        sql::run(tx.conn, "UPDATE chats SET title = 'half'", [])?;
        tx.event(&Scope::default(), &Event::ContextReset { reason: "half".to_owned() })?;
        Err::<(), _>(StoreError::Conflict("no".to_owned()))
    });
    let broken = stage.store.write("break a constraint", |tx| {
        sql::run(tx.conn, "INSERT INTO chats (id, session_id, created_at) VALUES ('x', 'nobody', 0)", [])?;
        Ok(())
    });
    stage.store.append(text(&scope, "two"), Permit::free());
    let after = stage.store.submit(prompt_to("c", "after"));
    assert!(matches!(failing.await, Err(StoreError::Conflict(_))));
    assert!(matches!(broken.await, Err(StoreError::Other { action: "break a constraint", .. })));
    assert!(before.await.unwrap().fresh && after.await.unwrap().fresh);
    let told: Vec<String> = stage.journal().await.iter().map(sketch).collect();
    assert_eq!(told[told.len() - 4..], ["task_state queued", "text", "text", "task_state queued"]);
    assert_eq!(stage.store.chat("c").await.unwrap().unwrap().title, None);
}

#[tokio::test]
async fn commands_that_wait_together_are_committed_together() {
    let stage = Stage::set().await;
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let (arrived, at_gate) = tokio::sync::oneshot::channel();
    let waiting = stage.store.write("wait at a gate", move |_| {
        arrived.send(()).ok();
        Ok(gate.recv().is_ok())
    });
    // Its group is closed now: what comes next waits together for the one after.
    at_gate.await.unwrap();
    let first = stage.store.submit(prompt_to("c", "x"));
    let other = peek(&stage.path());
    let second = stage.store.write("look from inside and outside", move |tx| {
        let count = |conn: &rusqlite::Connection| sql::count(conn, "SELECT count(*) FROM tasks", []);
        Ok((count(tx.conn)?, count(&other)?))
    });
    go.send(()).unwrap();
    assert!(waiting.await.unwrap() && first.await.unwrap().fresh);
    // Inside the group the task is there; outside nobody sees it yet.
    assert_eq!(second.await.unwrap(), (1, 0));
}

#[tokio::test]
async fn an_answer_comes_after_the_commit() {
    let stage = Stage::set().await;
    let conn = peek(&stage.path());
    for n in 0..50 {
        let task = stage.submit(&n.to_string()).await;
        let sql = "SELECT count(*) FROM tasks WHERE id = ?1";
        assert_eq!(conn.query_row(sql, [task.as_str()], |row| row.get::<_, i64>(0)).unwrap(), 1);
    }
}

#[tokio::test]
async fn a_permit_is_held_until_its_event_is_committed() {
    let stage = Stage::set().await;
    let room = Arc::new(tokio::sync::Semaphore::new(1));
    let scope = Arc::new(Scope::default());
    let conn = peek(&stage.path());
    for n in 1..=20 {
        let permit = Arc::clone(&room).acquire_owned().await.unwrap();
        let sql = "SELECT count(*) FROM events WHERE type = 'text'";
        assert_eq!(conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap(), n - 1);
        stage.store.append(text(&scope, "x"), Permit::holding(permit));
    }
}

#[tokio::test]
async fn while_another_holds_the_file_commands_are_refused_and_events_wait() {
    let stage = Stage::set().await;
    let impatient = |tx: &mut Tx<'_>| Ok(tx.conn.busy_timeout(Duration::ZERO)?);
    stage.store.write("stop waiting for others", impatient).await.unwrap();
    let other = peek(&stage.path());
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let scope = Arc::new(Scope::default());
    for n in 0..10 {
        stage.store.append(text(&scope, &n.to_string()), Permit::free());
    }
    assert!(matches!(stage.store.submit(prompt_to("c", "x")).await, Err(StoreError::Busy(_))));
    assert!(stage.store.trouble().is_some_and(|why| why.contains("another program")));
    stage.store.append(text(&scope, "10"), Permit::free());
    other.execute_batch("COMMIT").unwrap();

    let mut head = stage.store.head();
    let all_kept = async {
        loop {
            let told = stage.journal().await;
            let kept: Vec<_> =
                told.iter().filter(|event| event["type"] == "text").map(|event| &event["text"]).collect();
            if kept.len() == 11 {
                assert!((0..11).all(|n| kept[n].as_str() == Some(&n.to_string())));
                return;
            }
            head.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all_kept).await.unwrap();
    assert!(stage.store.submit(prompt_to("c", "x")).await.unwrap().fresh);
    assert_eq!(stage.store.trouble(), None);
}

#[tokio::test]
async fn a_store_in_trouble_says_so_also_while_there_is_nothing_to_write() {
    let stage = Stage::set().await;
    let read_only = |tx: &mut Tx<'_>| Ok(tx.conn.execute_batch("PRAGMA query_only = 1")?);
    stage.store.write("take the pen away", read_only).await.unwrap();
    assert!(matches!(stage.store.submit(prompt_to("c", "x")).await, Err(StoreError::ReadOnly(_))));
    // Every attempt is told, also those with nothing in the queue.
    let mut told = stage.store.0.trouble.subscribe();
    for _ in 0..3 {
        tokio::time::timeout(Duration::from_secs(10), told.changed()).await.unwrap().unwrap();
        assert!(told.borrow_and_update().is_some());
    }
}

#[tokio::test]
async fn a_full_disk_refuses_what_does_not_fit_and_nothing_else() {
    let stage = Stage::set().await;
    let pages = |pages: &'static str| move |tx: &mut Tx<'_>| Ok(tx.conn.query_row(pages, [], |_| Ok(()))?);
    let limit = "PRAGMA max_page_count = 1";
    stage.store.write("fill the disk", pages(limit)).await.unwrap();
    let large = "x".repeat(4 << 20);
    assert!(matches!(stage.store.submit(prompt_to("c", &large)).await, Err(StoreError::Full(_))));
    assert!(stage.store.open_tasks().await.unwrap().is_empty());
    stage.store.write("make room", pages("PRAGMA max_page_count = 1000000")).await.unwrap();
    assert!(stage.store.submit(prompt_to("c", &large)).await.unwrap().fresh);
}

#[tokio::test]
async fn any_other_failure_of_the_database_ends_the_writer_and_is_told() {
    let stage = Stage::set().await;
    let corrupt = |tx: &mut Tx<'_>| Ok(tx.conn.execute_batch("UPDATE no_such_table SET a = 1")?);
    assert!(stage.store.write("meet a failure", corrupt).await.is_err());
    let reason = tokio::time::timeout(Duration::from_secs(10), stage.store.failed()).await.unwrap();
    assert!(reason.contains("no_such_table"), "{reason}");
    assert!(matches!(stage.store.submit(prompt_to("c", "x")).await, Err(StoreError::Closed)));
    let end = hob_actors::ports::chain(&stage.store.close().await.unwrap_err());
    assert!(end.contains("no_such_table"), "{end}");
}

#[tokio::test]
async fn a_panic_of_the_writer_is_told() {
    let stage = Stage::set().await;
    let panicking = stage.store.write("panic", |_| -> sql::Result<()> { panic!("on purpose") });
    assert!(matches!(panicking.await, Err(StoreError::Closed)));
    let reason = tokio::time::timeout(Duration::from_secs(10), stage.store.failed()).await.unwrap();
    assert!(reason.contains("panicked"), "{reason}");
}

#[tokio::test]
async fn a_panic_of_a_query_takes_no_reader_with_it() {
    let stage = Stage::set().await;
    for _ in 0..READERS * 2 {
        let panicking = stage.store.read("panic", |_| -> sql::Result<()> { panic!("on purpose") });
        assert!(matches!(panicking.await, Err(StoreError::Closed)));
    }
    assert!(stage.store.chat("c").await.unwrap().is_some());
}

#[tokio::test]
async fn closing_writes_what_was_called_for_and_empties_the_log() {
    let stage = Stage::set().await;
    let scope = Arc::new(Scope::default());
    for _ in 0..2000 {
        stage.store.append(text(&scope, "x"), Permit::free());
    }
    stage.store.close().await.unwrap();
    stage.store.close().await.unwrap();
    assert!(matches!(stage.store.chat("c").await, Err(StoreError::Closed)));
    assert!(matches!(stage.store.submit(prompt_to("c", "x")).await, Err(StoreError::Closed)));
    assert!(!stage.dir.path().join("hob.db-wal").exists());
    let conn = peek(&stage.path());
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM events WHERE type = 'text'"), 2000);
    let check: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

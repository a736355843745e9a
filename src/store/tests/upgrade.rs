//! Upgrading a populated file of the first schema; the gate; a newer schema.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::*;

/// A file as the first schema left it: one session with two chats, one with none, one closed.
const OLD: &str = "
    INSERT INTO sessions (id, repo, state, created_at, closed_at) VALUES
        ('s-two', '/repo', 'open', 100, NULL), ('s-none', '/repo', 'open', 200, NULL),
        ('s-shut', '/repo', 'closed', 300, 350);
    INSERT INTO session_worktrees (session_id, path, branch, base_commit, common_dir, device, inode, created_at) VALUES
        ('s-two', '/w/two', 'hob/two', 'aa', '/repo/.git', 5, 6, 101),
        ('s-none', '/w/none', 'hob/none', 'bb', '/repo/.git', 5, 7, 201),
        ('s-shut', '/w/shut', 'hob/shut', 'cc', '/repo/.git', 5, 8, 301);
    INSERT INTO chats (id, session_id, created_at) VALUES ('c-late', 's-two', 120), ('c-first', 's-two', 110);
    INSERT INTO agent_sessions (session_id, agent, status, generation, backend_session, has_history, created_at) VALUES
        ('s-two', 'goose', 'idle', 4, 'b-1', 1, 130), ('s-two', 'qwen', 'evicted', 2, 'b-2', 1, 131),
        ('s-none', 'goose', 'crashed', 1, NULL, 0, 230), ('s-shut', 'goose', 'closed', 3, 'b-3', 1, 330);
    INSERT INTO tasks (num, id, session_id, chat_id, agent, state, source, prompt, created_at) VALUES
        (1, 't-1', 's-two', 'c-late', 'goose', 'completed', 'chat', 'one', 140),
        (2, 't-2', 's-two', NULL, 'qwen', 'queued', 'api', 'two', 141),
        (3, 't-3', 's-none', NULL, 'goose', 'queued', 'api', 'three', 240);
    INSERT INTO turns (id, task_id, attempt, generation, started_at, ended_at, outcome, input) VALUES
        ('u-1', 't-1', 1, 4, 141, 150, 'completed', 17);
    INSERT INTO permissions (id, turn_id, task_id, generation, state, title, kind, options, created_at) VALUES
        ('p-1', 'u-1', 't-1', 4, 'answered', 'write', 'edit', '[]', 142);
    INSERT INTO events (seq, at, session_id, task_id, type, payload) VALUES
        (1, 140, 's-two', 't-1', 'notice', '{\"level\":\"info\",\"text\":\"old\"}');
    INSERT INTO meta (key, value) VALUES ('events_reserved', 4096);
    PRAGMA user_version = 1;";

fn old_file(dir: &TempDir, more: &str) -> std::path::PathBuf {
    let path = dir.path().join("hob.db");
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA journal_mode = WAL;").unwrap();
    conn.execute_batch(include_str!("../../../migrations/0001_first.sql")).unwrap();
    conn.execute_batch(OLD).unwrap();
    conn.execute_batch(more).unwrap();
    path
}

/// Every row of every table, and the schema.
fn content(path: &Path) -> Vec<(String, Vec<Vec<Value>>)> {
    let conn = peek(path);
    let tables: Vec<String> = conn
        .prepare(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'sqlite_sequence' ORDER BY name",
        )
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let shape = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name";
    let mut content = vec![("sqlite_master".to_owned(), rows_of(&conn, shape))];
    for table in tables {
        let rows = rows_of(&conn, &format!("SELECT * FROM {table}"));
        content.push((table, rows));
    }
    content
}

fn rows_of(conn: &Connection, sql: &str) -> Vec<Vec<Value>> {
    let mut statement = conn.prepare(sql).unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| (0..columns).map(|column| row.get(column)).collect()).unwrap();
    rows.map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_populated_file_of_the_first_schema_is_upgraded_and_nothing_is_lost() {
    let dir = TempDir::new().unwrap();
    let path = old_file(&dir, "");
    let store = Store::open(&path).unwrap();

    let agents = store.agent_sessions(true).await.unwrap();
    let of = |session: &str, agent: &str| {
        agents.iter().find(|row| row.session == session && row.agent == agent).unwrap()
    };
    assert_eq!(agents.len(), 4);
    // The oldest chat of the session, not the one that was listed first.
    assert_eq!((of("s-two", "goose").chat.as_str(), of("s-two", "goose").generation), ("c-first", 4));
    assert_eq!(of("s-two", "qwen").backend_session.as_deref(), Some("b-2"));
    // One was made where there was none.
    let made = &of("s-none", "goose").chat;
    assert_eq!(store.chat(made).await.unwrap().unwrap().session, "s-none");
    let shut = store.chat(&of("s-shut", "goose").chat).await.unwrap().unwrap();
    assert_eq!((shut.session.as_str(), shut.state.as_str()), ("s-shut", "closed"));

    let old = store.task_row("t-1").await.unwrap().unwrap();
    assert_eq!((old.chat.as_str(), old.usage.input, old.turn.as_deref()), ("c-late", Some(17), Some("u-1")));
    assert_eq!(&store.task_row("t-3").await.unwrap().unwrap().chat, made);
    assert_eq!(store.task_row("t-2").await.unwrap().unwrap().chat, "c-first");
    assert_eq!(store.permission("p-1").await.unwrap().unwrap().agent, "goose");

    for (session, path, state) in
        [("s-two", "/w/two", "active"), ("s-none", "/w/none", "active"), ("s-shut", "/w/shut", "orphaned")]
    {
        let row = store.session(session).await.unwrap().unwrap();
        let Some(crate::control::wire::IdOr::Whole(worktree)) = row.worktree else { panic!("{row:?}") };
        assert_eq!((worktree.path.as_str(), worktree.state.as_str()), (path, state));
        let facts = store.worktree_facts(&worktree.id).await.unwrap().unwrap();
        assert_eq!((facts.identity.device, facts.common_dir.as_str()), (5, "/repo/.git"));
        assert!(
            agents
                .iter()
                .filter(|row| row.session == session)
                .all(|row| row.worktree.as_ref() == Some(&worktree.id))
        );
    }
    // What was an orphan already waits its whole time again; what is not waits for nothing.
    let rows = store.survey_worktrees().await.unwrap();
    let waits: Vec<_> = rows.iter().map(|row| (row.state.as_str(), row.seen_since_ms)).collect();
    assert_eq!(waits, [("active", None), ("active", None), ("orphaned", Some(0))]);
    assert_eq!(store.see_time().await.unwrap().total_ms, 0, "nothing was seen before");
    store.close().await.unwrap();
    let conn = peek(&path);
    assert!(rows_of(&conn, "SELECT name FROM sqlite_master WHERE name = 'session_worktrees'").is_empty());
    assert!(rows_of(&conn, "SELECT * FROM pragma_foreign_key_check").is_empty());
    assert_eq!(migrate::schema(&conn).unwrap(), migrate::SCHEMA);
}

#[tokio::test]
async fn the_file_is_copied_before_it_is_upgraded() {
    let dir = TempDir::new().unwrap();
    let path = old_file(&dir, "");
    let before = content(&path);
    Store::open(&path).unwrap().close().await.unwrap();
    let copy = dir.path().join("hob.db.schema-1.bak");
    assert!(content(&copy) == before, "the copy differs");
    assert_eq!(migrate::schema(&peek(&copy)).unwrap(), 1);
}

#[test]
fn the_gate_refuses_to_lose_rows_names_them_and_leaves_the_file_as_it_was() {
    let lost = [
        (
            "INSERT INTO agent_sessions (session_id, agent, created_at) VALUES ('s-gone', 'goose', 1)",
            "agent session (s-gone, goose) was lost",
        ),
        (
            "INSERT INTO session_worktrees (session_id, path, branch, base_commit, created_at)
             VALUES ('s-gone', '/w/gone', 'hob/gone', 'dd', 1)",
            "worktree /w/gone of session s-gone was lost",
        ),
        (
            "UPDATE session_worktrees SET path = '/w/two' WHERE session_id = 's-none'",
            "worktree /w/two of session s-none was lost",
        ),
        (
            "INSERT INTO tasks (id, session_id, agent, state, source, prompt, created_at)
             VALUES ('t-9', 's-gone', 'goose', 'queued', 'api', 'nine', 1)",
            "task t-9 of session s-gone was lost",
        ),
        ("UPDATE tasks SET chat_id = 'c-first' WHERE id = 't-3'", "task t-3 has no chat in session s-none"),
    ];
    for (damage, named) in lost {
        let dir = TempDir::new().unwrap();
        let path = old_file(&dir, damage);
        let before = content(&path);
        let error = Store::open(&path).unwrap_err();
        let OpenError::Refused { name, rows } = &error else { panic!("{error:?}") };
        assert_eq!(*name, "0002_chat_agents");
        assert!(rows.iter().any(|row| row == named), "{rows:?} does not name: {named}");
        assert!(error.to_string().contains(named));
        assert!(content(&path) == before, "changed after: {named}");
        assert_eq!(migrate::schema(&peek(&path)).unwrap(), 1);
        // And again: a refusal is no half-made upgrade.
        assert!(matches!(Store::open(&path), Err(OpenError::Refused { .. })));
    }
}

#[test]
fn the_gate_refuses_a_row_that_refers_to_nothing() {
    let dir = TempDir::new().unwrap();
    let path = old_file(&dir, "UPDATE turns SET task_id = 't-gone'");
    let Err(OpenError::Refused { rows, .. }) = Store::open(&path) else { panic!("opened") };
    assert!(rows.iter().any(|row| row.ends_with("of turns refers to nothing in tasks")), "{rows:?}");
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("hob.db");
    peek(&path).execute_batch("CREATE TABLE later (a); PRAGMA user_version = 99").unwrap();
    let before = content(&path);
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 99, known: migrate::SCHEMA }), "{error:?}");
    assert_eq!(content(&path), before);
}

#[test]
fn something_that_is_no_database_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("hob.db");
    std::fs::write(&path, "not a database, and long enough that nobody could take it for an empty one")
        .unwrap();
    assert!(matches!(Store::open(&path), Err(OpenError::Damaged { .. })));
}

#[tokio::test]
async fn every_table_is_strict() {
    let stage = Stage::set().await;
    let sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND strict = 0
               AND name NOT LIKE 'sqlite_%'";
    assert!(rows_of(&peek(&stage.path()), sql).is_empty());
}

#[tokio::test]
async fn the_database_its_log_and_its_copy_are_for_their_owner_alone() {
    let mode = |path: &Path| {
        let found = std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o777
    };
    let stage = Stage::set().await;
    for name in ["hob.db", "hob.db-wal", "hob.db-shm"] {
        assert_eq!(mode(&stage.dir.path().join(name)), 0o600, "{name}");
    }
    let dir = TempDir::new().unwrap();
    let store = Store::open(&old_file(&dir, "")).unwrap();
    assert_eq!(mode(&dir.path().join("hob.db.schema-1.bak")), 0o600);
    drop(store);
}

#[tokio::test]
async fn requests_of_before_are_the_persons_and_bar_nobody_elses() {
    let dir = TempDir::new().unwrap();
    let path = old_file(
        &dir,
        "UPDATE tasks SET request_id = 'r' WHERE id = 't-1';
         INSERT INTO arenas (id, request_id, repo, prompt, created_at) VALUES
            ('a-9', 'r', '/repo', 'x', 1), ('a-1', NULL, '/repo', 'x', 1), ('a-5', NULL, '/repo', 'x', 1);",
    );
    let store = Store::open(&path).unwrap();
    let of = |owner| Request { owner, id: "r".to_owned() };
    let family = || Owner::Family("t-1".to_owned());
    let task = async |owner| store.task_of_request(&of(owner)).await.unwrap().map(|task| task.id);
    let arena = async |owner| store.arena_of_request(&of(owner)).await.unwrap();
    assert_eq!(task(Owner::Person).await.as_deref(), Some("t-1"));
    assert_eq!(arena(Owner::Person).await.as_deref(), Some("a-9"));
    assert_eq!((task(family()).await, arena(family()).await), (None, None));
    let new = NewTask { request: Some(of(family())), ..prompt_to("c-late", "x") };
    assert!(store.submit(new).await.unwrap().fresh);
    let ids: Vec<String> = store.arenas().await.unwrap().into_iter().map(|arena| arena.id).collect();
    assert_eq!(ids, ["a-9", "a-1", "a-5"], "of one moment, in the order in which they were made");
}

#[tokio::test]
async fn sessions_of_before_are_used_last_where_the_person_prompted_last() {
    let dir = TempDir::new().unwrap();
    let path = old_file(
        &dir,
        "UPDATE sessions SET state = 'open';
         INSERT INTO tasks (num, id, session_id, agent, state, source, parent, prompt, created_at) VALUES
            (9, 't-9', 's-two', 'goose', 'queued', 'mcp', 't-1', 'delegated', 900);",
    );
    let store = Store::open(&path).unwrap();
    let mut found = Vec::new();
    while let Some(row) = store.last_used_session("/repo").await.unwrap() {
        store.close_session(&row.id).await.unwrap();
        found.push(row.id);
    }
    assert_eq!(found, ["s-shut", "s-none", "s-two"]);
}

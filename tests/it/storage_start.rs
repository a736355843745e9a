//! What a daemon finds when it opens its database: no room, a file system that takes nothing, a
//! newer schema, a damaged page. It says what is wrong and what can be done, and changes nothing.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::Connection;
use serde_json::json;

use crate::support::daemon::TestDaemon;
use crate::support::demo::{DEMO, big, say};
use crate::support::home::{Home, Ran, Setup};
use crate::support::namespace::{Disk, is_inside};
use crate::support::wait::within;

const PAGE_BYTES: u64 = 4096;

/// The schema that the oldest release made.
const FIRST_SCHEMA: &str = include_str!("../../migrations/0001_first.sql");

/// Events in a database of that schema: a few megabytes.
const OLD_EVENTS: i64 = 10_000;

fn start_in_vain(home: &Home) -> Ran {
    // One that starts after all ends at once.
    Ran::of(home.command(env!("CARGO_BIN_EXE_hobd")).arg("--exit-with-stdin").output().unwrap())
}

fn database(home: &Home) -> std::path::PathBuf {
    home.hob_home().join("hob.db")
}

fn integrity(path: &Path) -> String {
    Connection::open(path).unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

/// A database of the first schema with a session, a queued task and many events.
fn old_database(path: &Path) {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA journal_mode = WAL;").unwrap();
    conn.execute_batch(FIRST_SCHEMA).unwrap();
    conn.execute_batch(
        "INSERT INTO sessions (id, repo, state, created_at) VALUES ('s-old', '/repo', 'closed', 100);
         INSERT INTO tasks (num, id, session_id, agent, state, source, prompt, created_at)
             VALUES (1, 't-old', 's-old', 'demo', 'completed', 'api', 'one', 140);
         PRAGMA user_version = 1;",
    )
    .unwrap();
    let insert = "WITH RECURSIVE n (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < ?1)
        INSERT INTO events (seq, at, session_id, task_id, type, payload)
        SELECT seq, 140, 's-old', 't-old', 'text', '{\"text\":\"' || hex(randomblob(100)) || '\"}' FROM n";
    conn.execute(insert, [OLD_EVENTS - 1]).unwrap();
    let end = "INSERT INTO events (seq, at, session_id, task_id, type, payload)
        VALUES (?1, 150, 's-old', 't-old', 'task_state', '{\"from\":\"running\",\"to\":\"completed\"}')";
    conn.execute(end, [OLD_EVENTS]).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

/// Everything that the file held is there, in the schema that it had, or in one that it was brought to
/// whole before the room ended.
#[track_caller]
fn is_as_it_was(path: &Path) {
    let conn = Connection::open(path).unwrap();
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert!(number("PRAGMA user_version") >= 1);
    assert_eq!(number("SELECT count(*) FROM events"), OLD_EVENTS);
    assert_eq!(number("SELECT count(*) FROM tasks"), 1);
    drop(conn);
    assert_eq!(integrity(path), "ok");
}

#[test]
fn a_disk_that_fills_up_in_a_migration_leaves_the_old_database_and_the_next_start_goes_on() {
    if !is_inside(
        "storage_start::a_disk_that_fills_up_in_a_migration_leaves_the_old_database_and_the_next_start_goes_on",
    ) {
        return;
    }
    let home = Setup::new().home();
    let path = database(&home);
    old_database(&path);
    let at = home.hob_home();
    let disk = Disk::mount(&at, 64 << 10);
    let size = fs::metadata(&path).unwrap().len();
    // First there is no room for the copy, then for less and less of the migration itself.
    let mut refused = 0;
    for room in (0..).map(|n| n * size / 8) {
        disk.fill(room);
        let room_before = disk.free();
        let ran = start_in_vain(&home);
        if ran.code == Some(0) {
            break;
        }
        refused += 1;
        assert!(room < 16 * size, "it never fits: {ran:?}");
        let ran = ran.exit(1).says(&["hint: df -h"]);
        assert!(
            ran.stderr.contains("hob.") && (ran.stderr.contains("full") || ran.stderr.contains("No space")),
            "{ran:?}"
        );
        let left = fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().file_name());
        let halves: Vec<_> = left.filter(|name| name.to_string_lossy().ends_with(".new")).collect();
        assert!(halves.is_empty(), "{halves:?}");
        let kept = room_before.saturating_sub(disk.free());
        assert!(kept <= size + (1 << 20), "{kept} bytes of a failed start are left");
        disk.clear();
        is_as_it_was(&path);
    }
    assert!(refused >= 3, "{refused} refusals");
    let _ = fs::remove_file(at.join("filler"));
    let daemon = TestDaemon::start(home);
    assert_eq!(daemon.events(json!({})).len() as i64, OLD_EVENTS);
    assert_eq!(daemon.ask(&daemon.lone_chat(), DEMO, &say("after")), "after");
}

#[test]
fn a_daemon_does_not_start_on_a_file_system_that_is_read_only() {
    if !is_inside("storage_start::a_daemon_does_not_start_on_a_file_system_that_is_read_only") {
        return;
    }
    let home = Setup::new().home();
    let at = home.hob_home();
    let disk = Disk::mount(&at, 8 << 10);
    disk.set_read_only(true);
    let directory = at.to_str().unwrap();
    start_in_vain(&home).exit(1).says(&["error: ", directory, "Read-only file system"]);
    let ran = home.hob(&["up"]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    ran.says(&["Read-only file system"]);
    disk.set_read_only(false);
    let mut daemon = TestDaemon::start(home);
    daemon.stop();
    // The same with a database that is there already.
    disk.set_read_only(true);
    start_in_vain(&daemon).exit(1).says(&["error: ", directory, "Read-only file system"]);
    disk.set_read_only(false);
    daemon.start_again();
}

#[test]
fn a_newer_schema_is_refused_and_the_file_is_not_touched() {
    let mut daemon = Setup::new().start();
    daemon.ask(&daemon.lone_chat(), DEMO, &say("here"));
    daemon.stop();
    let path = database(&daemon);
    let conn = Connection::open(&path).unwrap();
    let known: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    conn.close().unwrap();
    let before = fs::read(&path).unwrap();
    let ran = start_in_vain(&daemon).exit(1).says(&["hob.db", "schema 99", "newer program"]);
    assert!(ran.stderr.contains(&format!("up to {known}")), "{ran:?}");
    daemon.hob(&["up"]).exit(1).says(&["schema 99"]);
    assert!(fs::read(&path).unwrap() == before, "not a byte is changed");
    assert!(!daemon.socket().exists());
}

/// A stopped daemon with some hundred tasks and some hundred events.
fn full_of_history() -> TestDaemon {
    let mut daemon = Setup::new().start();
    let (chat, held) = (daemon.lone_chat(), daemon.lone_chat());
    daemon.ask(&chat, DEMO, &big(1024));
    daemon.rpc("task/hold", json!({"chat": held}));
    let prompt = say(&"x".repeat(1000));
    for _ in 0..100 {
        daemon.submit(&held, DEMO, &prompt);
    }
    daemon.stop();
    daemon
}

/// Writes noise over a leaf in the middle of a table.
fn damage(path: &Path, table: &str) {
    let conn = Connection::open(path).unwrap();
    let leaves = "SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = 'leaf' ORDER BY path";
    let mut statement = conn.prepare(leaves).unwrap();
    let pages: Vec<u32> =
        statement.query_map([table], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(pages.len() >= 3, "{pages:?}");
    drop(statement);
    conn.close().unwrap();
    let noise: Vec<u8> = (0..PAGE_BYTES).map(|n| (n * 31 % 251) as u8 | 0x80).collect();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&noise, u64::from(pages[pages.len() / 2] - 1) * PAGE_BYTES).unwrap();
}

#[test]
fn a_damaged_table_of_the_state_is_found_at_the_start() {
    let daemon = full_of_history();
    let path = database(&daemon);
    damage(&path, "tasks");
    let before = fs::read(&path).unwrap();
    start_in_vain(&daemon).exit(1).says(&[path.to_str().unwrap(), "damaged", "tasks", "hint: ", ".recover"]);
    daemon.hob(&["up"]).exit(1).says(&["damaged"]);
    assert!(fs::read(&path).unwrap() == before, "what can be saved is not touched");
}

#[test]
fn what_is_no_database_is_called_so() {
    let home = Setup::new().home();
    let path = database(&home);
    fs::write(&path, "something else altogether, and long enough to be looked at ".repeat(100)).unwrap();
    start_in_vain(&home).exit(1).says(&[path.to_str().unwrap(), "not a database", "hint: "]);
}

#[test]
fn a_damaged_page_of_the_journal_ends_the_daemon_when_it_is_read() {
    let mut daemon = full_of_history();
    damage(&database(&daemon), "events");
    daemon.start_again();
    // The newest is whole, so there is something to be read.
    let mut client = daemon.connect();
    let subscribed = client.call("events/subscribe", json!({"after": 0}));
    if subscribed.is_ok() {
        while client.next_event().is_some() {}
    }
    let status = daemon.wait_end(crate::support::wait::PATIENCE);
    let log = daemon.log();
    assert_eq!(status.code(), Some(1), "{log}");
    let path = database(&daemon);
    let last_words = log.lines().rfind(|line| line.starts_with("error: ")).unwrap_or_default();
    assert!(last_words.contains(path.to_str().unwrap()) && last_words.contains("damaged"), "{log}");
    assert!(log.contains(".recover"), "{log}");
    daemon.wait_nothing_left();
}

#[test]
fn a_database_that_another_program_holds_for_ten_seconds_is_waited_for() {
    let daemon = Setup::new().start();
    let chat = daemon.lone_chat();
    let told = daemon.submit(&chat, DEMO, "slow: 1000 5");
    daemon.wait_event(&told, "text");
    let conn = Connection::open(database(&daemon)).unwrap();
    conn.busy_timeout(crate::support::wait::PATIENCE).unwrap();
    conn.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let taken = std::time::Instant::now();

    let mut answers = Vec::new();
    while taken.elapsed() < std::time::Duration::from_secs(10) {
        let name = format!("r-{}", answers.len());
        let params = json!({"chat": chat, "agent": DEMO, "prompt": say(&name), "request_id": name});
        let answer = daemon.try_rpc("task/submit", params);
        let error = answer.expect_err("nobody can write now");
        assert_eq!((error.kind.as_str(), &error.data["retryable"]), ("overloaded", &json!(true)), "{error}");
        assert!(error.message.contains("another program"), "{error}");
        let why = daemon.rpc("daemon/status", json!({}))["degraded"].clone();
        assert!(why.is_string(), "{why}");
        answers.push(name);
    }
    conn.execute_batch("ROLLBACK").unwrap();
    within(crate::support::wait::PATIENCE, "the daemon to recover", || {
        daemon.rpc("daemon/status", json!({}))["degraded"].is_null().then_some(())
    });
    for name in answers {
        let params = json!({"chat": chat, "agent": DEMO, "prompt": say(&name), "request_id": name});
        let task = daemon.rpc("task/submit", params);
        assert_eq!(daemon.wait_task(task["id"].as_str().unwrap())["text"], name);
    }
    let row = daemon.wait_task(&told);
    assert_eq!(row["state"], "completed", "{row:#}");
    let texts = daemon.events(json!({"task": told, "types": ["text"]}));
    let all: String = texts.iter().filter_map(|event| event["text"].as_str()).collect();
    assert_eq!(all.split_whitespace().count(), 1000);
}

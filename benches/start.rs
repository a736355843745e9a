//! How long a daemon takes from its start to its first answer when it has a long past, against one
//! that has none.
//!
//! Its start looks at every table but the journal (`src/store/check.rs`); what that takes by itself,
//! and what the journal would take, is measured on the same file. The past is in the cache of the
//! system as a rule; once it is not.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use tempfile::TempDir;

use crate::support::daemon::{Daemon, home_in};
use crate::support::pairs::Pairs;
use crate::support::say;

/// How long the past is.
#[derive(Debug, Clone, Copy)]
pub struct Past {
    /// Sessions, each with a worktree, a chat, an agent session and its process.
    pub n_sessions: i64,
    /// Tasks of each, each with its turn.
    pub n_tasks: i64,
    /// Events of each task.
    pub n_events: i64,
}

/// 10,000 sessions and 1,000,000 events.
pub const WHOLE: Past = Past { n_sessions: 10_000, n_tasks: 2, n_events: 50 };

/// To see that it works.
pub const SMALL: Past = Past { n_sessions: 20, n_tasks: 2, n_events: 50 };

/// Bytes of a prompt, and of what was answered.
const PROMPT_BYTES: usize = 200;
const ANSWER_BYTES: usize = 2000;

/// Starts whose files are not in the cache.
const COLD: usize = 5;

/// Runs it.
pub fn run(criterion: &mut Criterion, past: Past) {
    let mut group = criterion.benchmark_group("start");
    group.measurement_time(Duration::from_secs(20)).sample_size(20).sampling_mode(SamplingMode::Flat);
    let mut bench = None;
    let (mut starts, mut calls, mut cold) = <(Pairs, Pairs, Pairs)>::default();
    group.bench_function("with a past", |bencher| {
        let bench: &mut Bench = bench.get_or_insert_with(|| Bench::fill(past));
        bencher.iter_custom(|rounds| {
            let round = |_| {
                let (ours, empty) = (first_answers(&bench.full), first_answers(&bench.empty));
                starts.push(ours.0, empty.0);
                calls.push(ours.1, empty.1);
                ours.0
            };
            (0..rounds).map(round).sum()
        });
    });
    group.finish();
    let Some(bench) = bench else { return };
    for _ in 0..COLD {
        forget_cached(bench.full.path());
        let ours = first_answers(&bench.full).0;
        cold.push(ours, first_answers(&bench.empty).0);
    }
    let Past { n_sessions, n_tasks, n_events } = past;
    let what = format!("{n_sessions} sessions and {} events", n_sessions * n_tasks * n_events);
    starts.report(&format!("from exec to the first answer, {what}"), "with nothing");
    calls.report(&format!("the first daemon/status, {what}"), "with nothing");
    cold.report(&format!("from exec to the first answer, {what}, not cached"), "with nothing, cached");
    bench.report_check();
}

/// From the start of a daemon to its first answer, and how long its first `daemon/status` takes.
fn first_answers(home: &Rc<TempDir>) -> (Duration, Duration) {
    let (daemon, hello) = Daemon::start_timed(home);
    let mut client = daemon.connect();
    let begin = Instant::now();
    client.call("daemon/status", json!({}));
    (hello, begin.elapsed())
}

/// Makes the system read the files from the disk again. Nobody has them open.
fn forget_cached(home: &Path) {
    let file = File::open(home.join("hob.db")).unwrap();
    file.sync_all().unwrap();
    posix_fadvise(file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
}

struct Bench {
    full: Rc<TempDir>,
    empty: Rc<TempDir>,
}

impl Bench {
    fn fill(past: Past) -> Self {
        let [full, empty] = [(), ()].map(|()| home_in(&std::env::temp_dir(), ""));
        // They make the tables.
        for home in [&full, &empty] {
            drop(Daemon::start_timed(home));
        }
        let begin = Instant::now();
        fill(&full.path().join("hob.db"), past);
        say(&format!("  the past was written in {:.1} s", begin.elapsed().as_secs_f64()));
        Self { full, empty }
    }

    /// Says how long it takes to look at the tables as the start of a daemon does, and at the journal.
    fn report_check(&self) {
        let path = self.full.path().join("hob.db");
        let conn = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut tables =
            conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
        let tables = tables.query_map([], |row| row.get::<_, String>(0)).unwrap();
        let mut times: Vec<(String, f64)> = tables
            .map(|table| {
                let table = table.unwrap();
                let begin = Instant::now();
                let check = |row: &rusqlite::Row<'_>| {
                    assert_eq!(row.get::<_, String>(0)?, "ok");
                    Ok(())
                };
                conn.pragma(None, "quick_check", &table, check).unwrap();
                (table, begin.elapsed().as_secs_f64() * 1e3)
            })
            .collect();
        times.sort_by(|one, other| other.1.total_cmp(&one.1));
        let journal: f64 = times.iter().filter(|(table, _)| table == "events").map(|(_, time)| time).sum();
        let all: f64 = times.iter().map(|(_, time)| time).sum();
        let named: Vec<_> = times.iter().filter(|(_, time)| *time >= 0.5).collect();
        say(&format!(
            "  quick_check of all tables but the journal {:.1} ms, of the journal {journal:.1} ms",
            all - journal
        ));
        let named: Vec<_> = named.iter().map(|(table, time)| format!("{table} {time:.1} ms")).collect();
        let megabytes = std::fs::metadata(&path).unwrap().len() as f64 / 1e6;
        say(&format!("  each by itself: {}; the file has {megabytes:.0} MB", named.join(", ")));
    }
}

/// Writes a past as a daemon would have left it, by SQL: through the daemon it would take hours.
fn fill(database: &Path, Past { n_sessions, n_tasks, n_events }: Past) {
    let mut conn = Connection::open(database).unwrap();
    conn.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    let transaction = conn.transaction().unwrap();
    let run = |sql: String| transaction.execute_batch(&sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    let count = |n: i64| {
        format!("WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {n})")
    };
    let sessions = count(n_sessions);
    let tasks = count(n_sessions * n_tasks);
    // One second between two tasks, the last of them not long ago.
    let at = "1790000000000 + i * 1000";
    run(format!(
        "{sessions} INSERT INTO sessions (id, repo, title, state, created_at)
         SELECT 's-' || i, '/home/user/src/project', 'Session ' || i, 'open', {at} FROM n"
    ));
    run(format!(
        "{sessions} INSERT INTO worktrees (id, session_id, repo, path, branch, base_commit, common_dir,
                                           device, inode, state, created_at)
         SELECT 'w-' || i, 's-' || i, '/home/user/src/project', '/home/user/.local/state/hob/worktrees/w-' || i,
                'hob/w-' || i, hex(randomblob(20)), '/home/user/src/project/.git', 1, i, 'active', {at} FROM n"
    ));
    run(format!(
        "{sessions} INSERT INTO chats (id, session_id, created_at) SELECT 'c-' || i, 's-' || i, {at} FROM n"
    ));
    run(format!(
        "{sessions} INSERT INTO agent_sessions (chat_id, agent, session_id, worktree_id, status, generation,
                                                backend_session, has_history, context, config_hash, created_at)
         SELECT 'c-' || i, 'demo', 's-' || i, 'w-' || i, 'evicted', 1, hex(randomblob(16)), 1, 'new',
                hex(randomblob(32)), {at} FROM n"
    ));
    run(format!(
        "{sessions} INSERT INTO processes (attempt, label, agent, chat_id, created_at, pid, start_time, boot_id,
                                           agent_pid, agent_start_time, ended_at, detail)
         SELECT i + 1, 'demo', 'demo', 'c-' || i, {at}, 1000, 1000, hex(randomblob(16)), 1001, 1001, {at}, 'stopped' FROM n"
    ));
    run("INSERT INTO meta (key, value) SELECT 'attempt', max(attempt) FROM processes WHERE true
         ON CONFLICT DO UPDATE SET value = excluded.value"
        .to_owned());
    run(format!(
        "{tasks} INSERT INTO tasks (num, id, chat_id, agent, state, source, backend, prompt, generation, created_at,
                                    started_at, ended_at, stop_reason, text)
         SELECT i + 1, 't-' || i, 'c-' || (i / {n_tasks}), 'demo', 'completed', 'chat', 'acp',
                hex(randomblob({PROMPT_BYTES} / 2)), 1, {at}, {at}, {at}, 'end_turn', hex(randomblob({ANSWER_BYTES} / 2)) FROM n"
    ));
    run(format!(
        "{tasks} INSERT INTO turns (id, task_id, attempt, generation, context, started_at, ended_at, outcome,
                                    stop_reason, duration_ms, first_token_ms, input, output)
         SELECT 'u-' || i, 't-' || i, 1, 1, 'new', {at}, {at}, 'completed', 'end_turn', 900, 100, 1000, 500 FROM n"
    ));
    run(format!(
        "{} INSERT INTO events (seq, at, session_id, chat_id, agent, generation, task_id, turn_id, type, payload)
         SELECT i + 1, 1790000000000 + i * 20, 's-' || (i / {n_events} / {n_tasks}), 'c-' || (i / {n_events} / {n_tasks}),
                'demo', 1, 't-' || (i / {n_events}), 'u-' || (i / {n_events}), 'text',
                json_object('text', hex(randomblob({ANSWER_BYTES} / {n_events} / 2)), 'message', 'm-' || (i / {n_events})) FROM n",
        count(n_sessions * n_tasks * n_events)
    ));
    transaction.commit().unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

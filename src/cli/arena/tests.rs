//! How arenas look in a terminal.

use super::*;
use crate::cli::render::plain;
use crate::control::wire::{OutcomeRow, UsageRow};

fn entry(agent: &str, state: &str) -> ArenaEntryRow {
    ArenaEntryRow {
        agent: agent.into(),
        session: Some(format!("s-{agent}")),
        chat: Some("c-1".into()),
        task: Some("t-1".into()),
        worktree: Some("w-1".into()),
        state: state.into(),
        waiting: None,
        outcome: None,
        text: None,
        duration_ms: Some(4_250),
        usage: UsageRow { input: Some(700), output: Some(30), ..UsageRow::default() },
        files: Some(2),
        insertions: Some(12),
        deletions: Some(3),
        check: None,
    }
}

fn check(state: &str, exit_code: Option<i32>, output: &str) -> Option<CheckRow> {
    Some(CheckRow { state: state.into(), exit_code, output: Some(output.into()), duration_ms: Some(9) })
}

fn arena() -> ArenaRow {
    ArenaRow {
        id: "a-ab12cd34".into(),
        repo: "/home/me/repo".into(),
        base_commit: Some("0123456789abcdef0123456789abcdef01234567".into()),
        prompt: "make it\nfaster".into(),
        carry_changes: true,
        check: Some("cargo test".into()),
        state: "open".into(),
        winner: None,
        request_id: None,
        parent: None,
        created_at: Moment(0),
        closed_at: None,
        entries: vec![
            ArenaEntryRow { check: check("passed", Some(0), "ok"), ..entry("goose", "completed") },
            ArenaEntryRow { check: check("failed", Some(101), "one\ntwo"), ..entry("qwen", "completed") },
            ArenaEntryRow {
                usage: UsageRow::default(),
                duration_ms: None,
                check: check("skipped", None, ""),
                outcome: Some(OutcomeRow {
                    stop_reason: None,
                    error: Some("no such model".into()),
                    fault: None,
                }),
                ..entry("opencode", "failed")
            },
        ],
    }
}

#[test]
fn entries_stand_side_by_side_and_say_what_went_wrong() {
    insta::assert_snapshot!(plain(&whole(&arena())), @"
    arena     a-ab12cd34
    state     open
    checkout  /home/me/repo
    from      0123456789ab with uncommitted changes
    check     cargo test
    prompt    make it⏎faster

    AGENT     STATE      TIME  FILES  LINES   CHECK         USAGE            SESSION
    goose     completed  4.2s      2  +12 -3  passed        700 in · 30 out  s-goose
    qwen      completed  4.2s      2  +12 -3  failed (101)  700 in · 30 out  s-qwen
    opencode  failed     -         2  +12 -3  skipped       -                s-opencode

    qwen: the check failed (101)
      one
      two

    opencode: no such model
    ");
}

#[test]
fn progress_is_a_line_with_where_an_entry_stands() {
    let queued = ArenaEntryRow { waiting: Some("slot".into()), ..entry("goose", "queued") };
    let checking = ArenaEntryRow { check: check("running", None, ""), ..entry("goose", "completed") };
    let working = ArenaEntryRow { check: check("waiting", None, ""), ..entry("goose", "running") };
    let lines = [queued, working, checking].map(|entry| plain(&progress(&entry)));
    assert_eq!(lines, ["goose: queued (slot)", "goose: running", "goose: completed, check running"]);
}

#[test]
fn arenas_are_a_table() {
    insta::assert_snapshot!(plain(&list(&[arena()], Moment(5_000))), @"
    ARENA       STATE  AGENTS               WINNER  STARTED  PROMPT
    a-ab12cd34  open   goose qwen opencode  -       5s ago   make it⏎faster
    ");
}

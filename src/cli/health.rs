//! `hob health`: how the processes of agents are, and what went wrong with those before them.

use clap::Args;
use serde_json::json;

use super::Outcome;
use super::context::Ctx;
use super::error::Exit;
use super::render::{BAD, DIM, GOOD, WARN, duration, one_line, or_nothing, paint, table};
use crate::control::wire::{HealthRow, Moment};

/// The lines of complaints that are shown of each process.
const TAIL_LINES_MAX: usize = 5;
/// The longest line of complaints that is shown whole, in characters.
const TAIL_WIDTH_MAX: usize = 160;
/// The longest reason that is shown whole, in characters.
const REASON_WIDTH_MAX: usize = 100;

/// Arguments of `hob health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Show the last complaints of those that are well, too
    #[arg(long, short = 'v')]
    pub all: bool,
}

/// Prints the table, with the last complaints of those that are not well.
pub async fn run(ctx: &mut Ctx, args: &HealthArgs) -> Outcome {
    let rows = ctx.link().await?.raw("health/list", json!({})).await?;
    let now = Moment::now();
    ctx.show(&rows, |rows: Vec<HealthRow>| render(&rows, args.all, now))?;
    Ok(Exit::Done)
}

/// The table; below a row that is not well, or any with `all`, what it complained last.
fn render(rows: &[HealthRow], all: bool, now: Moment) -> String {
    let header =
        ["CHAT", "AGENT", "STATUS", "HEALTH", "SINCE", "PID", "FAILURES", "RESTARTS", "LAST TROUBLE"];
    let cells = |row: &HealthRow| {
        vec![
            row.chat.clone(),
            row.agent.clone(),
            row.status.clone(),
            or_nothing(row.state.as_deref()),
            or_nothing(row.since.map(|since| ago(since, now))),
            or_nothing(row.pid),
            row.failures.to_string(),
            row.restarts.to_string(),
            or_nothing(trouble(row, now)),
        ]
    };
    let table = table(&header, &[6, 7], rows.iter().map(cells).collect());
    let mut lines = table.lines();
    let mut text = format!("{}\n", lines.next().unwrap_or_default());
    for (line, row) in lines.zip(rows) {
        text.push_str(&coloured(line, row));
        text.push('\n');
        if all || !is_well(row) {
            text.push_str(&complaints(row));
        }
    }
    text
}

fn is_well(row: &HealthRow) -> bool {
    matches!(row.status.as_str(), "starting" | "idle" | "busy" | "evicted")
        && row.state.as_deref().is_none_or(|state| state == "healthy")
}

/// The word for its health stands out in its line.
fn coloured(line: &str, row: &HealthRow) -> String {
    let word = row.state.as_deref().filter(|_| row.status != "crashed").unwrap_or(&row.status);
    let style = match word {
        "healthy" => GOOD,
        "suspect" | "stale_busy" | "restarting" | "backoff" => WARN,
        "crashed" | "circuit_open" => BAD,
        _ => return line.to_owned(),
    };
    line.replacen(&format!(" {word}"), &format!(" {}", paint(style, word)), 1)
}

fn ago(at: Moment, now: Moment) -> String {
    duration(u64::try_from(now.0.saturating_sub(at.0)).unwrap_or(0))
}

/// What went wrong last: of a process that fails now, the failure; else how the last one ended.
fn trouble(row: &HealthRow, now: Moment) -> Option<String> {
    let failure = row.last_failure.as_ref();
    let now_failing = failure.filter(|_| row.failures > 0 && row.state.is_some());
    let ended_at = row.last_exit.as_ref().and_then(|exit| exit.at);
    let (words, at) = match (now_failing, &row.reason, failure) {
        (Some(failure), _, _) | (None, None, Some(failure)) => (&failure.message, Some(failure.at)),
        (None, Some(reason), _) => (reason, ended_at),
        (None, None, None) => return None,
    };
    let mut text = one_line(words, REASON_WIDTH_MAX);
    if let Some(ms) = row.retry_in_ms {
        text.push_str(&format!(", again in {}", duration(ms)));
    } else if let Some(at) = at {
        text.push_str(&format!(", {} ago", ago(at, now)));
    }
    Some(text)
}

fn complaints(row: &HealthRow) -> String {
    let lines: Vec<_> = row.stderr_tail.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES_MAX)..];
    last.iter().map(|line| format!("    {DIM}{}{DIM:#}\n", one_line(line, TAIL_WIDTH_MAX))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::render::plain;
    use super::*;
    use crate::control::wire::{ExitRow, FailureRow};

    const NOW: Moment = Moment(1_000_000);

    fn healthy(chat: &str) -> HealthRow {
        HealthRow {
            chat: chat.into(),
            agent: "goose".into(),
            session: "s-1".into(),
            status: "idle".into(),
            generation: 1,
            pid: Some(4711),
            state: Some("healthy".into()),
            since: Some(Moment(880_000)),
            failures: 0,
            last_failure: None,
            restarts: 0,
            reason: None,
            retry_in_ms: None,
            last_exit: None,
            stderr_tail: "a warning\n".into(),
        }
    }

    fn rows() -> Vec<HealthRow> {
        let failure = FailureRow {
            class: "timed_out".into(),
            message: "no answer within 5s".into(),
            at: Moment(985_000),
        };
        let exit = ExitRow {
            code: None,
            signal: Some(9),
            detail: "killed by SIGKILL".into(),
            stderr_tail: String::new(),
            at: Some(Moment(940_000)),
        };
        let suspect = HealthRow {
            status: "busy".into(),
            state: Some("stale_busy".into()),
            failures: 9,
            last_failure: Some(failure.clone()),
            stderr_tail: (1..=7).map(|n| format!("line {n}\n\n")).collect(),
            ..healthy("c-suspect1")
        };
        let recovered = HealthRow {
            last_failure: Some(failure),
            restarts: 1,
            reason: Some("8 probes in a row were not answered".into()),
            last_exit: Some(exit),
            ..healthy("c-recover")
        };
        let gone = HealthRow {
            status: "circuit_open".into(),
            pid: None,
            state: None,
            since: None,
            reason: Some("it failed 5 times within 1m".into()),
            retry_in_ms: Some(250_000),
            stderr_tail: "no licence\u{1b}[31m".into(),
            ..healthy("c-gone")
        };
        vec![healthy("c-well"), suspect, recovered, gone]
    }

    #[test]
    fn those_that_are_not_well_show_their_last_complaints() {
        insta::assert_snapshot!(plain(&render(&rows(), false, NOW)), @"
        CHAT        AGENT  STATUS        HEALTH      SINCE  PID   FAILURES  RESTARTS  LAST TROUBLE
        c-well      goose  idle          healthy     2m     4711         0         0  -
        c-suspect1  goose  busy          stale_busy  2m     4711         9         0  no answer within 5s, 15.0s ago
            line 3
            line 4
            line 5
            line 6
            line 7
        c-recover   goose  idle          healthy     2m     4711         0         1  8 probes in a row were not answered, 1m ago
        c-gone      goose  circuit_open  -           -      -            0         0  it failed 5 times within 1m, again in 4m 10s
            no licence␛[31m
        ");
    }

    #[test]
    fn all_of_them_show_theirs_when_asked() {
        let text = plain(&render(&rows(), true, NOW));
        assert_eq!(text.matches("    a warning\n").count(), 2);
    }

    #[test]
    fn nothing_runs_and_nothing_failed() {
        assert_eq!(plain(&render(&[], false, NOW)).lines().count(), 1);
    }
}

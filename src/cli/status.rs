//! `hob status`: says whether a daemon runs, and how it is. It never starts one.

use std::fmt::Write;

use clap::Args;
use serde_json::{Value, json};

use super::Outcome;
use super::context::Ctx;
use super::error::Exit;
use super::render::{duration, facts, size};

/// Arguments of `hob status`.
#[derive(Debug, Args)]
pub struct StatusArgs {}

/// Exit 3 where no daemon runs.
pub async fn run(ctx: &mut Ctx, _args: &StatusArgs) -> Outcome {
    let link = ctx.link_to_holder().await?;
    let answer = link.raw("daemon/status", json!({})).await?;
    let socket = link.socket.display().to_string();
    ctx.show(&answer, |status: Value| render(&status, &socket))?;
    Ok(Exit::Done)
}

/// The status as lines of name and value; what this program does not know is shown as it came.
fn render(status: &Value, socket: &str) -> String {
    let text = |pointer: &str| match status.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let number = |pointer: &str| status.pointer(pointer).and_then(Value::as_u64);
    let stopping = status.get("stopping") == Some(&Value::Bool(true));
    let mut database = text("/database/path");
    if let Some(bytes) = number("/database/size_bytes") {
        write!(database, " ({}, schema {})", size(bytes), text("/database/schema")).ok();
    }
    let warnings = status.get("warnings").and_then(Value::as_array).into_iter().flatten();
    let warnings = warnings.filter_map(Value::as_str).map(|warning| ("warning", warning.to_owned()));
    let lines = [
        ("hobd", text("/version")),
        ("pid", text("/pid")),
        ("up", number("/uptime_s").map(|s| duration(s.saturating_mul(1000))).unwrap_or_default()),
        ("stopping", if stopping { "it takes no new work".to_owned() } else { String::new() }),
        ("degraded", text("/degraded")),
        ("home", text("/home")),
        ("socket", socket.to_owned()),
        ("database", database),
        ("containment", text("/containment")),
        ("counts", pairs(status.get("counts"))),
        ("limits", pairs(status.get("limits"))),
    ];
    facts(&lines.into_iter().chain(warnings).collect::<Vec<_>>())
}

/// `{"sessions": 2, "live": 1}` as `2 sessions, 1 live`.
fn pairs(object: Option<&Value>) -> String {
    let pairs = object.and_then(Value::as_object).into_iter().flatten();
    let shown = pairs.filter(|(_, value)| !value.is_null() && !value.is_object());
    shown.map(|(name, value)| format!("{value} {name}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::render::plain;
    use super::*;

    #[test]
    fn a_status_reads_as_lines() {
        let status = json!({
            "version": "0.1.0", "pid": 4242, "uptime_s": 3725, "home": "/h", "stopping": true,
            "counts": {"sessions": 2},
            "database": {"path": "/h/hob.db", "size_bytes": 40960, "schema": 2},
            "limits": {"max_live": 12}, "warnings": ["c:1: x never matches"]
        });
        insta::assert_snapshot!(plain(&render(&status, "/h/hob.sock")), @"
        hobd      0.1.0
        pid       4242
        up        1h 2m
        stopping  it takes no new work
        home      /h
        socket    /h/hob.sock
        database  /h/hob.db (40KiB, schema 2)
        counts    2 sessions
        limits    12 max_live
        warning   c:1: x never matches
        ");
    }
}

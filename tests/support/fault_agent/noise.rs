//! What an agent writes that is no message at all.

use super::{line, raw};

/// One piece of what is written without end.
const PIECE_BYTES: usize = 64 * 1024;
/// A line that nobody should hold.
const LONG_LINE_BYTES: usize = 100 * 1024 * 1024;
/// Words of a message that is longer than what is kept of one with its task: 2 MiB.
pub(crate) const LONG_TEXT_WORDS: usize = (2 << 20) / 5;
/// Deeper than any reader goes.
const DEPTH: usize = 300;
/// What floods stderr, in all.
const STDERR_BYTES: usize = 64 * 1024 * 1024;

/// What is no message, in the middle of a turn.
pub(crate) fn make(mode: &str) {
    match mode {
        "garbage" => {
            line("[2026-11-22] INFO: this is a log line, on the wrong stream");
            line("\u{1b}[31mred\u{1b}[0m");
            line("{\"half\": ");
        }
        "invalid-utf8" => raw(b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\xfe\"}\n"),
        "batch" => line("[{\"jsonrpc\":\"2.0\",\"method\":\"x\"}]"),
        "long-line" => {
            let piece = vec![b'x'; PIECE_BYTES];
            for _ in 0..LONG_LINE_BYTES / PIECE_BYTES {
                raw(&piece);
            }
            raw(b"\n");
        }
        _ => {
            let piece = "complaint ".repeat(PIECE_BYTES / 10);
            for _ in 0..STDERR_BYTES / PIECE_BYTES {
                eprintln!("{piece}");
            }
        }
    }
}

/// Updates that are JSON, and that most readers refuse.
pub(crate) fn odd_updates() -> [String; 4] {
    let deep = format!("{}1{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    [
        format!("{{\"sessionUpdate\":\"from_the_future\",\"deep\":{deep},\"half\":\"\\udc00\"}}"),
        format!(
            "{{\"sessionUpdate\":\"tool_call\",\"toolCallId\":\"odd\",\"title\":\"\\ud83d\",\"kind\":\"edit\",\
             \"rawInput\":{{\"n\":1e400,\"deep\":{deep}}}}}"
        ),
        "{\"sessionUpdate\":\"plan\",\"entries\":[{\"content\":\"\\ud83d\",\"status\":\"pending\",\"priority\":\"low\"}]}"
            .to_owned(),
        format!("{{\"sessionUpdate\":\"usage_update\",\"used\":{},\"size\":1e999}}", "9".repeat(400)),
    ]
}

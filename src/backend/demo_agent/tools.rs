//! The tools of the built-in agent: what each step tells of itself, and the file that one writes.

use std::fs;
use std::io;
use std::path::{Component, Path};

use serde_json::{Value, json};

use super::shell::Output;

/// A file that was written.
pub(super) struct Written {
    /// What it held before, if it was there.
    pub(super) old: Option<String>,
    /// What it holds now.
    pub(super) new: String,
}

/// Writes a file below `cwd`.
///
/// # Errors
/// If the path leads out of the directory, or it cannot be written.
pub(super) fn write(cwd: &Path, path: &str, text: &str) -> io::Result<Written> {
    let inside =
        Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if path.is_empty() || !inside {
        return Err(io::Error::other(format!("{path} is not below the working directory")));
    }
    let target = cwd.join(path);
    if let Some(directory) = target.parent() {
        fs::create_dir_all(directory)?;
    }
    let old = fs::read_to_string(&target).ok();
    let new = format!("{text}\n");
    fs::write(&target, &new)?;
    Ok(Written { old, new })
}

/// The announcement of a call.
pub(super) fn call(id: &str, kind: &str, title: &str, input: &Value) -> Value {
    json!({
        "sessionUpdate": "tool_call", "toolCallId": id, "kind": kind, "title": title,
        "status": "in_progress", "rawInput": input,
    })
}

/// The end of a call that wrote a file, or could not.
pub(super) fn wrote(id: &str, path: &str, result: &io::Result<Written>) -> Value {
    match result {
        Ok(written) => json!({
            "sessionUpdate": "tool_call_update", "toolCallId": id, "status": "completed",
            "content": [{ "type": "diff", "path": path, "oldText": written.old, "newText": written.new }],
        }),
        Err(error) => failed(id, &error.to_string()),
    }
}

/// The end of a call that ran a command.
pub(super) fn ran(id: &str, output: &Output) -> Value {
    let status = if output.code == Some(0) { "completed" } else { "failed" };
    json!({
        "sessionUpdate": "tool_call_update", "toolCallId": id, "status": status,
        "content": [{ "type": "content", "content": {
            "type": "text", "text": format!("{}{}", output.stdout, output.stderr),
        }}],
        "rawOutput": { "stdout": output.stdout, "stderr": output.stderr, "exit_code": output.code },
    })
}

/// The end of a call that came to nothing.
pub(super) fn failed(id: &str, why: &str) -> Value {
    json!({
        "sessionUpdate": "tool_call_update", "toolCallId": id, "status": "failed",
        "rawOutput": { "error": why },
    })
}

/// The parameters of a permission request.
pub(super) fn question(session: &str, id: &str, title: &str) -> Value {
    let option = |kind: &str, name: &str| json!({ "optionId": kind, "name": name, "kind": kind });
    json!({
        "sessionId": session,
        "toolCall": { "toolCallId": id, "title": title, "kind": "execute", "status": "pending" },
        "options": [
            option("allow_once", "Allow"),
            option("allow_always", "Always allow"),
            option("reject_once", "Reject"),
            option("reject_always", "Always reject"),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_below_the_directory_and_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let written = write(directory.path(), "a/b.txt", "one").unwrap();
        assert_eq!((written.old, written.new.as_str()), (None, "one\n"));
        let again = write(directory.path(), "a/b.txt", "two").unwrap();
        assert_eq!(again.old.as_deref(), Some("one\n"));
        for path in ["../out.txt", "/etc/out.txt", "a/../../out.txt", ""] {
            assert!(write(directory.path(), path, "x").is_err(), "{path}");
        }
    }
}

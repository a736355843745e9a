//! What a client is told while a task runs: pure, one line for each step worth telling.

use serde_json::Value;

/// The events that are worth telling, or that are counted.
pub(super) const TYPES: [&str; 8] = [
    "task_state",
    "turn_started",
    "text",
    "tool_call",
    "plan",
    "permission_requested",
    "permission_resolved",
    "notice",
];
/// The longest line, in characters.
const LINE_CHARS_MAX: usize = 200;

/// How far a task is, as far as that was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Lines told so far: the number that only grows.
    n_told: u64,
    /// Characters of the answer so far.
    n_chars: usize,
    /// What was told of them.
    n_chars_told: usize,
    /// How the task stands.
    state: String,
}

impl Progress {
    /// Takes an event in; the number and the line to tell, if it is worth one.
    pub(super) fn take(&mut self, event: &Value) -> Option<(u64, String)> {
        let text = |key: &str| event[key].as_str().unwrap_or_default();
        let line = match text("type") {
            "task_state" => {
                self.state = text("to").to_owned();
                self.state.clone()
            }
            "turn_started" if text("context") == "reset" => {
                format!("{} began, and forgot what was said before: {}", text("agent"), text("context_lost"))
            }
            "turn_started" => format!("{} began", text("agent")),
            "tool_call" => format!("{}: {}", text("kind"), text("title")),
            "plan" => format!("a plan of {} steps", event["entries"].as_array().map_or(0, Vec::len)),
            "permission_requested" => format!("asks: {}", text("title")),
            "permission_resolved" => format!("answered by {}", text("by")),
            "notice" => text("text").to_owned(),
            "text" => {
                self.n_chars += text("text").chars().count();
                return None;
            }
            _ => return None,
        };
        Some(self.tell(&line))
    }

    /// The line for a moment at which nothing else was told.
    pub(super) fn alive(&mut self) -> (u64, String) {
        let line = if self.n_chars > self.n_chars_told {
            self.n_chars_told = self.n_chars;
            format!("{} characters written", self.n_chars)
        } else if self.state.is_empty() {
            "waiting".to_owned()
        } else {
            self.state.clone()
        };
        self.tell(&line)
    }

    /// The line for the time after the work, while it is judged.
    pub(super) fn checking(&mut self) -> (u64, String) {
        self.tell("checks run")
    }

    fn tell(&mut self, line: &str) -> (u64, String) {
        self.n_told += 1;
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        (self.n_told, line.chars().take(LINE_CHARS_MAX).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_step_is_a_line_and_text_is_counted() {
        let mut progress = Progress::default();
        assert_eq!(progress.alive(), (1, "waiting".into()));
        let cases = [
            (json!({"type": "task_state", "to": "running"}), Some("running")),
            (json!({"type": "turn_started", "agent": "goose"}), Some("goose began")),
            (json!({"type": "tool_call", "kind": "edit", "title": "a\nb"}), Some("edit: a b")),
            (json!({"type": "plan", "entries": [1, 2]}), Some("a plan of 2 steps")),
            (json!({"type": "permission_requested", "title": "rm"}), Some("asks: rm")),
            (json!({"type": "text", "text": "héllo"}), None),
            (json!({"type": "something_new"}), None),
        ];
        for (event, line) in cases {
            let told = progress.take(&event).map(|(_, line)| line);
            assert_eq!(told.as_deref(), line, "{event}");
        }
        assert_eq!(progress.alive(), (7, "5 characters written".into()));
        assert_eq!(progress.alive(), (8, "running".into()));
        assert_eq!(progress.checking(), (9, "checks run".into()));
    }

    #[test]
    fn a_line_is_short() {
        let event = json!({"type": "notice", "text": "é".repeat(5000)});
        let (_, line) = Progress::default().take(&event).expect("a line");
        assert_eq!(line.chars().count(), LINE_CHARS_MAX);
    }
}

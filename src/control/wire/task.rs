//! What the words of a task say.

use hob_actors::ports::AUTH_REQUIRED;
use serde::{Deserialize, Serialize};

/// Why a task failed that no agent worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The agent could not be started, or not soon enough.
    Unavailable,
    /// A person has to log in first.
    LogIn,
}

/// The fault of a task that ended so, with or without a turn, for that reason.
pub fn fault(state: &str, has_turn: bool, reason: &str) -> Option<Fault> {
    match (state, reason.starts_with(AUTH_REQUIRED), has_turn) {
        ("failed", true, _) => Some(Fault::LogIn),
        ("failed", false, false) => Some(Fault::Unavailable),
        _ => None,
    }
}

/// Nothing will change a task in this state any more.
pub fn is_terminal(state: &str) -> bool {
    matches!(state, "completed" | "failed" | "cancelled" | "interrupted")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hob_actors::event::TaskState;

    #[test]
    fn who_never_worked_is_no_failed_work() {
        let cases = [
            (("failed", false, "`x`: exited with code 1"), Some(Fault::Unavailable)),
            (("failed", false, "auth_required: log in"), Some(Fault::LogIn)),
            (("failed", true, "auth_required: log in"), Some(Fault::LogIn)),
            (("failed", true, "the agent refused to go on"), None),
            (("interrupted", false, ""), None),
            (("completed", true, ""), None),
            (("cancelled", false, ""), None),
        ];
        for ((state, has_turn, reason), expected) in cases {
            assert_eq!(fault(state, has_turn, reason), expected, "{state} {has_turn} {reason}");
        }
    }

    #[test]
    fn the_words_and_the_states_agree() {
        use TaskState::{Cancelled, Completed, Dispatched, Failed, Held, Interrupted, Queued, Running};
        for state in [Queued, Held, Dispatched, Running, Completed, Failed, Cancelled, Interrupted] {
            assert_eq!(is_terminal(crate::store::words::task_state(state)), state.is_terminal(), "{state:?}");
        }
    }
}

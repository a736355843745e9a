//! What the words of a task say.

/// Nothing will change a task in this state any more.
pub fn is_terminal(state: &str) -> bool {
    matches!(state, "completed" | "failed" | "cancelled" | "interrupted")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hob_actors::event::TaskState;

    #[test]
    fn the_words_and_the_states_agree() {
        use TaskState::{Cancelled, Completed, Dispatched, Failed, Held, Interrupted, Queued, Running};
        for state in [Queued, Held, Dispatched, Running, Completed, Failed, Cancelled, Interrupted] {
            assert_eq!(is_terminal(crate::store::words::task_state(state)), state.is_terminal(), "{state:?}");
        }
    }
}

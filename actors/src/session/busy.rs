//! The explicit record of what keeps an agent session from being evicted.
//!
//! A queued task is not in it: it keeps the idle timer from firing, and does not protect against
//! the cap, or two full queues would wait for each other.

use super::state::{Backend, Job, Machine};

/// What an agent session is busy with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Busy {
    /// A turn is in flight.
    pub turn: bool,
    /// A task is on its way to its turn, or its end is being recorded.
    pub dispatched: bool,
    /// A question waits for an answer.
    pub permission: bool,
    /// A connection holds a pin.
    pub pinned: bool,
    /// A start, or a start after a stop, is under way.
    pub starting: bool,
    /// Processes that run on after the turn, where they count.
    pub background: usize,
}

impl Busy {
    /// What the two machines say.
    pub fn of(machine: &Machine) -> Self {
        let starting =
            matches!(machine.backend, Backend::Starting { .. } | Backend::Stopping { again: true });
        let (turn, dispatched) = match machine.job {
            Job::None => (false, false),
            Job::Running { .. } => (true, false),
            _ => (false, true),
        };
        Self { turn, dispatched, starting, ..Self::default() }
    }

    /// Whether anything is left to do.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// The contract's words.
    pub fn words(&self) -> Vec<&'static str> {
        let all = [
            (self.turn, "turn"),
            (self.dispatched, "dispatched"),
            (self.permission, "permission"),
            (self.pinned, "pinned"),
            (self.starting, "starting"),
            (self.background > 0, "background"),
        ];
        all.into_iter().filter_map(|(is, word)| is.then_some(word)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(backend: Backend, job: Job) -> Vec<&'static str> {
        Busy::of(&Machine { backend, job, ..Machine::default() }).words()
    }

    #[test]
    fn the_machines_say_what_is_going_on() {
        let turn = Job::Running {
            task: "t-1".into(),
            turn: "u-1".into(),
            generation: crate::id::Generation(1),
            ending: None,
        };
        assert_eq!(words(Backend::Up, Job::None), [""; 0]);
        assert_eq!(words(Backend::Down, Job::None), [""; 0]);
        assert_eq!(words(Backend::Up, turn), ["turn"]);
        assert_eq!(words(Backend::Up, Job::Ending("t-1".into())), ["dispatched"]);
        assert_eq!(words(Backend::Starting { died: false }, Job::None), ["starting"]);
        assert_eq!(words(Backend::Stopping { again: true }, Job::None), ["starting"]);
    }

    #[test]
    fn whatever_is_busy_has_a_word() {
        let all = Busy {
            turn: true,
            dispatched: true,
            permission: true,
            pinned: true,
            starting: true,
            background: 2,
        };
        assert_eq!(all.words(), ["turn", "dispatched", "permission", "pinned", "starting", "background"]);
        assert!(all.any() && !Busy::default().any());
    }
}

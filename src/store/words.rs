//! The contract's words for the values of the core, both ways. Pure.

use hob_actors::event::{AgentStatus, Context, Exit, HealthState, Level, Outcome, TaskState};
use hob_actors::ports::{FailureClass, PermissionPolicy};
use nix::sys::signal::Signal;

use crate::control::wire::{ExitRow, Moment};

macro_rules! words {
    ($($(#[$doc:meta])* $to:ident / $from:ident: $type:ident { $($variant:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        pub fn $to(value: $type) -> &'static str {
            match value {
                $($type::$variant => $word,)*
            }
        }

        /// The way back; `None` for a word that is none.
        pub fn $from(word: &str) -> Option<$type> {
            match word {
                $($word => Some($type::$variant),)*
                _ => None,
            }
        }
    )*};
}

words! {
    /// `state` of a task.
    task_state / parse_task_state: TaskState {
        Queued = "queued",
        Held = "held",
        Dispatched = "dispatched",
        Running = "running",
        Completed = "completed",
        Failed = "failed",
        Cancelled = "cancelled",
        Interrupted = "interrupted",
    }
    /// `status` of an agent session.
    agent_status / parse_agent_status: AgentStatus {
        Starting = "starting",
        Idle = "idle",
        Busy = "busy",
        Evicted = "evicted",
        Crashed = "crashed",
        Backoff = "backoff",
        CircuitOpen = "circuit_open",
        Closed = "closed",
    }
    /// `state` of a server process' health.
    health / parse_health: HealthState {
        Healthy = "healthy",
        Suspect = "suspect",
        StaleBusy = "stale_busy",
        Restarting = "restarting",
    }
    /// `class` of a failed probe.
    failure / parse_failure: FailureClass {
        TimedOut = "timed_out",
        Refused = "refused",
    }
    /// `outcome` of a turn.
    outcome / parse_outcome: Outcome {
        Completed = "completed",
        Failed = "failed",
        Cancelled = "cancelled",
        Interrupted = "interrupted",
    }
    /// `context` of a turn or an agent session.
    context / parse_context: Context {
        Fresh = "fresh",
        Warm = "warm",
        Resumed = "resumed",
        Loaded = "loaded",
        Reset = "reset",
    }
    /// `permissions` of a task.
    policy / parse_policy: PermissionPolicy {
        Ask = "ask",
        Allow = "allow",
        Reject = "reject",
    }
    /// `level` of a notice.
    level / parse_level: Level {
        Info = "info",
        Warning = "warning",
        Error = "error",
    }
}

/// How a process ended, in words: `killed by SIGKILL`, `exited with code 1`.
pub fn exit_detail(code: Option<i32>, signal: Option<i32>) -> String {
    match (code, signal) {
        (_, Some(signal)) => match Signal::try_from(signal) {
            Ok(name) => format!("killed by {}", name.as_str()),
            Err(_) => format!("killed by signal {signal}"),
        },
        (Some(code), None) => format!("exited with code {code}"),
        (None, None) => "ended".to_owned(),
    }
}

/// How a process ended, as the contract shows it.
pub fn exit_row(exit: &Exit, at: Option<Moment>) -> ExitRow {
    ExitRow {
        code: exit.code,
        signal: exit.signal,
        detail: exit_detail(exit.code, exit.signal),
        stderr_tail: exit.stderr_tail.clone(),
        at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_state_survives_the_way_there_and_back() {
        for word in
            ["queued", "held", "dispatched", "running", "completed", "failed", "cancelled", "interrupted"]
        {
            assert_eq!(parse_task_state(word).map(task_state), Some(word));
        }
        assert_eq!(parse_task_state("lost"), None);
    }

    #[test]
    fn an_exit_is_told_in_words() {
        assert_eq!(exit_detail(None, Some(9)), "killed by SIGKILL");
        assert_eq!(exit_detail(Some(1), None), "exited with code 1");
        assert_eq!(exit_detail(None, Some(64)), "killed by signal 64");
        assert_eq!(exit_detail(None, None), "ended");
    }
}

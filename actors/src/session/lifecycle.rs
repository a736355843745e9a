//! Decides what an agent session does next; performs nothing.
//!
//! Two small machines, coupled here and nowhere else: the backend that may be alive, and the one
//! job that it was given. A *request* may be denied; an *observation* may not.
//!
//! ```text
//! backend   Down ──▶ Starting ──▶ Up ──▶ Stopping ──▶ Down
//!             ▲          │fails    │exits
//!             └──────────┴─────────┘
//! job       None ──▶ Waiting ──▶ Dispatching ──▶ Opening ──▶ Running ──▶ Ending ──▶ None
//!                      └─────────────┴──────────────┴─ cancelled, crashed ─▲
//! ```
//!
//! **Invariant:** a prompt is sent only by the arm that saw the turn opened on a live backend, so
//! no history sends one twice; every job that left `None` ends in exactly one `EndTurn`,
//! `EndTask` or `ReturnJob`.

use super::state::{Backend, Decision, Denied, Effect, Job, Leave, Machine, Observation, Request};
use crate::event::{AgentStatus, Outcome};
use crate::id::{TaskId, TurnId};

/// Judges a request.
pub fn request(state: &Machine, request: Request) -> Result<Decision, Denied> {
    match request {
        Request::Run { .. } if state.leaving.is_some() => Err(Denied::Leaving),
        Request::Run { .. } if state.job != Job::None => Err(Denied::Busy),
        Request::Run { task, recycle } => Ok(run(state, task, recycle)),
        Request::Cancel(task) if state.job.task() == Some(&task) => Ok(cancel(state)),
        // The task has ended meanwhile, or never came here: nothing to cancel.
        Request::Cancel(_) => Ok(state.stay()),
        Request::Leave { why, now } => Ok(leave(state, why, now)),
    }
}

fn run(state: &Machine, task: TaskId, recycle: bool) -> Decision {
    match state.backend {
        Backend::Down => state.go(Backend::Starting { died: false }, Job::Waiting(task), vec![Effect::Start]),
        Backend::Up if recycle => {
            let stop = stop(AgentStatus::Evicted, "what it was started with has changed");
            state.go(Backend::Stopping, Job::Waiting(task), vec![stop])
        }
        Backend::Up => dispatch(state, task),
        // The start, or the end, that is under way goes on to the job when it is through.
        Backend::Starting { .. } | Backend::Stopping => state.go(state.backend, Job::Waiting(task), vec![]),
    }
}

fn dispatch(state: &Machine, task: TaskId) -> Decision {
    let job = Job::Dispatching { task: task.clone(), cancelled: false };
    state.go(Backend::Up, job, vec![Effect::Dispatch(task)])
}

fn cancel(state: &Machine) -> Decision {
    let backend = state.backend;
    match state.job.clone() {
        Job::Waiting(task) => end_task(state, backend, task, Outcome::Cancelled, "cancelled before it began"),
        Job::Dispatching { task, .. } => {
            state.go(backend, Job::Dispatching { task, cancelled: true }, vec![])
        }
        Job::Opening { task, .. } => state.go(backend, Job::Opening { task, cancelled: true }, vec![]),
        Job::Running { task, turn, cancelled: false } => {
            state.go(backend, Job::Running { task, turn, cancelled: true }, vec![Effect::SendCancel])
        }
        // Already cancelled, or over.
        Job::Running { .. } | Job::Ending(_) | Job::None => state.stay(),
    }
}

fn leave(state: &Machine, why: Leave, now: bool) -> Decision {
    // A chat that is closed while the daemon stops is closed.
    let leaving = match (state.leaving, why) {
        (Some(Leave::Closed), _) | (_, Leave::Closed) => Leave::Closed,
        _ => Leave::DaemonStops,
    };
    let state = Machine { leaving: Some(leaving), ..state.clone() };
    let reason = leaving.reason();
    let (job, mut effects) = match state.job.clone() {
        Job::Waiting(task) if leaving == Leave::DaemonStops => (Job::None, vec![Effect::ReturnJob(task)]),
        Job::Waiting(task) => {
            let effect =
                Effect::EndTask { task: task.clone(), outcome: Outcome::Cancelled, reason: reason.into() };
            (Job::Ending(task), vec![effect])
        }
        Job::Dispatching { task, .. } => (Job::Dispatching { task, cancelled: true }, vec![]),
        Job::Opening { task, .. } => (Job::Opening { task, cancelled: true }, vec![]),
        Job::Running { task, turn, .. } => {
            let end = end(turn, Outcome::Cancelled, None, Some(reason.into()));
            (Job::Ending(task), vec![Effect::SendCancel, end])
        }
        job @ (Job::Ending(_) | Job::None) => (job, vec![]),
    };
    let backend = match state.backend {
        Backend::Down => Backend::Down,
        Backend::Starting { .. } => {
            effects.push(Effect::AbortStart);
            Backend::Down
        }
        Backend::Up | Backend::Stopping => {
            effects.push(Effect::StopBackend { now, to: AgentStatus::Evicted, why: reason.into() });
            Backend::Stopping
        }
    };
    state.go(backend, job, effects)
}

/// Takes note of what happened.
pub fn observe(state: &Machine, seen: Observation) -> Decision {
    match seen {
        Observation::Launched => launched(state),
        Observation::LaunchFailed { message } => launch_failed(state, message),
        Observation::Dispatched(granted) => dispatched(state, granted),
        Observation::Opened(turn) => opened(state, turn),
        Observation::Settled(result) => settled(state, result),
        Observation::Exited { produced, how } => exited(state, produced, how),
        Observation::Hung { produced, how } => hung(state, produced, how),
        Observation::CancelGraceOver => cancel_grace_over(state),
        Observation::Gone => gone(state),
        Observation::Ended => match state.job.clone() {
            Job::Ending(task) => state.go(state.backend, Job::None, vec![Effect::ReportDone(task)]),
            _ => state.stay(),
        },
    }
}

fn launched(state: &Machine) -> Decision {
    match (state.backend, state.job.clone()) {
        (Backend::Starting { died: false }, Job::Waiting(task)) => dispatch(state, task),
        (Backend::Starting { died: false }, job) => state.go(Backend::Up, job, vec![]),
        // It ended between its last answer and now.
        (Backend::Starting { died: true }, job) => {
            let up = Machine { backend: Backend::Up, job, leaving: state.leaving };
            exited(&up, false, "ended right after its start".into())
        }
        // The start was given up; dropping the handle has ended it.
        _ => state.stay(),
    }
}

fn launch_failed(state: &Machine, message: String) -> Decision {
    match (state.backend, state.job.clone()) {
        (Backend::Starting { .. }, Job::Waiting(task)) => {
            end_task(state, Backend::Down, task, Outcome::Failed, &message)
        }
        (Backend::Starting { .. }, job) => state.go(Backend::Down, job, vec![]),
        _ => state.stay(),
    }
}

fn dispatched(state: &Machine, granted: bool) -> Decision {
    let Job::Dispatching { task, cancelled } = state.job.clone() else { return state.stay() };
    match (granted, cancelled, state.backend) {
        // Held or cancelled by the store meanwhile.
        (false, _, backend) => state.go(backend, Job::None, vec![Effect::ReturnJob(task)]),
        (true, true, backend) => {
            end_task(state, backend, task, Outcome::Cancelled, "cancelled before it began")
        }
        (true, false, Backend::Up) => {
            let job = Job::Opening { task: task.clone(), cancelled: false };
            state.go(Backend::Up, job, vec![Effect::OpenTurn(task)])
        }
        (true, false, backend) => end_task(state, backend, task, Outcome::Failed, AGENT_CRASHED),
    }
}

fn opened(state: &Machine, turn: TurnId) -> Decision {
    let Job::Opening { task, cancelled } = state.job.clone() else { return state.stay() };
    match (cancelled, state.backend) {
        (true, backend) => {
            state.go(backend, Job::Ending(task), vec![end(turn, Outcome::Cancelled, None, None)])
        }
        (false, Backend::Up) => {
            state.go(Backend::Up, Job::Running { task, turn, cancelled: false }, vec![Effect::SendPrompt])
        }
        (false, backend) => {
            let end = end(turn, Outcome::Failed, None, Some(AGENT_CRASHED.into()));
            state.go(backend, Job::Ending(task), vec![end])
        }
    }
}

/// What is said of a turn whose agent ended before it had said anything.
pub const AGENT_CRASHED: &str = "agent_crashed";

fn settled(state: &Machine, result: Result<String, String>) -> Decision {
    let Job::Running { task, turn, cancelled } = state.job.clone() else { return state.stay() };
    let (outcome, stop_reason, error) = judge(cancelled, result);
    state.go(state.backend, Job::Ending(task), vec![end(turn, outcome, stop_reason, error)])
}

/// What the agent's answer to a prompt means. After our cancel any answer is the cancel's: goose
/// says `end_turn` then, and qwen an error.
pub fn judge(cancelled: bool, result: Result<String, String>) -> (Outcome, Option<String>, Option<String>) {
    match (cancelled, result) {
        (true, Ok(reason)) => (Outcome::Cancelled, Some(reason), None),
        (true, Err(error)) => (Outcome::Cancelled, None, Some(error)),
        (false, Err(error)) => (Outcome::Failed, None, Some(error)),
        (false, Ok(reason)) => match reason.as_str() {
            "cancelled" => (Outcome::Cancelled, Some(reason), None),
            "refusal" => (Outcome::Failed, Some(reason), Some("the agent refused to go on".into())),
            _ => (Outcome::Completed, Some(reason), None),
        },
    }
}

/// Ends the open job because its backend is lost; nothing else about it is decided here.
fn lose(state: &Machine, produced: bool, how: &str) -> (Job, Vec<Effect>) {
    match state.job.clone() {
        Job::Running { task, turn, cancelled } => {
            let (outcome, error) = match (cancelled, produced) {
                (true, _) => (Outcome::Cancelled, how.to_owned()),
                (false, true) => (Outcome::Interrupted, how.to_owned()),
                (false, false) => (Outcome::Failed, format!("{AGENT_CRASHED}: {how}")),
            };
            (Job::Ending(task), vec![end(turn, outcome, None, Some(error))])
        }
        // Committing: what follows meets a backend that is not up, and ends the job.
        job => (job, vec![]),
    }
}

fn exited(state: &Machine, produced: bool, how: String) -> Decision {
    match state.backend {
        Backend::Starting { .. } => state.go(Backend::Starting { died: true }, state.job.clone(), vec![]),
        Backend::Up => {
            let (job, mut effects) = lose(state, produced, &how);
            effects.push(Effect::RecordCrash { how });
            match job {
                // It died with the job still at the door. Nothing was sent, and there is no
                // restart by itself: the next prompt starts anew.
                Job::Waiting(task) => {
                    let ended = end_task(state, Backend::Down, task, Outcome::Failed, AGENT_CRASHED);
                    effects.extend(ended.effects);
                    state.go(Backend::Down, ended.next.job, effects)
                }
                job => state.go(Backend::Down, job, effects),
            }
        }
        // The ordered stop reports the same end as `Gone`; the second report of one end is late.
        Backend::Stopping | Backend::Down => state.stay(),
    }
}

fn hung(state: &Machine, produced: bool, how: String) -> Decision {
    match state.backend {
        Backend::Up => {
            let (job, mut effects) = lose(state, produced, &how);
            effects.push(stop(AgentStatus::Crashed, &how));
            state.go(Backend::Stopping, job, effects)
        }
        _ => state.stay(),
    }
}

fn cancel_grace_over(state: &Machine) -> Decision {
    match (state.backend, state.job.clone()) {
        (backend, Job::Running { task, turn, cancelled: true }) => {
            let why = "the agent did not answer the cancel in time";
            let mut effects = vec![end(turn, Outcome::Cancelled, None, Some(why.into()))];
            // A slot that never came back cannot be trusted with the next prompt.
            let backend = match backend {
                Backend::Up => {
                    effects.push(stop(AgentStatus::Evicted, why));
                    Backend::Stopping
                }
                other => other,
            };
            state.go(backend, Job::Ending(task), effects)
        }
        _ => state.stay(),
    }
}

fn gone(state: &Machine) -> Decision {
    match (state.backend, state.job.clone()) {
        (Backend::Stopping, Job::Waiting(task)) => {
            state.go(Backend::Starting { died: false }, Job::Waiting(task), vec![Effect::Start])
        }
        (Backend::Stopping, job) => state.go(Backend::Down, job, vec![]),
        _ => state.stay(),
    }
}

fn end(turn: TurnId, outcome: Outcome, stop_reason: Option<String>, error: Option<String>) -> Effect {
    Effect::EndTurn { turn, outcome, stop_reason, error }
}

fn stop(to: AgentStatus, why: &str) -> Effect {
    Effect::StopBackend { now: false, to, why: why.to_owned() }
}

fn end_task(state: &Machine, backend: Backend, task: TaskId, outcome: Outcome, reason: &str) -> Decision {
    let effect = Effect::EndTask { task: task.clone(), outcome, reason: reason.into() };
    state.go(backend, Job::Ending(task), vec![effect])
}

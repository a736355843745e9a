//! Decides what an agent session does next; performs nothing.
//!
//! Two small machines, coupled here and nowhere else: the backend that may be alive, and the one
//! job that it was given. A *request* may be denied; an *observation* may not (see [`seen`]).
//!
//! ```text
//! backend   Down ──▶ Starting ──▶ Up ──▶ Stopping ──▶ Down, or Starting again
//!             ▲          │fails    │exits
//!             └──────────┴─────────┘
//! job       None ──▶ Waiting ──▶ Dispatching ──▶ Opening ──▶ Running ──▶ Ending ──▶ None
//!                      └─────────────┴──────────────┴─ cancelled, crashed ─▲
//! ```
//!
//! **Invariant:** a prompt is sent only by the arm that saw the turn opened on a live backend, so
//! no history sends one twice; every job that left `None` ends in exactly one `EndTurn`,
//! `EndTask` or `ReturnJob`; and every turn that was opened is ended under the generation that it was
//! opened for, whatever becomes of that backend meanwhile. A job that waits for a restart is not kept here: it goes back, so
//! that it holds nobody else's place.

mod seen;
#[cfg(test)]
mod tests;

pub use seen::{AGENT_CRASHED, judge, observe};

use super::state::{Backend, Decision, Denied, Effect, Ending, Job, Leave, Machine, Request, Unsent};
use crate::event::{AgentStatus, Outcome, Wait};
use crate::id::{Generation, TaskId, TurnId};

/// Judges a request.
pub fn request(state: &Machine, request: Request) -> Result<Decision, Denied> {
    match request {
        Request::Run { .. } | Request::Restart { .. } | Request::Evict { .. } if state.leaving.is_some() => {
            Err(Denied::Leaving)
        }
        Request::Run { .. } if state.job != Job::None => Err(Denied::Busy),
        Request::Run { task, recycle, wait, refusal } => Ok(run(state, task, recycle, wait, refusal)),
        Request::Cancel(task) if state.job.task() == Some(&task) => Ok(cancel(state)),
        // The task has ended meanwhile, or never came here: nothing to cancel.
        Request::Cancel(_) => Ok(state.stay()),
        Request::GiveUp { turn, why } => Ok(give_up(state, &turn, why)),
        Request::Restart { interrupt: false, .. } if is_at_work(state) => Err(Denied::Busy),
        Request::Restart { revive, why, .. } => Ok(restart(state, revive, &why)),
        Request::Evict { force: false, .. } if is_at_work(state) || is_starting(state) => Err(Denied::Busy),
        Request::Evict { why, .. } => Ok(leave(state, Leave::Evicted, false, &why)),
        Request::Leave { why, now } => Ok(leave(state, why, now, why.reason())),
    }
}

/// Whether it has a job that a restart would harm: one that only waits is none.
fn is_at_work(state: &Machine) -> bool {
    !matches!(state.job, Job::None | Job::Waiting(_))
}

fn is_starting(state: &Machine) -> bool {
    matches!(state.backend, Backend::Starting { .. } | Backend::Stopping { again: true })
        || state.job != Job::None
}

fn run(
    state: &Machine,
    task: TaskId,
    recycle: bool,
    wait: Option<Wait>,
    refusal: Option<String>,
) -> Decision {
    let needs_start = state.backend == Backend::Down || (state.backend == Backend::Up && recycle);
    if let (true, Some(wait), Some(why)) = (needs_start, wait, refusal) {
        let mut decision = end_task(state, state.backend, task, Outcome::Failed, &why);
        decision.effects.push(Effect::Rest(wait));
        return decision;
    }
    match (state.backend, wait) {
        (Backend::Down, Some(wait)) => {
            state.go(Backend::Down, Job::None, vec![Effect::ReturnJob(task, Some(wait)), Effect::Rest(wait)])
        }
        (Backend::Down, None) => {
            state.go(Backend::Starting { died: false }, Job::Waiting(task), vec![Effect::Start])
        }
        // It is needed for nothing else: the next start is another one, and waits like any.
        (Backend::Up, Some(wait)) if recycle => {
            state.go(Backend::Up, Job::None, vec![Effect::ReturnJob(task, Some(wait)), Effect::Rest(wait)])
        }
        (Backend::Up, _) if recycle => {
            let stop = stop(AgentStatus::Evicted, "what it was started with has changed");
            state.go(Backend::Stopping { again: true }, Job::Waiting(task), vec![stop])
        }
        (Backend::Up, _) => dispatch(state, task),
        // The start, or the end, that is under way goes on to the job when it is through.
        (Backend::Starting { .. } | Backend::Stopping { .. }, _) => {
            state.go(state.backend, Job::Waiting(task), vec![])
        }
    }
}

fn dispatch(state: &Machine, task: TaskId) -> Decision {
    let generation = state.generation;
    let job = Job::Dispatching { task: task.clone(), generation, unsent: None };
    state.go(Backend::Up, job, vec![Effect::Dispatch(task, generation)])
}

/// Remembers of a job that is being committed why its prompt never leaves. What is committed then ends
/// it. A person's cancel is the last word; else the first reason is the one that is told.
fn unsent(job: Job, why: Unsent) -> Job {
    let first = |unsent: Option<Unsent>| match (unsent, &why) {
        (_, Unsent::Cancelled) | (None, _) => Some(why.clone()),
        (Some(first), Unsent::LetGo(_) | Unsent::Interrupted(_) | Unsent::Lost(_)) => Some(first),
    };
    match job {
        Job::Dispatching { task, generation, unsent } => {
            Job::Dispatching { task, generation, unsent: first(unsent) }
        }
        Job::Opening { task, generation, unsent } => Job::Opening { task, generation, unsent: first(unsent) },
        // Nothing of it is being committed: each caller says what becomes of it.
        job @ (Job::None | Job::Waiting(_) | Job::Running { .. } | Job::Ending(_)) => job,
    }
}

fn cancel(state: &Machine) -> Decision {
    let backend = state.backend;
    match state.job.clone() {
        Job::Waiting(task) => end_task(state, backend, task, Outcome::Cancelled, "cancelled before it began"),
        job @ (Job::Dispatching { .. } | Job::Opening { .. }) => {
            state.go(backend, unsent(job, Unsent::Cancelled), vec![])
        }
        Job::Running { task, turn, generation, ending } => {
            let job = Job::Running { task, turn, generation, ending: Some(Ending::Cancelled) };
            // The watchdog's cancel is on its way already.
            let effects = if ending.is_none() { vec![Effect::SendCancel] } else { vec![] };
            state.go(backend, job, effects)
        }
        // Over.
        Job::Ending(_) | Job::None => state.stay(),
    }
}

fn give_up(state: &Machine, turn: &TurnId, why: String) -> Decision {
    match state.job.clone() {
        Job::Running { task, turn: open, generation, ending: None } if open == *turn => {
            let job = Job::Running { task, turn: open, generation, ending: Some(Ending::Stuck(why)) };
            state.go(state.backend, job, vec![Effect::SendCancel])
        }
        _ => state.stay(),
    }
}

fn restart(state: &Machine, revive: bool, why: &str) -> Decision {
    match state.backend {
        Backend::Up => {
            let (job, mut effects) = match state.job.clone() {
                Job::Running { task, turn, generation, ending } => {
                    let outcome = if ending == Some(Ending::Cancelled) {
                        Outcome::Cancelled
                    } else {
                        Outcome::Interrupted
                    };
                    let open = Open { task: task.clone(), turn, generation };
                    (Job::Ending(task), vec![end(open, outcome, None, Some(why.to_owned()))])
                }
                // Its prompt would go to a backend that knows nothing of its turn.
                job @ (Job::Dispatching { .. } | Job::Opening { .. }) => {
                    (unsent(job, Unsent::Interrupted(why.to_owned())), vec![])
                }
                job @ (Job::None | Job::Waiting(_) | Job::Ending(_)) => (job, vec![]),
            };
            // By hand nothing is wrong with it.
            effects.push(stop(if revive { AgentStatus::Evicted } else { AgentStatus::Crashed }, why));
            state.go(Backend::Stopping { again: true }, job, effects)
        }
        Backend::Stopping { .. } => state.go(Backend::Stopping { again: true }, state.job.clone(), vec![]),
        Backend::Down if revive => {
            state.go(Backend::Starting { died: false }, state.job.clone(), vec![Effect::Start])
        }
        // A start that is under way is joined.
        Backend::Starting { .. } | Backend::Down => state.stay(),
    }
}

fn leave(state: &Machine, why: Leave, now: bool, reason: &str) -> Decision {
    // A chat that is closed while the daemon stops is closed.
    let leaving = match (state.leaving, why) {
        (Some(Leave::Closed), _) | (_, Leave::Closed) => Leave::Closed,
        (Some(Leave::DaemonStops), _) | (_, Leave::DaemonStops) => Leave::DaemonStops,
        _ => Leave::Evicted,
    };
    let state = Machine { leaving: Some(leaving), ..state.clone() };
    let (job, mut effects) = match state.job.clone() {
        Job::Waiting(task) if leaving != Leave::Closed => (Job::None, vec![Effect::ReturnJob(task, None)]),
        Job::Waiting(task) => {
            let effect =
                Effect::EndTask { task: task.clone(), outcome: Outcome::Cancelled, reason: reason.into() };
            (Job::Ending(task), vec![effect])
        }
        job @ (Job::Dispatching { .. } | Job::Opening { .. }) => {
            (unsent(job, Unsent::LetGo(reason.to_owned())), vec![])
        }
        Job::Running { task, turn, generation, .. } => {
            let open = Open { task: task.clone(), turn, generation };
            let end = end(open, Outcome::Cancelled, None, Some(reason.into()));
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
        Backend::Up | Backend::Stopping { .. } => {
            effects.push(Effect::StopBackend { now, to: AgentStatus::Evicted, why: reason.into() });
            Backend::Stopping { again: false }
        }
    };
    state.go(backend, job, effects)
}

/// A turn that was opened.
struct Open {
    task: TaskId,
    turn: TurnId,
    generation: Generation,
}

fn end(
    Open { task, turn, generation }: Open,
    outcome: Outcome,
    stop_reason: Option<String>,
    error: Option<String>,
) -> Effect {
    Effect::EndTurn { task, turn, generation, outcome, stop_reason, error }
}

fn stop(to: AgentStatus, why: &str) -> Effect {
    Effect::StopBackend { now: false, to, why: why.to_owned() }
}

fn end_task(state: &Machine, backend: Backend, task: TaskId, outcome: Outcome, reason: &str) -> Decision {
    let effect = Effect::EndTask { task: task.clone(), outcome, reason: reason.into() };
    state.go(backend, Job::Ending(task), vec![effect])
}

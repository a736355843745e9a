//! What follows from what is seen to happen to an agent session.

use super::{Open, dispatch, end, end_task, stop, unsent};
use crate::event::{AgentStatus, Outcome, Wait};
use crate::id::{Generation, TurnId};
use crate::ports::TurnName;
use crate::session::state::{After, Backend, Decision, Effect, Ending, Job, Machine, Observation, Unsent};

/// What is said of a turn whose agent ended before it had said anything.
pub const AGENT_CRASHED: &str = "agent_crashed";
/// What is said of a turn whose agent says that it was cancelled.
const NOBODY_CANCELLED: &str = "the agent says that it was cancelled, and nobody did that";
/// Why a task that was cancelled before its turn ended.
const NOT_BEGUN: &str = "cancelled before it began";

/// Takes note of what happened.
pub fn observe(state: &Machine, seen: Observation) -> Decision {
    match seen {
        Observation::Launched(generation) => launched(state, generation),
        Observation::LaunchedDead(generation, after) => {
            // It ended between its last answer and now.
            let up = Machine { backend: Backend::Up, generation, ..state.clone() };
            exited(&up, false, "the agent ended right after its start".into(), after)
        }
        Observation::LaunchFailed { message, permanent, after } => {
            launch_failed(state, &message, permanent, after)
        }
        Observation::Dispatched(granted) => dispatched(state, granted),
        Observation::Opened(turn) => opened(state, turn),
        Observation::Refused { turn, why } => refused(state, turn, why),
        Observation::NotOpened => not_opened(state),
        Observation::Settled(result) => settled(state, result),
        Observation::Exited { produced, how, after } => exited(state, produced, how, after),
        Observation::LoggedOut { why } => logged_out(state, &why),
        Observation::Lost { why } => lost(state, why),
        Observation::Retracted => match state.job.clone() {
            Job::Ending(task) => state.go(state.backend, Job::None, vec![Effect::ReturnJob(task, None)]),
            _ => state.stay(),
        },
        Observation::Hung { produced, how, after } => hung(state, produced, &how, after),
        Observation::CancelGraceOver => cancel_grace_over(state),
        Observation::Gone => gone(state),
        Observation::Ended => match state.job.clone() {
            Job::Ending(task) => state.go(state.backend, Job::None, vec![Effect::ReportDone(task)]),
            _ => state.stay(),
        },
    }
}

fn launched(state: &Machine, generation: Generation) -> Decision {
    if !matches!(state.backend, Backend::Starting { .. }) {
        // The start was given up; dropping the handle has ended it.
        return state.stay();
    }
    let up = Machine { generation, ..state.clone() };
    match state.job.clone() {
        Job::Waiting(task) => dispatch(&up, task),
        // A job of the backend before may still be on its way to its end.
        job => up.go(Backend::Up, job, vec![]),
    }
}

fn launch_failed(state: &Machine, message: &str, permanent: bool, after: After) -> Decision {
    match (state.backend, state.job.clone()) {
        (Backend::Starting { .. }, Job::Waiting(task)) if permanent => {
            let mut decision = end_task(state, Backend::Down, task, Outcome::Failed, message);
            decision.effects.push(Effect::Rest(after.wait));
            decision
        }
        (Backend::Starting { .. }, job) => {
            let (job, mut effects) = give_back(job, after.wait);
            effects.push(Effect::Rest(after.wait));
            state.go(Backend::Down, job, effects)
        }
        _ => state.stay(),
    }
}

/// A job that was not begun goes back to the queue, where it waits.
fn give_back(job: Job, wait: Wait) -> (Job, Vec<Effect>) {
    match job {
        Job::Waiting(task) => (Job::None, vec![Effect::ReturnJob(task, Some(wait))]),
        job => (job, vec![]),
    }
}

fn dispatched(state: &Machine, granted: bool) -> Decision {
    let Job::Dispatching { task, generation, unsent } = state.job.clone() else { return state.stay() };
    if !granted {
        // Held or cancelled by the store meanwhile.
        return state.go(state.backend, Job::None, vec![Effect::ReturnJob(task, None)]);
    }
    match unsent.or_else(|| no_longer_up(state, generation)) {
        None => {
            let job = Job::Opening { task: task.clone(), generation, unsent: None };
            state.go(Backend::Up, job, vec![Effect::OpenTurn(task, generation)])
        }
        Some(why) => {
            let (outcome, reason) = never_sent(why);
            let reason = reason.unwrap_or_else(|| NOT_BEGUN.to_owned());
            end_task(state, state.backend, task, outcome, &reason)
        }
    }
}

fn opened(state: &Machine, turn: TurnId) -> Decision {
    let Job::Opening { task, generation, unsent } = state.job.clone() else { return state.stay() };
    match unsent.or_else(|| no_longer_up(state, generation)) {
        None => {
            let job = Job::Running { task, turn, generation, ending: None };
            state.go(Backend::Up, job, vec![Effect::SendPrompt])
        }
        Some(why) => {
            let (outcome, error) = never_sent(why);
            let open = Open { task: task.clone(), turn, generation };
            state.go(state.backend, Job::Ending(task), vec![end(open, outcome, None, error)])
        }
    }
}

/// The prompt never leaves, whatever the backend.
fn refused(state: &Machine, turn: TurnId, why: String) -> Decision {
    let Job::Opening { task, generation, unsent } = state.job.clone() else { return state.stay() };
    let (outcome, error) = unsent.map_or((Outcome::Failed, Some(why)), never_sent);
    let open = Open { task: task.clone(), turn, generation };
    state.go(state.backend, Job::Ending(task), vec![end(open, outcome, None, error)])
}

/// Somebody else ended the task: the dispatcher sees what became of it.
fn not_opened(state: &Machine) -> Decision {
    let Job::Opening { task, .. } = state.job.clone() else { return state.stay() };
    state.go(state.backend, Job::None, vec![Effect::ReturnJob(task, None)])
}

/// A prompt goes to the backend that its turn was opened for, or to none.
fn no_longer_up(state: &Machine, generation: Generation) -> Option<Unsent> {
    let is_up = state.backend == Backend::Up && state.generation == generation;
    (!is_up).then(|| Unsent::Lost("its backend is gone".into()))
}

/// How a job ends whose prompt never leaves, and what is said of it.
fn never_sent(why: Unsent) -> (Outcome, Option<String>) {
    match why {
        Unsent::Cancelled => (Outcome::Cancelled, None),
        Unsent::LetGo(why) => (Outcome::Cancelled, Some(why)),
        Unsent::Interrupted(why) => (Outcome::Interrupted, Some(why)),
        Unsent::Lost(how) => (Outcome::Failed, Some(format!("{AGENT_CRASHED}: {how}"))),
    }
}

fn settled(state: &Machine, result: Result<String, String>) -> Decision {
    let Job::Running { task, turn, generation, ending } = state.job.clone() else { return state.stay() };
    let (outcome, stop_reason, error) = judge(ending.as_ref(), result);
    let open = Open { task: task.clone(), turn, generation };
    state.go(state.backend, Job::Ending(task), vec![end(open, outcome, stop_reason, error)])
}

/// Another start is needed for the log-in to be seen, and before it none would help.
fn logged_out(state: &Machine, why: &str) -> Decision {
    let decision = settled(state, Err(why.to_owned()));
    match decision.next.backend {
        Backend::Up if state.job.running_turn().is_some() => {
            let mut effects = decision.effects;
            effects.push(stop(AgentStatus::CircuitOpen, why));
            state.go(Backend::Stopping { again: false }, decision.next.job, effects)
        }
        Backend::Up | Backend::Starting { .. } | Backend::Stopping { .. } | Backend::Down => decision,
    }
}

/// Another process takes the conversation up again, and gets the prompt once more.
fn lost(state: &Machine, why: String) -> Decision {
    match (state.backend, state.job.clone()) {
        (Backend::Up, Job::Running { task, turn, generation, ending: None }) => {
            let of = TurnName { task: task.clone(), turn, generation };
            let effects =
                vec![Effect::RetractTurn { of, why: why.clone() }, stop(AgentStatus::Crashed, &why)];
            state.go(Backend::Stopping { again: false }, Job::Ending(task), effects)
        }
        _ => settled(state, Err(why)),
    }
}

/// What the agent's answer to a prompt means. After our cancel any answer is the cancel's: goose
/// says `end_turn` then, and qwen an error.
pub fn judge(
    ending: Option<&Ending>,
    result: Result<String, String>,
) -> (Outcome, Option<String>, Option<String>) {
    match (ending, result) {
        (Some(Ending::Cancelled), Ok(reason)) => (Outcome::Cancelled, Some(reason), None),
        (Some(Ending::Cancelled), Err(error)) => (Outcome::Cancelled, None, Some(error)),
        (Some(Ending::Stuck(why)), answer) => (Outcome::Interrupted, answer.ok(), Some(why.clone())),
        (None, Err(error)) => (Outcome::Failed, None, Some(error)),
        (None, Ok(reason)) => match reason.as_str() {
            // Qwen says so when one of its processes dies.
            "cancelled" => (Outcome::Interrupted, Some(reason), Some(NOBODY_CANCELLED.into())),
            "refusal" => (Outcome::Failed, Some(reason), Some("the agent refused to go on".into())),
            _ => (Outcome::Completed, Some(reason), None),
        },
    }
}

/// Ends the open turn because its backend is lost; nothing else about it is decided here.
fn lose(job: Job, produced: bool, how: &str) -> (Job, Vec<Effect>) {
    match job {
        Job::Running { task, turn, generation, ending } => {
            let (outcome, error) = match (ending, produced) {
                (Some(Ending::Cancelled), _) => (Outcome::Cancelled, how.to_owned()),
                (Some(Ending::Stuck(why)), _) => (Outcome::Interrupted, why),
                (None, true) => (Outcome::Interrupted, how.to_owned()),
                (None, false) => (Outcome::Failed, format!("{AGENT_CRASHED}: {how}")),
            };
            let open = Open { task: task.clone(), turn, generation };
            (Job::Ending(task), vec![end(open, outcome, None, Some(error))])
        }
        job @ (Job::Dispatching { .. } | Job::Opening { .. }) => {
            (unsent(job, Unsent::Lost(how.to_owned())), vec![])
        }
        job @ (Job::None | Job::Waiting(_) | Job::Ending(_)) => (job, vec![]),
    }
}

fn exited(state: &Machine, produced: bool, how: String, after: After) -> Decision {
    match state.backend {
        Backend::Starting { .. } => state.go(Backend::Starting { died: true }, state.job.clone(), vec![]),
        Backend::Up => {
            let (job, mut effects) = lose(state.job.clone(), produced, &how);
            effects.push(Effect::RecordCrash { how });
            let is_wanted = after.keep_warm || matches!(job, Job::Waiting(_));
            let (job, given_back) = give_back(job, after.wait);
            effects.extend(given_back);
            if is_wanted || after.wait == Wait::Circuit {
                effects.push(Effect::Rest(after.wait));
            }
            state.go(Backend::Down, job, effects)
        }
        // The ordered stop reports the same end as `Gone`; the second report of one end is late.
        Backend::Stopping { .. } | Backend::Down => state.stay(),
    }
}

fn hung(state: &Machine, produced: bool, how: &str, after: After) -> Decision {
    match state.backend {
        Backend::Up => {
            let (job, mut effects) = lose(state.job.clone(), produced, how);
            let is_open = after.wait == Wait::Circuit;
            effects.push(stop(if is_open { AgentStatus::CircuitOpen } else { AgentStatus::Crashed }, how));
            state.go(Backend::Stopping { again: after.keep_warm && !is_open }, job, effects)
        }
        _ => state.stay(),
    }
}

fn cancel_grace_over(state: &Machine) -> Decision {
    let Job::Running { task, turn, generation, ending: Some(ending) } = state.job.clone() else {
        return state.stay();
    };
    let late = "the agent did not answer the cancel in time";
    // A slot that never came back cannot be trusted with the next prompt. After a person's cancel
    // that one starts another; what was stuck is started again now.
    let (outcome, why, to, again) = match ending {
        Ending::Cancelled => (Outcome::Cancelled, late.to_owned(), AgentStatus::Evicted, false),
        Ending::Stuck(why) => {
            (Outcome::Interrupted, format!("{why}, and {late}"), AgentStatus::Crashed, true)
        }
    };
    let open = Open { task: task.clone(), turn, generation };
    let mut effects = vec![end(open, outcome, None, Some(why.clone()))];
    let backend = match state.backend {
        Backend::Up => {
            effects.push(stop(to, &why));
            Backend::Stopping { again }
        }
        other => other,
    };
    state.go(backend, Job::Ending(task), effects)
}

fn gone(state: &Machine) -> Decision {
    let Backend::Stopping { again } = state.backend else { return state.stay() };
    let waits = matches!(state.job, Job::Waiting(_));
    if state.leaving.is_none() && (again || waits) {
        return state.go(Backend::Starting { died: false }, state.job.clone(), vec![Effect::Start]);
    }
    state.go(Backend::Down, state.job.clone(), vec![])
}

//! Judges what is known of a run. Pure: facts in, violations out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::facts::{Entry, Facts, Followed, Submit, request_of};

/// What a start says of a task that the daemon before it was killed in.
const SETTLED: &str = "the daemon ended while it ran";

/// What is said of a turn whose agent was started again by force.
const RESTARTED: &str = "started again by hand";
/// What is said of a turn whose agent was let go by force.
const LET_GO: &str = "evicted by hand";

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// A submit was answered, and its task is not there.
    Lost { request: String, task: String },
    /// One request made several tasks, or was answered with several.
    Doubled { request: String, tasks: Vec<String> },
    /// A prompt reached an agent more than once.
    Repeated { request: String, n: usize },
    /// A prompt reached an agent and there is no task for it.
    Unrecorded { request: String },
    /// A task that has not ended.
    Open { task: String, state: String },
    /// Not exactly one terminal event of a task.
    TaskEnds { task: String, n: usize },
    /// Not exactly one start, or end, of a turn.
    TurnEnds { turn: String, n_starts: usize, n_ends: usize },
    /// A task and its turn, or a task and its event, do not end alike.
    EndsDiffer { task: String, ends: Vec<String> },
    /// A client was told of an end, or an answer, that is not what is recorded now.
    Undone { what: String, told: String, is: String },
    /// A follower did not see an event.
    Missed { follower: String, seq: i64 },
    /// A follower saw an event twice, or after a later one.
    OutOfOrder { follower: String, seq: i64 },
    /// A follower saw what is not in the journal, or is otherwise there.
    Invented { follower: String, seq: i64 },
    /// A process that should be gone.
    Left { process: String },
    /// The database is damaged.
    Damaged { words: String },
    /// A task was interrupted, failed or was cancelled for nothing.
    Disturbed { task: String, error: String },
    /// Something was refused, or did not come.
    Complaint { words: String },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Everything that is wrong with a run, in an order that depends on the facts alone.
pub fn check(facts: &Facts) -> Vec<Violation> {
    let mut found = Vec::new();
    submits(facts, &mut found);
    prompts(facts, &mut found);
    tasks(facts, &mut found);
    ends(facts, &mut found);
    turns(facts, &mut found);
    told(facts, &mut found);
    for follower in &facts.followers {
        followed(&facts.journal, follower, &mut found);
    }
    found.extend(facts.left.iter().map(|process| Violation::Left { process: process.clone() }));
    if facts.integrity != "ok" {
        found.push(Violation::Damaged { words: facts.integrity.clone() });
    }
    found.extend(facts.complaints.iter().map(|words| Violation::Complaint { words: words.clone() }));
    found.sort();
    found
}

/// The tasks of each request.
fn by_request(facts: &Facts) -> BTreeMap<&str, Vec<&str>> {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for task in &facts.tasks {
        if let Some(request) = request_of(&task.prompt) {
            found.entry(request).or_default().push(&task.id);
        }
    }
    found
}

/// Every acknowledged submit exists exactly once, and one that nobody knows of at most once.
fn submits(facts: &Facts, found: &mut Vec<Violation>) {
    let made = by_request(facts);
    for submit in &facts.submits {
        let there = made.get(submit.request.as_str()).cloned().unwrap_or_default();
        let mut all: BTreeSet<&str> = there.iter().copied().collect();
        for answer in &submit.answers {
            if !all.contains(answer.as_str()) && there.is_empty() {
                let (request, task) = (submit.request.clone(), answer.clone());
                found.push(Violation::Lost { request, task });
            }
            all.insert(answer);
        }
        if all.len() > 1 {
            let tasks = all.into_iter().map(str::to_owned).collect();
            found.push(Violation::Doubled { request: submit.request.clone(), tasks });
        }
    }
}

/// No prompt reached an agent twice, and none without its task.
fn prompts(facts: &Facts, found: &mut Vec<Violation>) {
    let made = by_request(facts);
    let mut reached: BTreeMap<&str, usize> = BTreeMap::new();
    for request in facts.reached.iter().filter_map(|prompt| request_of(prompt)) {
        *reached.entry(request).or_default() += 1;
    }
    for (request, n) in reached {
        let request = request.to_owned();
        let is_deleted = facts.submits.iter().any(|submit| submit.request == request && submit.deleted);
        if !is_deleted && !made.contains_key(request.as_str()) {
            found.push(Violation::Unrecorded { request: request.clone() });
        }
        if n > 1 {
            found.push(Violation::Repeated { request, n });
        }
    }
}

/// Whether nothing will change a task in that state any more.
pub fn is_terminal(state: &str) -> bool {
    ["completed", "failed", "cancelled", "interrupted"].contains(&state)
}

/// Each task has exactly one terminal event, and it says what the task says.
fn tasks(facts: &Facts, found: &mut Vec<Violation>) {
    let mut ends: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in facts.journal.iter().filter(|entry| entry.text("type") == "task_state") {
        if is_terminal(entry.text("to")) && !facts.is_deleted(entry) {
            ends.entry(entry.text("task")).or_default().push(entry.text("to"));
        }
    }
    for task in &facts.tasks {
        let (id, state) = (task.id.clone(), task.state.clone());
        let told = ends.remove(task.id.as_str()).unwrap_or_default();
        if !is_terminal(&task.state) {
            found.push(Violation::Open { task: id.clone(), state: state.clone() });
        } else if told.len() != 1 {
            found.push(Violation::TaskEnds { task: id.clone(), n: told.len() });
        } else if told != [task.state.as_str()] {
            let ends = vec![state.clone(), told[0].to_owned()];
            found.push(Violation::EndsDiffer { task: id.clone(), ends });
        }
    }
    for (task, told) in ends {
        found.push(Violation::TaskEnds { task: task.to_owned(), n: told.len() });
    }
}

/// No task was interrupted, failed or was cancelled but by what its client or we did.
fn ends(facts: &Facts, found: &mut Vec<Violation>) {
    let submits: BTreeMap<&str, &Submit> =
        facts.submits.iter().map(|submit| (submit.request.as_str(), submit)).collect();
    let done = facts.done;
    for task in &facts.tasks {
        let Some(request) = request_of(&task.prompt) else {
            // Of an arena that was decided while its agents were at work.
            continue;
        };
        let submit = submits.get(request);
        let excused = match task.state.as_str() {
            "interrupted" | "failed" => {
                submit.is_some_and(|submit| submit.breaks)
                    || (done.killed && task.error == SETTLED)
                    || done.meddled && task.error == RESTARTED
                    || done.keepers_killed
                    || done.stopped
            }
            "cancelled" => {
                submit.is_some_and(|submit| submit.cancelled)
                    || done.meddled && task.error == LET_GO
                    || done.stopped
            }
            _ => true,
        };
        if !excused {
            found.push(Violation::Disturbed { task: task.id.clone(), error: task.error.clone() });
        }
    }
}

/// Each turn began and ended exactly once, and a task ends as its turn does.
fn turns(facts: &Facts, found: &mut Vec<Violation>) {
    let states: BTreeMap<&str, &str> =
        facts.tasks.iter().map(|task| (task.id.as_str(), task.state.as_str())).collect();
    let mut seen: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for entry in &facts.journal {
        let counts = seen.entry(entry.text("turn")).or_default();
        match entry.text("type") {
            "turn_started" => counts.0 += 1,
            "turn_ended" => {
                counts.1 += 1;
                let state = states.get(entry.text("task")).copied().unwrap_or("nowhere");
                if state != entry.text("outcome") && !facts.is_deleted(entry) {
                    let ends = vec![state.to_owned(), entry.text("outcome").to_owned()];
                    found.push(Violation::EndsDiffer { task: entry.text("task").to_owned(), ends });
                }
            }
            _ => {}
        }
    }
    for (turn, (n_starts, n_ends)) in seen {
        if !turn.is_empty() && (n_starts, n_ends) != (1, 1) {
            found.push(Violation::TurnEnds { turn: turn.to_owned(), n_starts, n_ends });
        }
    }
}

/// What a client was told stays true.
fn told(facts: &Facts, found: &mut Vec<Violation>) {
    let states: BTreeMap<&str, &str> =
        facts.tasks.iter().map(|task| (task.id.as_str(), task.state.as_str())).collect();
    for (task, told) in &facts.told_ends {
        let is = states.get(task.as_str()).copied().unwrap_or("nowhere");
        if is != told {
            found.push(Violation::Undone { what: task.clone(), told: told.clone(), is: is.to_owned() });
        }
    }
    for (permission, told) in &facts.told_answers {
        let is = facts.permissions.iter().find(|(id, _, _)| id == permission);
        let is = is.map_or("nowhere".to_owned(), |(_, state, option)| {
            option.clone().filter(|_| state == "answered").unwrap_or_else(|| state.clone())
        });
        if is != *told {
            found.push(Violation::Undone { what: permission.clone(), told: told.clone(), is });
        }
    }
}

/// A follower saw every event once and in order. What came after the journal was read is not judged.
fn followed(journal: &[Entry], follower: &Followed, found: &mut Vec<Violation>) {
    let name = || follower.name.clone();
    let wanted = |entry: &&Entry| follower.chat.as_deref().is_none_or(|chat| entry.text("chat") == chat);
    let mut expected: BTreeMap<i64, &Entry> =
        journal.iter().filter(wanted).map(|entry| (entry.seq, entry)).collect();
    let last = journal.last().map_or(0, |entry| entry.seq);
    let mut before = 0;
    for entry in follower.seen.iter().filter(|entry| entry.seq <= last) {
        if entry.seq <= before {
            found.push(Violation::OutOfOrder { follower: name(), seq: entry.seq });
            continue;
        }
        before = entry.seq;
        if expected.remove(&entry.seq) != Some(entry) {
            found.push(Violation::Invented { follower: name(), seq: entry.seq });
        }
    }
    found.extend(expected.into_keys().map(|seq| Violation::Missed { follower: name(), seq }));
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;

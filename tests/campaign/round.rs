//! One round: a stage, a load on it, kills, and the facts when all is quiet again.

use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};

use super::check::{self, Violation};
use super::facts::{Done, Entry, Facts, Task};
use super::kill::{Keepers, Killer};
use super::link::Link;
use super::load::Load;
use super::points::{Phase, Point};
use super::stage::Stage;
use super::tally::Tally;

/// Followers have seen everything after this time.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(20);
/// The same for the tasks.
const ENDED_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How many violations of a round are explained.
const EXPLAINED_MAX: usize = 4;

/// What a round does.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Where the daemon is killed; at random instants if `None`.
    pub at: Option<Point>,
    /// Who dies with it.
    pub keepers: Keepers,
    /// How often.
    pub n_kills: usize,
    /// Repeats the round, as far as the machine does.
    pub seed: u64,
}

/// Runs a round.
pub fn run(plan: &Plan) -> Tally {
    let mut tally = Tally::default();
    let mut rng = Rng::with_seed(plan.seed);
    let mut stage = Stage::set();
    let load = Load::begin(stage.socket(), &stage.chats, &mut rng);
    let mut killer = Killer {
        stage: &mut stage,
        keepers: plan.keepers,
        rng,
        tally: &mut tally,
        left: Vec::new(),
        unswept: false,
    };
    match plan.at {
        Some(point) => killer.at(point, plan.n_kills),
        None => killer.at_random(plan.n_kills),
    }
    let left = std::mem::take(&mut killer.left);
    let mut facts = end(&mut stage, load);
    facts.left.extend(left);
    facts.done = Done {
        killed: true,
        keepers_killed: plan.keepers != Keepers::Live,
        stopped: plan.at.is_some_and(|point| point.phase == Phase::Stop),
        meddled: true,
    };
    tally.n_tasks = facts.tasks.len();
    tally.n_events = facts.journal.len();
    let violations = check::check(&facts);
    for violation in violations.iter().take(EXPLAINED_MAX) {
        eprintln!("{plan:?}: {}", explained(&facts, violation));
    }
    if !violations.is_empty() {
        eprintln!("---- the daemon's log\n{}\n----", stage.log());
    }
    tally.violations = violations.into_iter().map(|violation| (format!("{plan:?}"), violation)).collect();
    tally
}

/// Lets the load finish, stops the daemon, and gathers everything.
pub fn end(stage: &mut Stage, mut load: Load) -> Facts {
    load.close();
    let mut link = Link::to(&stage.socket()).expect("a daemon that lives");
    let tasks = ended_tasks(&mut link);
    let journal = journal(&mut link);
    let permissions = permissions(&mut link);
    drop(link);
    wait_for_followers(&load, &journal, &stage.chats[3]);
    let facts = load.end();
    stage.stop();
    Facts {
        tasks,
        journal,
        permissions,
        reached: stage.reached(),
        left: stage.left_of_all().0,
        integrity: stage.integrity(),
        ..facts
    }
}

/// They have seen all that is in the journal, or never will.
fn wait_for_followers(load: &Load, journal: &[Entry], chat: &str) {
    let last = |chat: Option<&str>| {
        let wanted = |entry: &&Entry| chat.is_none_or(|chat| entry.text("chat") == chat);
        journal.iter().rfind(wanted).map_or(0, |entry| entry.seq)
    };
    let (all, one) = (last(None), last(Some(chat)));
    let start = Instant::now();
    while start.elapsed() < FOLLOWED_WITHIN {
        let at = load.followed_to();
        if at.iter().all(|at| *at >= one) && at.iter().filter(|at| **at >= all).count() + 1 >= at.len() {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn ask(link: &mut Link, method: &str, params: Value) -> Value {
    let answer = link.call(method, params).expect("a daemon that lives");
    answer.unwrap_or_else(|refused| panic!("{method}: {refused}"))
}

/// The tasks, once all of them have ended or will not.
fn ended_tasks(link: &mut Link) -> Vec<Task> {
    let start = Instant::now();
    loop {
        let tasks = tasks(link);
        let ended = tasks.iter().all(|task| check::is_terminal(&task.state));
        if ended || start.elapsed() > ENDED_WITHIN {
            return tasks;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn tasks(link: &mut Link) -> Vec<Task> {
    let mut found: Vec<Task> = Vec::new();
    loop {
        let params = match found.last() {
            Some(oldest) => json!({ "before": oldest.id }),
            None => json!({}),
        };
        let page = ask(link, "task/list", params);
        let page = page.as_array().cloned().unwrap_or_default();
        if page.is_empty() {
            found.reverse();
            return found;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        found.extend(page.iter().map(|row| Task {
            id: text(&row["id"]),
            state: text(&row["state"]),
            prompt: text(&row["prompt"]),
            error: text(&row["outcome"]["error"]),
        }));
    }
}

/// All that is committed.
pub fn journal(link: &mut Link) -> Vec<Entry> {
    let (mut found, mut after) = (Vec::new(), json!(0));
    while !after.is_null() {
        let page = ask(link, "events/list", json!({ "after": after }));
        found.extend(page["events"].as_array().into_iter().flatten().cloned().map(Entry::of));
        after = page["next"].clone();
    }
    found
}

fn permissions(link: &mut Link) -> Vec<(String, String, Option<String>)> {
    let rows = ask(link, "permission/list", json!({}));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let rows = rows.as_array().cloned().unwrap_or_default();
    let row = |row: &Value| Some((text(&row["id"])?, text(&row["state"])?, text(&row["option"])));
    rows.iter().filter_map(row).collect()
}

/// A violation, and what the journal says of what it names.
fn explained(facts: &Facts, violation: &Violation) -> String {
    let words = violation.to_string();
    let named: Vec<&str> = words.split('"').skip(1).step_by(2).collect();
    let mut text = words.clone();
    for task in facts.tasks.iter().filter(|task| {
        named.iter().any(|name| task.id == *name || task.prompt.contains(&format!("[{name}]")))
    }) {
        text += &format!("\n  {task:?}");
        let events = facts.journal.iter().filter(|entry| entry.text("task") == task.id);
        for entry in events.filter(|entry| entry.text("type") != "text") {
            text += &format!("\n    {}", entry.event);
        }
    }
    let turns = facts.journal.iter().filter(|entry| named.contains(&entry.text("turn")));
    for entry in turns.filter(|entry| entry.text("type") != "text") {
        text += &format!("\n    {}", entry.event);
    }
    text
}

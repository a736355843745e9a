//! The mutants: mistakes that the daemon is made to make. Each scenario brings one of them to
//! light; the same scenario without the mistake breaks no promise.

use std::time::{Duration, Instant};

use fastrand::Rng;

use super::check::{self, Violation};
use super::facts::Done;
use super::link::Link;
use super::load::{Client, Load};
use super::prompts::Ask;
use super::round;
use super::stage::{Death, FAULT, Stage, Variables};
use crate::support::demo::DEMO;

/// How long a window is held open, in milliseconds: enough for the other side to act in it.
const WINDOW_MS: u64 = 400;
/// How long the last news of an old backend is held back, in milliseconds: long enough for a new
/// one to be in the middle of a turn.
const LATE_MS: u64 = 1500;
/// By then the late news has come, and what follows from it.
const LATE_WITHIN: Duration = Duration::from_secs(6);
/// By then a prompt has reached its agent, and how often it is looked whether it has.
const REACHES_WITHIN: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// By then an agent that has ended its turn is told to rest.
const RESTS_WITHIN: Duration = Duration::from_secs(20);
/// By then the daemon has come to the point where it dies.
const DIES_WITHIN: Duration = Duration::from_secs(20);

/// How often a mistake is made before it counts as one that nobody notices.
const TRIES: usize = 3;

/// A stage with a client in its first chat, and followers.
struct Scene {
    stage: Stage,
    load: Load,
    client: Client,
    left: Vec<String>,
    done: Done,
}

impl Scene {
    /// A daemon of the mutant, or of none. The stage itself was set by one that is well.
    fn set(mutant: Option<&str>) -> Self {
        let mut stage = Stage::set();
        stage.kill(false);
        stage.always = mutant.map(|name| ("HOB_MUTANT", name.to_owned())).into_iter().collect();
        stage.start(&[]).expect("a daemon that starts");
        let load = Load::begin(stage.socket(), &[], &mut Rng::with_seed(0));
        let client = load.client(&stage.chats[0]);
        Self { stage, load, client, left: Vec::new(), done: Done::default() }
    }

    /// Another daemon, which is told more than the first. No task is there yet to be disturbed.
    fn again(&mut self, variables: Variables<'_>) {
        self.stage.kill(false);
        self.stage.start(variables).expect("a daemon that starts");
    }

    /// Waits until a prompt has reached its agent, which is after its task has begun.
    fn reaches(&self, request: &str) {
        let start = Instant::now();
        while !self.stage.reached().iter().any(|prompt| prompt.contains(request)) {
            assert!(start.elapsed() < REACHES_WITHIN, "{request} did not reach its agent");
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits until it is recorded that the agent of an ended task rests: the last event of all. What
    /// is committed after the journal was read would wake the followers for what they missed in it.
    fn rests(&self) {
        let start = Instant::now();
        let mut link = Link::to(&self.stage.socket()).expect("a daemon that lives");
        while round::journal(&mut link).last().is_none_or(|last| last.text("to") != "idle") {
            assert!(start.elapsed() < RESTS_WITHIN, "the agent does not rest");
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn kill(&mut self, keepers: bool) {
        self.done.killed = true;
        self.stage.kill(keepers);
    }

    fn start(&mut self) {
        self.stage.start(&[]).expect("a daemon that starts");
        self.left.extend(self.stage.left_by_sweep());
    }

    /// Waits for the death at a point, which a daemon without the mistake may never reach.
    fn dies(&mut self) {
        self.done.killed = true;
        match self.stage.dies(DIES_WITHIN) {
            Some(death) => assert_eq!(death, Death::Killed),
            None => self.stage.kill(false),
        }
    }

    /// What the checker says when all is quiet.
    fn end(mut self) -> Vec<Violation> {
        let mut facts = round::end(&mut self.stage, self.load);
        facts.left.extend(self.left);
        facts.done = self.done;
        check::check(&facts)
    }
}

fn ask(agent: &'static str, prompt: &str) -> Ask {
    Ask { agent, prompt: prompt.to_owned(), breaks: false, cancel: None }
}

/// For a prompt that never ends by itself.
fn ask_to_cancel(agent: &'static str, prompt: &str) -> Ask {
    Ask { cancel: Some(Duration::ZERO), ..ask(agent, prompt) }
}

/// The mistake is noticed as what it is, and without it there is nothing to notice. Some show only
/// where one side is faster than the other for a moment, which a machine may keep it from.
fn is_caught(mutant: &str, scenario: fn(Option<&str>) -> Vec<Violation>, as_a: fn(&Violation) -> bool) {
    let found = scenario(None);
    assert!(found.is_empty(), "without the mistake: {found:#?}");
    let mut found = Vec::new();
    for _ in 0..TRIES {
        found = scenario(Some(mutant));
        if found.iter().any(as_a) {
            return;
        }
    }
    panic!("{mutant} was not noticed: {found:#?}");
}

/// Each commit takes its time, and the daemon dies as soon as the submit is answered.
fn killed_when_answered(mutant: Option<&str>) -> Vec<Violation> {
    let mut scene = Scene::set(mutant);
    scene.again(&[("HOB_PAUSE_AT", format!("batch.uncommitted:1:{WINDOW_MS}"))]);
    scene.client.submit("r-0-1", &ask(DEMO, "[r-0-1]\nsay: hello")).expect("an answer");
    scene.kill(false);
    scene.start();
    scene.end()
}

#[test]
#[cfg_attr(not(feature = "campaign"), ignore = "needs the cargo feature `campaign`")]
fn an_answer_before_the_commit_is_caught() {
    is_caught("answer_before_commit", killed_when_answered, |v| matches!(v, Violation::Lost { .. }));
}

/// Each commit takes its time, and the followers wait for the last event.
fn followed_slowly(mutant: Option<&str>) -> Vec<Violation> {
    let mut scene = Scene::set(mutant);
    scene.again(&[("HOB_PAUSE_AT", format!("batch.uncommitted:1:{WINDOW_MS}"))]);
    let task = scene.client.submit("r-0-1", &ask(DEMO, "[r-0-1]\nsay: hello")).expect("an answer");
    scene.client.wait(&task);
    scene.rests();
    scene.end()
}

#[test]
#[cfg_attr(not(feature = "campaign"), ignore = "needs the cargo feature `campaign`")]
fn publishing_before_the_commit_is_caught() {
    is_caught("publish_before_commit", followed_slowly, |v| matches!(v, Violation::Missed { .. }));
}

/// The daemon and its keepers die, and what they held is out of reach of all but the sweep.
fn killed_with_keepers(mutant: Option<&str>) -> Vec<Violation> {
    let mut scene = Scene::set(mutant);
    let away = "shell: setsid sleep 86413 </dev/null >/dev/null 2>&1 & echo away ;; say: done";
    let task = scene.client.submit("r-0-1", &ask(DEMO, &format!("[r-0-1]\n{away}"))).expect("an answer");
    scene.client.wait(&task);
    scene.kill(true);
    scene.start();
    scene.end()
}

#[test]
#[cfg_attr(not(feature = "campaign"), ignore = "needs the cargo feature `campaign`")]
fn a_start_without_a_sweep_is_caught() {
    is_caught("no_sweep", killed_with_keepers, |v| matches!(v, Violation::Left { .. }));
}

/// The daemon dies between the end of a turn and that of its task, if there is such a place.
fn killed_between_ends(mutant: Option<&str>) -> Vec<Violation> {
    let mut scene = Scene::set(mutant);
    scene.again(&[("HOB_CRASH_AT", "turn.ended_alone".to_owned())]);
    let task = scene.client.submit("r-0-1", &ask(DEMO, "[r-0-1]\nsay: hello")).expect("an answer");
    match mutant {
        Some(_) => scene.dies(),
        None => {
            scene.client.wait(&task);
            scene.kill(false);
        }
    }
    scene.start();
    scene.client.wait(&task);
    scene.end()
}

#[test]
#[cfg_attr(not(feature = "campaign"), ignore = "needs the cargo feature `campaign`")]
fn two_transactions_for_one_end_are_caught() {
    is_caught("two_transactions", killed_between_ends, |v| matches!(v, Violation::EndsDiffer { .. }));
}

/// The daemon dies when the task is made and the client does not know it.
fn killed_unanswered(mutant: Option<&str>) -> Vec<Violation> {
    let mut scene = Scene::set(mutant);
    scene.again(&[("HOB_CRASH_AT", "submit.unanswered".to_owned())]);
    let mut client = scene.load.client(&scene.stage.chats[0]);
    let submitted = std::thread::spawn(move || {
        let task = client.submit("r-0-1", &ask(DEMO, "[r-0-1]\nsay: hello")).expect("an answer");
        client.wait(&task);
    });
    scene.dies();
    scene.start();
    submitted.join().expect("a client that did not panic");
    scene.end()
}

#[test]
#[cfg_attr(not(feature = "campaign"), ignore = "needs the cargo feature `campaign`")]
fn a_forgotten_request_id_is_caught() {
    is_caught("no_request_id", killed_unanswered, |v| matches!(v, Violation::Doubled { .. }));
}

/// Each commit takes its time, and the daemon dies as soon as a cancel is answered that came when
/// the task was on its way to an agent.
fn killed_when_cancelled(mutant: Option<&str>) -> Vec<Violation> {
    let mut scene = Scene::set(mutant);
    scene.again(&[("HOB_PAUSE_AT", format!("batch.uncommitted:1:{WINDOW_MS}"))]);
    let task = scene.client.submit("r-0-1", &ask_to_cancel(DEMO, "[r-0-1]\nhang")).expect("an answer");
    scene.client.tell_to_cancel(&task);
    scene.kill(false);
    scene.start();
    scene.client.see_cancelled(&task);
    scene.end()
}

#[test]
#[cfg_attr(not(feature = "campaign"), ignore = "needs the cargo feature `campaign`")]
fn a_cancel_that_is_answered_before_it_is_recorded_is_caught() {
    is_caught("unrecorded_cancel", killed_when_cancelled, |v| matches!(v, Violation::Complaint { .. }));
}

/// The last news of a backend comes when the next one is in the middle of a turn.
fn replaced_with_late_news(mutant: Option<&str>) -> Vec<Violation> {
    let late = [("HOB_PAUSE_AT", format!("agent.exited:1:{LATE_MS}")), ("TOKIO_WORKER_THREADS", "4".into())];
    let mut scene = Scene::set(mutant);
    scene.again(&late);
    let never = scene
        .client
        .submit("r-0-1", &ask_to_cancel(FAULT, "[r-0-1] fault: never-answer"))
        .expect("an answer");
    scene.reaches("[r-0-1]");
    scene.client.cancel(&never);
    let next = scene
        .client
        .submit("r-0-2", &ask_to_cancel(FAULT, "[r-0-2] fault: cancel-end-turn"))
        .expect("an answer");
    let start = Instant::now();
    while start.elapsed() < LATE_WITHIN && !scene.client.waited(&next) {}
    scene.client.cancel(&next);
    scene.end()
}

#[test]
#[cfg_attr(not(feature = "campaign"), ignore = "needs the cargo feature `campaign`")]
fn late_news_of_an_old_generation_is_caught() {
    is_caught("no_generation_check", replaced_with_late_news, |v| matches!(v, Violation::Disturbed { .. }));
}

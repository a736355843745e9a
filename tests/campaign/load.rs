//! The load: eight chats with a client each, one who answers questions, and followers. All of them
//! live through the death of the daemon: they connect again and ask again, and note what they were
//! told.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};

use super::check::is_terminal;
use super::facts::{Facts, Followed, Submit};
use super::follow::{self, Follower};
use super::link::{Link, Refused};
use super::meddle::Meddler;
use super::prompts::{self, Ask};

/// How long a client asks again before it complains: the daemon may be killed many times meanwhile.
const INSIST: Duration = Duration::from_secs(120);
/// Between two attempts to reach a daemon that is not there.
const AGAIN: Duration = Duration::from_millis(4);
/// Tasks of one chat that are under way at once.
const OPEN_MAX: usize = 3;
/// About so many tasks are submitted for one that is while its chat is held.
const HOLD_EVERY: u32 = 10;
/// The longest pause of a client between two tasks.
const PAUSE_MAX_MS: u64 = 60;
/// A task whose cancel was answered is over after this time, with a daemon that lives.
const CANCELLED_WITHIN: Duration = Duration::from_secs(15);
/// The daemon waits at least so long for the record of a cancel.
const GIVES_UP_AFTER: Duration = Duration::from_secs(4);
/// One wait for a task.
const WAIT_MS: u64 = 1000;
/// How long the person who is asked thinks.
const THINK_MAX_MS: u64 = 30;

/// What the clients share.
pub struct Shared {
    /// The control socket.
    pub socket: PathBuf,
    /// Nothing new is begun.
    pub closing: AtomicBool,
    /// Everybody ends.
    pub over: AtomicBool,
    /// What they were told.
    pub notes: Mutex<Facts>,
}

impl Shared {
    /// Notes something.
    pub fn note(&self, note: impl FnOnce(&mut Facts)) {
        note(&mut self.notes.lock().unwrap());
    }

    /// Whether nothing new is begun.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Whether everybody ends.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// A load that runs.
pub struct Load {
    /// What the clients share.
    pub shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
    meddler: Option<JoinHandle<()>>,
    answerer: JoinHandle<()>,
    followers: Vec<(Arc<AtomicI64>, JoinHandle<Followed>)>,
}

impl Load {
    /// Sets it to work: a client in each of these chats.
    pub fn begin(socket: PathBuf, chats: &[String], rng: &mut Rng) -> Self {
        let shared = Arc::new(Shared {
            socket,
            closing: AtomicBool::new(false),
            over: AtomicBool::new(false),
            notes: Mutex::default(),
        });
        let clients = chats.iter().enumerate().map(|(n, chat)| {
            let client = Client::new(&shared, chat, (n, rng.fork()));
            std::thread::spawn(move || client.work())
        });
        let clients = clients.collect();
        // Where nobody works by himself there is nothing to interfere with.
        let meddler = (!chats.is_empty()).then(|| {
            let meddler = Meddler::new(&shared, chats, prompts::DEMO_CHATS, rng.fork());
            std::thread::spawn(move || meddler.work())
        });
        let answerer = {
            let (line, rng) = (Line::new(&shared), rng.fork());
            std::thread::spawn(move || answer(line, rng))
        };
        let followers = [("all", None, false), ("often", None, true), ("one", chats.get(3).cloned(), false)];
        let followers = followers.map(|(name, chat, flaps)| {
            let at = Arc::new(AtomicI64::new(0));
            let follower = Follower { name, chat, flaps, at: at.clone(), rng: rng.fork() };
            let shared = shared.clone();
            (at, std::thread::spawn(move || follow::follow(&shared, follower)))
        });
        Self { shared, clients, meddler, answerer, followers: followers.into() }
    }

    /// A client in a chat that does nothing by itself.
    pub fn client(&self, chat: &str) -> Client {
        Client::new(&self.shared, chat, (0, Rng::with_seed(0)))
    }

    /// Lets the clients finish what they began. Needs a daemon that lives.
    pub fn close(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().expect("a client that did not panic");
        }
        if let Some(meddler) = self.meddler.take() {
            meddler.join().expect("a meddler that did not panic");
        }
    }

    /// Where each follower is.
    pub fn followed_to(&self) -> Vec<i64> {
        self.followers.iter().map(|(at, _)| at.load(Ordering::Relaxed)).collect()
    }

    /// Ends it; what everybody was told.
    pub fn end(mut self) -> Facts {
        self.close();
        self.shared.over.store(true, Ordering::Relaxed);
        self.answerer.join().expect("an answerer that did not panic");
        let seen = self.followers.into_iter().map(|(_, thread)| thread.join());
        let seen: Vec<Followed> = seen.map(|seen| seen.expect("a follower that did not panic")).collect();
        let mut facts = std::mem::take(&mut *self.shared.notes.lock().unwrap());
        facts.followers = seen;
        facts
    }
}

/// A client's line to whichever daemon lives.
pub struct Line {
    shared: Arc<Shared>,
    link: Option<Link>,
}

impl Line {
    /// A line to whichever daemon answers there.
    pub fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: shared.clone(), link: None }
    }

    /// Asks until there is an answer. A daemon that is stopping, and says so or has no more parts to
    /// answer with, will be followed by another.
    pub fn ask(&mut self, method: &str, params: &Value) -> Result<Value, Refused> {
        let start = Instant::now();
        while start.elapsed() < INSIST {
            if self.link.is_none() {
                self.link = Link::to(&self.shared.socket).ok();
            }
            match self.link.as_mut().map(|link| link.call(method, params.clone())) {
                Some(Ok(Ok(answer))) => return Ok(answer),
                Some(Ok(Err(refused))) if ["shutting_down", "overloaded"].contains(&&*refused.kind) => {}
                Some(Ok(Err(refused))) => return Err(refused),
                Some(Err(_)) | None => self.link = None,
            }
            std::thread::sleep(AGAIN);
        }
        Err(Refused { kind: "silence".into(), message: format!("no answer within {INSIST:?}") })
    }

    /// The same for what there is no reason to refuse.
    pub fn insist(&mut self, method: &str, params: &Value) -> Option<Value> {
        match self.ask(method, params) {
            Ok(answer) => Some(answer),
            Err(refused) => {
                let words = format!("{method} {params}: {refused}");
                self.shared.note(|facts| facts.complaints.push(words));
                None
            }
        }
    }

    /// Notes what an answer says of a task; true if it is over.
    fn is_over(&self, row: &Value) -> bool {
        let (task, state) = (row["id"].as_str().unwrap_or_default(), row["state"].as_str());
        let over = state.filter(|state| is_terminal(state));
        if let Some(state) = over {
            self.shared.note(|facts| facts.told_ends.push((task.to_owned(), state.to_owned())));
        }
        over.is_some()
    }
}

/// The client of one chat.
pub struct Client {
    line: Line,
    chat: String,
    n: usize,
    rng: Rng,
    /// Tasks that were not seen to end.
    open: Vec<String>,
}

impl Client {
    fn new(shared: &Arc<Shared>, chat: &str, (n, rng): (usize, Rng)) -> Self {
        Self { line: Line::new(shared), chat: chat.to_owned(), n, rng, open: Vec::new() }
    }

    fn work(mut self) {
        let mut number = 0;
        while !self.line.shared.is_closing() {
            number += 1;
            self.one(&format!("r-{}-{number}", self.n));
            while self.open.len() >= OPEN_MAX || (!self.open.is_empty() && self.rng.bool()) {
                let task = self.open.remove(0);
                self.wait(&task);
            }
            std::thread::sleep(Duration::from_millis(self.rng.u64(0..PAUSE_MAX_MS)));
        }
        for task in std::mem::take(&mut self.open) {
            self.wait(&task);
        }
    }

    fn one(&mut self, request: &str) {
        let ask = prompts::next(&mut self.rng, self.n, request);
        let held = self.rng.u32(0..HOLD_EVERY) == 0;
        let chat = json!({ "chat": self.chat });
        if held {
            self.line.insist("task/hold", &chat);
        }
        let task = self.submit(request, &ask);
        if held {
            self.line.insist("task/release", &chat);
        }
        let Some(task) = task else { return };
        match ask.cancel {
            Some(after) => {
                std::thread::sleep(after);
                self.cancel(&task);
            }
            None => self.open.push(task),
        }
    }

    /// Submits a task until it is accepted, which it notes.
    pub fn submit(&mut self, request: &str, ask: &Ask) -> Option<String> {
        let submit = Submit {
            request: request.to_owned(),
            answers: Vec::new(),
            breaks: ask.breaks,
            cancelled: ask.cancel.is_some(),
            deleted: false,
        };
        self.line.shared.note(|facts| facts.submits.push(submit));
        let params = json!({
            "chat": self.chat, "agent": ask.agent, "prompt": ask.prompt, "request_id": request,
        });
        let row = self.line.insist("task/submit", &params)?;
        let task = row["id"].as_str().unwrap_or_default().to_owned();
        self.line.shared.note(|facts| {
            if let Some(submit) = facts.submits.iter_mut().rfind(|submit| submit.request == request) {
                submit.answers.push(task.clone());
            }
        });
        self.line.is_over(&row);
        Some(task)
    }

    /// Cancels a task, and sees that it ends.
    pub fn cancel(&mut self, task: &str) {
        self.tell_to_cancel(task);
        self.see_cancelled(task);
    }

    /// Cancels a task; again where the daemon could not record it in its time and says that the task
    /// still waits, which is no promise. Said at once it would be a mistake.
    pub fn tell_to_cancel(&mut self, task: &str) {
        loop {
            let asked = Instant::now();
            let Some(row) = self.line.insist("task/cancel", &json!({ "task": task })) else { return };
            self.line.is_over(&row);
            if row["state"] != "queued" || asked.elapsed() < GIVES_UP_AFTER {
                return;
            }
        }
    }

    /// Complains if a task whose cancel was answered goes on, and cancels it again.
    pub fn see_cancelled(&mut self, task: &str) {
        let start = Instant::now();
        while start.elapsed() < CANCELLED_WITHIN {
            if self.waited(task) {
                return;
            }
        }
        let words =
            format!("the cancel of {task} was answered, and {CANCELLED_WITHIN:?} later it is not over");
        self.line.shared.note(|facts| facts.complaints.push(words));
        self.line.insist("task/cancel", &json!({ "task": task }));
        self.wait(task);
    }

    /// Waits until a task is over.
    pub fn wait(&mut self, task: &str) {
        let start = Instant::now();
        while start.elapsed() < INSIST {
            if self.waited(task) {
                return;
            }
        }
        self.line.shared.note(|facts| facts.complaints.push(format!("{task} is not over after {INSIST:?}")));
    }

    /// Waits for a moment; true if the task is over, or there is no use in waiting.
    pub fn waited(&mut self, task: &str) -> bool {
        let params = json!({ "task": task, "timeout_ms": WAIT_MS });
        self.line.insist("task/wait", &params).is_none_or(|row| self.line.is_over(&row))
    }
}

/// Answers every question that is asked, as somebody who watches.
fn answer(mut line: Line, mut rng: Rng) {
    let mut after = 0;
    while !line.shared.is_over() {
        let params = json!({
            "after": after, "answers_permissions": true, "types": ["permission_requested"],
        });
        let Ok(mut link) = Link::to(&line.shared.socket) else {
            std::thread::sleep(AGAIN);
            continue;
        };
        if !matches!(link.call("events/subscribe", params), Ok(Ok(_))) {
            std::thread::sleep(AGAIN);
            continue;
        }
        while let Ok(event) = link.event(follow::LOOK) {
            if line.shared.is_over() {
                return;
            }
            let Some(event) = event else { continue };
            after = event["seq"].as_i64().unwrap_or(after);
            std::thread::sleep(Duration::from_millis(rng.u64(0..THINK_MAX_MS)));
            let option = if rng.u8(0..4) == 0 { "reject_once" } else { "allow_once" };
            let params = json!({ "permission": event["permission"], "option": option });
            match line.ask("permission/answer", &params) {
                Ok(row) if row["state"] == "answered" => {
                    let id = row["id"].as_str().unwrap_or_default().to_owned();
                    line.shared.note(|facts| facts.told_answers.push((id, option.to_owned())));
                }
                // Its turn was over, or nobody asks any more.
                Ok(_) => {}
                Err(refused) if refused.kind == "conflict" => {}
                Err(refused) => {
                    line.shared.note(|facts| facts.complaints.push(format!("{params}: {refused}")));
                }
            }
        }
    }
}

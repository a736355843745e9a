//! One conversation with an opencode server: a task that hears its session, asks for what was
//! missed, and does what it is told.
//!
//! ```text
//! prompt ─▶ prompt_async ─▶ events … ─▶ idle and complete ─▶ Settled
//!                              │ gap, silence, doubt
//!                              ▼
//!                    status, messages, requests read ─▶ caught up ─▶ goes on, or Settled
//! ```
//! **Invariant:** `Settled` comes once for each prompt, behind everything that was said for it, and
//! not before what a gap in the stream may have taken was read.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hob_actors::ports::{self, News, NewsSink, NotChosen, Permit, Settled};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ears::Heard;
use super::http::HttpError;
use super::hub::Told;
use super::ids;
use super::offers::{Choice, Offers};
use super::questions::{Next, Questions, Reply};
use super::record::Written;
use super::server::Server;
use super::turn::{self, Turn};
use super::wire::Session;

/// A turn that is silent for so long has what is written down of it read.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(15);
/// A session that rests in mid-turn is looked at again after so long.
pub(super) const DOUBT: Duration = Duration::from_millis(300);
/// A prompt that did not come through is sent again after so long, under the same ids.
const SEND_AGAIN: Duration = Duration::from_millis(500);
/// So often.
const SENDS_MAX: u32 = 4;
/// Between two looks whether the directory is idle for long enough.
const IDLE_EVERY: Duration = Duration::from_secs(30);

/// What a conversation is told to do.
pub(super) enum Order {
    /// Send this, under this number.
    Prompt(u64, String),
    /// Stop what runs.
    Cancel,
    /// Answer the request of that number; `None` is "cancelled".
    Answer(u64, Option<String>),
    /// Ask for these with every prompt from now on; said when that holds.
    Choose(ports::Choice, oneshot::Sender<Result<(), NotChosen>>),
    /// Stop what runs and end; said when that is done.
    Stop(oneshot::Sender<()>),
}

/// What came of something that was asked of the server.
pub(super) enum Done {
    /// Whether the prompt of that number was taken.
    Sent(u64, Result<(), HttpError>),
    /// What is written down of the turn of that number.
    Read(u64, Result<Box<Written>, HttpError>),
    /// What is offered.
    Offered(Result<Box<Offers>, HttpError>),
    /// The abort came through, or did not.
    Aborted,
    /// Something that changes nothing here.
    Told,
}

/// The memory of a conversation.
pub(super) struct Conversation {
    pub(super) server: Arc<Server>,
    pub(super) session: String,
    pub(super) directory: String,
    pub(super) choice: Choice,
    pub(super) sink: NewsSink,
    pub(super) turn: Option<Turn>,
    pub(super) questions: Questions,
    pub(super) offers: Option<Box<Offers>>,
    pub(super) cost_total: f64,
    pub(super) doing: JoinSet<Done>,
    /// When what is written down is read next.
    pub(super) look: Option<Instant>,
    pub(super) reading: bool,
    /// Something was missed that was not read yet.
    pub(super) gap: bool,
    /// The stream is there.
    pub(super) connected: bool,
    /// The stream had a gap while the record was being read.
    pub(super) outdated: bool,
    pub(super) aborting: bool,
}

impl Conversation {
    pub(super) fn new(
        server: Arc<Server>,
        session: Session,
        directory: &Path,
        (choice, sink, connected): (Choice, NewsSink, bool),
    ) -> Self {
        let named = session.model.clone().map(|model| (model.provider, model.id));
        Self {
            server,
            session: session.id,
            directory: directory.to_string_lossy().into_owned(),
            choice: Choice { model: choice.model.or(named), mode: choice.mode.or(session.agent) },
            sink,
            turn: None,
            questions: Questions::default(),
            offers: None,
            cost_total: session.cost.unwrap_or(0.0),
            doing: JoinSet::new(),
            look: None,
            reading: false,
            // What happens before the stream is there is not heard.
            gap: !connected,
            connected,
            outdated: false,
            aborting: false,
        }
    }

    /// Lives until it is stopped, or the server has ended.
    pub(super) async fn run(
        mut self,
        mut orders: UnboundedReceiver<Order>,
        mut told: UnboundedReceiver<Told>,
        instance_idle: Duration,
    ) {
        self.read_offers();
        let mut idle = tokio::time::interval(instance_idle.clamp(Duration::from_millis(250), IDLE_EVERY));
        loop {
            let look = self.look;
            tokio::select! {
                biased;
                Some(news) = told.recv() => if self.take(news) { return },
                Some(order) = orders.recv() => match order {
                    Order::Stop(done) => return self.stop(done).await,
                    order => self.obey(order),
                },
                Some(done) = self.doing.join_next() => if let Ok(done) = done { self.done(done) },
                () = tokio::time::sleep_until(look.unwrap_or_else(Instant::now)), if look.is_some() => {
                    self.look = None;
                    self.read_record();
                }
                _ = idle.tick(), if self.turn.is_none() => {
                    let (server, directory) = (self.server.clone(), self.directory.clone());
                    self.doing.spawn(async move {
                        server.dispose_if_idle(Path::new(&directory), instance_idle).await;
                        Done::Told
                    });
                }
                else => return,
            }
            self.settle_if_over();
        }
    }

    pub(super) fn tell(&self, news: News) {
        (self.sink)(news, Permit::free());
    }

    /// The room of an event goes with the last of its news.
    fn tell_all(&self, news: Vec<News>, permit: Permit) {
        let mut permit = Some(permit);
        let last = news.len().saturating_sub(1);
        for (n, news) in news.into_iter().enumerate() {
            let held = if n == last { permit.take() } else { None };
            (self.sink)(news, held.unwrap_or_else(Permit::free));
        }
    }

    // ------------------------------------------------------------------------------- heard

    /// Whether the server has ended, and the conversation with it.
    fn take(&mut self, told: Told) -> bool {
        match told {
            Told::Heard { heard, child, permit } => self.heard(heard, child, permit),
            Told::Gap => {
                self.connected = false;
                self.missed_something();
                // What is being read may be older than what is missed from here on.
                self.outdated |= self.reading;
            }
            Told::Back => {
                // What was read while it was away may be older than what was missed until now.
                if !std::mem::replace(&mut self.connected, true) {
                    self.missed_something();
                }
                if self.gap {
                    self.read_record();
                }
            }
            Told::Ended(exit) => {
                self.tell(News::Exited(exit));
                return true;
            }
        }
        false
    }

    fn missed_something(&mut self) {
        self.gap = true;
        if let Some(turn) = &mut self.turn {
            turn.missed_something();
        }
    }

    fn heard(&mut self, heard: Heard, child: bool, permit: Permit) {
        match heard {
            Heard::Asks(request) => {
                let next = self.questions.permission(&request);
                self.follow(next.unwrap_or(Next::Nothing));
            }
            Heard::Questions(request) => {
                let next = self.questions.questions(request);
                self.follow(next.unwrap_or(Next::Nothing));
            }
            Heard::Answered(id) => {
                if let Some(number) = self.questions.settled(&id) {
                    self.tell(News::Withdrew(number));
                }
            }
            // What a child says is in the result of the tool that made it.
            _ if child => {}
            heard => {
                let Some(turn) = &mut self.turn else { return };
                let news = turn.hear(&heard);
                self.look = Some(Instant::now() + if turn.is_in_doubt() { DOUBT } else { SILENCE_MAX });
                self.tell_all(news, permit);
            }
        }
    }

    fn settle_if_over(&mut self) {
        if self.gap {
            return;
        }
        let Some(end) = self.turn.as_ref().and_then(Turn::end) else { return };
        let Some(turn) = self.turn.take() else { return };
        self.cost_total += end.spent.cost.unwrap_or(0.0);
        let model = turn.model();
        let offers = self.offers.as_ref().zip(model);
        let size = offers.and_then(|(offers, (provider, model))| offers.context_size(&provider, &model));
        self.tell(News::Said(turn::figures(&end, size, self.cost_total)));
        self.settle(turn.number, end.result);
    }

    pub(super) fn settle(&mut self, prompt: u64, result: Result<String, String>) {
        self.rest();
        self.tell(News::Settled(Settled { prompt, result, usage: None }));
    }

    /// The server knows nothing of the session, and did not take the prompt.
    pub(super) fn lost(&mut self, prompt: u64, why: String) {
        self.rest();
        self.tell(News::Lost { prompt, why });
    }

    /// No turn is under way any more.
    fn rest(&mut self) {
        self.turn = None;
        self.look = None;
        self.server.at_work(Path::new(&self.directory), false);
        for reply in self.questions.dismiss() {
            self.send(reply);
        }
    }

    // -------------------------------------------------------------------------------- told

    fn obey(&mut self, order: Order) {
        match order {
            Order::Prompt(number, text) => self.prompt(number, text),
            Order::Cancel => self.cancel(),
            Order::Answer(number, option) => {
                let next = self.questions.answer(number, option.as_deref());
                self.follow(next);
                crash_point!("answer.given");
            }
            Order::Choose(asked, done) => {
                let chosen = self.choice.choose(&asked).map_err(NotChosen::Refused);
                // Whoever asked may have gone.
                done.send(chosen).ok();
            }
            // Obeyed by whoever took it.
            Order::Stop(_) => {}
        }
    }

    fn prompt(&mut self, number: u64, text: String) {
        let (message, part) = (ids::fresh("msg"), ids::fresh("prt"));
        let mut body = json!({
            "messageID": message,
            "parts": [{"id": part, "type": "text", "text": text}],
        });
        if let Some((provider, model)) = &self.choice.model {
            body["model"] = json!({"providerID": provider, "modelID": model});
        }
        if let Some(mode) = &self.choice.mode {
            body["agent"] = json!(mode);
        }
        self.server.at_work(Path::new(&self.directory), true);
        self.turn = Some(Turn::new(number, message));
        self.look = Some(Instant::now() + SILENCE_MAX);
        let (server, directory, session) =
            (self.server.clone(), self.directory.clone(), self.session.clone());
        self.doing.spawn(async move {
            let path = format!("/session/{session}/prompt_async");
            let door = server.door(Path::new(&directory));
            let _held = door.lock().await;
            let mut n_sends = 1;
            loop {
                // Under the same ids a prompt that did come through is not run again.
                let sent = server.client.tell(&path, &[("directory", &directory)], &body).await;
                if n_sends == SENDS_MAX || !sent.as_ref().is_err_and(HttpError::may_pass) {
                    return Done::Sent(number, sent);
                }
                n_sends += 1;
                tokio::time::sleep(SEND_AGAIN).await;
            }
        });
    }

    /// With nothing running it would hit the next prompt, and one at a time is enough.
    fn cancel(&mut self) {
        if self.turn.is_none() || std::mem::replace(&mut self.aborting, true) {
            return;
        }
        let aborting = self.abort();
        self.doing.spawn(async move {
            aborting.await;
            Done::Aborted
        });
        crash_point!("cancel.sent");
    }

    pub(super) fn abort(&self) -> impl Future<Output = ()> + Send + 'static {
        let (client, directory) = (self.server.client.clone(), self.directory.clone());
        let path = format!("/session/{}/abort", self.session);
        async move {
            let aborted = client.post::<Value>(&path, &[("directory", &directory)], &json!({})).await;
            if let Err(error) = aborted {
                tracing::debug!(%error, "an abort did not come through");
            }
        }
    }

    pub(super) fn follow(&mut self, next: Next) {
        match next {
            Next::Ask(number, ask) => self.tell(News::Asked(number, ask)),
            Next::Send(reply) => self.send(reply),
            Next::Nothing => {}
        }
    }

    fn send(&mut self, reply: Reply) {
        let (client, directory) = (self.server.client.clone(), self.directory.clone());
        self.doing.spawn(async move {
            let sent = client.tell(&reply.path, &[("directory", &directory)], &reply.body).await;
            // One that was settled meanwhile is not there any more.
            if let Err(error) = sent.or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) }) {
                tracing::warn!(path = reply.path, %error, "an answer did not come through");
            }
            Done::Told
        });
    }

    /// Stops what runs, so that the server does not go on for nobody.
    async fn stop(mut self, done: oneshot::Sender<()>) {
        if self.turn.is_some() {
            self.abort().await;
        }
        for reply in self.questions.dismiss() {
            let query = [("directory", self.directory.as_str())];
            self.server.client.tell(&reply.path, &query, &reply.body).await.ok();
        }
        done.send(()).ok();
    }
}

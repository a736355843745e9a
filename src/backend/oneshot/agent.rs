//! The handle of an agent that has a process only while a prompt runs.
//!
//! **Invariant:** what a run is and how it ends concerns its own prompt: it is settled, well or
//! not, and never the end of a backend.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use hob_actors::event::Exit;
use hob_actors::ports::{Agent, Choice, News, NewsSink, NotChosen, Permit, ProbeFailed, Route, Settled};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::run::{self, Order};
use super::{Spec, Wish};
use crate::backend::process::Spawner;
use crate::sync::lock;

/// An agent that is run anew for each prompt. Dropping it ends what runs.
pub struct OneshotAgent {
    spec: Mutex<Arc<Spec>>,
    spawner: Spawner,
    sink: NewsSink,
    current: Mutex<Option<Current>>,
    /// It was stopped, and runs nothing more.
    stopped: watch::Sender<bool>,
    last: Arc<Mutex<Exit>>,
}

struct Current {
    task: JoinHandle<()>,
    wish: watch::Sender<Wish>,
    ended: watch::Receiver<bool>,
}

impl OneshotAgent {
    /// Runs nothing yet.
    pub fn new(spec: Spec, spawner: Spawner, sink: NewsSink) -> Self {
        Self {
            spec: Mutex::new(Arc::new(spec)),
            spawner,
            sink,
            current: Mutex::default(),
            stopped: watch::Sender::new(false),
            last: Arc::default(),
        }
    }

    /// Runs with that model from the next prompt on, if there is one.
    pub(super) fn use_model(&self, model: Option<&str>) {
        if let Some(model) = model {
            let mut spec = lock(&self.spec);
            let model = Some(model.to_owned());
            *spec = Arc::new(Spec { model, ..(**spec).clone() });
        }
    }

    fn refuse(&self, number: u64, why: &str) {
        let settled = Settled { prompt: number, result: Err(why.to_owned()), usage: None };
        (self.sink)(News::Settled(settled), Permit::free());
    }

    fn wish(&self, more: Wish) {
        if let Some(current) = &*lock(&self.current) {
            current.wish.send_if_modified(|wish| {
                let is_more = more > *wish;
                *wish = more.max(*wish);
                is_more
            });
        }
    }

    fn begin(&self, order: Order) -> Current {
        let (wish, wished) = watch::channel(Wish::None);
        let (ending, ended) = watch::channel(false);
        let (spec, spawner, sink) = (lock(&self.spec).clone(), self.spawner.clone(), self.sink.clone());
        let last = self.last.clone();
        let task = tokio::spawn(async move {
            let (settled, exit) = run::run(&spec, &spawner, order, wished, sink.clone()).await;
            *lock(&last) = exit;
            // Before the answer: whoever hears it may send the next prompt at once.
            ending.send_replace(true);
            sink(News::Settled(settled), Permit::free());
        });
        Current { task, wish, ended }
    }
}

impl Drop for OneshotAgent {
    fn drop(&mut self) {
        if let Some(current) = lock(&self.current).take() {
            // With the task go the last handles of the process, and with them the tree.
            current.task.abort();
        }
    }
}

impl Agent for OneshotAgent {
    fn prompt(&self, number: u64, text: &str) {
        let mut current = lock(&self.current);
        if *self.stopped.borrow() {
            self.refuse(number, "the agent was stopped");
        } else if current.as_ref().is_some_and(|current| !*current.ended.borrow()) {
            self.refuse(number, "a run is under way already");
        } else {
            *current = Some(self.begin(Order { number, prompt: text.to_owned() }));
        }
    }

    fn route(&self) -> Route {
        Route::Oneshot
    }

    fn cancel(&self) {
        self.wish(Wish::Stop);
    }

    fn answer(&self, _question: u64, _option: Option<String>) {
        // A run without a person to ask asks nothing.
    }

    fn choose(&self, asked: &Choice) -> Pin<Box<dyn Future<Output = Result<(), NotChosen>> + Send>> {
        // A mode has no place in a command line.
        self.use_model(asked.model.as_deref());
        Box::pin(std::future::ready(Ok(())))
    }

    fn ping(&self) -> Pin<Box<dyn Future<Output = Result<(), ProbeFailed>> + Send>> {
        // Between prompts there is nothing that could be ill, and a run has the watchdog.
        Box::pin(std::future::ready(Ok(())))
    }

    fn stderr_tail(&self) -> String {
        lock(&self.last).stderr_tail.clone()
    }

    fn stop(&self, now: bool) -> Pin<Box<dyn Future<Output = Exit> + Send>> {
        self.stopped.send_replace(true);
        self.wish(if now { Wish::StopNow } else { Wish::Stop });
        let ended = lock(&self.current).as_ref().map(|current| current.ended.clone());
        let last = self.last.clone();
        Box::pin(async move {
            let Some(mut ended) = ended else { return Exit::default() };
            // An error means that the handle was dropped, and the tree ended with it.
            ended.wait_for(|ended| *ended).await.ok();
            lock(&last).clone()
        })
    }
}

//! Fake agents: each follows the script of its world, and dies with its handle.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{World, lock};
use crate::backoff::Cause;
use crate::event::{Context, Event, Exit, Usage};
use crate::id::{AgentKey, AgentName, BackendSessionId, Generation};
use crate::ports::{
    Agent, Backend, Choice, Launch, Launched, News, NewsSink, NotChosen, Permit, ProbeFailed, Settled,
    StartFailed,
};

impl Backend for World {
    fn launch(
        &self,
        launch: Launch,
        sink: NewsSink,
    ) -> Pin<Box<dyn Future<Output = Result<Launched, StartFailed>> + Send>> {
        let world = self.clone();
        Box::pin(async move {
            let script = world.script().clone();
            let pid = {
                let mut memory = world.memory();
                memory.n_starts += 1;
                memory.n_starts
            };
            let puppet = Puppet::new(&world, &launch, sink.clone());
            tokio::time::sleep(script.start).await;
            if let Some(message) = script.start_fails {
                let for_good = script.fails_for_good;
                let cause = if for_good { Cause::Configuration } else { Cause::StartFailure };
                return Err(StartFailed { cause, message, exit: None });
            }
            lock(&world.sinks).insert(launch.key, sink);
            Ok(Launched {
                backend: "acp",
                agent: Arc::new(puppet),
                pid: Some(pid),
                host: None,
                backend_session: Some(BackendSessionId::from("b-1")),
                context: if launch.resume.is_some() { Context::Loaded } else { Context::Fresh },
                reset: None,
                config_hash: hash(&script.config_hash, &launch.choice),
            })
        })
    }

    fn config_hash(&self, _: &AgentName, _: &Path, choice: &Choice) -> String {
        hash(&self.script().config_hash, choice)
    }
}

fn hash(configured: &str, choice: &Choice) -> String {
    format!("{configured} {:?} {:?}", choice.mode, choice.model)
}

/// One fake agent process; dropping it ends it.
struct Puppet {
    world: World,
    key: AgentKey,
    generation: Generation,
    sink: NewsSink,
    working: Mutex<Option<(u64, tokio::task::AbortHandle)>>,
}

impl Puppet {
    fn new(world: &World, launch: &Launch, sink: NewsSink) -> Self {
        world.memory().alive.insert((launch.key.clone(), launch.generation));
        let (world, key) = (world.clone(), launch.key.clone());
        Self { world, key, generation: launch.generation, sink, working: Mutex::default() }
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.world.memory().alive.remove(&(self.key.clone(), self.generation));
    }
}

fn settled(prompt: u64, reason: &str) -> News {
    News::Settled(Settled { prompt, result: Ok(reason.into()), usage: None })
}

impl Agent for Puppet {
    fn prompt(&self, number: u64, text: &str) {
        let poisoned = self.world.script().poison.as_deref() == Some(text);
        assert!(!poisoned, "a bug that the test made");
        self.world.prompted(&self.key, self.generation, text);
        let (script, sink, text) = (self.world.script().clone(), self.sink.clone(), text.to_owned());
        let work = tokio::spawn(async move {
            sink(News::Said(Event::Text { text, message: None }), Permit::free());
            if let Some(ask) = script.asks {
                sink(News::Asked(7, ask), Permit::free());
            }
            match script.turn {
                Some(turn) => tokio::time::sleep(turn).await,
                None => std::future::pending().await,
            }
            if script.cost.is_some() {
                let usage = Usage { cost: script.cost, ..Usage::default() };
                sink(News::Said(Event::Usage(usage)), Permit::free());
            }
            sink(settled(number, "end_turn"), Permit::free());
        });
        *lock(&self.working) = Some((number, work.abort_handle()));
    }

    fn cancel(&self) {
        self.world.memory().cancels += 1;
        if !self.world.script().obeys_cancel {
            return;
        }
        if let Some((number, work)) = lock(&self.working).take() {
            work.abort();
            (self.sink)(settled(number, "cancelled"), Permit::free());
        }
    }

    fn answer(&self, question: u64, option: Option<String>) {
        self.world.memory().answers.push((question, option));
    }

    fn choose(&self, asked: &Choice) -> Pin<Box<dyn Future<Output = Result<(), NotChosen>> + Send>> {
        self.world.memory().chosen.push(asked.clone());
        let script = self.world.script().clone();
        let (sink, mode) = (self.sink.clone(), asked.mode.clone());
        Box::pin(async move {
            if script.tells_chosen {
                sink(News::Said(Event::Mode { current: mode, available: None }), Permit::free());
            }
            match script.chooses {
                Some(result) => result,
                None => std::future::pending().await,
            }
        })
    }

    fn ping(&self) -> Pin<Box<dyn Future<Output = Result<(), ProbeFailed>> + Send>> {
        let (answer, panics) = {
            let mut script = self.world.script();
            let panics = script.pings_panic > 0;
            script.pings_panic = script.pings_panic.saturating_sub(1);
            (script.ping.clone(), panics)
        };
        assert!(!panics, "a bug that the test made");
        Box::pin(async move {
            tokio::task::yield_now().await;
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }

    fn stderr_tail(&self) -> String {
        "a complaint".into()
    }

    fn stop(&self, _: bool) -> Pin<Box<dyn Future<Output = Exit> + Send>> {
        if let Some((_, work)) = lock(&self.working).take() {
            work.abort();
        }
        self.world.memory().alive.remove(&(self.key.clone(), self.generation));
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Exit { code: Some(0), ..Exit::default() }
        })
    }
}

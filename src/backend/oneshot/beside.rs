//! A kept agent with one-shot runs beside it: one handle, one prompt at a time, whoever gets it.
//!
//! **Invariant:** while a run has the prompt, nothing of the kept agent reaches the session: what it
//! says meanwhile would be taken for news of the run, and its end for the end of the turn. It is
//! told when the run is over. How much that can be is bounded by the permits that are held with it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use hob_actors::event::Exit;
use hob_actors::ports::{Agent, Choice, Launched, News, NewsSink, NotChosen, Permit, ProbeFailed};

use super::OneshotAgent;
use crate::sync::lock;

/// What the kept agent said while a run had the prompt; `None` while none has.
type Held = Option<Vec<(News, Permit)>>;

/// Lets through the news of the one of both that has the prompt.
#[derive(Clone)]
pub struct Gate {
    held: Arc<Mutex<Held>>,
    sink: NewsSink,
}

impl Gate {
    /// A gate before `sink`.
    pub fn new(sink: NewsSink) -> Self {
        Self { held: Arc::default(), sink }
    }

    /// Where the kept agent says its news.
    pub fn kept(&self) -> NewsSink {
        let Self { held, sink } = self.clone();
        Arc::new(move |news, permit| match &mut *lock(&held) {
            Some(waiting) => waiting.push((news, permit)),
            None => sink(news, permit),
        })
    }

    /// Where the runs say theirs.
    pub fn alone(&self) -> NewsSink {
        let Self { held, sink } = self.clone();
        Arc::new(move |news, permit| {
            // Taken before: the next prompt cannot come in between.
            let mut held = lock(&held);
            let is_over = matches!(news, News::Settled(_));
            sink(news, permit);
            if is_over {
                for (news, permit) in held.take().into_iter().flatten() {
                    sink(news, permit);
                }
            }
        })
    }

    fn close(&self) {
        lock(&self.held).get_or_insert_default();
    }

    fn is_closed(&self) -> bool {
        lock(&self.held).is_some()
    }
}

/// A kept agent with one-shot runs beside it.
pub struct Beside {
    kept: Arc<dyn Agent>,
    oneshot: Arc<OneshotAgent>,
    gate: Gate,
    /// Other agent sessions live in the process of the kept one.
    is_shared: bool,
}

impl Beside {
    /// Both say their news through `gate`.
    pub fn new(launched: &Launched, oneshot: OneshotAgent, gate: Gate) -> Self {
        Self {
            kept: launched.agent.clone(),
            oneshot: Arc::new(oneshot),
            gate,
            is_shared: launched.host.is_some(),
        }
    }
}

impl Agent for Beside {
    fn prompt(&self, number: u64, text: &str) {
        self.kept.prompt(number, text);
    }

    fn prompt_alone(&self, number: u64, text: &str) {
        self.gate.close();
        self.oneshot.prompt(number, text);
    }

    fn cancel(&self) {
        if self.gate.is_closed() {
            self.oneshot.cancel();
        } else {
            self.kept.cancel();
        }
    }

    fn answer(&self, question: u64, option: Option<String>) {
        self.kept.answer(question, option);
    }

    fn choose(&self, asked: &Choice) -> Pin<Box<dyn Future<Output = Result<(), NotChosen>> + Send>> {
        let (kept, runs, model) = (self.kept.choose(asked), self.oneshot.clone(), asked.model.clone());
        Box::pin(async move {
            kept.await?;
            runs.use_model(model.as_deref());
            Ok(())
        })
    }

    fn ping(&self) -> Pin<Box<dyn Future<Output = Result<(), ProbeFailed>> + Send>> {
        // Whatever became of the kept one meanwhile: its restart would end the run as well. Where
        // others live in it, they come first.
        if self.gate.is_closed() && !self.is_shared { self.oneshot.ping() } else { self.kept.ping() }
    }

    fn condemn(&self) {
        self.kept.condemn();
    }

    fn stderr_tail(&self) -> String {
        if self.gate.is_closed() { self.oneshot.stderr_tail() } else { self.kept.stderr_tail() }
    }

    fn stop(&self, now: bool) -> Pin<Box<dyn Future<Output = Exit> + Send>> {
        let (run, kept) = (self.oneshot.stop(now), self.kept.stop(now));
        Box::pin(async move { tokio::join!(run, kept).1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hob_actors::ports::Settled;

    #[test]
    fn what_the_kept_agent_says_during_a_run_is_told_behind_its_end() {
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink: NewsSink = {
            let heard = heard.clone();
            Arc::new(move |news, _| {
                lock(&heard).push(match news {
                    News::Settled(_) => "settled".to_owned(),
                    News::Hung(how) => how,
                    other => format!("{other:?}"),
                });
            })
        };
        let gate = Gate::new(sink);
        let (kept, alone) = (gate.kept(), gate.alone());
        let say = |sink: &NewsSink, what: &str| sink(News::Hung(what.to_owned()), Permit::free());
        say(&kept, "before");
        gate.close();
        say(&kept, "during");
        say(&alone, "run");
        assert_eq!(*lock(&heard), ["before", "run"]);
        let settled = Settled { prompt: 1, result: Ok("end_turn".to_owned()), usage: None };
        alone(News::Settled(settled), Permit::free());
        say(&kept, "after");
        assert_eq!(*lock(&heard), ["before", "run", "settled", "during", "after"]);
        assert!(!gate.is_closed());
    }
}

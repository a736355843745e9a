//! The port to agents: what a session actor asks of a backend, and what a backend tells.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use crate::backoff::Cause;
use crate::dispatch::route::Route;
use crate::event::{Context, Event, Exit, Usage};
use crate::id::{AgentKey, AgentName, BackendSessionId, Generation, HostId};
use crate::ports::{PermissionAsk, Permit};
use crate::probe::ProbeFailed;

/// How every message begins that says that a person has to log in to the agent first.
pub const AUTH_REQUIRED: &str = "auth_required";

/// What a person chose for one agent session; what is `None` is as it is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// The mode to work in, by the id that the agent gave it.
    pub mode: Option<String>,
    /// The model, likewise.
    pub model: Option<String>,
}

impl Choice {
    /// What holds where this was chosen over what is configured.
    pub fn over(&self, configured: &Self) -> Self {
        let or = |chosen: &Option<String>, configured: &Option<String>| {
            chosen.clone().or_else(|| configured.clone())
        };
        Self { mode: or(&self.mode, &configured.mode), model: or(&self.model, &configured.model) }
    }
}

/// Why a running backend does not work as was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotChosen {
    /// Another start is needed for that.
    NeedsStart,
    /// The agent said no, in these words.
    Refused(String),
    /// The agent said no to a part of it, in these words.
    InPart(String),
}

/// What the agent session wants started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// For whom.
    pub key: AgentKey,
    /// The generation that it begins.
    pub generation: Generation,
    /// The directory that the agent works in.
    pub cwd: PathBuf,
    /// The conversation to take up again, if there is one.
    pub resume: Option<BackendSessionId>,
    /// Whether that conversation had a turn, so that an empty replay is a loss.
    pub has_history: bool,
    /// Which kind of backend is wanted.
    pub route: Route,
    /// The mode and model that a person chose.
    pub choice: Choice,
}

/// A backend that is ready for a prompt.
pub struct Launched {
    /// The handle; dropping the last one ends the process tree.
    pub agent: Arc<dyn Agent>,
    /// The word for how it is driven.
    pub backend: &'static str,
    /// The agent's own process.
    pub pid: Option<u32>,
    /// The process by name, if other agent sessions may live in it, too.
    pub host: Option<HostId>,
    /// The agent's id of the conversation; `None` if it keeps none.
    pub backend_session: Option<BackendSessionId>,
    /// What the agent remembers.
    pub context: Context,
    /// Why the context was lost, if it was.
    pub reset: Option<String>,
    /// SHA-256, in hex, of the configuration that it was started with.
    pub config_hash: String,
}

/// Why a start failed, and whether another could help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StartFailed {
    /// What kind of failure: only of [`Cause::Configuration`] it is known that another start with
    /// the same configuration fails the same way.
    pub cause: Cause,
    /// What happened, in words: with the program, the exit and the end of stderr where known.
    pub message: String,
    /// How the process ended, if it did.
    pub exit: Option<Exit>,
}

/// What a running backend tells. Delivered in the order in which the agent said it.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// Something for the journal.
    Said(Event),
    /// It asks; answer with [`Agent::answer`] and this number.
    Asked(u64, PermissionAsk),
    /// It takes the question back.
    Withdrew(u64),
    /// Tokens of one model request, to be added to the turn's usage.
    Spent(Usage),
    /// The prompt was answered. Everything it said before came before this.
    Settled(Settled),
    /// It takes no prompt, and answers none, before a person has logged in.
    LogIn {
        /// The number of the prompt that it was asked with, and which it did not take.
        prompt: u64,
        /// What it said, and the ways to log in, in words.
        why: String,
    },
    /// It knows nothing of the conversation that was opened with it, and so did not take the prompt.
    Lost {
        /// The number of the prompt.
        prompt: u64,
        /// What it said, in words.
        why: String,
    },
    /// It closed its output. The process may live on.
    Hung(String),
    /// The process ended, and its tree is gone.
    Exited(Exit),
}

/// How the agent answered a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// The number that [`Agent::prompt`] was called with.
    pub prompt: u64,
    /// The stop reason as it came, or the error.
    pub result: Result<String, String>,
    /// The usage of the whole turn, where the agent tells it with its answer.
    pub usage: Option<Usage>,
}

/// Where a backend's news goes. Never blocks; the permit bounds what is on the way.
pub type NewsSink = Arc<dyn Fn(News, Permit) + Send + Sync>;

/// Runs agents.
pub trait Backend: Send + Sync + 'static {
    /// Starts a backend and takes up the conversation. Dropping the future ends what was started.
    fn launch(
        &self,
        launch: Launch,
        sink: NewsSink,
    ) -> Pin<Box<dyn Future<Output = Result<Launched, StartFailed>> + Send>>;

    /// SHA-256, in hex, of the configuration that a start would use now. Cheap.
    fn config_hash(&self, agent: &AgentName, cwd: &std::path::Path, choice: &Choice) -> String;
}

/// One running backend of one agent session. Calls never block and may be made in any state.
pub trait Agent: Send + Sync + 'static {
    /// Sends a prompt; [`News::Settled`] with the same number will follow, or the agent dies.
    fn prompt(&self, number: u64, text: &str);

    /// The same for a run of its own, beside whatever is kept, where the backend knows such runs.
    fn prompt_alone(&self, number: u64, text: &str) {
        self.prompt(number, text);
    }

    /// Which kind of backend it is.
    fn route(&self) -> Route {
        Route::Warm
    }

    /// Asks the agent to stop what it does.
    fn cancel(&self);

    /// Answers a question: with the id of one of its options, or `None` for "cancelled".
    fn answer(&self, question: u64, option: Option<String>);

    /// Works in the mode and with the model that are asked for from now on; what is `None` stays as it
    /// is. Not bounded in time; the future holds nothing that keeps the process alive.
    fn choose(&self, _asked: &Choice) -> Pin<Box<dyn Future<Output = Result<(), NotChosen>> + Send>> {
        Box::pin(std::future::ready(Err(NotChosen::NeedsStart)))
    }

    /// Asks for a sign of life, which costs a live agent nothing, busy or not. Not bounded in
    /// time; the future holds nothing that keeps the process alive.
    fn ping(&self) -> Pin<Box<dyn Future<Output = Result<(), ProbeFailed>> + Send>>;

    /// Its process is to be ended: no other agent session is taken into it any more. Nothing to do
    /// where it is alone in there.
    fn condemn(&self) {}

    /// The end of what it complained so far, without secrets.
    fn stderr_tail(&self) -> String;

    /// Ends the whole process tree in an orderly way and resolves when nothing of it is left; where
    /// others live in the process, it ends with the last of them.
    /// A second call joins the first. `now` skips the grace.
    fn stop(&self, now: bool) -> Pin<Box<dyn Future<Output = Exit> + Send>>;
}

//! What was asked and is not yet answered, in both directions: prompts of ours, questions of the
//! agent. Shared by the handle, which asks and answers, and the router, which hears.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::jsonrpc::{CallError, RequestId};
use crate::sync::lock;

/// Questions of an agent that wait at once. An agent that asks more is refused.
const QUESTIONS_MAX: usize = 64;

/// A prompt that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prompt {
    /// The number that it was sent with.
    pub(super) number: u64,
    /// We asked the agent to stop it: what its answer says of usage is not to be trusted.
    pub(super) cancelled: bool,
}

#[derive(Default)]
struct Open {
    /// By the id of the request.
    prompts: BTreeMap<u64, Prompt>,
    /// By our number.
    questions: BTreeMap<u64, RequestId>,
    n_questions: u64,
}

/// The open requests.
#[derive(Default)]
pub(super) struct InFlight(Mutex<Open>);

impl InFlight {
    /// Every change is a single insert or remove, so a panic elsewhere leaves it whole.
    fn open(&self) -> MutexGuard<'_, Open> {
        lock(&self.0)
    }

    /// Sends a prompt. Its answer cannot be heard before it is noted here.
    pub(super) fn prompt(
        &self,
        number: u64,
        send: impl FnOnce() -> Result<u64, CallError>,
    ) -> Result<(), CallError> {
        let mut open = self.open();
        let id = send()?;
        open.prompts.insert(id, Prompt { number, cancelled: false });
        Ok(())
    }

    /// Marks what runs as cancelled; false if nothing runs.
    pub(super) fn cancel(&self) -> bool {
        let mut open = self.open();
        open.prompts.values_mut().for_each(|prompt| prompt.cancelled = true);
        !open.prompts.is_empty()
    }

    /// The prompt that an answer is for.
    pub(super) fn answered(&self, id: &RequestId) -> Option<Prompt> {
        self.open().prompts.remove(&id.number()?)
    }

    /// Notes a question and numbers it; `None` if too many wait.
    pub(super) fn ask(&self, id: &RequestId) -> Option<u64> {
        let mut open = self.open();
        if open.questions.len() >= QUESTIONS_MAX {
            return None;
        }
        open.n_questions += 1;
        let number = open.n_questions;
        open.questions.insert(number, id.clone());
        Some(number)
    }

    /// The question of that number, which is settled with this.
    pub(super) fn settle(&self, number: u64) -> Option<RequestId> {
        self.open().questions.remove(&number)
    }

    /// The number of a question that the agent takes back. It still wants an answer.
    pub(super) fn withdrawn(&self, id: &str) -> Option<u64> {
        let open = self.open();
        open.questions.iter().find(|(_, asked)| asked.as_str() == id).map(|(number, _)| *number)
    }
}

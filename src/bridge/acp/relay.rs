//! Relays the questions of a chat: to the client, and its answers to the daemon.

use std::time::Duration;

use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::chat::Chat;
use super::editor::Asked;
use super::event::Event;
use super::note;
use super::questions::{Meant, Stage};
use crate::jsonrpc::RpcError;

/// How long a question may be answered by a rule before the client is asked: the journal has every
/// question, and one that is taken back at once would only flash up.
const RULE_TIME: Duration = Duration::from_millis(50);

/// Resolves at that time; never, where there is none.
pub(super) async fn due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Chat {
    /// Takes note of a question, and asks it unless a rule answers it meanwhile.
    pub(super) fn question(&mut self, event: &Event<'_>) {
        match self.questions.requested(&self.id, event) {
            Ok(()) => {
                self.ask_at.get_or_insert_with(|| Instant::now() + RULE_TIME);
            }
            Err(error) => note(format_args!("{}: not a question: {error}", self.id)),
        }
    }

    fn ask(&mut self, permission: &str) {
        let Some(question) = self.questions.get_mut(permission) else { return };
        let asked = Asked { chat: self.id.clone(), permission: permission.to_owned() };
        question.stage = self.editor.ask(asked, &question.params()).map_or(Stage::Done, Stage::Asked);
    }

    /// Asks what the client was not asked yet.
    pub(super) fn ask_all(&mut self) {
        self.ask_at = None;
        for permission in self.questions.unasked() {
            self.ask(&permission);
        }
    }

    /// A question is settled: where somebody else did it, the client need not answer any more.
    pub(super) fn resolved(&mut self, event: &Event<'_>) {
        let settled = self.questions.resolved(&event.text("permission"));
        if let Some(call) = settled.and_then(|question| question.call()) {
            self.editor.withdraw(call);
        }
    }

    pub(super) async fn answered(&mut self, permission: &str, answer: &Result<Box<RawValue>, RpcError>) {
        let Some(question) = self.questions.get_mut(permission) else { return };
        question.stage = Stage::Done;
        let mut meant = question.meant(answer);
        if meant == Meant::CannotAnswer {
            self.feed.give_up_answering().await;
            let Some(question) = self.questions.get_mut(permission) else { return };
            let (task, no) = (question.task.clone(), question.no());
            if self.is_own(&task) {
                // Its own prompt would wait for an answer that it cannot give.
                note(format_args!("{permission}: the client cannot be asked, so the answer is no"));
                meant = no;
            }
        }
        let Some(question) = self.questions.get_mut(permission) else { return };
        match meant {
            Meant::Option(ref option) | Meant::No(ref option) => {
                let mut params = json!({"permission": permission, "option": option});
                if matches!(meant, Meant::No(_)) {
                    params["remember"] = json!("once");
                }
                let sent = self.door.call::<serde_json::Value>("permission/answer", params).await;
                if let Err(error) = sent {
                    // Somebody was sooner, as a rule: the event that says so is on its way.
                    note(format_args!("{permission}: {error}"));
                }
            }
            Meant::Cancel => {
                let task = question.task.clone();
                self.cancel_task(&task).await;
            }
            Meant::CannotAnswer => {
                note(format_args!("{permission}: the client cannot be asked, so others must answer"));
            }
        }
    }
}

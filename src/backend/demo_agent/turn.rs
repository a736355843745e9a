//! One turn of the built-in agent: does the steps of a prompt in order, until done or cancelled.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::memory::{Line, Memory};
use super::script::{self, Step};
use super::{lock, shell, tools};
use crate::jsonrpc::{CallError, Peer, RequestId};

/// A turn writes no further while so much of it is unread.
const AHEAD_BYTES_MAX: usize = 256 * 1024;
/// Text that is only long is sent in pieces of this size.
const PIECE_BYTES: usize = 4096;

/// The turn was cancelled.
struct Cancelled;

/// What is needed to do a turn.
pub(super) struct Turn {
    peer: Peer,
    session: String,
    cwd: PathBuf,
    memory: Arc<Mutex<Memory>>,
    cancel: CancellationToken,
    /// What was said so far.
    said: String,
    n_calls: u32,
    /// Input and output tokens.
    usage: Option<(u64, u64)>,
}

/// Tells of a session.
pub(super) fn update(peer: &Peer, session: &str, update: &Value) {
    // Without a reader there is nobody to tell.
    peer.notify("session/update", &json!({ "sessionId": session, "update": update })).ok();
}

impl Turn {
    /// A turn that has not begun.
    pub(super) fn new(
        peer: Peer,
        session: String,
        cwd: PathBuf,
        memory: Arc<Mutex<Memory>>,
        cancel: CancellationToken,
    ) -> Self {
        Self { peer, session, cwd, memory, cancel, said: String::new(), n_calls: 0, usage: None }
    }

    /// Does what the prompt says and answers it.
    pub(super) async fn run(mut self, id: RequestId, prompt: String) {
        let mut stop_reason = "end_turn";
        for step in script::steps(&prompt) {
            let cancelled = self.cancel.is_cancelled() || self.step(step).await.is_err();
            if cancelled || self.cancel.is_cancelled() {
                stop_reason = "cancelled";
                break;
            }
        }
        lock(&self.memory).note(Line::Answer(std::mem::take(&mut self.said)));
        let mut answer = json!({ "stopReason": stop_reason });
        if let Some((input, output)) = self.usage {
            answer["usage"] =
                json!({ "inputTokens": input, "outputTokens": output, "totalTokens": input + output });
        }
        // The next prompt may begin.
        self.cancel.cancel();
        self.peer.respond(&id, Ok(&answer)).ok();
    }

    async fn step(&mut self, step: Step) -> Result<(), Cancelled> {
        match step {
            Step::Say(text) => self.say(&text).await,
            Step::Think(text) => self.chunk("agent_thought_chunk", &text).await,
            Step::Slow(n_pieces, apart) => {
                for n in 1..=n_pieces {
                    self.piece(&format!("tok{n} ")).await?;
                    self.unless_cancelled(tokio::time::sleep(apart)).await?;
                }
                Ok(())
            }
            Step::Sleep(time) => self.unless_cancelled(tokio::time::sleep(time)).await,
            Step::Write(path, text) => self.write(&path, &text).await,
            Step::Shell(command) => self.shell(&command).await,
            Step::Ask(title) => self.ask(&title).await,
            Step::Count => {
                let n_prompts = lock(&self.memory).prompts().len();
                self.say(&format!("count prompts={n_prompts}")).await
            }
            Step::Recall => {
                let prompts = lock(&self.memory).prompts().join(" | ");
                self.say(&format!("recall {prompts}")).await
            }
            Step::Big(n_kib) => self.big(n_kib).await,
            Step::Crash(code) => self.crash(code).await,
            Step::Hang => self.unless_cancelled(std::future::pending()).await,
            Step::Usage(input, output) => {
                let (input_before, output_before) = self.usage.unwrap_or_default();
                self.usage = Some((input_before + input, output_before + output));
                Ok(())
            }
            Step::Plan(entries) => {
                let entry =
                    |content| json!({ "content": content, "status": "pending", "priority": "medium" });
                let entries: Vec<_> = entries.into_iter().map(entry).collect();
                self.tell(&json!({ "sessionUpdate": "plan", "entries": entries })).await
            }
            Step::Unknown(text) => self.say(&format!("unknown step: {text}")).await,
        }
    }

    async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, Cancelled> {
        self.cancel.run_until_cancelled(work).await.ok_or(Cancelled)
    }

    /// Tells, once enough of what was told before has been read.
    async fn tell(&self, what: &Value) -> Result<(), Cancelled> {
        self.unless_cancelled(self.peer.drained(AHEAD_BYTES_MAX)).await?;
        update(&self.peer, &self.session, what);
        Ok(())
    }

    async fn chunk(&self, kind: &str, text: &str) -> Result<(), Cancelled> {
        self.tell(&json!({ "sessionUpdate": kind, "content": { "type": "text", "text": text } })).await
    }

    async fn piece(&mut self, text: &str) -> Result<(), Cancelled> {
        self.chunk("agent_message_chunk", text).await?;
        self.said.push_str(text);
        Ok(())
    }

    /// Says something word by word, on a line of its own.
    async fn say(&mut self, text: &str) -> Result<(), Cancelled> {
        if !self.said.is_empty() && !self.said.ends_with('\n') {
            self.piece("\n").await?;
        }
        for word in text.split_inclusive(' ') {
            self.piece(word).await?;
        }
        Ok(())
    }

    async fn big(&mut self, n_kib: u64) -> Result<(), Cancelled> {
        let piece = format!("{}\n", "x".repeat(PIECE_BYTES - 1));
        let mut left = n_kib.saturating_mul(1024);
        while left > 0 {
            let n_bytes = left.min(PIECE_BYTES as u64);
            // Not remembered: it is long on purpose.
            self.chunk("agent_message_chunk", &piece[..usize::try_from(n_bytes).unwrap_or(PIECE_BYTES)])
                .await?;
            left -= n_bytes;
        }
        Ok(())
    }

    /// Ends the process in the middle, after what was told has been read.
    async fn crash(&self, code: i32) -> Result<(), Cancelled> {
        self.unless_cancelled(self.peer.drained(1)).await?;
        eprintln!("demo-agent: crashing with code {code}, as told");
        #[expect(clippy::disallowed_methods, reason = "ending without unwinding is what is asked for")]
        std::process::exit(code)
    }

    fn next_call(&mut self) -> String {
        self.n_calls += 1;
        // Prompts are counted too: an id is never used twice in a conversation.
        format!("call-{}-{}", lock(&self.memory).prompts().len(), self.n_calls)
    }

    async fn write(&mut self, path: &str, text: &str) -> Result<(), Cancelled> {
        let id = self.next_call();
        let mut call =
            tools::call(&id, "edit", &format!("write {path}"), &json!({ "path": path, "text": text }));
        call["locations"] = json!([{ "path": self.cwd.join(path) }]);
        self.tell(&call).await?;
        // On the only thread: a file at a time is all that this agent does.
        let result = tools::write(&self.cwd, path, text);
        self.tell(&tools::wrote(&id, path, &result)).await
    }

    async fn shell(&mut self, command: &str) -> Result<(), Cancelled> {
        let id = self.next_call();
        self.tell(&tools::call(&id, "execute", command, &json!({ "command": command }))).await?;
        match shell::run(command, &self.cwd, &self.cancel).await {
            Ok(Some(output)) => self.tell(&tools::ran(&id, &output)).await,
            Ok(None) => {
                update(&self.peer, &self.session, &tools::failed(&id, "cancelled"));
                Err(Cancelled)
            }
            Err(error) => self.tell(&tools::failed(&id, &error.to_string())).await,
        }
    }

    async fn ask(&mut self, title: &str) -> Result<(), Cancelled> {
        let id = self.next_call();
        let mut call = tools::call(&id, "execute", title, &json!({ "title": title }));
        call["status"] = json!("pending");
        self.tell(&call).await?;
        let params = tools::question(&self.session, &id, title);
        // Not ended by a cancel alone: like every agent, this one waits for the client's word.
        let answer = self.peer.call("session/request_permission", &params).await;
        match chosen(answer) {
            Some(option) => {
                let allowed = option.starts_with("allow");
                let status = if allowed { "completed" } else { "failed" };
                let end = json!({ "sessionUpdate": "tool_call_update", "toolCallId": id, "status": status });
                self.tell(&end).await?;
                self.say(&format!("answered: {option}")).await
            }
            None => {
                update(&self.peer, &self.session, &tools::failed(&id, "cancelled"));
                self.say("answered: cancelled").await
            }
        }
    }
}

/// The option that was chosen; `None` if the question was cancelled or refused.
fn chosen(answer: Result<Box<serde_json::value::RawValue>, CallError>) -> Option<String> {
    let answer: Value = serde_json::from_str(answer.ok()?.get()).ok()?;
    Some(answer.pointer("/outcome/optionId")?.as_str()?.to_owned())
}

//! Reads what a server has written down of a session: whether it rests, its last messages, and
//! what it waits for.

use std::collections::BTreeMap;

use super::http::{Client, HttpError};
use super::wire::{self, Message, Part, PermissionRequest, QuestionRequest, Session, Status};

/// The messages that are read: those of one turn, a request to the model each, and then some.
const MESSAGES_MAX: &str = "100";

/// What is written down.
pub(super) struct Written {
    /// The session is at rest.
    pub(super) idle: bool,
    /// Its last messages, oldest first.
    pub(super) messages: Vec<(Message, Vec<Part>)>,
    /// The permissions that are waited for in the directory.
    pub(super) permissions: Vec<PermissionRequest>,
    /// The questions that are waited for there.
    pub(super) questions: Vec<QuestionRequest>,
    /// The sessions that this one made.
    pub(super) children: Vec<Session>,
}

impl Written {
    /// The ids of everything that is waited for.
    pub(super) fn open_requests(&self) -> Vec<String> {
        let permissions = self.permissions.iter().map(|request| request.id.clone());
        permissions.chain(self.questions.iter().map(|request| request.id.clone())).collect()
    }
}

/// Reads all of it. The status comes first: what is complete by then is in the messages.
pub(super) async fn read(client: &Client, session: &str, directory: &str) -> Result<Written, HttpError> {
    let query = [("directory", directory)];
    let statuses: BTreeMap<String, Status> = client.get("/session/status", &query).await?;
    let written: Vec<wire::Written> = client
        .get(&format!("/session/{session}/message"), &[("directory", directory), ("limit", MESSAGES_MAX)])
        .await?;
    let mut messages: Vec<_> = written.into_iter().map(parts).collect();
    messages.sort_by(|(left, _), (right, _)| left.id.cmp(&right.id));
    Ok(Written {
        // Who rests is not in the list.
        idle: statuses.get(session).is_none_or(|status| status.kind == "idle"),
        messages,
        permissions: client.get("/permission", &query).await?,
        questions: client.get("/question", &query).await?,
        children: client.get(&format!("/session/{session}/children"), &query).await?,
    })
}

/// A piece that is not understood is left out, and no other.
fn parts(written: wire::Written) -> (Message, Vec<Part>) {
    let parts = written.parts.iter().filter_map(|raw| serde_json::from_str(raw.get()).ok());
    (written.info, parts.collect())
}

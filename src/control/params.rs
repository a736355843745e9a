//! The parameters of every method, and how they are read.
//!
//! A field that a method does not know is an error that names it: a mistyped optional parameter
//! must not be taken for an absent one. (What *clients* receive is read leniently, by contract.)

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::{RpcFailure, shorten};

mod limit;
mod words;

pub use limit::{LIMIT_DEFAULT, LIMIT_MAX, clamp_limit};
pub use words::{BackendChoice, IdKind, PermissionState, Policy, RememberFor, Source, StateName};

/// The longest id that a client may bring, in characters.
pub const ID_CHARS_MAX: usize = 128;
/// The longest title, in bytes.
pub const TITLE_BYTES_MAX: usize = 1024;
/// The longest explanation of a wrong parameter, in characters: it may repeat what was sent.
const MESSAGE_CHARS_MAX: usize = 400;

/// Reads parameters, and names the field that is wrong.
pub fn read<T: DeserializeOwned>(params: Option<&RawValue>) -> Result<T, RpcFailure> {
    let text = params.map_or("{}", RawValue::get).trim_start();
    // A derived struct also reads an array; by position is not how hob is called.
    if !text.starts_with('{') {
        return Err(RpcFailure::invalid_params("", "params must be an object"));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let mut path = error.path().to_string();
        let message = plain(&error.into_inner().to_string());
        // serde names the struct that a field is missing from; the field is what one looks for.
        if let Some(field) = named_field(&message)
            && path.rsplit(['.', ']']).next() != Some(field)
        {
            path = if path == "." || path == "?" { field.to_owned() } else { format!("{path}.{field}") };
        }
        if path == "." {
            path.clear();
        }
        RpcFailure::invalid_params(path, message)
    })
}

/// serde_json's text without its position: a client knows its fields, not our lines and columns.
pub(crate) fn plain(message: &str) -> String {
    let end = message.rfind(" at line ").unwrap_or(message.len());
    let message = &message[..end];
    let cut = message.char_indices().nth(MESSAGE_CHARS_MAX).map_or(message.len(), |(cut, _)| cut);
    message[..cut].to_owned()
}

/// The field that a message of serde says is missing or unknown.
fn named_field(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("missing field `").or_else(|| message.strip_prefix("unknown field `"))?;
    rest.split('`').next()
}

/// Checks an id that a client brings for something new.
pub fn check_new_id(path: &str, id: &str) -> Result<(), RpcFailure> {
    let well_formed = id.len() <= ID_CHARS_MAX
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-'));
    if well_formed {
        return Ok(());
    }
    let message = format!(
        "`{}` is no id: 1 to {ID_CHARS_MAX} of `A-Z a-z 0-9 . _ : -`, the first a letter or digit",
        shorten(id)
    );
    Err(RpcFailure::invalid_params(path, message))
}

/// Checks the length of a title.
pub fn check_title(title: Option<&str>) -> Result<(), RpcFailure> {
    match title {
        Some(title) if title.len() > TITLE_BYTES_MAX => Err(RpcFailure::invalid_params(
            "title",
            format!("the title has {} bytes, at most {TITLE_BYTES_MAX} are kept", title.len()),
        )),
        _ => Ok(()),
    }
}

/// Declares parameter structs: all of them are strict, readable and writable.
macro_rules! params {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $kind,)*
        }
    )*};
}

/// `daemon/hello`. Lenient, unlike the rest: a client of a later protocol may say more here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The client's name, for logs and for who answered a permission.
    pub client: String,
    /// The protocol that it speaks.
    pub protocol: u32,
}

/// `id/find`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindId {
    /// What it names.
    pub kind: IdKind,
    /// What the id begins with.
    pub prefix: String,
}

mod agents;
mod arena;
mod changes;
mod offers;
mod permissions;

pub use agents::*;
pub use arena::*;
pub use changes::*;
pub use offers::*;
pub use permissions::*;

params! {
    /// Of methods that take none.
    Nothing {}
    /// `daemon/shutdown`.
    Shutdown {
        /// How long running turns may go on, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drain_s: Option<u64>,
        /// Skips every grace.
        #[serde(default)]
        now: bool,
    }
    /// `session/create`.
    SessionCreate {
        /// A directory in the user's repository, absolute.
        repo: String,
        /// The client's own id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// What a person calls it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// What to start from: a branch, tag or commit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base: Option<String>,
        /// Whether uncommitted changes come along.
        #[serde(default)]
        carry_changes: bool,
    }
    /// `session/list`.
    SessionList {
        /// Closed ones too.
        #[serde(default)]
        all: bool,
    }
    /// Of methods that take a session.
    SessionRef {
        /// The session.
        session: String,
    }
    /// `session/resolve`: one of both.
    SessionResolve {
        /// A session that the person named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// The directory that the person is in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repo: Option<String>,
    }
    /// `session/delete`.
    SessionDelete {
        /// The session.
        session: String,
        /// Consent to lose uncommitted changes.
        #[serde(default)]
        discard_changes: bool,
        /// Consent to lose commits that are nowhere else.
        #[serde(default)]
        discard_unpushed: bool,
    }
    /// `chat/create`.
    ChatCreate {
        /// Its session.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// A directory in a repository, whose newest session of prompts is taken.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repo: Option<String>,
        /// The client's own id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// What a person calls it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    }
    /// `chat/list`.
    ChatList {
        /// Of one session.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// Closed ones too.
        #[serde(default)]
        all: bool,
    }
    /// Of methods that take a chat.
    ChatRef {
        /// The chat.
        chat: String,
    }
    /// `task/submit`.
    TaskSubmit {
        /// What the agent is asked.
        prompt: String,
        /// The chat that it belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chat: Option<String>,
        /// The session, whose newest open chat is taken.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// A directory, for the session that `session/resolve` finds for it, or a new one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repo: Option<String>,
        /// The agent; without it `default_agent`, else the first available.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<String>,
        /// A new chat (and session, with `repo`) instead of the newest.
        #[serde(default)]
        new: bool,
        /// The client's own id: a second submit with it returns the first task.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
        /// Who asks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<Source>,
        /// Which kind of backend is to run it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backend: Option<BackendChoice>,
        /// What answers its permission requests, if not the configuration.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        permissions: Option<Policy>,
        /// Refused rather than kept waiting.
        #[serde(default)]
        no_wait: bool,
        /// Failed where its agent cannot be started, rather than kept waiting for another start.
        #[serde(default)]
        no_retry: bool,
        /// Put aside until its chat is released.
        #[serde(default)]
        hold: bool,
        /// The task that it is made by.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<String>,
    }
    /// `task/list`.
    TaskList {
        /// Of one chat.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chat: Option<String>,
        /// Of one session.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// In one state.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<StateName>,
        /// At most so many, the newest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
        /// Older than this task.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<String>,
    }
    /// Of methods that take a task.
    TaskRef {
        /// The task.
        task: String,
    }
    /// `task/wait`.
    TaskWait {
        /// The task.
        task: String,
        /// At most so long; without it, until the task is terminal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    }
    /// `pool/list`.
    PoolList {
        /// Those without a process too.
        #[serde(default)]
        all: bool,
    }
    /// `pool/evict` and `pool/restart`.
    PoolAct {
        /// The chat.
        chat: String,
        /// The agent in it.
        agent: String,
        /// Also if it is busy.
        #[serde(default)]
        force: bool,
    }
    /// `pool/pin` and `pool/unpin`.
    PoolPin {
        /// The chat.
        chat: String,
        /// The agent in it.
        agent: String,
    }
    /// `events/subscribe`.
    EventsSubscribe {
        /// Of one chat.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chat: Option<String>,
        /// Of one session.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// Of one task.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<String>,
        /// Of one agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<String>,
        /// Everything later than this `seq`; without it, from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<i64>,
        /// Only these types.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        types: Option<Vec<String>>,
        /// Whether a person can answer permission requests here.
        #[serde(default)]
        answers_permissions: bool,
    }
    /// `events/unsubscribe`.
    EventsUnsubscribe {
        /// The subscription.
        subscription: String,
    }
    /// `events/list`.
    EventsList {
        /// Of one chat.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chat: Option<String>,
        /// Of one session.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// Of one task.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<String>,
        /// Of one agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<String>,
        /// Later than this `seq`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<i64>,
        /// At most so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
        /// Only these types.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        types: Option<Vec<String>>,
    }
    /// `permission/list`.
    PermissionList {
        /// Of one chat.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chat: Option<String>,
        /// In one state.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<PermissionState>,
    }
    /// `permission/answer`.
    PermissionAnswer {
        /// The permission.
        permission: String,
        /// The id of one of its options.
        option: String,
        /// For how long the answer holds for requests like it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remember: Option<RememberFor>,
    }
}

#[cfg(test)]
mod tests;

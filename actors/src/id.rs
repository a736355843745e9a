//! Typed ids: one type per kind of thing, so that a chat cannot be passed where a task is meant.
//!
//! An id is opaque text. Whether a text is well formed is decided where it enters (the control
//! socket); in here every id is taken as it is, and one that names nothing is simply not found.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// One line of work on a repository; owns exactly one worktree.
    SessionId;
    /// A tab: the unit of context that a person sees.
    ChatId;
    /// One prompt that somebody asked to be run.
    TaskId;
    /// One attempt at a task on a backend.
    TurnId;
    /// A managed git worktree.
    WorktreeId;
    /// A question of an agent that waits in the inbox.
    PermissionId;
    /// The configured name of an agent: `goose`, `qwen`, `opencode`, …
    AgentName;
    /// What the agent itself calls its conversation.
    BackendSessionId;
    /// A server process that many agent sessions may live in, whichever process it is just now.
    HostId;
}

/// The pair (chat, agent): the unit of agent context and the key of everything supervised.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentKey {
    /// The chat.
    pub chat: ChatId,
    /// The agent in it.
    pub agent: AgentName,
}

impl AgentKey {
    /// Pairs a chat with an agent.
    pub fn new(chat: impl Into<ChatId>, agent: impl Into<AgentName>) -> Self {
        Self { chat: chat.into(), agent: agent.into() }
    }
}

impl fmt::Display for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.chat, self.agent)
    }
}

impl fmt::Debug for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Counts the backends that an agent session has had. News that carries an older one is late.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

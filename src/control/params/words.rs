//! Parameters that are one word of a few.

use serde::{Deserialize, Serialize};

/// Declares enums of words: an unknown word is an error that lists the known ones.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// The word on the wire.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    )*};
}

words! {
    /// What an id names.
    IdKind {
        /// A session.
        Session = "session",
        /// A chat.
        Chat = "chat",
        /// A task.
        Task = "task",
        /// A turn.
        Turn = "turn",
        /// A permission.
        Permission = "permission",
        /// A worktree.
        Worktree = "worktree",
        /// An arena.
        Arena = "arena",
    }
    /// Who asks for a task.
    Source {
        /// A person in a chat.
        Chat = "chat",
        /// A person, for something new.
        NewTask = "new_task",
        /// An MCP client: an agent, as a rule.
        Mcp = "mcp",
        /// An arena.
        Arena = "arena",
        /// A program.
        Api = "api",
    }
    /// Which kind of backend is to run a task.
    BackendChoice {
        /// The kept one.
        Warm = "warm",
        /// A process for this prompt alone.
        Oneshot = "oneshot",
    }
    /// What answers permission requests.
    Policy {
        /// A person.
        Ask = "ask",
        /// Yes.
        Allow = "allow",
        /// No.
        Reject = "reject",
    }
    /// For how long an answer holds.
    RememberFor {
        /// This once.
        Once = "once",
        /// This turn.
        Turn = "turn",
        /// This chat.
        Chat = "chat",
    }
    /// The states of a task.
    StateName {
        /// Waits.
        Queued = "queued",
        /// Put aside.
        Held = "held",
        /// About to be sent.
        Dispatched = "dispatched",
        /// Runs.
        Running = "running",
        /// Done.
        Completed = "completed",
        /// Could not be done.
        Failed = "failed",
        /// Cancelled.
        Cancelled = "cancelled",
        /// Agent or daemon went away.
        Interrupted = "interrupted",
    }
    /// The states of a permission.
    PermissionState {
        /// Waits for an answer.
        Pending = "pending",
        /// Answered.
        Answered = "answered",
        /// Its turn is over.
        Expired = "expired",
        /// The daemon was restarted meanwhile.
        Stale = "stale",
    }
}

//! Agents that can be asked for, and what their own files say.

use serde::{Deserialize, Serialize};

/// An agent that can be asked for by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentRow {
    /// Its name.
    pub name: String,
    /// `acp`, `opencode` or `oneshot`.
    pub backend: String,
    /// Its command line.
    pub command: Vec<String>,
    /// Whether it can be started.
    pub available: bool,
    /// Its version, where known without starting it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why it is not available, or where it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a rule of an agent's own does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The agent does it and asks nobody.
    Allow,
    /// The agent asks.
    Ask,
    /// The agent does not do it.
    Reject,
}

impl Effect {
    /// The word on the socket.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Reject => "reject",
        }
    }
}

/// A rule about permissions that an agent's own file or variable holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnRuleRow {
    /// The path of the file, `$NAME` of the variable, or `its default`.
    pub source: String,
    /// What it is about, in the agent's words.
    pub what: String,
    /// What it does.
    pub effect: Effect,
}

/// Something that may hold rules and could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadRow {
    /// The path of the file, or `$NAME` of the variable.
    pub source: String,
    /// Why.
    pub why: String,
}

/// The rules of an agent's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnRules {
    /// Whether it is known where this agent keeps its rules.
    pub known: bool,
    /// The rules, the widest place first.
    pub rules: Vec<OwnRuleRow>,
    /// What could not be read.
    pub unread: Vec<UnreadRow>,
}

/// `agent/check`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentCheckReply {
    /// The agent.
    pub agent: AgentRow,
    /// What to do where it is not available.
    pub hint: Option<String>,
    /// What its own files say about permissions.
    pub own_rules: OwnRules,
}

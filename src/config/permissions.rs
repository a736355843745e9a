//! The `[permissions]` section: what agents may do without asking, and what answers when nobody
//! is there to be asked.

use std::time::Duration;

use hob_actors::ports::{PermissionPolicy, Unattended};
use serde::{Deserialize, Serialize};

use super::units;

/// What answers a permission request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// A person.
    Ask,
    /// Yes.
    Allow,
    /// No.
    Reject,
}

impl From<Policy> for PermissionPolicy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Ask => Self::Ask,
            Policy::Allow => Self::Allow,
            Policy::Reject => Self::Reject,
        }
    }
}

/// What answers when nobody is there to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnattendedPolicy {
    /// Yes.
    Allow,
    /// No.
    Reject,
    /// Nothing: the question stays open until somebody answers.
    Wait,
}

impl From<UnattendedPolicy> for Unattended {
    fn from(policy: UnattendedPolicy) -> Self {
        match policy {
            UnattendedPolicy::Allow => Self::Allow,
            UnattendedPolicy::Reject => Self::Reject,
            UnattendedPolicy::Wait => Self::Wait,
        }
    }
}

/// `[permissions]`: what agents may do. The fields after `deadline` are the tool kinds; what is
/// not given follows `default`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the tool kinds are the agent protocol's own words")]
pub struct Permissions {
    /// Where no rule for the tool kind is given.
    pub default: Policy,
    /// When nobody watches; where nothing is said, by who asked for the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unattended: Option<UnattendedPolicy>,
    /// How long a question waits for a person; where nothing is said, as long as it takes where it is
    /// kept open, and half an hour where it is not.
    #[serde(with = "units::positive_duration_if_given", skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    pub read: Option<Policy>,
    pub edit: Option<Policy>,
    pub delete: Option<Policy>,
    pub r#move: Option<Policy>,
    pub search: Option<Policy>,
    pub execute: Option<Policy>,
    pub think: Option<Policy>,
    pub fetch: Option<Policy>,
    pub switch_mode: Option<Policy>,
    pub other: Option<Policy>,
}

impl Permissions {
    /// The rules by tool kind that were given.
    pub fn by_kind(&self) -> impl Iterator<Item = (&'static str, Policy)> {
        [
            ("read", self.read),
            ("edit", self.edit),
            ("delete", self.delete),
            ("move", self.r#move),
            ("search", self.search),
            ("execute", self.execute),
            ("think", self.think),
            ("fetch", self.fetch),
            ("switch_mode", self.switch_mode),
            ("other", self.other),
        ]
        .into_iter()
        .filter_map(|(kind, policy)| Some((kind, policy?)))
    }
}

impl Default for Permissions {
    fn default() -> Self {
        Self {
            default: Policy::Ask,
            unattended: None,
            deadline: None,
            read: None,
            edit: None,
            delete: None,
            r#move: None,
            search: None,
            execute: None,
            think: None,
            fetch: None,
            switch_mode: None,
            other: None,
        }
    }
}

//! Decides who answers a question of an agent; asks nobody.

use crate::event::PermissionOption;
use crate::id::PermissionId;
use crate::ports::{PermissionPolicy, PermissionRules, StandingAnswer, Unattended};

/// Who answered, in the journal: a rule of the person's.
pub const POLICY: &str = "policy";
/// The same: nobody was there.
pub const UNATTENDED: &str = "unattended";

/// How long an answered kind of question stays answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remember {
    /// Not at all.
    Once,
    /// For the turn.
    Turn,
    /// For this agent in the chat, whatever dies.
    Chat,
}

/// What became of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// It was passed on to the agent.
    Accepted,
    /// The question was settled before.
    Late,
    /// The agent does not offer that; these it does.
    NotOffered(Vec<String>),
    /// The agent offers no yes but one that it would keep for others.
    OnlyAlways,
}

/// An answer to a question of the agent.
#[derive(Debug, Clone)]
pub struct PermissionReply {
    /// The question.
    pub permission: PermissionId,
    /// The id, or the kind, of one of its options.
    pub option: String,
    /// Who answers.
    pub by: String,
    /// For how long; where nothing is said, as long as the option says.
    pub remember: Option<Remember>,
}

/// What is known when an agent asks.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The rules of the agent.
    pub rules: &'a PermissionRules,
    /// What the task was submitted with.
    pub task: Option<PermissionPolicy>,
    /// What a person said in this turn of this kind of tool.
    pub in_turn: Option<StandingAnswer>,
    /// What a person said in this chat of this kind of tool.
    pub in_chat: Option<StandingAnswer>,
    /// The kind of tool.
    pub kind: &'a str,
    /// Whether somebody watches who can answer.
    pub watched: bool,
    /// Whether no person asked for the work.
    pub is_delegated: bool,
    /// The answers that the agent offers.
    pub options: &'a [PermissionOption],
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A person.
    Ask,
    /// A rule: with the id of this option, or with "cancelled" where none offered fits.
    Answer {
        /// The chosen option.
        option: Option<String>,
        /// The rule, for the journal.
        by: &'static str,
    },
    /// A rule says yes, and the agent offers none but one that it would keep: "cancelled".
    CannotAllow {
        /// The rule, for the journal.
        by: &'static str,
    },
}

/// What an answer of a person comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The option that was chosen, for the inbox and the journal.
    pub option: String,
    /// The option that the agent is told; "cancelled" where there is none that it would not keep.
    pub told: Option<String>,
    /// What is answered to questions of this kind from now on.
    pub standing: Option<(StandingAnswer, Remember)>,
}

/// Who answers: the task's word, or the configuration's no, then what a person said before, then
/// the configuration; and where that says "ask" and nobody watches, the policy for unattended work.
pub fn decide(facts: &Facts<'_>) -> Verdict {
    let configured = facts.rules.by_kind.get(facts.kind).copied().unwrap_or(facts.rules.default);
    let standing = match (facts.task, configured) {
        // Who submitted it wants to be asked anew, and may have answered since.
        (Some(PermissionPolicy::Ask), _) => facts.in_turn,
        (Some(PermissionPolicy::Allow | PermissionPolicy::Reject), _) => None,
        (None, PermissionPolicy::Reject) => None,
        (None, PermissionPolicy::Ask | PermissionPolicy::Allow) => facts.in_turn.or(facts.in_chat),
    };
    match (standing, facts.task.unwrap_or(configured)) {
        (Some(said), _) => answer(facts.options, said.policy(), "remembered"),
        (None, PermissionPolicy::Ask)
            if facts.watched || facts.rules.unattended.waits(facts.is_delegated) =>
        {
            Verdict::Ask
        }
        (None, PermissionPolicy::Ask) => unattended(facts.rules, facts.options),
        (None, policy) => answer(facts.options, policy, POLICY),
    }
}

/// What is answered when nobody is left to ask, or nobody answered in time.
pub fn unattended(rules: &PermissionRules, options: &[PermissionOption]) -> Verdict {
    let policy = match rules.unattended {
        Unattended::Allow => PermissionPolicy::Allow,
        // A wait that is over ends with the safe answer.
        Unattended::Reject | Unattended::Wait | Unattended::BySource => PermissionPolicy::Reject,
    };
    answer(options, policy, UNATTENDED)
}

fn answer(options: &[PermissionOption], policy: PermissionPolicy, by: &'static str) -> Verdict {
    let option = once(options, policy);
    let is_kept = option.is_none() && options.iter().any(|option| option.kind == "allow_always");
    if is_kept && policy == PermissionPolicy::Allow {
        return Verdict::CannotAllow { by };
    }
    Verdict::Answer { option, by }
}

/// The offered option that says `policy` and that the agent forgets again. By kind, never by
/// position. What an agent keeps holds for tasks, chats and daemons that nobody was asked about.
fn once(options: &[PermissionOption], policy: PermissionPolicy) -> Option<String> {
    let kind = match policy {
        PermissionPolicy::Allow => "allow_once",
        PermissionPolicy::Reject | PermissionPolicy::Ask => "reject_once",
    };
    options.iter().find(|option| option.kind == kind).map(|option| option.id.clone())
}

/// What an answer of a person comes to: hob remembers, and the agent is told for this once.
///
/// # Errors
/// The option is not offered, or it cannot be given.
pub fn accept(reply: &PermissionReply, options: &[PermissionOption]) -> Result<Accepted, Answered> {
    let is_meant = |option: &&PermissionOption| option.id == reply.option || option.kind == reply.option;
    let Some(chosen) = options.iter().find(is_meant) else {
        return Err(Answered::NotOffered(options.iter().map(|option| option.id.clone()).collect()));
    };
    let (said, is_always) = match chosen.kind.as_str() {
        "allow_once" => (Some(StandingAnswer::Allow), false),
        "allow_always" => (Some(StandingAnswer::Allow), true),
        "reject_once" => (Some(StandingAnswer::Reject), false),
        "reject_always" => (Some(StandingAnswer::Reject), true),
        // A word of the agent's own: nobody knows what the like of it would be.
        _ => (None, false),
    };
    let told = match (said, is_always) {
        (Some(said), true) => once(options, said.policy()),
        (_, _) => Some(chosen.id.clone()),
    };
    if told.is_none() && said == Some(StandingAnswer::Allow) {
        return Err(Answered::OnlyAlways);
    }
    let remember = match (reply.remember, is_always) {
        (Some(Remember::Once), _) | (None, false) => None,
        (None, true) => Some(Remember::Chat),
        (Some(remember @ (Remember::Turn | Remember::Chat)), _) => Some(remember),
    };
    // Where there are several ways to say yes, it is a choice between things, and not a permission.
    let n_yes = options.iter().filter(|option| option.kind == "allow_once").count();
    let standing = said.zip(remember).filter(|_| n_yes < 2);
    Ok(Accepted { option: chosen.id.clone(), told, standing })
}

#[cfg(test)]
mod tests;

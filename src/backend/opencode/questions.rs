//! What an opencode session asks, as the inbox has it, and what an answer is in its words. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use hob_actors::event::{Json, PermissionOption};
use hob_actors::ports::PermissionAsk;

use super::tools;
use super::wire::{PermissionRequest, QuestionRequest};
use crate::backend::acp::lenient;

/// Requests that wait at once; one more is answered with no.
const OPEN_MAX: usize = 64;
/// The id of the option that answers no question.
const REJECT: &str = "reject";
/// The id of the option that allows it this time.
const ONCE: &str = "once";

/// A request that waits.
#[derive(Debug, Clone)]
enum Open {
    Permission { id: String },
    Questions { request: QuestionRequest, answers: Vec<String> },
}

/// What is to be sent to the server.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    /// Where.
    pub(super) path: String,
    /// What.
    pub(super) body: Value,
}

/// What follows from an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// The request is answered with this.
    Send(Reply),
    /// It has another question, under this number.
    Ask(u64, PermissionAsk),
    /// Nobody waits for that answer.
    Nothing,
}

/// The requests of one conversation that wait, by the number under which they were asked.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: BTreeMap<u64, Open>,
    n_asked: u64,
}

impl Questions {
    /// Takes a request for permission in; `None` if it waits already.
    pub(super) fn permission(&mut self, request: &PermissionRequest) -> Option<Next> {
        let reject = || Some(Next::Send(permission_reply(&request.id, None)));
        if self.is_open(&request.id) {
            return None;
        }
        if self.open.len() >= OPEN_MAX {
            return reject();
        }
        let number = self.number();
        self.open.insert(number, Open::Permission { id: request.id.clone() });
        Some(Next::Ask(number, permission_ask(request)))
    }

    /// Takes questions to a person in; `None` if they wait already.
    pub(super) fn questions(&mut self, request: QuestionRequest) -> Option<Next> {
        if self.is_open(&request.id) {
            return None;
        }
        if self.open.len() >= OPEN_MAX || request.questions.is_empty() {
            return Some(Next::Send(rejection(&request.id)));
        }
        Some(self.ask_on(request, Vec::new()))
    }

    fn ask_on(&mut self, request: QuestionRequest, answers: Vec<String>) -> Next {
        let number = self.number();
        let ask = question_ask(&request, answers.len());
        self.open.insert(number, Open::Questions { request, answers });
        Next::Ask(number, ask)
    }

    fn number(&mut self) -> u64 {
        self.n_asked += 1;
        self.n_asked
    }

    fn is_open(&self, id: &str) -> bool {
        self.open.values().any(|open| open.id() == id)
    }

    /// A person, or a policy, answers; `None` is "cancelled".
    pub(super) fn answer(&mut self, number: u64, option: Option<&str>) -> Next {
        match self.open.remove(&number) {
            None => Next::Nothing,
            Some(Open::Permission { id }) => Next::Send(permission_reply(&id, option)),
            Some(Open::Questions { request, mut answers }) => {
                let chosen = option.and_then(|option| option.parse::<usize>().ok());
                let options = request.questions.get(answers.len()).map(|question| &question.options);
                let label = options.zip(chosen).and_then(|(options, n)| options.get(n));
                let Some(label) = label.map(|choice| choice.label.clone()) else {
                    return Next::Send(rejection(&request.id));
                };
                answers.push(label);
                if answers.len() < request.questions.len() {
                    return self.ask_on(request, answers);
                }
                let answers: Vec<_> = answers.into_iter().map(|label| vec![label]).collect();
                let path = format!("/question/{}/reply", request.id);
                Next::Send(Reply { path, body: json!({"answers": answers}) })
            }
        }
    }

    /// Somebody else has answered; the number under which it was asked here.
    pub(super) fn settled(&mut self, id: &str) -> Option<u64> {
        let number = self.open.iter().find(|(_, open)| open.id() == id).map(|(number, _)| *number)?;
        self.open.remove(&number);
        Some(number)
    }

    /// The turn is over: whatever waits is answered with no, or the server would show it for ever.
    pub(super) fn dismiss(&mut self) -> Vec<Reply> {
        let reply = |open: &Open| match open {
            Open::Permission { id } => permission_reply(id, None),
            Open::Questions { request, .. } => rejection(&request.id),
        };
        std::mem::take(&mut self.open).values().map(reply).collect()
    }

    /// Whatever waits here and is not in this list any more: answered while nobody listened.
    pub(super) fn forget_but(&mut self, still: &[String]) -> Vec<u64> {
        let gone = |open: &Open| !still.iter().any(|id| id == open.id());
        let numbers: Vec<u64> =
            self.open.iter().filter(|(_, open)| gone(open)).map(|(number, _)| *number).collect();
        self.open.retain(|_, open| !gone(open));
        numbers
    }
}

impl Open {
    fn id(&self) -> &str {
        match self {
            Self::Permission { id } => id,
            Self::Questions { request, .. } => &request.id,
        }
    }
}

/// What is looked at of what a request tells of itself.
#[derive(Default, Deserialize)]
struct About {
    #[serde(default, deserialize_with = "lenient")]
    filepath: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    command: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    url: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    diff: Option<String>,
}

fn permission_ask(request: &PermissionRequest) -> PermissionAsk {
    let about = request.metadata.as_deref();
    let about: About = about.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let named = about.filepath.or(about.command).or(about.url);
    let patterns = (!request.patterns.is_empty()).then(|| request.patterns.join(", "));
    let block = |text: String| json!([{"type": "content", "content": {"type": "text", "text": text}}]);
    PermissionAsk {
        title: named.or(patterns).unwrap_or_else(|| request.permission.clone()),
        kind: tools::kind(&request.permission, None).to_owned(),
        options: vec![
            option(ONCE, "Allow once", "allow_once"),
            option("always", "Always allow", "allow_always"),
            option(REJECT, "Reject", "reject_once"),
        ],
        call: request.tool.as_ref().and_then(|tool| tool.call.clone()),
        input: request.metadata.as_deref().map(|raw| Json::from_valid(raw.get())),
        content: about.diff.map(|diff| Json::from_valid(block(diff).to_string())),
    }
}

fn question_ask(request: &QuestionRequest, n: usize) -> PermissionAsk {
    let question = request.questions.get(n);
    let choices = question.map(|question| question.options.as_slice()).unwrap_or_default();
    let choices = choices.iter().enumerate();
    let mut options: Vec<_> =
        choices.map(|(n, choice)| option(&n.to_string(), &choice.label, "allow_once")).collect();
    options.push(option(REJECT, "Do not answer", "reject_once"));
    PermissionAsk {
        title: question.map(|question| question.question.clone()).unwrap_or_default(),
        kind: "question".to_owned(),
        options,
        call: request.tool.as_ref().and_then(|tool| tool.call.clone()),
        input: None,
        content: None,
    }
}

fn option(id: &str, name: &str, kind: &str) -> PermissionOption {
    PermissionOption { id: id.to_owned(), name: name.to_owned(), kind: kind.to_owned() }
}

fn permission_reply(id: &str, option: Option<&str>) -> Reply {
    // What opencode is told to allow always it allows in every conversation of that directory.
    let reply = if option == Some(ONCE) { ONCE } else { REJECT };
    Reply { path: format!("/permission/{id}/reply"), body: json!({"reply": reply}) }
}

fn rejection(id: &str) -> Reply {
    Reply { path: format!("/question/{id}/reject"), body: json!({}) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permission(id: &str) -> PermissionRequest {
        let text = format!(
            r#"{{"id":"{id}","sessionID":"s","permission":"edit","patterns":["a"],
            "metadata":{{"filepath":"/w/a","diff":"+x"}},"tool":{{"callID":"call_1"}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn two_questions() -> QuestionRequest {
        serde_json::from_str(
            r#"{"id":"que_1","sessionID":"s","questions":[
            {"question":"Which?","options":[{"label":"red"},{"label":"blue"}]},
            {"question":"How?","options":[{"label":"fast"}]}]}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_permission_is_asked_once_and_answered_in_its_words() {
        let mut questions = Questions::default();
        let Some(Next::Ask(number, ask)) = questions.permission(&permission("per_1")) else { panic!() };
        assert_eq!((ask.title.as_str(), ask.kind.as_str()), ("/w/a", "edit"));
        assert_eq!(ask.call.as_deref(), Some("call_1"));
        assert_eq!(questions.permission(&permission("per_1")), None, "read again after a gap");
        let Next::Send(reply) = questions.answer(number, Some("once")) else { panic!() };
        assert_eq!((reply.path.as_str(), reply.body), ("/permission/per_1/reply", json!({"reply": "once"})));
        assert_eq!(questions.answer(number, Some("once")), Next::Nothing);
    }

    #[test]
    fn opencode_is_never_told_to_allow_anything_always() {
        for option in [Some("always"), Some("reject"), Some("else"), None] {
            let mut questions = Questions::default();
            let Some(Next::Ask(number, _)) = questions.permission(&permission("per_1")) else { panic!() };
            let Next::Send(reply) = questions.answer(number, option) else { panic!("{option:?}") };
            assert_eq!(reply.body, json!({"reply": "reject"}), "{option:?}");
        }
    }

    #[test]
    fn questions_are_asked_one_by_one_and_answered_together() {
        let mut questions = Questions::default();
        let Some(Next::Ask(first, ask)) = questions.questions(two_questions()) else { panic!() };
        assert_eq!((ask.title.as_str(), ask.options.len()), ("Which?", 3));
        let Next::Ask(second, ask) = questions.answer(first, Some("1")) else { panic!() };
        assert_eq!(ask.title, "How?");
        let Next::Send(reply) = questions.answer(second, Some("0")) else { panic!() };
        assert_eq!(reply.body, json!({"answers": [["blue"], ["fast"]]}));
    }

    #[test]
    fn no_answer_is_a_rejection() {
        for option in [Some("reject"), Some("7"), None] {
            let mut questions = Questions::default();
            let Some(Next::Ask(number, _)) = questions.questions(two_questions()) else { panic!() };
            let Next::Send(reply) = questions.answer(number, option) else { panic!("{option:?}") };
            assert_eq!(reply.path, "/question/que_1/reject");
        }
    }

    #[test]
    fn whatever_waits_is_dismissed_with_the_turn() {
        let mut questions = Questions::default();
        questions.permission(&permission("per_1"));
        questions.questions(two_questions());
        assert_eq!(questions.dismiss().len(), 2);
        assert_eq!(questions.dismiss(), []);
    }

    #[test]
    fn what_was_answered_elsewhere_is_taken_back() {
        let mut questions = Questions::default();
        questions.permission(&permission("per_1"));
        questions.permission(&permission("per_2"));
        assert_eq!(questions.settled("per_1"), Some(1));
        assert_eq!(questions.settled("per_1"), None);
        assert_eq!(questions.forget_but(&["per_2".to_owned()]), [] as [u64; 0]);
        assert_eq!(questions.forget_but(&[]), [2]);
    }
}

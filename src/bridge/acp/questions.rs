//! The questions of a chat's agents: what the client is asked, and what its answer means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::event::Event;
use crate::control::wire::OptionRow;
use crate::jsonrpc::RpcError;
use crate::jsonrpc::message::METHOD_NOT_FOUND;

/// A question that is not settled.
#[derive(Debug)]
pub(super) struct Question {
    /// The parameters of the call that asks it.
    params: Box<RawValue>,
    options: Vec<OptionRow>,
    /// The task that waits for it.
    pub(super) task: String,
    /// How far it got.
    pub(super) stage: Stage,
}

/// How far a question got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The client was not asked.
    Unasked,
    /// This call asks the client.
    Asked(u64),
    /// The client has answered, or cannot be asked.
    Done,
}

/// The questions that are not settled, by permission.
#[derive(Debug, Default)]
pub(super) struct Questions(BTreeMap<String, Question>);

/// What an answer of the client means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meant {
    /// This option.
    Option(String),
    /// No, and this option says so: for this once, whatever it says.
    No(String),
    /// No, and the agent offers no word for it: the task is to end.
    Cancel,
    /// The client cannot be asked.
    CannotAnswer,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Params<'a> {
    session_id: &'a str,
    tool_call: ToolCall<'a>,
    options: Vec<Choice<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolCall<'a> {
    tool_call_id: String,
    title: String,
    kind: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_input: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Choice<'a> {
    option_id: &'a str,
    name: &'a str,
    kind: &'a str,
}

/// What the client answers.
#[derive(Deserialize)]
struct Answer {
    outcome: Outcome,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    #[serde(default)]
    option_id: Option<String>,
}

impl Questions {
    /// Takes note of a question.
    pub(super) fn requested(&mut self, chat: &str, event: &Event<'_>) -> serde_json::Result<()> {
        let permission = event.text("permission");
        let options: Vec<OptionRow> = event.get("options").unwrap_or_default();
        let params = Params {
            session_id: chat,
            tool_call: ToolCall {
                tool_call_id: event.get("call").unwrap_or_else(|| permission.clone()),
                title: event.text("title"),
                kind: event.text("kind"),
                status: "pending",
                raw_input: event.raw("input"),
                content: event.raw("content"),
            },
            options: options
                .iter()
                .map(|row| Choice { option_id: &row.id, name: &row.name, kind: &row.kind })
                .collect(),
        };
        let params = serde_json::value::to_raw_value(&params)?;
        let question = Question { params, options, task: event.text("task"), stage: Stage::Unasked };
        self.0.insert(permission, question);
        Ok(())
    }

    /// Takes note that a question is settled, and returns it.
    pub(super) fn resolved(&mut self, permission: &str) -> Option<Question> {
        self.0.remove(permission)
    }

    /// The question of that permission.
    pub(super) fn get_mut(&mut self, permission: &str) -> Option<&mut Question> {
        self.0.get_mut(permission)
    }

    /// Those that the client was not asked.
    pub(super) fn unasked(&self) -> Vec<String> {
        let unasked = self.0.iter().filter(|(_, question)| question.stage == Stage::Unasked);
        unasked.map(|(permission, _)| permission.clone()).collect()
    }

    /// The calls whose answers are waited for.
    pub(super) fn calls(&self) -> Vec<u64> {
        self.0.values().filter_map(Question::call).collect()
    }
}

impl Question {
    /// The call whose answer is waited for.
    pub(super) fn call(&self) -> Option<u64> {
        match self.stage {
            Stage::Asked(call) => Some(call),
            Stage::Unasked | Stage::Done => None,
        }
    }

    /// The parameters of the call that asks it.
    pub(super) fn params(&self) -> &RawValue {
        &self.params
    }

    /// What an answer of the client means. Anything but an option that was offered is a no.
    pub(super) fn meant(&self, answer: &Result<Box<RawValue>, RpcError>) -> Meant {
        let chosen = match answer {
            Err(error) if error.code == METHOD_NOT_FOUND => return Meant::CannotAnswer,
            Err(_) => None,
            Ok(raw) => serde_json::from_str::<Answer>(raw.get()).ok().and_then(|it| it.outcome.option_id),
        };
        let offered = chosen.filter(|chosen| self.options.iter().any(|option| option.id == *chosen));
        offered.map_or_else(|| self.no(), Meant::Option)
    }

    /// The no that the agent offers a word for.
    pub(super) fn no(&self) -> Meant {
        let by_kind = |kind: &str| self.options.iter().find(|option| option.kind == kind);
        let no = by_kind("reject_once").or_else(|| by_kind("reject_always"));
        no.map_or(Meant::Cancel, |option| Meant::No(option.id.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const ASKED: &str = r#"{"type":"permission_requested","permission":"p-1","task":"t-1","title":"rm",
        "kind":"execute","call":null,"input":{"n":1.50},"options":[
        {"id":"yes","name":"Yes","kind":"allow_once"},{"id":"no","name":"No","kind":"reject_once"},
        {"id":"never","name":"Never","kind":"reject_always"}]}"#;

    fn question(kinds: &[&str]) -> Question {
        let options = kinds.iter().map(|kind| OptionRow {
            id: format!("{kind}!"),
            name: "x".into(),
            kind: (*kind).into(),
        });
        let params = serde_json::value::to_raw_value(&json!({})).unwrap();
        Question { params, options: options.collect(), task: "t-1".into(), stage: Stage::Unasked }
    }

    fn answer(text: &str) -> Result<Box<RawValue>, RpcError> {
        Ok(RawValue::from_string(text.into()).unwrap())
    }

    #[test]
    fn a_question_is_asked_as_the_agent_asked_it() {
        let mut questions = Questions::default();
        let text = RawValue::from_string(ASKED.into()).unwrap();
        questions.requested("c-1", &Event::read(&text).unwrap()).unwrap();
        assert_eq!(questions.unasked(), ["p-1"]);
        let question = questions.get_mut("p-1").unwrap();
        let params: Value = serde_json::from_str(question.params().get()).unwrap();
        let call = json!({"toolCallId": "p-1", "title": "rm", "kind": "execute", "status": "pending", "rawInput": {"n": 1.50}});
        assert_eq!((&params["sessionId"], &params["toolCall"]), (&json!("c-1"), &call));
        assert_eq!(params["options"][0], json!({"optionId": "yes", "name": "Yes", "kind": "allow_once"}));
        question.stage = Stage::Asked(7);
        assert_eq!((questions.unasked().len(), questions.calls()), (0, vec![7]));
        assert_eq!(questions.resolved("p-1").unwrap().task, "t-1");
        assert!(questions.calls().is_empty());
    }

    #[test]
    fn only_an_offered_option_is_a_yes() {
        let all = ["allow_once", "allow_always", "reject_once", "reject_always"];
        let selected =
            |id: &str| answer(&format!(r#"{{"outcome":{{"outcome":"selected","optionId":"{id}"}}}}"#));
        let error = |code| Err(RpcError::new(code, "no"));
        let option = |id: &str| Meant::Option(id.into());
        let no = |id: &str| Meant::No(id.into());
        let cases = [
            (&all[..], selected("allow_once!"), option("allow_once!")),
            (&all, selected("reject_always!"), option("reject_always!")),
            (&all, selected("allow_it_all"), no("reject_once!")),
            (&all, answer(r#"{"outcome":{"outcome":"cancelled"}}"#), no("reject_once!")),
            (&all, answer("{}"), no("reject_once!")),
            (&all, answer("7"), no("reject_once!")),
            (&all, error(-32603), no("reject_once!")),
            (&all, error(METHOD_NOT_FOUND), Meant::CannotAnswer),
            (&["allow_once", "reject_always"], error(-32603), no("reject_always!")),
            (&["allow_once"], answer(r#"{"outcome":{"outcome":"cancelled"}}"#), Meant::Cancel),
            (&["allow_once"], selected("allow_once!"), option("allow_once!")),
        ];
        for (kinds, answer, expected) in cases {
            assert_eq!(question(kinds).meant(&answer), expected, "{kinds:?} {answer:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_the_name_of_an_offered_yes_is_a_yes(
            kinds in proptest::collection::vec("allow_once|allow_always|reject_once|reject_always|else", 0..6),
            said in "allow_once!|reject_once!|[a-z!]{0,3}",
            shape in 0..4,
        ) {
            let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
            let outcome = json!({"outcome": "selected", "optionId": said});
            let answer = match shape {
                0 => answer(&json!({"outcome": outcome}).to_string()),
                1 => answer(&outcome.to_string()),
                2 => answer(&json!({"outcome": {"outcome": said}}).to_string()),
                _ => Err(RpcError::new(-32603, said.clone())),
            };
            let named = shape == 0 && kinds.iter().any(|kind| said == format!("{kind}!"));
            match question(&kinds).meant(&answer) {
                Meant::Option(option) if named => prop_assert_eq!(option, said),
                Meant::Option(option) => prop_assert!(false, "{}", option),
                Meant::No(option) => prop_assert!(!named && option.starts_with("reject"), "{}", option),
                Meant::Cancel => prop_assert!(!named && !kinds.iter().any(|kind| kind.starts_with("reject"))),
                Meant::CannotAnswer => prop_assert!(false),
            }
        }
    }
}

//! What an event of the server says, once it is known whom it is for.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::{
    Failure, Message, Part, Payload, PermissionRequest, QuestionRequest, Session, Status, Todo,
};
use crate::backend::acp::lenient;

/// Something that a conversation hears of.
#[derive(Debug, Clone)]
pub(super) enum Heard {
    /// What the session does now.
    Status(Status),
    /// Something went wrong in the session.
    Failed(Failure),
    /// The head of a message is new, or has changed.
    Message(Message),
    /// A piece of a message is new, or has changed.
    Part(Box<Part>),
    /// More of a piece.
    Delta {
        /// Which one.
        part: String,
        /// What came.
        text: String,
    },
    /// It asks for a permission.
    Asks(PermissionRequest),
    /// It asks a person.
    Questions(QuestionRequest),
    /// A request was answered, by whomever.
    Answered(String),
    /// The list of what is to be done.
    Todos(Vec<Todo>),
}

/// An event that was read.
#[derive(Debug)]
pub(super) enum Read {
    /// For the conversation of this session.
    For(String, Heard),
    /// A session was made; it may be the child of another.
    Made(Session),
    /// Nothing that anybody here needs.
    Nothing,
}

/// The members of the properties that are looked into.
#[derive(Deserialize)]
struct Properties<'a> {
    #[serde(default, rename = "sessionID", deserialize_with = "lenient")]
    session: Option<String>,
    #[serde(borrow, default)]
    info: Option<&'a RawValue>,
    #[serde(borrow, default)]
    part: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient")]
    status: Option<Status>,
    #[serde(default, deserialize_with = "lenient")]
    error: Option<Failure>,
    #[serde(default, rename = "partID", deserialize_with = "lenient")]
    of_part: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    field: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    delta: Option<String>,
    #[serde(default, rename = "requestID", deserialize_with = "lenient")]
    request: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    todos: Option<Vec<Todo>>,
}

/// Reads one event. What is not understood is nothing.
pub(super) fn read(payload: &Payload<'_>) -> Read {
    let Some(raw) = payload.properties else { return Read::Nothing };
    let Ok(of) = serde_json::from_str::<Properties<'_>>(raw.get()) else { return Read::Nothing };
    if payload.kind == "session.created" {
        return of.info.and_then(parse).map_or(Read::Nothing, Read::Made);
    }
    let heard = match payload.kind.as_str() {
        "message.part.delta" => match (of.of_part, of.delta, of.field.as_deref()) {
            (Some(part), Some(text), Some("text")) => Some(Heard::Delta { part, text }),
            _ => None,
        },
        "message.part.updated" => of.part.and_then(parse).map(|part| Heard::Part(Box::new(part))),
        "message.updated" => of.info.and_then(parse).map(Heard::Message),
        "session.status" => of.status.map(Heard::Status),
        "session.idle" => Some(Heard::Status(Status { kind: "idle".to_owned(), ..Status::default() })),
        "session.error" => of.error.map(Heard::Failed),
        "permission.asked" => parse(raw).map(Heard::Asks),
        "question.asked" => parse(raw).map(Heard::Questions),
        "permission.replied" | "question.replied" | "question.rejected" => of.request.map(Heard::Answered),
        "todo.updated" => of.todos.map(Heard::Todos),
        _ => None,
    };
    match (of.session, heard) {
        (Some(session), Some(heard)) => Read::For(session, heard),
        _ => Read::Nothing,
    }
}

fn parse<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, properties: &str) -> Read {
        let raw = RawValue::from_string(properties.to_owned()).unwrap();
        read(&Payload { kind: kind.to_owned(), properties: Some(&raw) })
    }

    #[test]
    fn events_are_read_by_kind() {
        let delta =
            r#"{"sessionID":"ses_1","messageID":"msg_1","partID":"prt_1","field":"text","delta":"hi"}"#;
        let Read::For(session, Heard::Delta { part, text }) = event("message.part.delta", delta) else {
            panic!("no delta");
        };
        assert_eq!((session.as_str(), part.as_str(), text.as_str()), ("ses_1", "prt_1", "hi"));
        let made = event("session.created", r#"{"sessionID":"s","info":{"id":"s","parentID":"p","new":1}}"#);
        assert!(matches!(made, Read::Made(Session { parent: Some(parent), .. }) if parent == "p"));
        let idle = event("session.idle", r#"{"sessionID":"s"}"#);
        assert!(matches!(idle, Read::For(_, Heard::Status(status)) if status.kind == "idle"));
    }

    #[test]
    fn what_is_not_understood_is_nothing() {
        let cases = [
            ("server.heartbeat", "{}"),
            ("message.part.updated", r#"{"sessionID":"s","part":{"id":7}}"#),
            ("message.part.updated", r#"{"sessionID":"s"}"#),
            ("message.part.delta", r#"{"sessionID":"s","partID":"p","field":"metadata","delta":"x"}"#),
            ("session.status", r#"{"sessionID":"s","status":"odd"}"#),
            ("permission.asked", r#"{"sessionID":"s"}"#),
            ("session.created", "[]"),
            ("who.knows", r#"{"sessionID":"s"}"#),
        ];
        for (kind, properties) in cases {
            assert!(matches!(event(kind, properties), Read::Nothing), "{kind} {properties}");
        }
    }
}

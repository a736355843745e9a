//! An event of the journal, as far as it is looked into: values are found by name and stay the text
//! that they came as.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::control::wire::is_terminal;

/// One event.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Event<'a> {
    #[serde(borrow)]
    fields: BTreeMap<Cow<'a, str>, &'a RawValue>,
}

impl<'a> Event<'a> {
    /// Reads the text of an event.
    pub(super) fn read(text: &'a RawValue) -> serde_json::Result<Self> {
        serde_json::from_str(text.get())
    }

    /// A value as it came; `None` for null.
    pub(super) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.fields.get(name).copied().filter(|raw| raw.get() != "null")
    }

    /// A value that is of the type that is asked for.
    pub(super) fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.raw(name)?.get()).ok()
    }

    /// A text, empty where there is none.
    pub(super) fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default()
    }

    /// Its number.
    pub(super) fn seq(&self) -> i64 {
        self.get("seq").unwrap_or_default()
    }

    /// Its type.
    pub(super) fn kind(&self) -> &'a str {
        // Our own words need no unescaping.
        self.raw("type").and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }

    /// The task that it says has come to an end.
    pub(super) fn ended_task(&self) -> Option<String> {
        let to: String = self.get("to").filter(|_| self.kind() == "task_state")?;
        is_terminal(&to).then(|| self.text("task"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_name_and_of_any_type() {
        let text = RawValue::from_string(
            r#"{"seq":7,"type":"task_state","task":"t-1","from":null,"to":"failed","next":[1.0]}"#.into(),
        )
        .unwrap();
        let event = Event::read(&text).unwrap();
        assert_eq!((event.seq(), event.kind()), (7, "task_state"));
        assert_eq!(event.ended_task().as_deref(), Some("t-1"));
        assert_eq!(event.raw("next").unwrap().get(), "[1.0]");
        assert!(event.raw("from").is_none() && event.get::<u64>("to").is_none());
    }

    #[test]
    fn only_a_move_of_a_task_ends_one() {
        let ends = [
            (r#"{"type":"task_state","task":"t-1","to":"running"}"#, false),
            (r#"{"type":"agent_state","task":"t-1","to":"failed"}"#, false),
            (r#"{"type":"gap","to":9}"#, false),
            (r#"{"type":"task_state","task":"t-1","to":"interrupted"}"#, true),
        ];
        for (text, is_end) in ends {
            let text = RawValue::from_string(text.into()).unwrap();
            assert_eq!(Event::read(&text).unwrap().ended_task().is_some(), is_end, "{text}");
        }
    }
}

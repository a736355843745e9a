//! The modes and models that an agent offers, as the journal tells of them, in the shapes that
//! clients know. Pure.
//!
//! Agents send the values in several shapes (modes, models, values of an option, groups of them);
//! the journal keeps what they sent.

use agent_client_protocol_schema::v1::{
    ConfigOptionUpdate, CurrentModeUpdate, SessionConfigOption, SessionConfigOptionCategory,
    SessionConfigSelectOption, SessionMode, SessionModeState, SessionUpdate,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::Event;

/// What can be chosen, and what is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Offer {
    current: Option<String>,
    values: Vec<Value>,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Value {
    id: String,
    name: String,
    description: Option<String>,
}

/// What an agent offers, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Offers {
    mode: Offer,
    model: Offer,
}

/// A value, or a group of them, however the agent names its members.
#[derive(Deserialize)]
struct Item {
    #[serde(alias = "modelId", alias = "value", default)]
    id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    options: Vec<Item>,
}

fn values(raw: &RawValue) -> Vec<Value> {
    let listed: Vec<Item> = serde_json::from_str(raw.get()).unwrap_or_default();
    let mut flat = Vec::new();
    listed.into_iter().for_each(|item| collect(item, &mut flat));
    flat
}

fn collect(item: Item, into: &mut Vec<Value>) {
    if let Some(id) = item.id {
        let name = item.name.unwrap_or_else(|| id.clone());
        into.push(Value { id, name, description: item.description });
    }
    item.options.into_iter().for_each(|inner| collect(inner, into));
}

impl Offer {
    /// What is not told stays as it was.
    fn take(&mut self, event: &Event<'_>) {
        if let Some(current) = event.get("current") {
            self.current = Some(current);
        }
        if let Some(available) = event.raw("available") {
            self.values = values(available);
        }
    }

    fn option(
        &self,
        id: &str,
        name: &str,
        category: SessionConfigOptionCategory,
    ) -> Option<SessionConfigOption> {
        let current = self.current.clone().filter(|_| !self.values.is_empty())?;
        let option = |value: &Value| {
            SessionConfigSelectOption::new(value.id.clone(), value.name.clone())
                .description(value.description.clone())
        };
        let options: Vec<_> = self.values.iter().map(option).collect();
        Some(SessionConfigOption::select(id.to_owned(), name, current, options).category(category))
    }
}

impl Offers {
    /// Takes note of a `mode` or `models` event; what is there to be told of it.
    pub(super) fn take(&mut self, event: &Event<'_>) -> Vec<SessionUpdate> {
        let mut told = Vec::new();
        if event.kind() == "mode" {
            self.mode.take(event);
            if let Some(current) = event.get::<String>("current") {
                told.push(SessionUpdate::CurrentModeUpdate(CurrentModeUpdate::new(current)));
            }
        } else {
            self.model.take(event);
        }
        if let Some(options) = self.options() {
            told.push(SessionUpdate::ConfigOptionUpdate(ConfigOptionUpdate::new(options)));
        }
        told
    }

    /// The modes, for the answer that opens a session.
    pub(super) fn modes(&self) -> Option<SessionModeState> {
        let current = self.mode.current.clone().filter(|_| !self.mode.values.is_empty())?;
        let mode = |value: &Value| {
            SessionMode::new(value.id.clone(), value.name.clone()).description(value.description.clone())
        };
        Some(SessionModeState::new(current, self.mode.values.iter().map(mode).collect()))
    }

    /// Modes and models as options, for that answer.
    pub(super) fn options(&self) -> Option<Vec<SessionConfigOption>> {
        let mode = self.mode.option("mode", "Mode", SessionConfigOptionCategory::Mode);
        let model = self.model.option("model", "Model", SessionConfigOptionCategory::Model);
        let options: Vec<_> = mode.into_iter().chain(model).collect();
        (!options.is_empty()).then_some(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn take(offers: &mut Offers, event: serde_json::Value) -> serde_json::Value {
        let text = RawValue::from_string(event.to_string()).unwrap();
        serde_json::to_value(offers.take(&Event::read(&text).unwrap())).unwrap()
    }

    #[test]
    fn modes_are_told_as_a_mode_and_as_an_option() {
        let mut offers = Offers::default();
        let modes = json!([{"id": "ask", "name": "Ask"}, {"id": "auto", "description": "All of it"}]);
        let told = take(&mut offers, json!({"type": "mode", "current": "ask", "available": modes}));
        let option = json!({
            "id": "mode", "name": "Mode", "category": "mode", "type": "select", "currentValue": "ask",
            "options": [{"value": "ask", "name": "Ask"}, {"value": "auto", "name": "auto", "description": "All of it"}],
        });
        assert_eq!(
            told,
            json!([
                {"sessionUpdate": "current_mode_update", "currentModeId": "ask"},
                {"sessionUpdate": "config_option_update", "configOptions": [option]},
            ])
        );
        // A change alone says only what is new.
        take(&mut offers, json!({"type": "mode", "current": "auto", "available": null}));
        let state = serde_json::to_value(offers.modes()).unwrap();
        assert_eq!(
            (&state["currentModeId"], state["availableModes"].as_array().unwrap().len()),
            (&json!("auto"), 2)
        );
    }

    #[test]
    fn models_come_in_every_shape() {
        let shapes = [
            json!([{"modelId": "m", "name": "M"}]),
            json!([{"value": "m", "name": "M"}]),
            json!([{"group": "g", "name": "G", "options": [{"value": "m", "name": "M"}]}]),
        ];
        for available in shapes {
            let mut offers = Offers::default();
            let told = take(&mut offers, json!({"type": "models", "current": "m", "available": available}));
            assert_eq!(told[0]["configOptions"][0]["options"], json!([{"value": "m", "name": "M"}]));
            assert!(offers.modes().is_none());
        }
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let mut offers = Offers::default();
        assert_eq!(
            take(&mut offers, json!({"type": "models", "current": "m", "available": null})),
            json!([])
        );
        assert_eq!((offers.modes(), offers.options()), (None, None));
    }
}

//! The modes and models that an agent offers, as the journal tells of them, in the shapes that
//! clients know. Pure.

use agent_client_protocol_schema::v1::{
    ConfigOptionUpdate, CurrentModeUpdate, SessionConfigOption, SessionConfigOptionCategory,
    SessionConfigSelectOption, SessionMode, SessionModeState, SessionUpdate,
};

use super::event::Event;
use crate::control::wire::{OfferRow, OffersRow, ValueRow, offered_values};

/// What can be chosen, and what is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Offer {
    current: Option<String>,
    values: Vec<ValueRow>,
}

/// What an agent offers, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Offers {
    mode: Offer,
    model: Offer,
}

impl From<&OfferRow> for Offer {
    fn from(row: &OfferRow) -> Self {
        Self { current: row.current.clone(), values: row.available.clone().unwrap_or_default() }
    }
}

impl From<&OffersRow> for Offers {
    fn from(row: &OffersRow) -> Self {
        Self { mode: Offer::from(&row.mode), model: Offer::from(&row.model) }
    }
}

impl Offer {
    /// What is not told stays as it was.
    fn take(&mut self, event: &Event<'_>) {
        if let Some(current) = event.get("current") {
            self.current = Some(current);
        }
        if let Some(available) = event.raw("available") {
            self.values = offered_values(available.get());
        }
    }

    fn option(
        &self,
        id: &str,
        name: &str,
        category: SessionConfigOptionCategory,
    ) -> Option<SessionConfigOption> {
        let current = self.current.clone().filter(|_| !self.values.is_empty())?;
        let option = |value: &ValueRow| {
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
        let mode = |value: &ValueRow| {
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
    use serde_json::value::RawValue;

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
    fn what_is_known_before_the_agent_was_started_is_offered() {
        let value = |id: &str| ValueRow { id: id.to_owned(), name: id.to_owned(), description: None };
        let available = Some(vec![value("ask"), value("auto")]);
        let mode = OfferRow { current: Some("ask".to_owned()), chosen: None, available };
        let row = OffersRow {
            chat: "c-1".to_owned(),
            agent: "goose".to_owned(),
            mode,
            model: OfferRow { available: Some(vec![value("m")]), ..OfferRow::default() },
        };
        let offers = Offers::from(&row);
        let modes = serde_json::to_value(offers.modes()).unwrap();
        assert_eq!(
            (&modes["currentModeId"], &modes["availableModes"][1]["id"]),
            (&json!("ask"), &json!("auto"))
        );
        // A selector shows what is in use: without that, there is none.
        assert_eq!(offers.options().unwrap().len(), 1);
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

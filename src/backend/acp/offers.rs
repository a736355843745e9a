//! What an agent offers to be set: modes and models, however it tells of them.
//!
//! Agents tell of modes in `modes` or in a configuration option of that category, of models in
//! `models` (an older shape) or likewise. Pure.

use serde::Deserialize;
use serde_json::value::RawValue;

use hob_actors::event::{Event, Json};

use super::wire::lenient;
use crate::control::wire::offered_values;

/// One thing that can be set, with its values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Offer {
    /// The id of the configuration option, where it is one.
    pub(super) option: Option<String>,
    /// The present value.
    pub(super) current: Option<String>,
    /// Ids and names of the values.
    pub(super) values: Vec<(String, String)>,
    /// The values as the agent sent them.
    pub(super) available: Option<Json>,
}

/// Everything that is offered.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Offers {
    /// Modes.
    pub(super) mode: Option<Offer>,
    /// Models.
    pub(super) model: Option<Offer>,
}

/// How to set a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Setting {
    /// It is what it should be.
    Already,
    /// `session/set_config_option`, with the option's id and the value's.
    Option(String, String),
    /// The method for modes or models alone, with the value's id.
    Own(String),
    /// It is not offered; these are.
    NotOffered(Vec<String>),
}

/// The members of an answer to `session/new`, `load` and `resume` that offer something.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Opened<'a> {
    #[serde(default, deserialize_with = "lenient")]
    modes: Option<Modes>,
    #[serde(default, deserialize_with = "lenient")]
    models: Option<Models>,
    #[serde(borrow, default)]
    config_options: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Modes {
    #[serde(default, deserialize_with = "lenient")]
    current_mode_id: Option<String>,
    #[serde(default)]
    available_modes: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Models {
    #[serde(default, deserialize_with = "lenient")]
    current_model_id: Option<String>,
    #[serde(default)]
    available_models: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigOption {
    id: String,
    #[serde(default, deserialize_with = "lenient")]
    category: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    current_value: Option<String>,
    #[serde(default)]
    options: Option<Box<RawValue>>,
}

/// Ids and names.
fn values(raw: Option<&RawValue>) -> Vec<(String, String)> {
    let values = raw.map(|raw| offered_values(raw.get())).unwrap_or_default();
    values.into_iter().map(|value| (value.id, value.name)).collect()
}

fn offer(option: Option<String>, current: Option<String>, raw: Option<&RawValue>) -> Offer {
    Offer { option, current, values: values(raw), available: super::wire::json(raw) }
}

impl Offers {
    /// From the answer that opened a conversation.
    pub(super) fn from_answer(raw: &RawValue) -> Self {
        let Ok(opened) = serde_json::from_str::<Opened<'_>>(raw.get()) else { return Self::default() };
        let mut offers = opened.config_options.map(Self::from_options).unwrap_or_default();
        if let Some(modes) = opened.modes {
            let own = offer(None, modes.current_mode_id, modes.available_modes.as_deref());
            offers.mode = Some(own);
        }
        if let Some(models) = opened.models.filter(|_| offers.model.is_none()) {
            let own = offer(None, models.current_model_id, models.available_models.as_deref());
            offers.model = Some(own);
        }
        offers
    }

    /// From a list of configuration options.
    pub(super) fn from_options(raw: &RawValue) -> Self {
        let listed: Vec<Box<RawValue>> = serde_json::from_str(raw.get()).unwrap_or_default();
        let options = listed.iter().filter_map(|raw| serde_json::from_str::<ConfigOption>(raw.get()).ok());
        let mut offers = Self::default();
        for option in options {
            let slot = match option.category.as_deref().unwrap_or(&option.id) {
                "mode" => &mut offers.mode,
                "model" => &mut offers.model,
                _ => continue,
            };
            slot.get_or_insert_with(|| {
                offer(Some(option.id), option.current_value, option.options.as_deref())
            });
        }
        offers
    }

    /// What the journal is told.
    pub(super) fn events(self) -> Vec<Event> {
        let mode = self.mode.map(|offer| Event::Mode { current: offer.current, available: offer.available });
        let model =
            self.model.map(|offer| Event::Models { current: offer.current, available: offer.available });
        mode.into_iter().chain(model).collect()
    }
}

/// How to set what is wanted, by id or by the name that a person sees.
pub(super) fn setting(offer: Option<&Offer>, wanted: &str) -> Setting {
    let Some(offer) = offer else { return Setting::NotOffered(vec![]) };
    let by_id = offer.values.iter().find(|(id, _)| id == wanted);
    let found = by_id.or_else(|| offer.values.iter().find(|(_, name)| name == wanted));
    match (found, &offer.option) {
        (Some((id, _)), _) if offer.current.as_ref() == Some(id) => Setting::Already,
        (Some((id, _)), Some(option)) => Setting::Option(option.clone(), id.clone()),
        (Some((id, _)), None) => Setting::Own(id.clone()),
        (None, _) => Setting::NotOffered(offer.values.iter().map(|(id, _)| id.clone()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn an_agent_with_options_alone_offers_both() {
        // opencode's shape.
        let answer = raw(r#"{"sessionId":"ses_1","configOptions":[
            {"id":"model","name":"Model","category":"model","type":"select","currentValue":"a/x",
             "options":[{"value":"a/x","name":"X"},{"value":"a/y","name":"Y"}]},
            {"id":"effort","name":"Effort","type":"select","currentValue":"low","options":[]},
            {"id":"mode","name":"Mode","category":"mode","type":"select","currentValue":"build",
             "options":[{"value":"build","name":"build"},{"value":"plan","name":"plan"}]}]}"#);
        let offers = Offers::from_answer(&answer);
        assert_eq!(setting(offers.mode.as_ref(), "build"), Setting::Already);
        assert_eq!(setting(offers.mode.as_ref(), "plan"), Setting::Option("mode".into(), "plan".into()));
        assert_eq!(setting(offers.model.as_ref(), "Y"), Setting::Option("model".into(), "a/y".into()));
        assert_eq!(
            setting(offers.model.as_ref(), "z"),
            Setting::NotOffered(vec!["a/x".into(), "a/y".into()])
        );
    }

    #[test]
    fn modes_of_their_own_are_set_by_their_own_method() {
        // qwen's shape.
        let answer = raw(
            r#"{"sessionId":"1","models":{"currentModelId":"m","availableModels":[{"modelId":"m","name":"m"}]},
            "modes":{"currentModeId":"default","availableModes":[{"id":"default","name":"Default"},{"id":"yolo","name":"YOLO"}]}}"#,
        );
        let offers = Offers::from_answer(&answer);
        assert_eq!(setting(offers.mode.as_ref(), "yolo"), Setting::Own("yolo".into()));
        assert_eq!(setting(offers.model.as_ref(), "m"), Setting::Already);
    }

    #[test]
    fn groups_of_values_are_looked_into_and_bad_items_are_not_in_the_way() {
        let options = raw(r#"[7,{"id":"model","type":"select","currentValue":"b","options":[
            {"group":"g","name":"G","options":[{"value":"a","name":"A"}]}]}]"#);
        let offers = Offers::from_options(&options);
        assert_eq!(setting(offers.model.as_ref(), "a"), Setting::Option("model".into(), "a".into()));
    }

    #[test]
    fn an_agent_that_offers_nothing_can_be_set_to_nothing() {
        let offers = Offers::from_answer(&raw(r#"{"sessionId":"1","modes":null}"#));
        assert_eq!(setting(offers.mode.as_ref(), "plan"), Setting::NotOffered(vec![]));
        assert!(offers.events().is_empty());
    }
}

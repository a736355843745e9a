//! Sets mode and model of a conversation: which call does it, and how a running one is told.

use agent_client_protocol_schema::v1::AGENT_METHOD_NAMES;
use hob_actors::ports::{Choice, News, NewsSink, NotChosen, Permit};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::errors;
use super::offers::{Offer, Offers, Setting};
use crate::jsonrpc::{CallError, Peer};

/// The older way to set a model, which the schema does not know any more.
const SET_MODEL: &str = "session/set_model";

/// The parameters of a call that sets something.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Set<'a> {
    session_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
}

/// What of a conversation can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Model,
    Mode,
}

impl What {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Mode => "mode",
        }
    }
}

/// The call that carries a setting out; `None` if nothing has to, or can be called.
pub(super) fn call<'a>(
    session: &'a str,
    what: What,
    setting: &'a Setting,
) -> Option<(&'static str, Set<'a>)> {
    let plain = Set { session_id: session, ..Set::default() };
    match (setting, what) {
        (Setting::Already | Setting::NotOffered(_), _) => None,
        (Setting::Option(option, value), _) => {
            let set = Set { config_id: Some(option), value: Some(value), ..plain };
            Some((AGENT_METHOD_NAMES.session_set_config_option, set))
        }
        (Setting::Own(value), What::Mode) => {
            Some((AGENT_METHOD_NAMES.session_set_mode, Set { mode_id: Some(value), ..plain }))
        }
        (Setting::Own(value), What::Model) => Some((SET_MODEL, Set { model_id: Some(value), ..plain })),
    }
}

/// How a value of an offer is set, whether it is in use already or not, and whether it was among the
/// values when the conversation was opened or not.
fn way(offer: &Offer, value: &str) -> Setting {
    match &offer.option {
        Some(option) => Setting::Option(option.clone(), value.to_owned()),
        None => Setting::Own(value.to_owned()),
    }
}

/// The answer of an agent that has options: their whole new state.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options<'a> {
    #[serde(borrow, default)]
    config_options: Option<&'a RawValue>,
}

/// What of a running conversation can be set, and how.
pub(super) struct Settable {
    pub(super) session: String,
    offers: Offers,
}

impl Settable {
    /// Of a conversation that was opened with these offers.
    pub(super) fn new(session: String, offers: Offers) -> Self {
        Self { session, offers }
    }

    /// Sets what is asked for.
    pub(super) async fn choose(&self, peer: &Peer, sink: &NewsSink, asked: &Choice) -> Result<(), NotChosen> {
        let steps =
            [(What::Model, &asked.model, &self.offers.model), (What::Mode, &asked.mode, &self.offers.mode)];
        let mut is_begun = false;
        for (what, value, offer) in steps {
            let Some(value) = value else { continue };
            if let Err(why) = self.set(peer, sink, (what, value, offer.as_ref())).await {
                return Err(if is_begun { NotChosen::InPart(why) } else { NotChosen::Refused(why) });
            }
            is_begun = true;
        }
        Ok(())
    }

    async fn set(
        &self,
        peer: &Peer,
        sink: &NewsSink,
        (what, value, offer): (What, &str, Option<&Offer>),
    ) -> Result<(), String> {
        let offer = offer.ok_or_else(|| format!("it offers no {} to be set", what.word()))?;
        let setting = way(offer, value);
        let Some((method, params)) = call(&self.session, what, &setting) else { return Ok(()) };
        let answer = peer.call(method, &params).await.map_err(|error| match error {
            CallError::Rpc(error) => errors::describe(&error),
            CallError::Closed => "it closed a pipe".to_owned(),
            CallError::Params(error) => error.to_string(),
        })?;
        let options = serde_json::from_str::<Options<'_>>(answer.get()).ok().and_then(|it| it.config_options);
        if let Some(options) = options {
            for event in Offers::from_options(options).events() {
                sink(News::Said(event), Permit::free());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_way_to_set_something_has_its_call() {
        let option = Setting::Option("o".into(), "v".into());
        let own = Setting::Own("v".into());
        let cases = [
            (
                What::Mode,
                &option,
                Some(("session/set_config_option", json!({"configId": "o", "value": "v"}))),
            ),
            (
                What::Model,
                &option,
                Some(("session/set_config_option", json!({"configId": "o", "value": "v"}))),
            ),
            (What::Mode, &own, Some(("session/set_mode", json!({"modeId": "v"})))),
            (What::Model, &own, Some(("session/set_model", json!({"modelId": "v"})))),
            (What::Mode, &Setting::Already, None),
            (What::Mode, &Setting::NotOffered(vec![]), None),
        ];
        for (what, setting, expected) in cases {
            let called = call("s", what, setting).map(|(method, set)| {
                let mut params = serde_json::to_value(set).unwrap();
                assert_eq!(params.as_object_mut().unwrap().remove("sessionId"), Some(json!("s")));
                (method, params)
            });
            assert_eq!(called, expected, "{what:?} {setting:?}");
        }
    }
}

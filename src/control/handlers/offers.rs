//! `chat/offers` and `chat/choose`: the mode and the model that an agent works with in a chat.

use hob_actors::id::AgentKey;
use hob_actors::ports::{Choice, Store as _};
use hob_actors::tree::Chosen;

use super::{Call, Done, chats, submit};
use crate::control::error::{RpcFailure, shorten};
use crate::control::params::{ChatChoose, ChatOffers};
use crate::control::wire::{OfferRow, OffersRow, ValueRow, offered_values};
use crate::store::{Offer, Offered};

/// `chat/offers`
pub(crate) async fn offers(call: &Call, params: ChatOffers) -> Done<OffersRow> {
    chats::find(call, &params.chat).await?;
    let agent = agent_of(call, &params.chat, params.agent).await?;
    show(call, &AgentKey::new(params.chat, agent)).await
}

/// `chat/choose`: resolves when it is remembered, and a running agent works that way.
pub(crate) async fn choose(call: &Call, params: ChatChoose) -> Done<OffersRow> {
    call.check_open()?;
    if params.mode.is_none() && params.model.is_none() {
        return Err(RpcFailure::invalid_params("mode", "at least one of `mode` and `model` is needed"));
    }
    let services = call.services();
    let session = chats::find(call, &params.chat).await?.session;
    let agent = agent_of(call, &params.chat, params.agent).await?;
    submit::check_agent(call, &agent).await?;
    let _alone = services.flights.session(&session).await;
    submit::open_chat(call, &params.chat).await?;
    let key = AgentKey::new(params.chat, agent);
    let offered = services.store.offered(key.chat.as_str(), key.agent.as_str()).await?;
    let mode = wish("mode", params.mode, &offered.mode, &key)?;
    let model = wish("model", params.model, &offered.model, &key)?;
    let chosen = chosen(&offered.choice, mode, model);
    match services.tree.choose(key.clone(), chosen.clone()).await? {
        Some(result) => result?,
        None => {
            let store = &services.store;
            store.choose(key.clone(), chosen.choice.clone()).await?;
            // Whoever was made for it meanwhile may have read what was remembered before.
            if let Some(result) = services.tree.choose(key.clone(), chosen).await? {
                result?;
            }
        }
    }
    show(call, &key).await
}

/// What is wanted of one thing: nothing new, nothing any more, or this value of those that are offered.
fn wish(
    what: &str,
    asked: Option<Option<String>>,
    offer: &Offer,
    key: &AgentKey,
) -> Done<Option<Option<String>>> {
    let Some(Some(value)) = asked else { return Ok(asked) };
    let Some(available) = offer.available.as_deref() else {
        // It was never started: what it offers is seen at its first start, and what is wrong told then.
        return Ok(Some(Some(value)));
    };
    let values = offered_values(available);
    match resolve(&values, &value) {
        Some(id) => Ok(Some(Some(id))),
        None => {
            let ids: Vec<&str> = values.iter().map(|value| value.id.as_str()).collect();
            let message = format!(
                "{} does not offer the {what} `{}`; it has: {}",
                key.agent,
                shorten(&value),
                ids.join(", ")
            );
            Err(RpcFailure::invalid_params(what, message))
        }
    }
}

/// The id of the value that a person names, by its id or by its name.
fn resolve(values: &[ValueRow], wanted: &str) -> Option<String> {
    let by_id = values.iter().find(|value| value.id == wanted);
    let found = by_id.or_else(|| values.iter().find(|value| value.name == wanted));
    found.map(|value| value.id.clone())
}

/// What is chosen when these wishes are put on top of what was. Pure.
fn chosen(before: &Choice, mode: Option<Option<String>>, model: Option<Option<String>>) -> Chosen {
    let clears = mode == Some(None) || model == Some(None);
    let asked = Choice { mode: mode.clone().flatten(), model: model.clone().flatten() };
    let choice = Choice {
        mode: mode.unwrap_or_else(|| before.mode.clone()),
        model: model.unwrap_or_else(|| before.model.clone()),
    };
    Chosen { choice, asked: (!clears).then_some(asked) }
}

/// The agent that a prompt would go to. Which one is named must be known.
async fn agent_of(call: &Call, chat: &str, named: Option<String>) -> Done<String> {
    if let Some(name) = &named
        && call.services().config.current().agent(name).is_none()
    {
        return Err(RpcFailure::not_found("agent", name).hint("hob agent ls"));
    }
    submit::agent_of(call, chat, named).await
}

async fn show(call: &Call, key: &AgentKey) -> Done<OffersRow> {
    let services = call.services();
    let Offered { mode, model, choice } =
        services.store.offered(key.chat.as_str(), key.agent.as_str()).await?;
    let config = services.config.current();
    let agent = config.agent(key.agent.as_str());
    let configured =
        |of: fn(&crate::config::AgentConfig) -> &Option<String>| agent.and_then(|it| of(it).clone());
    Ok(OffersRow {
        chat: key.chat.to_string(),
        agent: key.agent.to_string(),
        mode: row(mode, choice.mode, configured(|agent| &agent.mode)),
        model: row(model, choice.model, configured(|agent| &agent.model)),
    })
}

/// An agent that was started in the chat has said what is in use. Of one that was not, it is known what
/// it will be started with.
fn row(offer: Offer, chosen: Option<String>, configured: Option<String>) -> OfferRow {
    let Offer { current, initial, available } = offer;
    let current = current.or_else(|| chosen.clone()).or(configured).or(initial);
    OfferRow { current, chosen, available: available.map(|json| offered_values(&json)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_wish_changes_what_it_names_and_nothing_else() {
        let before = Choice { mode: some("plan"), model: some("m") };
        // mode, model, then: what is chosen, what a running agent is asked for
        let cases = [
            (Some(some("build")), None, (some("build"), some("m")), Some((some("build"), None))),
            (None, Some(some("n")), (some("plan"), some("n")), Some((None, some("n")))),
            (Some(some("a")), Some(some("b")), (some("a"), some("b")), Some((some("a"), some("b")))),
            (Some(None), None, (None, some("m")), None),
            (Some(some("build")), Some(None), (some("build"), None), None),
        ];
        for (mode, model, choice, asked) in cases {
            let choice = Choice { mode: choice.0, model: choice.1 };
            let asked = asked.map(|(mode, model)| Choice { mode, model });
            assert_eq!(
                chosen(&before, mode.clone(), model.clone()),
                Chosen { choice, asked },
                "{mode:?} {model:?}"
            );
        }
    }

    #[test]
    fn a_value_is_meant_by_its_id_or_its_name_and_others_are_refused_with_those_there_are() {
        let available =
            some(r#"[{"id":"plan","name":"Plan first"},{"id":"Plan first","name":"x"},{"id":"b"}]"#);
        let offer = Offer { available, ..Offer::default() };
        let key = AgentKey::new("c-1", "goose");
        let wished =
            |value: &str| wish("mode", Some(some(value)), &offer, &key).map_err(|error| error.message);
        assert_eq!(wished("plan"), Ok(Some(some("plan"))));
        assert_eq!(wished("Plan first"), Ok(Some(some("Plan first"))), "an id comes before a name");
        assert_eq!(wished("x"), Ok(Some(some("Plan first"))));
        let why = wished("warp").unwrap_err();
        assert!(why.contains("goose does not offer the mode `warp`; it has: plan, Plan first, b"), "{why}");
        let unknown = Offer::default();
        assert_eq!(wish("mode", Some(some("warp")), &unknown, &key).unwrap(), Some(some("warp")));
        assert_eq!(wish("mode", Some(None), &offer, &key).unwrap(), Some(None));
    }

    #[test]
    fn what_is_in_use_is_what_the_agent_said_else_what_it_would_be_started_with() {
        let offer = |current: Option<&str>, initial: Option<&str>| Offer {
            current: current.map(str::to_owned),
            initial: initial.map(str::to_owned),
            available: None,
        };
        let cases = [
            (offer(Some("now"), Some("first")), some("chosen"), some("configured"), some("now")),
            (offer(None, Some("first")), some("chosen"), some("configured"), some("chosen")),
            (offer(None, Some("first")), None, some("configured"), some("configured")),
            (offer(None, Some("first")), None, None, some("first")),
            (offer(None, None), None, None, None),
        ];
        for (offer, chosen, configured, current) in cases {
            assert_eq!(row(offer, chosen, configured).current, current);
        }
    }
}

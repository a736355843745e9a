//! What an opencode server offers for a directory: models, modes (its agents) and commands; and
//! what of it was chosen.

use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use hob_actors::event::{Event, Json};
use hob_actors::ports;

use super::http::{Client, HttpError};
use crate::backend::acp::lenient;

/// The answer of `GET /config/providers`.
#[derive(Default, Deserialize)]
struct Providers {
    #[serde(default)]
    providers: Vec<Provider>,
}

#[derive(Deserialize)]
struct Provider {
    id: String,
    #[serde(default, deserialize_with = "lenient")]
    name: Option<String>,
    #[serde(default)]
    models: BTreeMap<String, Model>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default, deserialize_with = "lenient")]
    name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    limit: Option<Limit>,
}

#[derive(Deserialize)]
struct Limit {
    #[serde(default, deserialize_with = "lenient")]
    context: Option<u64>,
}

/// One of `GET /agent`.
#[derive(Deserialize)]
struct Mode {
    name: String,
    #[serde(default, deserialize_with = "lenient")]
    mode: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    hidden: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    description: Option<String>,
}

/// One of `GET /command`.
#[derive(Deserialize)]
struct Command {
    name: String,
    #[serde(default, deserialize_with = "lenient")]
    description: Option<String>,
}

/// What each prompt of a conversation asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// The provider, and the model by its own name there.
    pub(super) model: Option<(String, String)>,
    /// The agent of opencode's.
    pub(super) mode: Option<String>,
}

impl Choice {
    /// Changes what is asked for.
    ///
    /// # Errors
    /// A model does not name its provider.
    pub(super) fn choose(&mut self, asked: &ports::Choice) -> Result<(), String> {
        if let Some(model) = &asked.model {
            let parts = model.split_once('/');
            let (provider, id) =
                parts.ok_or_else(|| format!("the model `{model}` is not of the form provider/model"))?;
            self.model = Some((provider.to_owned(), id.to_owned()));
        }
        if asked.mode.is_some() {
            self.mode.clone_from(&asked.mode);
        }
        Ok(())
    }
}

/// The answer of `GET /config`.
#[derive(Default, Deserialize)]
struct Configured {
    #[serde(default, deserialize_with = "lenient")]
    model: Option<String>,
}

/// What is offered for a directory.
#[derive(Default)]
pub(super) struct Offers {
    providers: Providers,
    modes: Vec<Mode>,
    commands: Vec<Command>,
    configured: Configured,
}

/// What was configured, once it is known that the server has it; why not, where it has not.
pub(super) async fn choose(
    client: &Client,
    directory: &str,
    (model, mode): (Option<&str>, Option<&str>),
) -> Result<Result<Choice, String>, HttpError> {
    if model.is_none() && mode.is_none() {
        return Ok(Ok(Choice::default()));
    }
    let offers = Offers::read(client, directory).await?;
    Ok(offers.choice(model, mode))
}

impl Offers {
    /// Reads everything.
    pub(super) async fn read(client: &Client, directory: &str) -> Result<Self, HttpError> {
        let query = [("directory", directory)];
        Ok(Self {
            providers: client.get("/config/providers", &query).await?,
            modes: client.get("/agent", &query).await?,
            commands: client.get("/command", &query).await?,
            configured: client.get("/config", &query).await?,
        })
    }

    fn models(&self) -> impl Iterator<Item = (String, String, &Model)> {
        self.providers.providers.iter().flat_map(|provider| {
            let shown = provider.name.as_deref().unwrap_or(&provider.id);
            provider.models.iter().map(move |(id, model)| {
                let name = model.name.as_deref().unwrap_or(id);
                (format!("{}/{id}", provider.id), format!("{shown}/{name}"), model)
            })
        })
    }

    fn modes(&self) -> impl Iterator<Item = &Mode> {
        let is_shown = |mode: &&Mode| mode.hidden != Some(true) && mode.mode.as_deref() != Some("subagent");
        self.modes.iter().filter(is_shown)
    }

    fn choice(&self, model: Option<&str>, mode: Option<&str>) -> Result<Choice, String> {
        if let Some(model) = model.filter(|model| !self.models().any(|(id, ..)| id == *model)) {
            let ids: Vec<String> = self.models().map(|(id, ..)| id).collect();
            return Err(format!("the model `{model}` is not offered; these are: {}", ids.join(", ")));
        }
        if let Some(mode) = mode.filter(|mode| !self.modes().any(|offered| offered.name == *mode)) {
            let names: Vec<&str> = self.modes().map(|mode| mode.name.as_str()).collect();
            return Err(format!("the mode `{mode}` is not offered; these are: {}", names.join(", ")));
        }
        let model = model.and_then(|model| model.split_once('/'));
        let model = model.map(|(provider, id)| (provider.to_owned(), id.to_owned()));
        Ok(Choice { model, mode: mode.map(str::to_owned) })
    }

    /// The size of the context window of a model, in tokens.
    pub(super) fn context_size(&self, provider: &str, model: &str) -> Option<u64> {
        let provider = self.providers.providers.iter().find(|it| it.id == provider)?;
        provider.models.get(model)?.limit.as_ref()?.context
    }

    /// As the journal has it.
    pub(super) fn events(&self, choice: &Choice) -> Vec<Event> {
        let chosen = choice.model.as_ref().map(|(provider, id)| format!("{provider}/{id}"));
        let model = chosen.or_else(|| self.configured.model.clone());
        // The server names its default first.
        let current = choice.mode.clone().or_else(|| self.modes().next().map(|mode| mode.name.clone()));
        let models: Vec<Value> =
            self.models().map(|(id, name, _)| json!({"modelId": id, "name": name})).collect();
        let mode = |mode: &Mode| json!({"id": mode.name, "name": mode.name, "description": mode.description});
        let modes: Vec<Value> = self.modes().map(mode).collect();
        let command = |it: &Command| json!({"name": it.name, "description": it.description});
        let commands: Vec<Value> = self.commands.iter().map(command).collect();
        vec![
            Event::Models { current: model, available: Some(list(models)) },
            Event::Mode { current, available: Some(list(modes)) },
            Event::Commands { commands: list(commands) },
        ]
    }
}

fn list(values: Vec<Value>) -> Json {
    Json::from_valid(Value::from(values).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers() -> Offers {
        let providers = r#"{"providers":[{"id":"p","name":"P","models":{"m/1":{"name":"M","limit":{"context":9}},"m2":{}}}]}"#;
        let modes = r#"[{"name":"build","mode":"primary"},{"name":"explore","mode":"subagent"},
            {"name":"title","mode":"primary","hidden":true}]"#;
        Offers {
            providers: serde_json::from_str(providers).unwrap(),
            modes: serde_json::from_str(modes).unwrap(),
            commands: Vec::new(),
            configured: Configured { model: Some("p/m2".into()) },
        }
    }

    #[test]
    fn what_is_offered_can_be_chosen_and_nothing_else() {
        let offers = offers();
        let chosen = offers.choice(Some("p/m/1"), Some("build")).unwrap();
        assert_eq!(chosen.model, Some(("p".into(), "m/1".into())));
        assert_eq!(chosen.mode.as_deref(), Some("build"));
        let why = offers.choice(Some("p/other"), None).unwrap_err();
        assert!(why.contains("`p/other`") && why.contains("p/m/1, p/m2"), "{why}");
        for mode in ["explore", "title", "none"] {
            assert!(offers.choice(None, Some(mode)).unwrap_err().ends_with("these are: build"));
        }
    }

    #[test]
    fn what_is_in_use_is_what_was_chosen_or_what_the_server_uses_by_itself() {
        let current = |choice: &Choice| -> Vec<Option<String>> {
            let events = offers().events(choice).into_iter();
            let current = events.filter_map(|event| match event {
                Event::Models { current, .. } | Event::Mode { current, .. } => Some(current),
                _ => None,
            });
            current.collect()
        };
        assert_eq!(current(&Choice::default()), [Some("p/m2".into()), Some("build".into())]);
        let mut choice = Choice::default();
        let asked = ports::Choice { model: Some("p/m/1".into()), mode: None };
        choice.choose(&asked).unwrap();
        choice.choose(&ports::Choice { model: None, mode: Some("plan".into()) }).unwrap();
        assert_eq!(current(&choice), [Some("p/m/1".into()), Some("plan".into())]);
        let nameless = ports::Choice { model: Some("m".into()), mode: None };
        assert!(choice.choose(&nameless).unwrap_err().contains("`m`"));
    }

    #[test]
    fn the_size_of_the_window_is_the_models() {
        assert_eq!(offers().context_size("p", "m/1"), Some(9));
        assert_eq!(offers().context_size("p", "m2"), None);
    }
}

//! `hob chat choose`: the mode and the model of an agent in a chat.

use clap::Args;
use serde_json::json;

use super::Outcome;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::find::{Kind, with_id};
use super::render::{facts, one_line, table};
use crate::control::wire::{OfferRow, OffersRow};

/// The widest description in a table, in characters.
const DESCRIPTION_WIDTH_MAX: usize = 60;

/// Arguments of `hob chat choose`.
#[derive(Debug, Args)]
pub struct ChooseArgs {
    /// The chat, or the beginning of its id
    pub chat: String,
    /// The agent in it; without it, the one that was prompted last
    #[arg(long, short)]
    pub agent: Option<String>,
    /// The mode to work in, by its id or its name
    #[arg(long)]
    pub mode: Option<String>,
    /// The model to work with, likewise
    #[arg(long)]
    pub model: Option<String>,
    /// Leave both to the configuration again
    #[arg(long, conflicts_with_all = ["mode", "model"])]
    pub reset: bool,
}

/// Chooses, or shows what can be chosen.
pub async fn run(ctx: &mut Ctx, args: &ChooseArgs) -> Outcome {
    let link = ctx.link().await?;
    let call = async |id: &str| -> Result<_, CliError> {
        let mut params = json!({"chat": id});
        if let Some(agent) = &args.agent {
            params["agent"] = json!(agent);
        }
        let mut method = "chat/offers";
        for (name, value) in [("mode", &args.mode), ("model", &args.model)] {
            if args.reset || value.is_some() {
                params[name] = json!(value);
                method = "chat/choose";
            }
        }
        link.raw(method, params).await
    };
    let answer = with_id(&link, Kind::Chat, &args.chat, call).await?;
    ctx.show(&answer, |offers: OffersRow| show(&offers))?;
    Ok(Exit::Done)
}

/// What there is, with a star at what is in use.
fn show(offers: &OffersRow) -> String {
    let mut text = facts(&[
        ("chat", offers.chat.clone()),
        ("agent", offers.agent.clone()),
        ("mode", words(&offers.mode)),
        ("model", words(&offers.model)),
    ]);
    for (heading, offer) in [("MODE", &offers.mode), ("MODEL", &offers.model)] {
        let Some(available) = offer.available.as_ref().filter(|values| !values.is_empty()) else { continue };
        let row = |value: &crate::control::wire::ValueRow| {
            let is_current = offer.current.as_ref() == Some(&value.id);
            let description = value.description.as_deref().unwrap_or_default();
            vec![
                if is_current { "*" } else { "" }.to_owned(),
                one_line(&value.id, usize::MAX),
                one_line(&value.name, usize::MAX),
                one_line(description, DESCRIPTION_WIDTH_MAX),
            ]
        };
        text.push('\n');
        text.push_str(&table(
            &["", heading, "NAME", "DESCRIPTION"],
            &[],
            available.iter().map(row).collect(),
        ));
    }
    text
}

fn words(offer: &OfferRow) -> String {
    match (&offer.current, &offer.chosen) {
        (Some(current), None) => one_line(current, usize::MAX),
        (Some(current), Some(chosen)) if current == chosen => {
            format!("{} (chosen)", one_line(current, usize::MAX))
        }
        (Some(current), Some(chosen)) => {
            format!("{} ({} is chosen)", one_line(current, usize::MAX), one_line(chosen, usize::MAX))
        }
        (None, Some(chosen)) => format!("{} (chosen)", one_line(chosen, usize::MAX)),
        // Before an agent was started nobody knows what it offers.
        (None, None) => "none is known".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::render::plain;
    use super::*;
    use crate::control::wire::ValueRow;

    #[test]
    fn what_is_in_use_is_marked() {
        let value = |id: &str, name: &str, description: Option<&str>| ValueRow {
            id: id.into(),
            name: name.into(),
            description: description.map(str::to_owned),
        };
        let modes = vec![value("build", "Build", None), value("plan", "Plan", Some("Change\nnothing"))];
        let offers = OffersRow {
            chat: "c-ef56gh78".into(),
            agent: "opencode".into(),
            mode: OfferRow {
                current: Some("plan".into()),
                chosen: Some("plan".into()),
                available: Some(modes),
            },
            model: OfferRow::default(),
        };
        insta::assert_snapshot!(plain(&show(&offers)), @r"
        chat   c-ef56gh78
        agent  opencode
        mode   plan (chosen)
        model  none is known

           MODE   NAME   DESCRIPTION
           build  Build
        *  plan   Plan   Change⏎nothing
        ");
    }
}

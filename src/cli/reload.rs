//! `hob reload`: lets the daemon read its configuration again.

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::Outcome;
use super::context::Ctx;
use super::error::Exit;

/// Arguments of `hob reload`.
#[derive(Debug, Args)]
pub struct ReloadArgs {}

#[derive(Deserialize)]
struct Reloaded {
    changed: Vec<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

/// Tells which keys changed.
pub async fn run(ctx: &mut Ctx, _args: &ReloadArgs) -> Outcome {
    let answer = ctx.link().await?.raw("daemon/reload", json!({})).await?;
    ctx.show(&answer, render)?;
    Ok(Exit::Done)
}

fn render(reloaded: Reloaded) -> String {
    let changed = reloaded.changed.iter().map(|key| format!("changed {key}\n"));
    let nothing = reloaded.changed.is_empty().then(|| "nothing changed\n".to_owned());
    let warnings = reloaded.warnings.iter().map(|warning| format!("warning: {warning}\n"));
    nothing.into_iter().chain(changed).chain(warnings).collect()
}

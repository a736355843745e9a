//! `hob agent`: the agents that can be asked for by name.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Outcome;
use super::context::Ctx;
use super::error::Exit;
use super::render::{one_line, table};
use crate::control::wire::AgentRow;

/// The widest detail in the table, in characters.
const DETAIL_WIDTH_MAX: usize = 100;

/// What can be done with agents.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// List the agents that are known and whether they can be started
    Ls(AgentLsArgs),
}

/// Arguments of `hob agent ls`.
#[derive(Debug, Args)]
pub struct AgentLsArgs {}

/// Runs the command.
pub async fn run(ctx: &mut Ctx, command: &AgentCommand) -> Outcome {
    let AgentCommand::Ls(_) = command;
    let answer = ctx.link().await?.raw("agent/list", json!({})).await?;
    ctx.show(&answer, |rows: Vec<AgentRow>| render(&rows))?;
    Ok(Exit::Done)
}

fn render(rows: &[AgentRow]) -> String {
    let row = |agent: &AgentRow| {
        vec![
            agent.name.clone(),
            agent.backend.clone(),
            if agent.available { "yes" } else { "no" }.to_owned(),
            one_line(agent.version.as_deref().unwrap_or_default(), DETAIL_WIDTH_MAX),
            one_line(&agent.detail.clone().unwrap_or_else(|| agent.command.join(" ")), DETAIL_WIDTH_MAX),
        ]
    };
    table(&["AGENT", "BACKEND", "AVAILABLE", "VERSION", "DETAIL"], &[], rows.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::super::render::plain;
    use super::*;

    #[test]
    fn agents_are_listed_with_why_they_cannot_be_used() {
        let agent = |name: &str, available, detail: Option<&str>| AgentRow {
            name: name.into(),
            backend: "acp".into(),
            command: vec![name.into(), "acp".into()],
            available,
            version: None,
            detail: detail.map(Into::into),
        };
        let rows = [
            agent("demo", true, Some("built in")),
            agent("goose", false, Some("not found on PATH")),
            agent("x", true, None),
        ];
        insta::assert_snapshot!(plain(&render(&rows)), @"
        AGENT  BACKEND  AVAILABLE  VERSION  DETAIL
        demo   acp      yes                 built in
        goose  acp      no                  not found on PATH
        x      acp      yes                 x acp
        ");
    }
}

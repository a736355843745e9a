//! `hob agent`: the agents that can be asked for by name.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Outcome;
use super::context::{Ctx, directory};
use super::error::Exit;
use super::render::{one_line, table};
use crate::control::wire::{AgentCheckReply, AgentRow, Effect, OwnRuleRow};
use crate::path_text;

/// The widest detail in the table, in characters.
const DETAIL_WIDTH_MAX: usize = 100;

/// What can be done with agents.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// List the agents that are known and whether they can be started
    Ls(AgentLsArgs),
    /// Say whether an agent can be started, and which rules about permissions its own files hold
    Check(AgentCheckArgs),
}

/// Arguments of `hob agent ls`.
#[derive(Debug, Args)]
pub struct AgentLsArgs {}

/// Arguments of `hob agent check`.
#[derive(Debug, Args)]
pub struct AgentCheckArgs {
    /// The agent
    pub agent: String,
    /// The directory whose files count, too; the working directory if not given
    #[arg(short = 'C', long = "dir", value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(ctx: &mut Ctx, command: &AgentCommand) -> Outcome {
    match command {
        AgentCommand::Ls(_) => ls(ctx).await,
        AgentCommand::Check(args) => check(ctx, args).await,
    }
}

async fn check(ctx: &mut Ctx, args: &AgentCheckArgs) -> Outcome {
    let params = json!({"agent": args.agent, "cwd": path_text::text(&directory(args.dir.as_deref())?)});
    let answer = ctx.link().await?.raw("agent/check", params).await?;
    let mut exit = Exit::Done;
    ctx.show(&answer, |reply: AgentCheckReply| {
        if !reply.agent.available {
            exit = Exit::Unavailable;
        }
        checked(&reply)
    })?;
    Ok(exit)
}

async fn ls(ctx: &mut Ctx) -> Outcome {
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

/// What is known of an agent, and what its own rules mean for the person's.
fn checked(reply: &AgentCheckReply) -> String {
    let mut text = render(std::slice::from_ref(&reply.agent));
    // In the table it is cut, and its end is what helps.
    let detail = reply.agent.detail.iter().filter(|detail| detail.chars().count() > DETAIL_WIDTH_MAX);
    text.extend(detail.map(|detail| format!("{}\n", one_line(detail, usize::MAX))));
    text.extend(reply.hint.iter().map(|hint| format!("hint: {hint}\n")));
    let (own, name) = (&reply.own_rules, &reply.agent.name);
    text.push('\n');
    if !own.rules.is_empty() {
        let row = |rule: &OwnRuleRow| {
            vec![rule.effect.as_str().to_owned(), one_line(&rule.what, DETAIL_WIDTH_MAX), rule.source.clone()]
        };
        text.push_str(&table(&["OWN RULE", "WHAT", "WHERE"], &[], own.rules.iter().map(row).collect()));
    }
    for unread in &own.unread {
        text.push_str(&format!("cannot read {}: {}\n", unread.source, unread.why));
    }
    let allows = own.rules.iter().any(|rule| rule.effect == Effect::Allow);
    text.push_str(&match (own.known, allows) {
        (true, true) => format!(
            "{name} asks nobody about what its own rules allow: hob's permissions do not reach that.\n"
        ),
        (true, false) if !own.unread.is_empty() => {
            format!("What {name} allows itself is not known for sure.\n")
        }
        (true, false) => format!("No file of {name}'s own allows anything that hob would ask about.\n"),
        (false, _) => format!("hob does not know where {name} keeps rules of its own.\n"),
    });
    text
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

    #[test]
    fn the_rules_of_an_agent_are_shown_with_what_they_mean() {
        use crate::control::wire::{OwnRules, UnreadRow};

        let agent = AgentRow {
            name: "goose".into(),
            backend: "acp".into(),
            command: vec!["goose".into(), "acp".into()],
            available: true,
            version: None,
            detail: Some("/bin/goose".into()),
        };
        let rule = |effect, what: &str| OwnRuleRow {
            source: "/h/permission.yaml".into(),
            what: what.into(),
            effect,
        };
        let own_rules = OwnRules {
            known: true,
            rules: vec![rule(Effect::Allow, "shell"), rule(Effect::Ask, "write")],
            unread: vec![UnreadRow {
                source: "/h/config.yaml".into(),
                why: "it is not a regular file".into(),
            }],
        };
        let mut reply = AgentCheckReply { agent, hint: None, own_rules };
        insta::assert_snapshot!(plain(&checked(&reply)), @"
        AGENT  BACKEND  AVAILABLE  VERSION  DETAIL
        goose  acp      yes                 /bin/goose

        OWN RULE  WHAT   WHERE
        allow     shell  /h/permission.yaml
        ask       write  /h/permission.yaml
        cannot read /h/config.yaml: it is not a regular file
        goose asks nobody about what its own rules allow: hob's permissions do not reach that.
        ");
        reply.own_rules = OwnRules { known: true, ..OwnRules::default() };
        assert!(
            checked(&reply).ends_with("No file of goose's own allows anything that hob would ask about.\n")
        );
        let why = format!("`goose` is not on PATH; {}: type this", "x".repeat(DETAIL_WIDTH_MAX));
        reply.agent.detail = Some(why.clone());
        assert!(checked(&reply).contains(&format!("\n{why}\n")));
        reply.own_rules = OwnRules::default();
        assert!(checked(&reply).ends_with("hob does not know where goose keeps rules of its own.\n"));
    }
}

//! `hob permission`: the questions of agents that wait for an answer.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Outcome;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::find::{Kind, choose, id};
use super::link::Link;
use super::render::{ago, one_line, or_nothing, table};
use crate::control::wire::{Moment, OptionRow, PermissionRow, RememberedRow};

/// The widest title in the table, in characters.
const TITLE_WIDTH_MAX: usize = 60;

/// What can be done with permission requests.
#[derive(Debug, Subcommand)]
pub enum PermissionCommand {
    /// List the questions that wait
    Ls(LsArgs),
    /// Allow what an agent asks for
    Allow(AllowArgs),
    /// Refuse what an agent asks for
    Reject(RejectArgs),
    /// List what is answered without a question, because somebody said so before
    Remembered(RememberedArgs),
    /// Forget such answers of a chat: the next question is asked again
    Forget(ForgetArgs),
}

/// Arguments of `hob permission ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Of this chat only
    pub chat: Option<String>,
    /// Settled ones too
    #[arg(long, short)]
    pub all: bool,
}

/// Arguments of `hob permission allow`.
#[derive(Debug, Args)]
pub struct AllowArgs {
    /// The request, or the beginning of its id
    pub id: String,
    /// One of the offered answers, by its id or its kind; the one that allows once if none is given
    pub option: Option<String>,
    /// How long the same answer is given to the like of it
    #[arg(long, value_parser = ["once", "turn", "chat"])]
    pub remember: Option<String>,
}

/// Arguments of `hob permission reject`.
#[derive(Debug, Args)]
pub struct RejectArgs {
    /// The request, or the beginning of its id
    pub id: String,
    /// How long the same answer is given to the like of it
    #[arg(long, value_parser = ["once", "turn", "chat"])]
    pub remember: Option<String>,
}

/// Arguments of `hob permission remembered`.
#[derive(Debug, Args)]
pub struct RememberedArgs {
    /// Of this chat only
    pub chat: Option<String>,
}

/// Arguments of `hob permission forget`.
#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// The chat
    pub chat: String,
    /// Only of this kind of tool
    pub kind: Option<String>,
    /// Only of this agent
    #[arg(long, short)]
    pub agent: Option<String>,
}

/// Runs the command.
pub async fn run(ctx: &mut Ctx, command: &PermissionCommand) -> Outcome {
    let link = ctx.link().await?;
    let (given, pick, remember) = match command {
        PermissionCommand::Ls(args) => return ls(ctx, &link, args).await,
        PermissionCommand::Allow(args) => {
            (&args.id, args.option.as_deref().map_or(Pick::Allow, Pick::Named), &args.remember)
        }
        PermissionCommand::Reject(args) => (&args.id, Pick::Reject, &args.remember),
        PermissionCommand::Remembered(args) => return remembered(ctx, &link, args).await,
        PermissionCommand::Forget(args) => return forget(ctx, &link, args).await,
    };
    let request = find(&link, given).await?;
    let option = pick.from(&request.options)?;
    let mut params = json!({"permission": request.id, "option": option.id});
    if let Some(remember) = remember.as_deref().or(pick.remembers()) {
        params["remember"] = json!(remember);
    }
    let answer = link.raw("permission/answer", params).await?;
    ctx.show(&answer, |request: PermissionRow| {
        let by = request.by.map(|by| format!(" by {by}")).unwrap_or_default();
        format!("{} {}: {}{by}\n", request.id, request.state, or_nothing(request.option))
    })?;
    Ok(Exit::Done)
}

async fn ls(ctx: &mut Ctx, link: &Link, args: &LsArgs) -> Outcome {
    let mut params = if args.all { json!({}) } else { json!({"state": "pending"}) };
    if let Some(chat) = &args.chat {
        params["chat"] = json!(id(link, Kind::Chat, chat).await?);
    }
    let answer = link.raw("permission/list", params).await?;
    ctx.show(&answer, |rows: Vec<PermissionRow>| list(&rows, Moment::now()))?;
    Ok(Exit::Done)
}

async fn remembered(ctx: &mut Ctx, link: &Link, args: &RememberedArgs) -> Outcome {
    let mut params = json!({});
    if let Some(chat) = &args.chat {
        params["chat"] = json!(id(link, Kind::Chat, chat).await?);
    }
    let answer = link.raw("permission/remembered", params).await?;
    ctx.show(&answer, |rows: Vec<RememberedRow>| standing(&rows, Moment::now()))?;
    Ok(Exit::Done)
}

async fn forget(ctx: &mut Ctx, link: &Link, args: &ForgetArgs) -> Outcome {
    let mut params = json!({"chat": id(link, Kind::Chat, &args.chat).await?});
    for (name, value) in [("agent", &args.agent), ("kind", &args.kind)] {
        if let Some(value) = value {
            params[name] = json!(value);
        }
    }
    let answer = link.raw("permission/forget", params).await?;
    ctx.show(&answer, |rows: Vec<RememberedRow>| match rows.len() {
        0 => "nothing was remembered\n".to_owned(),
        _ => standing(&rows, Moment::now()),
    })?;
    Ok(Exit::Done)
}

async fn find(link: &Link, given: &str) -> Result<PermissionRow, CliError> {
    let rows: Vec<PermissionRow> = link.call("permission/list", json!({})).await?;
    let chosen = choose(Kind::Permission, given, rows.iter().map(|row| row.id.as_str()))?;
    rows.into_iter().find(|row| Some(&row.id) == chosen.as_ref()).ok_or_else(|| {
        CliError::new(Exit::NotFound, format!("no permission request {given}")).hint("hob permission ls")
    })
}

/// Which of the offered answers is meant.
#[derive(Debug, Clone, Copy)]
pub enum Pick<'a> {
    /// Whichever allows, once if that is offered.
    Allow,
    /// Whichever refuses, once if that is offered.
    Reject,
    /// This one, by id, kind or name.
    Named(&'a str),
}

impl Pick<'_> {
    /// Who only says yes or no means this question, whatever the option that says it is called.
    pub fn remembers(self) -> Option<&'static str> {
        match self {
            Self::Allow | Self::Reject => Some("once"),
            Self::Named(_) => None,
        }
    }

    /// The answer that is meant, out of those that were offered.
    pub fn from(self, options: &[OptionRow]) -> Result<&OptionRow, CliError> {
        let of_kind = |kind: &str| options.iter().find(|option| option.kind == kind);
        let found = match self {
            Self::Allow => of_kind("allow_once").or_else(|| of_kind("allow_always")),
            Self::Reject => of_kind("reject_once").or_else(|| of_kind("reject_always")),
            Self::Named(name) => options
                .iter()
                .find(|option| option.id == name)
                .or_else(|| of_kind(name))
                .or_else(|| options.iter().find(|option| option.name.eq_ignore_ascii_case(name))),
        };
        found.ok_or_else(|| {
            let offered: Vec<_> =
                options.iter().map(|option| one_line(&option.id, TITLE_WIDTH_MAX)).collect();
            CliError::usage(format!("the agent did not offer that; it offers: {}", offered.join(" ")))
        })
    }
}

fn list(rows: &[PermissionRow], now: Moment) -> String {
    let row = |request: &PermissionRow| {
        let options: Vec<_> =
            request.options.iter().map(|option| one_line(&option.id, TITLE_WIDTH_MAX)).collect();
        vec![
            request.id.clone(),
            request.chat.clone(),
            request.agent.clone(),
            request.state.clone(),
            ago(request.created_at, now),
            one_line(&request.title, TITLE_WIDTH_MAX),
            options.join(" "),
        ]
    };
    table(
        &["PERMISSION", "CHAT", "AGENT", "STATE", "ASKED", "WHAT", "OPTIONS"],
        &[],
        rows.iter().map(row).collect(),
    )
}

fn standing(rows: &[RememberedRow], now: Moment) -> String {
    let row = |said: &RememberedRow| {
        vec![
            said.chat.clone(),
            said.agent.clone(),
            one_line(&said.kind, TITLE_WIDTH_MAX),
            said.answer.clone(),
            ago(said.at, now),
        ]
    };
    table(&["CHAT", "AGENT", "KIND", "ANSWER", "SAID"], &[], rows.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::super::render::plain;
    use super::*;

    fn options() -> Vec<OptionRow> {
        [("always", "allow_always"), ("yes", "allow_once"), ("no", "reject_once")]
            .map(|(id, kind)| OptionRow { id: id.into(), name: format!("Say {id}"), kind: kind.into() })
            .to_vec()
    }

    #[test]
    fn allow_means_once_unless_something_else_was_named() {
        let options = options();
        let id = |pick: Pick<'_>| pick.from(&options).unwrap().id.clone();
        assert_eq!(id(Pick::Allow), "yes");
        assert_eq!(id(Pick::Reject), "no");
        assert_eq!(id(Pick::Named("always")), "always");
        assert_eq!(id(Pick::Named("reject_once")), "no");
        assert_eq!(id(Pick::Named("say yes")), "yes");
        assert_eq!((Pick::Reject.remembers(), Pick::Named("always").remembers()), (Some("once"), None));
    }

    #[test]
    fn an_answer_that_was_not_offered_is_a_usage_error_that_names_the_offered_ones() {
        let error = Pick::Named("maybe").from(&options()).unwrap_err();
        assert_eq!(u8::from(error.exit), 2);
        assert_eq!(error.message, "the agent did not offer that; it offers: always yes no");
    }

    #[test]
    fn the_inbox_is_a_table() {
        let request = PermissionRow {
            id: "p-1".into(),
            chat: "c-1".into(),
            agent: "goose".into(),
            task: "t-1".into(),
            turn: "u-1".into(),
            state: "pending".into(),
            title: "Run `rm -rf target`".into(),
            kind: "execute".into(),
            call: None,
            input: None,
            options: options(),
            option: None,
            by: None,
            created_at: Moment(0),
            resolved_at: None,
        };
        insta::assert_snapshot!(plain(&list(&[request], Moment(5_000))), @"
        PERMISSION  CHAT  AGENT  STATE    ASKED   WHAT                 OPTIONS
        p-1         c-1   goose  pending  5s ago  Run `rm -rf target`  always yes no
        ");
    }
}

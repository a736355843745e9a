//! `hob chat`: the tabs of a session, each with a context of its own.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Outcome;
use super::choose::{self, ChooseArgs};
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::find::{self, Kind, with_id};
use super::ps;
use super::render::{NOTHING, ago, facts, one_line, table};
use crate::control::wire::{ChatRow, Moment};

/// The widest title in a table, in characters.
const TITLE_WIDTH_MAX: usize = 40;

/// What can be done with chats.
#[derive(Debug, Subcommand)]
pub enum ChatCommand {
    /// Make a chat in a session
    New(NewArgs),
    /// List the chats
    Ls(LsArgs),
    /// Show a chat with its agents
    Show(OneArgs),
    /// Choose the mode and the model of an agent in a chat, or show what there is
    Choose(ChooseArgs),
    /// Close a chat: what runs in it is cancelled, its agents end
    Close(OneArgs),
}

/// Arguments of `hob chat new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// The session, or the beginning of its id
    pub session: String,
    /// What a person calls it
    #[arg(long, short)]
    pub title: Option<String>,
    /// An id of your own choice; the same again gives the same chat
    #[arg(long)]
    pub id: Option<String>,
}

/// Arguments of `hob chat ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Of this session only
    pub session: Option<String>,
    /// Closed ones too
    #[arg(long, short)]
    pub all: bool,
}

/// A chat.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// The chat, or the beginning of its id
    pub chat: String,
}

/// Runs the command.
pub async fn run(ctx: &mut Ctx, command: &ChatCommand) -> Outcome {
    match command {
        ChatCommand::New(args) => new(ctx, args).await,
        ChatCommand::Ls(args) => ls(ctx, args).await,
        ChatCommand::Show(args) => on_one(ctx, "chat/show", &args.chat).await,
        ChatCommand::Choose(args) => choose::run(ctx, args).await,
        ChatCommand::Close(args) => on_one(ctx, "chat/close", &args.chat).await,
    }
}

/// Prints the id alone, so that a script can take it.
async fn new(ctx: &mut Ctx, args: &NewArgs) -> Outcome {
    let link = ctx.link().await?;
    let call = async |id: &str| -> Result<_, CliError> {
        let mut params = json!({"session": id});
        for (name, value) in [("title", &args.title), ("id", &args.id)] {
            if let Some(value) = value {
                params[name] = json!(value);
            }
        }
        link.raw("chat/create", params).await
    };
    let answer = with_id(&link, Kind::Session, &args.session, call).await?;
    ctx.show(&answer, |chat: ChatRow| format!("{}\n", chat.id))?;
    Ok(Exit::Done)
}

async fn ls(ctx: &mut Ctx, args: &LsArgs) -> Outcome {
    let link = ctx.link().await?;
    let mut params = json!({"all": args.all});
    if let Some(session) = &args.session {
        params["session"] = json!(find::id(&link, Kind::Session, session).await?);
    }
    let answer = link.raw("chat/list", params).await?;
    ctx.show(&answer, |rows: Vec<ChatRow>| list(&rows, Moment::now()))?;
    Ok(Exit::Done)
}

async fn on_one(ctx: &mut Ctx, method: &str, chat: &str) -> Outcome {
    let link = ctx.link().await?;
    let call = async |id: &str| -> Result<_, CliError> { link.raw(method, json!({"chat": id})).await };
    let answer = with_id(&link, Kind::Chat, chat, call).await?;
    ctx.show(&answer, |chat: ChatRow| show(&chat, Moment::now()))?;
    Ok(Exit::Done)
}

/// `held` is what a person wants to know of an open chat.
fn state(chat: &ChatRow) -> String {
    if chat.held && chat.state == "open" { "held".to_owned() } else { chat.state.clone() }
}

fn title(chat: &ChatRow) -> String {
    chat.title.as_deref().map_or_else(|| NOTHING.to_owned(), |title| one_line(title, TITLE_WIDTH_MAX))
}

/// The table of `hob chat ls`.
pub fn list(rows: &[ChatRow], now: Moment) -> String {
    let row = |chat: &ChatRow| {
        let agents: Vec<_> =
            chat.agents.iter().map(|agent| format!("{}: {}", agent.agent, agent.status)).collect();
        let agents = if agents.is_empty() { NOTHING.to_owned() } else { agents.join(", ") };
        vec![
            chat.id.clone(),
            chat.session.clone(),
            state(chat),
            agents,
            ago(chat.created_at, now),
            title(chat),
        ]
    };
    table(&["CHAT", "SESSION", "STATE", "AGENTS", "CREATED", "TITLE"], &[], rows.iter().map(row).collect())
}

/// A chat with its agents.
pub fn show(chat: &ChatRow, now: Moment) -> String {
    let mut text = facts(&[
        ("chat", chat.id.clone()),
        ("session", chat.session.clone()),
        ("title", chat.title.as_deref().map(|title| one_line(title, usize::MAX)).unwrap_or_default()),
        ("state", state(chat)),
        ("created", ago(chat.created_at, now)),
    ]);
    if !chat.agents.is_empty() {
        text.push('\n');
        text.push_str(&ps::render(&chat.agents, true));
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::render::plain;
    use super::*;

    pub(in super::super) fn chat() -> ChatRow {
        ChatRow {
            id: "c-ef56gh78".into(),
            session: "s-ab12cd34".into(),
            title: None,
            state: "open".into(),
            created_at: Moment(0),
            held: true,
            agents: vec![ps::tests::agent_session()],
        }
    }

    #[test]
    fn a_chat_is_shown_with_its_agents() {
        insta::assert_snapshot!(plain(&show(&chat(), Moment(60_000))), @"
        chat     c-ef56gh78
        session  s-ab12cd34
        state    held
        created  1m ago

        CHAT        AGENT  STATUS  PID   CONTEXT  IDLE  QUEUED  RESTARTS  MEM    LAST EXIT
        c-ef56gh78  goose  idle    4711  warm     4.2s  0       1         38MiB  -
        ");
    }
}

//! `hob session`: one line of work on a repository, in a worktree of its own.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Outcome;
use super::chat;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::find::{Kind, with_id};
use super::render::{NOTHING, ago, facts, one_line, table, usage};
use crate::control::wire::{DeleteReply, IdOr, Moment, SessionRow, WorktreeRow};
use crate::path_text;

/// The widest title in a table, in characters.
const TITLE_WIDTH_MAX: usize = 40;

/// What can be done with sessions.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// Make a session: a worktree of its own, on a branch of its own
    New(NewArgs),
    /// List the sessions
    Ls(LsArgs),
    /// Show a session with its worktree and its chats
    Show(OneArgs),
    /// Close a session: its chats end, its worktree stays until it is safe to retire
    Close(OneArgs),
    /// Open a closed session again
    Reopen(OneArgs),
    /// Delete a session and its worktree; refused while work in it would be lost
    Rm(RmArgs),
}

/// Arguments of `hob session new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// The repository: any directory in its checkout
    #[arg(default_value = ".")]
    pub repo: std::path::PathBuf,
    /// What a person calls it
    #[arg(long, short)]
    pub title: Option<String>,
    /// The branch, tag or commit to start from; the present commit if none is given
    #[arg(long, value_name = "REF")]
    pub base: Option<String>,
    /// Take the uncommitted changes of the checkout along
    #[arg(long)]
    pub carry_changes: bool,
    /// An id of your own choice; the same again gives the same session
    #[arg(long)]
    pub id: Option<String>,
}

/// Arguments of `hob session ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Closed ones too
    #[arg(long, short)]
    pub all: bool,
}

/// A session.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// The session, or the beginning of its id
    pub session: String,
}

/// Arguments of `hob session rm`.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// The session, or the beginning of its id
    pub session: String,
    /// Delete even if uncommitted changes go with it (a salvage ref keeps them)
    #[arg(long)]
    pub discard_changes: bool,
    /// Delete even if commits that are nowhere else go with it (a salvage ref keeps them)
    #[arg(long)]
    pub discard_unpushed: bool,
}

/// Runs the command.
pub async fn run(ctx: &mut Ctx, command: &SessionCommand) -> Outcome {
    match command {
        SessionCommand::New(args) => new(ctx, args).await,
        SessionCommand::Ls(args) => {
            let answer = ctx.link().await?.raw("session/list", json!({"all": args.all})).await?;
            ctx.show(&answer, |rows: Vec<SessionRow>| list(&rows, Moment::now()))?;
            Ok(Exit::Done)
        }
        SessionCommand::Show(args) => on_one(ctx, "session/show", &args.session).await,
        SessionCommand::Close(args) => on_one(ctx, "session/close", &args.session).await,
        SessionCommand::Reopen(args) => on_one(ctx, "session/reopen", &args.session).await,
        SessionCommand::Rm(args) => rm(ctx, args).await,
    }
}

/// Prints the id alone on stdout, so that a script can take it; where it is goes to stderr.
async fn new(ctx: &mut Ctx, args: &NewArgs) -> Outcome {
    let mut params = json!({"repo": path_text::text(&std::path::absolute(&args.repo)?)});
    let optional = [("title", &args.title), ("base", &args.base), ("id", &args.id)];
    for (name, value) in optional {
        if let Some(value) = value {
            params[name] = json!(value);
        }
    }
    if args.carry_changes {
        params["carry_changes"] = json!(true);
    }
    let answer = ctx.link().await?.raw("session/create", params).await?;
    if !ctx.globals.json {
        let session: SessionRow = serde_json::from_str(answer.get())?;
        if let Some(IdOr::Whole(worktree)) = &session.worktree {
            ctx.say(format_args!("{} on branch {}", worktree.path, worktree.branch));
        }
    }
    ctx.show(&answer, |session: SessionRow| format!("{}\n", session.id))?;
    Ok(Exit::Done)
}

async fn on_one(ctx: &mut Ctx, method: &str, session: &str) -> Outcome {
    let link = ctx.link().await?;
    let call = async |id: &str| -> Result<_, CliError> { link.raw(method, json!({"session": id})).await };
    let answer = with_id(&link, Kind::Session, session, call).await?;
    ctx.show(&answer, |session: SessionRow| show(&session, Moment::now()))?;
    Ok(Exit::Done)
}

async fn rm(ctx: &mut Ctx, args: &RmArgs) -> Outcome {
    let link = ctx.link().await?;
    let call = async |id: &str| -> Result<_, CliError> {
        let params = json!({
            "session": id, "discard_changes": args.discard_changes, "discard_unpushed": args.discard_unpushed,
        });
        link.raw("session/delete", params).await
    };
    let answer = with_id(&link, Kind::Session, &args.session, call).await?;
    let reply: DeleteReply = serde_json::from_str(answer.get())?;
    ctx.show(&answer, |reply: DeleteReply| {
        reply.salvage_ref.map_or_else(String::new, |salvage| format!("kept on {salvage}\n"))
    })?;
    for notice in &reply.notices {
        ctx.say(notice);
    }
    if let Some(worktree) = &reply.worktree {
        ctx.say(format_args!("`hob worktree restore {worktree}` brings it back"));
    }
    Ok(Exit::Done)
}

/// The table of `hob session ls`.
pub fn list(rows: &[SessionRow], now: Moment) -> String {
    let row = |session: &SessionRow| {
        vec![
            session.id.clone(),
            session.state.clone(),
            session.chats.len().to_string(),
            ago(session.created_at, now),
            session
                .title
                .as_deref()
                .map_or_else(|| NOTHING.to_owned(), |title| one_line(title, TITLE_WIDTH_MAX)),
            session.repo.clone(),
        ]
    };
    table(&["SESSION", "STATE", "CHATS", "CREATED", "TITLE", "REPO"], &[2], rows.iter().map(row).collect())
}

/// A session with what belongs to it.
pub fn show(session: &SessionRow, now: Moment) -> String {
    let mut text = facts(&[
        ("session", session.id.clone()),
        ("title", session.title.as_deref().map(|title| one_line(title, usize::MAX)).unwrap_or_default()),
        ("state", session.state.clone()),
        ("repo", session.repo.clone()),
        ("base", session.base.clone().unwrap_or_default()),
        ("created", ago(session.created_at, now)),
        ("closed", session.closed_at.map(|at| ago(at, now)).unwrap_or_default()),
        ("worktree", worktree(session.worktree.as_ref())),
        ("usage", usage(&session.usage)),
    ]);
    let chats = session.chats.iter().filter_map(|chat| match chat {
        IdOr::Whole(chat) => Some((**chat).clone()),
        IdOr::Id(_) => None,
    });
    let chats: Vec<_> = chats.collect();
    if !chats.is_empty() {
        text.push('\n');
        text.push_str(&chat::list(&chats, now));
    }
    text
}

fn worktree(worktree: Option<&IdOr<WorktreeRow>>) -> String {
    match worktree {
        None => String::new(),
        Some(IdOr::Id(id)) => id.clone(),
        Some(IdOr::Whole(tree)) => format!("{} ({}, {})", tree.path, tree.branch, tree.state),
    }
}

#[cfg(test)]
mod tests {
    use super::super::render::plain;
    use super::*;
    use crate::control::wire::UsageRow;

    fn session() -> SessionRow {
        SessionRow {
            id: "s-ab12cd34".into(),
            repo: "/src/project".into(),
            title: Some("Fix the\nparser".into()),
            base: None,
            state: "open".into(),
            created_at: Moment(0),
            closed_at: None,
            worktree: Some(IdOr::Whole(Box::new(WorktreeRow {
                id: "w-1".into(),
                session: Some("s-ab12cd34".into()),
                repo: "/src/project".into(),
                path: "/state/worktrees/w-1".into(),
                branch: "hob/w-1".into(),
                base_commit: "0123".into(),
                state: "active".into(),
                created_at: Moment(0),
                last_write: None,
                size_bytes: None,
                salvage_ref: None,
                kept_because: vec![],
            }))),
            chats: vec![IdOr::Whole(Box::new(chat::tests::chat()))],
            usage: UsageRow { input: Some(1200), ..UsageRow::default() },
        }
    }

    #[test]
    fn sessions_are_listed() {
        insta::assert_snapshot!(plain(&list(&[session()], Moment(120_000))), @"
        SESSION     STATE  CHATS  CREATED  TITLE           REPO
        s-ab12cd34  open       1  2m ago   Fix the⏎parser  /src/project
        ");
    }

    #[test]
    fn a_session_is_shown_with_its_worktree_and_chats() {
        insta::assert_snapshot!(plain(&show(&session(), Moment(120_000))), @"
        session   s-ab12cd34
        title     Fix the⏎parser
        state     open
        repo      /src/project
        created   2m ago
        worktree  /state/worktrees/w-1 (hob/w-1, active)
        usage     1.2k in

        CHAT        SESSION     STATE  AGENTS       CREATED  TITLE
        c-ef56gh78  s-ab12cd34  held   goose: idle  2m ago   -
        ");
    }
}

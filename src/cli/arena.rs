//! `hob arena`: one prompt for several agents, their results side by side, and the best taken over.

mod watch;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Outcome;
use super::apply::{self, Act};
use super::context::{Ctx, directory, text_or_stdin};
use super::error::{CliError, Exit};
use super::find::{Kind, id, with_id};
use super::render::{
    BAD, DIM, GOOD, NOTHING, ago, duration, facts, harmless, one_line, or_nothing, paint, table, usage,
};
use super::target::Target;
use crate::control::wire::{ArenaEntryRow, ArenaRow, CheckRow, Moment, is_terminal};
use crate::path_text;

/// The widest prompt in a table, in characters.
const PROMPT_WIDTH_MAX: usize = 60;
/// The widest error of a task, in characters.
const ERROR_WIDTH_MAX: usize = 200;
/// Lines that are shown of what a check said.
const OUTPUT_LINES_MAX: usize = 10;

/// What can be done with arenas.
#[derive(Debug, Subcommand)]
pub enum ArenaCommand {
    /// Let agents compete: the same prompt, each in a worktree of its own from the same commit
    Run(RunArgs),
    /// List arenas, oldest first
    Ls,
    /// Show how the entries of an arena compare
    Show(ShowArgs),
    /// Take over what one entry changed, and close the sessions of the others
    Adopt(AdoptArgs),
}

/// Arguments of `hob arena run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// An agent that takes part; given twice or more
    #[arg(long = "agent", short, value_name = "AGENT", required = true)]
    pub agents: Vec<String>,
    /// A line for the shell, run in each worktree when its turn has ended
    #[arg(long, value_name = "CMD")]
    pub check: Option<String>,
    /// Start from your uncommitted changes, too
    #[arg(long)]
    pub carry_changes: bool,
    /// Start from the worktree of this session, and adopt into it
    #[arg(long, short, conflicts_with = "dir")]
    pub session: Option<String>,
    /// In the checkout around this directory, instead of the working directory
    #[arg(long = "directory", short = 'C', value_name = "DIR", id = "dir")]
    pub dir: Option<PathBuf>,
    /// Print the id of the arena and return at once
    #[arg(long)]
    pub detach: bool,
    /// Your own id of this request: asked again with it, nothing is run twice
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// What answers the agents' questions, instead of the configuration
    #[arg(long, value_parser = ["ask", "allow", "reject"])]
    pub permissions: Option<String>,
    /// The prompt; `-` reads it from stdin
    #[arg(required = true)]
    pub text: Vec<String>,
}

/// Arguments of `hob arena show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The arena, or the beginning of its id
    pub arena: String,
}

/// Arguments of `hob arena adopt`.
#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// The arena, or the beginning of its id
    pub arena: String,
    /// Whose changes are taken over
    pub agent: String,
    /// Do not ask before files go from the checkout
    #[arg(long, short)]
    pub yes: bool,
    /// Only these files, and what is below these directories
    pub paths: Vec<PathBuf>,
}

/// Runs the command.
pub async fn run(ctx: &mut Ctx, command: &ArenaCommand) -> Outcome {
    match command {
        ArenaCommand::Run(args) => start(ctx, args).await,
        ArenaCommand::Ls => ls(ctx).await,
        ArenaCommand::Show(args) => show(ctx, args).await,
        ArenaCommand::Adopt(args) => adopt(ctx, args).await,
    }
}

/// Exits 0 when an entry completed, 1 when none did, 130 when the tasks were cancelled.
async fn start(ctx: &mut Ctx, args: &RunArgs) -> Outcome {
    let mut params = params(args, &text_or_stdin(&args.text)?)?;
    let link = ctx.link().await?;
    if let Some(session) = &args.session {
        params["session"] = json!(id(&link, Kind::Session, session).await?);
    }
    let answer = link.raw("arena/start", params).await?;
    if args.detach {
        ctx.show(&answer, |arena: ArenaRow| format!("{}\n", arena.id))?;
        return Ok(Exit::Done);
    }
    let arena: ArenaRow = serde_json::from_str(answer.get())?;
    ctx.say(paint(DIM, format_args!("arena {} in {}", arena.id, arena.repo)));
    let (answer, exit) = watch::to_the_end(ctx, link, arena).await?;
    ctx.show(&answer, |arena: ArenaRow| whole(&arena))?;
    let arena: ArenaRow = serde_json::from_str(answer.get())?;
    if exit == Exit::Done && arena.state == "open" {
        ctx.say(paint(DIM, format_args!("hob arena adopt {} AGENT", arena.id)));
    }
    Ok(exit)
}

fn params(args: &RunArgs, prompt: &str) -> Result<Value, CliError> {
    if prompt.trim().is_empty() {
        return Err(CliError::usage("the prompt is empty"));
    }
    if args.agents.len() < 2 {
        return Err(CliError::usage("an arena needs two agents or more").hint("-a AGENT -a AGENT"));
    }
    let mut params = json!({"agents": args.agents, "prompt": prompt, "carry_changes": args.carry_changes});
    let optional =
        [("check", &args.check), ("request_id", &args.request_id), ("permissions", &args.permissions)];
    for (name, value) in optional {
        if let Some(value) = value {
            params[name] = json!(value);
        }
    }
    if args.session.is_none() {
        params["repo"] = json!(path_text::text(&directory(args.dir.as_deref())?));
    }
    Ok(params)
}

async fn ls(ctx: &mut Ctx) -> Outcome {
    let answer = ctx.link().await?.raw("arena/list", json!({})).await?;
    ctx.show(&answer, |arenas: Vec<ArenaRow>| list(&arenas, Moment::now()))?;
    Ok(Exit::Done)
}

async fn show(ctx: &mut Ctx, args: &ShowArgs) -> Outcome {
    let link = ctx.link().await?;
    let answer = with_id(&link, Kind::Arena, &args.arena, async |id| {
        link.raw("arena/show", json!({"arena": id})).await
    });
    let answer = answer.await?;
    ctx.show(&answer, |arena: ArenaRow| whole(&arena))?;
    Ok(Exit::Done)
}

/// A conflict is exit code 6, and nothing was taken over.
async fn adopt(ctx: &mut Ctx, args: &AdoptArgs) -> Outcome {
    let link = ctx.link().await?;
    let arena: ArenaRow = with_id(&link, Kind::Arena, &args.arena, async |id| {
        link.call("arena/show", json!({"arena": id, "brief": true})).await
    })
    .await?;
    let mut params = json!({"arena": arena.id, "agent": args.agent});
    if !args.paths.is_empty() {
        params["paths"] = json!(Target::of_checkout("", &arena.repo).paths(&args.paths)?);
    }
    let winner = arena.entries.iter().find(|entry| entry.agent == args.agent);
    if let Some(session) = winner.and_then(|entry| entry.session.as_ref()) {
        let mut shown = json!({"session": session});
        shown["paths"] = params.get("paths").cloned().unwrap_or_default();
        // What stands against it is told when it is tried.
        match apply::may_delete(ctx, &link, &mut shown, args.yes).await {
            Ok(false) => {
                ctx.say("nothing was adopted");
                return Ok(Exit::Cancelled);
            }
            Ok(true) => params["deletions"] = shown["deletions"].take(),
            Err(_) => {}
        }
    }
    let answer = link.raw("arena/adopt", params).await?;
    let exit = apply::told(ctx, &answer, Act::Apply, false)?;
    let others = arena.entries.iter().filter(|entry| entry.agent != args.agent);
    let others: Vec<&str> = others.filter_map(|entry| entry.session.as_deref()).collect();
    ctx.say(paint(DIM, format_args!("closed: {} (hob session reopen)", others.join(", "))));
    Ok(exit)
}

fn list(arenas: &[ArenaRow], now: Moment) -> String {
    let row = |arena: &ArenaRow| {
        let agents: Vec<&str> = arena.entries.iter().map(|entry| &*entry.agent).collect();
        vec![
            arena.id.clone(),
            arena.state.clone(),
            agents.join(" "),
            or_nothing(arena.winner.as_deref()),
            ago(arena.created_at, now),
            one_line(&arena.prompt, PROMPT_WIDTH_MAX),
        ]
    };
    let header = ["ARENA", "STATE", "AGENTS", "WINNER", "STARTED", "PROMPT"];
    table(&header, &[], arenas.iter().map(row).collect())
}

/// The arena, its entries side by side, and what their checks said that did not pass.
fn whole(arena: &ArenaRow) -> String {
    let base = arena.base_commit.as_deref().map(|commit| commit.chars().take(12).collect::<String>());
    let carried = if arena.carry_changes { " with uncommitted changes" } else { "" };
    let mut text = facts(&[
        ("arena", arena.id.clone()),
        ("state", arena.state.clone()),
        ("winner", arena.winner.clone().unwrap_or_default()),
        ("checkout", arena.repo.clone()),
        ("from", base.map(|base| format!("{base}{carried}")).unwrap_or_default()),
        ("check", arena.check.as_deref().map(|check| one_line(check, PROMPT_WIDTH_MAX)).unwrap_or_default()),
        ("prompt", one_line(&arena.prompt, PROMPT_WIDTH_MAX)),
    ]);
    text.push('\n');
    let header = ["AGENT", "STATE", "TIME", "FILES", "LINES", "CHECK", "USAGE", "SESSION"];
    text.push_str(&table(&header, &[3], arena.entries.iter().map(row).collect()));
    for entry in &arena.entries {
        text.push_str(&trouble(entry));
    }
    text
}

fn row(entry: &ArenaEntryRow) -> Vec<String> {
    let lines = entry.insertions.zip(entry.deletions).map(|(more, less)| format!("+{more} -{less}"));
    let spent = usage(&entry.usage);
    vec![
        entry.agent.clone(),
        state(entry),
        or_nothing(entry.duration_ms.map(duration)),
        or_nothing(entry.files),
        or_nothing(lines),
        or_nothing(entry.check.as_ref().map(verdict)),
        if spent.is_empty() { NOTHING.to_owned() } else { spent },
        or_nothing(entry.session.as_deref()),
    ]
}

/// The state of an entry, with what it waits for.
fn state(entry: &ArenaEntryRow) -> String {
    match &entry.waiting {
        Some(waiting) => format!("{} ({waiting})", entry.state),
        None => entry.state.clone(),
    }
}

/// What a check came to, in two words.
fn verdict(check: &CheckRow) -> String {
    let state = check.state.replace('_', " ");
    match check.exit_code {
        Some(code) if code != 0 => format!("{state} ({code})"),
        _ => state,
    }
}

/// What went wrong with an entry, if something did.
fn trouble(entry: &ArenaEntryRow) -> String {
    let mut text = String::new();
    let error = entry.outcome.as_ref().and_then(|outcome| outcome.error.as_deref());
    if let Some(error) = error.filter(|_| entry.state != "completed") {
        text.push_str(&format!("\n{}: {}\n", paint(BAD, &entry.agent), one_line(error, ERROR_WIDTH_MAX)));
    }
    let Some(check) = &entry.check else { return text };
    let said = check.output.as_deref().unwrap_or_default();
    if said.is_empty() || check.state == "passed" {
        return text;
    }
    text.push_str(&format!("\n{}: the check {}\n", paint(BAD, &entry.agent), verdict(check)));
    let lines: Vec<&str> = said.lines().collect();
    let skipped = lines.len().saturating_sub(OUTPUT_LINES_MAX);
    for line in &lines[skipped..] {
        text.push_str(&format!("  {}\n", harmless(line)));
    }
    text
}

/// One line of progress: who, and where it stands now.
fn progress(entry: &ArenaEntryRow) -> String {
    let done = is_terminal(&entry.state) || entry.state == "gone";
    let check = entry.check.as_ref().filter(|check| done && check.state != "skipped");
    let judged = check.map(|check| format!(", check {}", verdict(check))).unwrap_or_default();
    let style = match (entry.state.as_str(), check.map(|check| check.state.as_str())) {
        ("completed", None | Some("passed")) => GOOD,
        ("failed" | "interrupted" | "cancelled" | "gone", _) | (_, Some("failed" | "timed_out")) => BAD,
        _ => DIM,
    };
    format!("{}: {}{judged}", entry.agent, paint(style, state(entry)))
}

#[cfg(test)]
#[path = "arena/tests.rs"]
mod tests;

//! `hob prompt`: sends a prompt and streams the answer from the journal.
//!
//! The answer goes to stdout and nothing else does; what the agent does and thinks goes to
//! stderr. A daemon that restarts in the middle is waited for.

mod ask;
mod transcript;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use self::ask::Asker;
use self::transcript::{Piece, Transcript};
use super::Outcome;
use super::context::{Ctx, directory, text_or_stdin};
use super::error::{CliError, Exit};
use super::event::EventRow;
use super::find::{Kind, with_id};
use super::follow::{Follower, Patience};
use super::link::Link;
use super::render::{DIM, paint};
use crate::control::wire::TaskRow;
use crate::path_text;

/// Arguments of `hob prompt`.
#[derive(Debug, Args)]
pub struct PromptArgs {
    /// In this chat
    #[arg(long, short, conflicts_with_all = ["session", "dir"])]
    pub chat: Option<String>,
    /// In the newest chat of this session
    #[arg(long, short, conflicts_with = "dir")]
    pub session: Option<String>,
    /// In the checkout around this directory, instead of the working directory
    #[arg(long = "directory", short = 'C', value_name = "DIR", id = "dir")]
    pub dir: Option<PathBuf>,
    /// The agent; that of the chat, else `default_agent`, else the first that is available
    #[arg(long, short)]
    pub agent: Option<String>,
    /// In a new chat (and, without -s, a new session)
    #[arg(long, conflicts_with = "chat")]
    pub new: bool,
    /// Print the id of the task and return at once
    #[arg(long)]
    pub detach: bool,
    /// Be refused rather than wait for an agent that cannot be started now
    #[arg(long)]
    pub no_wait: bool,
    /// By a run of the agent for this prompt alone, which remembers nothing
    #[arg(long)]
    pub oneshot: bool,
    /// Your own id of this request: asked again with it, nothing is run twice
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// What answers the agent's questions, instead of the configuration
    #[arg(long, value_parser = ["ask", "allow", "reject"])]
    pub permissions: Option<String>,
    /// The prompt; `-` reads it from stdin
    #[arg(required = true)]
    pub text: Vec<String>,
}

/// Exits 0 when the task completed, 1 when it failed or was interrupted, 69 when its agent could not
/// work on it at all, 130 when it was cancelled.
pub async fn run(ctx: &mut Ctx, args: &PromptArgs) -> Outcome {
    // A script, a build or an editor would wait for an agent that cannot be started without a word.
    let is_seen = args.detach || ctx.out_is_terminal() || ctx.err_is_terminal();
    let params = params(args, &text_or_stdin(&args.text)?, is_seen)?;
    let link = ctx.link().await?;
    let seat = if args.detach { None } else { take_seat(ctx).await? };
    let answer = submit(&link, args, params).await?;
    if args.detach {
        ctx.show(&answer, |task: TaskRow| format!("{}\n", task.id))?;
        return Ok(Exit::Done);
    }
    let task: TaskRow = serde_json::from_str(answer.get())?;
    if !ctx.globals.json {
        let place = format!("session {}, chat {}, task {}", task.session, task.chat, task.id);
        ctx.say(paint(DIM, format_args!("{} in {place}", task.agent)));
    }
    stream(ctx, link, &task, seat).await
}

/// Where somebody can answer, that is told before the prompt is: a warm agent may ask sooner than
/// its task can be subscribed to, and a question that nobody watches is answered by a rule.
async fn take_seat(ctx: &mut Ctx) -> Result<Option<Link>, CliError> {
    if !ctx.can_ask() || ctx.globals.json {
        return Ok(None);
    }
    let seat = ctx.link().await?;
    let filter = json!({"answers_permissions": true, "types": ["permission_requested"]});
    seat.raw("events/subscribe", filter).await?;
    Ok(Some(seat))
}

fn params(args: &PromptArgs, prompt: &str, is_seen: bool) -> Result<Value, CliError> {
    if prompt.trim().is_empty() {
        return Err(CliError::usage("the prompt is empty"));
    }
    let mut params = json!({"prompt": prompt, "source": "chat"});
    let optional =
        [("agent", &args.agent), ("request_id", &args.request_id), ("permissions", &args.permissions)];
    for (name, value) in optional {
        if let Some(value) = value {
            params[name] = json!(value);
        }
    }
    if args.oneshot {
        params["backend"] = json!("oneshot");
    }
    for (name, flag) in [("new", args.new), ("no_wait", args.no_wait), ("no_retry", !is_seen)] {
        if flag {
            params[name] = json!(true);
        }
    }
    if args.chat.is_none() && args.session.is_none() {
        params["repo"] = json!(path_text::text(&directory(args.dir.as_deref())?));
    }
    Ok(params)
}

async fn submit(
    link: &Link,
    args: &PromptArgs,
    params: Value,
) -> Result<Box<serde_json::value::RawValue>, CliError> {
    let (kind, field, given) = match (&args.chat, &args.session) {
        (Some(chat), _) => (Kind::Chat, "chat", chat),
        (None, Some(session)) => (Kind::Session, "session", session),
        (None, None) => return link.raw("task/submit", params).await,
    };
    let call = async |id: &str| -> Result<_, CliError> {
        let mut params = params.clone();
        params[field] = json!(id);
        link.raw("task/submit", params).await
    };
    with_id(link, kind, given, call).await
}

/// Streams a task to its end. It was submitted before it is subscribed to, so everything that
/// the journal has of it is asked for.
async fn stream(ctx: &mut Ctx, link: Link, task: &TaskRow, mut seat: Option<Link>) -> Outcome {
    let can_ask = ctx.can_ask() && !ctx.globals.json;
    let filter = json!({"task": task.id, "chat": task.chat, "answers_permissions": can_ask});
    let mut events = Follower::new(filter, Some(0), Patience::Limited).over(link);
    let mut transcript = Transcript::new(ctx.err_is_terminal(), ctx.out_is_terminal());
    let mut asker = can_ask.then(Asker::new);
    // One listener for all of them: one that was made anew would miss what came in between.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut interrupts = 0_u32;
    loop {
        tokio::select! {
            event = events.next(ctx) => {
                let event = event?;
                // From its first event on the task's own subscription holds the seat.
                seat.take();
                show(ctx, &mut transcript, &event)?;
                if let Some(state) = event.task_end() {
                    return Ok(Exit::of_task(state, event.fault()));
                }
                if let Some(asker) = &mut asker {
                    asker.event(ctx, &event);
                }
            }
            answer = ask::answer(&mut asker) => {
                ask::send(ctx, &mut events, answer).await?;
            }
            _ = interrupted.recv() => {
                interrupts += 1;
                if interrupts > 1 {
                    return Ok(Exit::Cancelled);
                }
                ctx.say("\ncancelling; Ctrl-C again leaves it to itself");
                cancel(ctx, &mut events, &task.id).await?;
            }
        }
    }
}

fn show(ctx: &mut Ctx, transcript: &mut Transcript, event: &EventRow) -> Result<(), CliError> {
    if ctx.globals.json {
        return ctx.print(format_args!("{}\n", event.json()));
    }
    for piece in transcript.event(event) {
        match piece {
            Piece::Out(text) if ctx.out_is_terminal() => ctx.print(text)?,
            Piece::Out(text) => ctx.print_exactly(text.as_bytes())?,
            Piece::Err(text) => ctx.mutter(text),
        }
    }
    Ok(())
}

/// Cancels the task. A daemon that is away just now has interrupted it by itself.
async fn cancel(ctx: &mut Ctx, events: &mut Follower, task: &str) -> Result<(), CliError> {
    let link = events.link(ctx).await?;
    match link.call::<Value>("task/cancel", json!({"task": task})).await {
        Err(error) if !error.is_no_daemon() => Err(error),
        _ => Ok(()),
    }
}

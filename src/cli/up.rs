//! `hob up`: starts the daemon.

use clap::Args;

use super::Outcome;
use super::context::Ctx;
use super::error::Exit;
use super::start;

/// Arguments of `hob up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Stay in the foreground and log to stderr
    #[arg(long)]
    pub foreground: bool,
}

/// Returns once a daemon answers, whoever started it.
pub async fn run(ctx: &mut Ctx, _args: &UpArgs) -> Outcome {
    let word = match ctx.link_if_running().await {
        Ok(_) => "was up already",
        Err(error) if error.is_no_daemon() => match start::in_background(ctx).await? {
            start::Started::ByUs => "is up",
            start::Started::ByAnother => "was started by somebody else just now",
        },
        Err(error) => return Err(error),
    };
    let link = ctx.link_if_running().await?;
    let (pid, socket) = (link.hello.pid, link.socket.display().to_string());
    if ctx.globals.json {
        let up = serde_json::json!({"pid": pid, "version": link.hello.version, "socket": socket, "home": link.hello.home});
        ctx.print(format_args!("{up}\n"))?;
    } else {
        ctx.say(format_args!("hobd {word}: pid {pid}, {socket}"));
        if let Some(notice) = ctx.paths()?.notice() {
            ctx.say(notice);
        }
    }
    Ok(Exit::Done)
}

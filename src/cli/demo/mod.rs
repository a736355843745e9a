//! `hob demo`: the main job in under a minute, with nothing installed.
//!
//! Everything happens for real, in a private home and a throw-away repository, with the built-in
//! agent. A step gets its ✓ only when what it promises was checked; the first that fails ends the
//! demo with exit code 1 and says what was expected and what was seen.

mod changes;
mod crashes;
mod ending;
mod play;
mod processes;
mod show;
mod stage;
mod steps;

use std::time::Instant;

use clap::Args;

use super::Outcome;
use super::context::Ctx;
use super::error::{CliError, Exit, ExitCode};
use super::render::duration;
use show::Show;
use stage::Stage;
use steps::Cast;

/// The long help of `hob demo`.
pub const ABOUT: &str = "Show the main job in under a minute, with nothing installed

Makes a private home and a throw-away git repository, starts a daemon of its own there and drives \
the built-in agent: streaming, a worktree per session, a context per chat, a permission asked and \
answered, an agent killed and back, the daemon itself killed and back, what two agents changed \
applied and discarded, a session deleted and restored, the journal replayed. \
Nothing of yours is touched and nothing is left behind. Exits 0 only if every step really worked.";

/// Arguments of `hob demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Leave the home and the repository there, to look around in
    #[arg(long)]
    pub keep: bool,
}

/// The demo under way.
pub(super) struct Demo<'a> {
    show: Show<'a>,
    stage: Stage,
    cast: Cast,
}

/// Runs every step, then takes everything away again, also after a failure or Ctrl-C.
pub async fn run(ctx: &mut Ctx, args: &DemoArgs) -> Outcome {
    let began = Instant::now();
    let mut stage = Stage::set()?;
    stage.keep(args.keep);
    let mut show = Show::new(ctx);
    show.title(&format!("hob demo, in {}", stage.dir().display()))?;
    let mut demo = Demo { show, stage, cast: Cast::default() };
    let played = tokio::select! {
        played = demo.play_all() => played,
        _ = tokio::signal::ctrl_c() => Err(CliError::new(Exit::Cancelled, "stopped")),
    };
    if let Err(error) = played {
        demo.show.flush()?;
        let said = demo.stage.daemon_said();
        demo.stage.clear().ok();
        return Err(if said.is_empty() || error.exit == ExitCode::Own(Exit::Cancelled) {
            error
        } else {
            error.hint(format!("the daemon said:\n{said}"))
        });
    }
    let took = duration(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    demo.show.closing(&format!(
        "All of it worked, in {took}. Next: `hob agent ls`, then `hob prompt` in a repository of yours."
    ))?;
    Ok(Exit::Done)
}

impl Demo<'_> {
    async fn play_all(&mut self) -> Result<(), CliError> {
        self.step("A daemon of its own", steps::daemon).await?;
        self.step("A session: its own worktree, on its own branch", steps::session).await?;
        self.step("The answer streams as it is written", steps::streaming).await?;
        self.step("What the agent writes stays in the worktree", steps::worktree).await?;
        self.step("Three turns, one warm process, one context", steps::warm).await?;
        self.step("A second chat knows nothing of the first", steps::second_chat).await?;
        self.step("The agent asks, and waits for the answer", steps::permission).await?;
        self.step("Who is alive (hob ps)", steps::ps).await?;
        self.step("The agent is killed in the middle of a turn", crashes::kill_agent).await?;
        self.step("The next prompt brings it back, and it remembers", crashes::recover).await?;
        self.step("The daemon itself is killed, with two agents at work", crashes::kill_daemon).await?;
        self.step("A new daemon accounts for every task", crashes::account).await?;
        self.step("Two agents change files, and each change has a name on it", changes::pending).await?;
        self.step("One change is applied to the checkout", changes::apply).await?;
        self.step("The other is discarded", changes::discard).await?;
        self.step("To delete the session would lose work, so it is refused", changes::refuse).await?;
        self.step("Deleted with consent, it is salvaged first", changes::delete).await?;
        self.step("And it comes back, as it was", changes::restore).await?;
        self.step("The journal tells it all again, in order (hob log)", ending::journal).await?;
        self.step("Down, and nothing is left", ending::down).await
    }

    async fn step(
        &mut self,
        title: &str,
        act: impl AsyncFnOnce(&mut Self) -> Result<String, CliError>,
    ) -> Result<(), CliError> {
        self.show.step(title)?;
        match act(self).await {
            Ok(seen) => self.show.worked(&seen),
            Err(error) => {
                self.show.failed(&error.message)?;
                Err(CliError { message: format!("the demo failed at `{title}`"), ..error })
            }
        }
    }
}

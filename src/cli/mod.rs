//! The command line: a client of the control socket that never needs a terminal.
//!
//! One command, one file, always the same signature: `run(ctx, args)`. The doc comments of the
//! arguments are the help. What a command prints is made by pure functions in its own file.
//! **Invariant:** nothing in here opens the database, a worktree or an agent: whatever `hob` can
//! do, another program can do over the same socket.

pub mod acp;
pub mod agent;
pub mod apply;
pub mod arena;
pub mod chat;
pub mod choose;
pub mod completions;
pub mod config;
pub mod context;
pub mod daemon;
pub mod demo;
pub mod diff;
pub mod down;
pub mod error;
pub mod event;
pub mod evict;
pub mod find;
pub mod follow;
pub mod health;
pub mod hold;
pub mod hunks;
pub mod link;
pub mod log;
pub mod mcp;
pub mod pager;
pub mod permission;
pub mod prompt;
pub mod ps;
pub mod release;
pub mod reload;
pub mod render;
pub mod restart;
pub mod rpc;
pub mod session;
pub mod start;
pub mod status;
pub mod target;
pub mod task;
pub mod undo;
pub mod up;
pub mod worktree;

use std::io::Write;

use clap::{CommandFactory, Parser, Subcommand};

use context::{Ctx, Globals};
use error::{CliError, Exit};

/// The answer of every command.
pub type Outcome = Result<Exit, CliError>;

/// Keeps coding agents warm, isolated and recoverable
#[derive(Debug, Parser)]
#[command(
    name = "hob",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Begin with `hob demo`: it shows the main job in a minute and needs nothing installed."
)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Everything that `hob` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the main job in under a minute, with nothing installed
    #[command(long_about = demo::ABOUT)]
    Demo(demo::DemoArgs),
    /// Start the daemon
    Up(up::UpArgs),
    /// Stop the daemon
    Down(down::DownArgs),
    /// Say whether a daemon runs, and how it is
    Status(status::StatusArgs),
    /// Let the daemon read its configuration again
    Reload(reload::ReloadArgs),
    /// The agents that can be asked for
    #[command(subcommand)]
    Agent(agent::AgentCommand),
    /// Sessions: one line of work each, in a worktree of its own
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Chats: the tabs of a session, each with a context of its own
    #[command(subcommand)]
    Chat(chat::ChatCommand),
    /// Send a prompt and stream the answer
    Prompt(prompt::PromptArgs),
    /// Show the live agent sessions
    Ps(ps::PsArgs),
    /// Show how the processes of agents are, and what went wrong
    Health(health::HealthArgs),
    /// Let the process of an agent session go; the next prompt brings it back
    Evict(evict::ActArgs),
    /// Start the process of an agent session again, and close its circuit
    Restart(evict::ActArgs),
    /// Tasks: the prompts that were asked to be run
    #[command(subcommand)]
    Task(task::TaskCommand),
    /// Show what agents changed and nobody has applied or discarded yet
    Diff(diff::DiffArgs),
    /// Take pending changes over into the checkout, all or nothing
    Apply(apply::ActArgs),
    /// Give pending changes up in the worktree; a ref keeps them
    Discard(apply::ActArgs),
    /// Put the files of a session back to what they were before a turn
    Undo(undo::UndoArgs),
    /// Arenas: one prompt for several agents, and the best of it taken over
    #[command(subcommand)]
    Arena(arena::ArenaCommand),
    /// Worktrees: where agents work, and what becomes of them
    #[command(subcommand)]
    Worktree(worktree::WorktreeCommand),
    /// Hold the queued tasks of a chat back
    Hold(hold::HoldArgs),
    /// Let the held tasks of a chat go on
    Release(release::ReleaseArgs),
    /// Show the journal
    Log(log::LogArgs),
    /// The questions of agents that wait for an answer
    #[command(subcommand)]
    Permission(permission::PermissionCommand),
    /// Be an agent to an editor: the Agent Client Protocol on stdin and stdout
    Acp(acp::AcpArgs),
    /// Serve the Model Context Protocol on stdio: tools that hand work to agents
    Mcp(mcp::McpArgs),
    /// Call a method of the control socket
    Rpc(rpc::RpcArgs),
    /// The configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Run the daemon (as `hobd` does)
    #[command(hide = true)]
    Daemon(daemon::DaemonArgs),
}

/// The program `hob`.
pub fn main() -> std::process::ExitCode {
    if let Some(code) = daemon::hidden_program() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    // The daemon brings a runtime of its own, so it is told apart before ours is made.
    match cli.command {
        Command::Daemon(args) => daemon::run(&args, &cli.globals),
        Command::Up(args) if args.foreground => daemon::run(&daemon::DaemonArgs::default(), &cli.globals),
        command => {
            let code = match run_to_end(cli.globals, command) {
                Ok(exit) => exit as u8,
                Err(error) => tell(&error),
            };
            std::process::ExitCode::from(code)
        }
    }
}

/// Help and version go to stdout and are no failure; everything else is bad usage.
fn refuse(error: &clap::Error) -> std::process::ExitCode {
    // Whoever closed the pipe does not want to read it.
    error.print().ok();
    std::process::ExitCode::from(if error.use_stderr() { Exit::Usage as u8 } else { Exit::Done as u8 })
}

/// Tells the person what went wrong; the exit code that says it to programs.
fn tell(error: &CliError) -> u8 {
    let mut err = anstream::stderr();
    if !error.message.is_empty() {
        writeln!(err, "{}: {}", render::paint(render::BAD, "error"), error.message).ok();
    }
    if let Some(hint) = &error.hint {
        writeln!(err, "{}: {hint}", render::paint(render::NAME, "hint")).ok();
    }
    error.exit.into()
}

fn run_to_end(globals: Globals, command: Command) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut ctx = Ctx::new(globals)?;
    let outcome = runtime.block_on(run(&mut ctx, command));
    // A read of the terminal may still be waiting in a thread; nobody waits for it.
    runtime.shutdown_background();
    outcome
}

/// Runs one command.
async fn run(ctx: &mut Ctx, command: Command) -> Outcome {
    match command {
        Command::Demo(args) => demo::run(ctx, &args).await,
        Command::Up(args) => up::run(ctx, &args).await,
        Command::Down(args) => down::run(ctx, &args).await,
        Command::Status(args) => status::run(ctx, &args).await,
        Command::Reload(args) => reload::run(ctx, &args).await,
        Command::Agent(command) => agent::run(ctx, &command).await,
        Command::Session(command) => session::run(ctx, &command).await,
        Command::Chat(command) => chat::run(ctx, &command).await,
        Command::Prompt(args) => prompt::run(ctx, &args).await,
        Command::Ps(args) => ps::run(ctx, &args).await,
        Command::Health(args) => health::run(ctx, &args).await,
        Command::Evict(args) => evict::run(ctx, &args).await,
        Command::Restart(args) => restart::run(ctx, &args).await,
        Command::Task(command) => task::run(ctx, &command).await,
        Command::Diff(args) => diff::run(ctx, &args).await,
        Command::Apply(args) => apply::apply(ctx, &args).await,
        Command::Discard(args) => apply::discard(ctx, &args).await,
        Command::Undo(args) => undo::run(ctx, &args).await,
        Command::Arena(command) => arena::run(ctx, &command).await,
        Command::Worktree(command) => worktree::run(ctx, &command).await,
        Command::Hold(args) => hold::run(ctx, &args).await,
        Command::Release(args) => release::run(ctx, &args).await,
        Command::Log(args) => log::run(ctx, &args).await,
        Command::Permission(command) => permission::run(ctx, &command).await,
        Command::Acp(args) => acp::run(ctx, &args).await,
        Command::Mcp(args) => mcp::run(ctx, &args).await,
        Command::Rpc(args) => rpc::run(ctx, &args).await,
        Command::Config(command) => config::run(ctx, &command).await,
        Command::Completions(args) => completions::run(&args, &mut Cli::command()),
        // Run by `main`, which has no runtime then.
        Command::Daemon(_) => Err(CliError::usage("the daemon cannot run inside a command")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_and_after_the_command() {
        let before =
            Cli::try_parse_from(["hob", "--json", "--no-start", "--socket", "/s", "session", "ls"]).unwrap();
        let after =
            Cli::try_parse_from(["hob", "session", "ls", "--json", "--no-start", "--socket", "/s"]).unwrap();
        for cli in [before, after] {
            assert!(cli.globals.json && cli.globals.no_start);
            assert_eq!(cli.globals.socket.as_deref(), Some(std::path::Path::new("/s")));
        }
    }

    #[test]
    fn the_words_of_a_prompt_need_no_quotes_and_may_look_like_commands() {
        let cli = Cli::try_parse_from(["hob", "prompt", "-a", "goose", "session", "ls", "please"]).unwrap();
        let Command::Prompt(args) = cli.command else { panic!("not a prompt") };
        assert_eq!(args.text, ["session", "ls", "please"]);
        assert_eq!(args.agent.as_deref(), Some("goose"));
    }
}

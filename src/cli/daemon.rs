//! The hidden programs inside `hob` and `hobd`: the daemon, the keeper and the built-in agent.
//!
//! Keeper and agent are told apart before anything else happens in the process: a keeper must
//! have one thread, and both bring what runtime they need.

use std::process::ExitCode;

use clap::{Args, Parser};

use super::context::Globals;
use crate::backend::MCP_COMMAND as MCP;

/// Arguments of `hobd` and of the hidden `hob daemon`.
#[derive(Debug, Clone, Default, Args)]
pub struct DaemonArgs {
    /// Stop when stdin ends
    #[arg(long)]
    pub exit_with_stdin: bool,
    /// Log more, and allow debuggers and core dumps
    #[arg(long)]
    pub debug: bool,
    /// Leave the session of the caller once ready, and log into a file
    #[arg(long, hide = true)]
    pub background: bool,
}

/// Keeps coding agents warm, isolated and recoverable: the daemon. `hob` starts it by itself
#[derive(Debug, Parser)]
#[command(name = "hobd", version, max_term_width = 100)]
struct Hobd {
    #[command(flatten)]
    args: DaemonArgs,
    /// The control socket
    #[arg(long, value_name = "PATH")]
    socket: Option<std::path::PathBuf>,
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
}

/// The program `hobd`.
pub fn hobd() -> ExitCode {
    if let Some(code) = hidden_program() {
        return code;
    }
    if std::env::args_os().nth(1).is_some_and(|first| first == MCP) {
        // Agents are handed the daemon's own program as their MCP server.
        return super::main();
    }
    match Hobd::try_parse() {
        Ok(Hobd { args, socket, config }) => run(&args, &Globals { socket, config, ..Globals::default() }),
        Err(error) => super::refuse(&error),
    }
}

/// Runs the keeper or the built-in agent where this process is meant to be one.
pub fn hidden_program() -> Option<ExitCode> {
    let name = std::env::args_os().nth(1)?;
    match name.to_str()? {
        "keeper" => crate::backend::process::keeper_main(),
        "demo-agent" => {
            let code = crate::backend::demo_agent::main();
            Some(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
        }
        _ => None,
    }
}

/// Runs a daemon in this process until it is told to stop.
pub fn run(args: &DaemonArgs, globals: &Globals) -> ExitCode {
    if args.background {
        // Whatever else the caller had open is no business of a daemon that outlives it. This
        // process has one thread and opened nothing yet; where it fails, it only holds too much.
        crate::sys::close_from(3).ok();
    }
    crate::daemon::main(crate::daemon::DaemonArgs {
        config: globals.config.clone(),
        socket: globals.socket.clone(),
        exit_with_stdin: args.exit_with_stdin,
        debug: args.debug,
        background: args.background,
    })
}

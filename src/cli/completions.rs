//! `hob completions`: a completion script for a shell.

use clap::Args;
use clap_complete::Shell;

use super::Outcome;
use super::error::Exit;

/// Arguments of `hob completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// Prints the script to stdout.
pub fn run(args: &CompletionsArgs, command: &mut clap::Command) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "hob", &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script)?;
    Ok(Exit::Done)
}

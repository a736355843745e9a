//! What every command is given: the global options, the places, and where its output goes.
//!
//! Data goes to stdout through [`Ctx::print`], everything else to stderr through [`Ctx::say`].

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::{CliError, Exit};
use super::link::{Link, unreachable_holder};
use super::start;
use crate::paths::{PathOverrides, Paths, PathsError, environment};

/// The longest text that is read from stdin, in bytes: what fits into one line of the socket.
const STDIN_BYTES_MAX: u64 = 15 << 20;

/// Options that every command takes, before or after its name.
#[derive(Debug, Clone, Default, Args)]
pub struct Globals {
    /// Print JSON: one document, or one event a line
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// The control socket of the daemon
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub socket: Option<PathBuf>,
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// Do not start a daemon when none runs
    #[arg(long, global = true, help_heading = "Global options")]
    pub no_start: bool,
}

/// What every command is given.
pub struct Ctx {
    /// The global options.
    pub globals: Globals,
    /// The environment, without what is not UTF-8.
    pub env: BTreeMap<String, String>,
    out: anstream::AutoStream<std::io::Stdout>,
    err: anstream::AutoStream<std::io::Stderr>,
}

impl Ctx {
    /// For the real process: its environment, its stdout and stderr.
    ///
    /// # Errors
    /// A variable that says where things lie cannot be read.
    pub fn new(globals: Globals) -> Result<Self, CliError> {
        let env = environment().map_err(misplaced)?;
        Ok(Self { globals, env, out: anstream::stdout(), err: anstream::stderr() })
    }

    /// Where everything lies.
    pub fn paths(&self) -> Result<Paths, CliError> {
        resolve_paths(&self.globals, &self.env)
    }

    /// A connection to the daemon, which is started where none runs and `--no-start` is absent.
    pub async fn link(&mut self) -> Result<Link, CliError> {
        match self.link_if_running().await {
            Err(error) if error.is_no_daemon() && !self.globals.no_start => {
                start::in_background(self).await?;
                self.link_if_running().await
            }
            linked => linked,
        }
    }

    /// A connection to the daemon, which is not started.
    pub async fn link_if_running(&self) -> Result<Link, CliError> {
        Link::open(&self.paths()?).await
    }

    /// The same for a command that asks only whether a daemon runs: one that runs without being
    /// reachable is not said to be absent.
    pub async fn link_to_holder(&self) -> Result<Link, CliError> {
        match self.link_if_running().await {
            Err(error) if error.is_no_daemon() => Err(unreachable_holder(&self.paths()?).unwrap_or(error)),
            linked => linked,
        }
    }

    /// Prints data. It is flushed, so that whoever reads it sees it at once.
    pub fn print(&mut self, text: impl Display) -> Result<(), CliError> {
        write!(self.out, "{text}")?;
        Ok(self.out.flush()?)
    }

    /// Prints data that is not ours to a pipe or a file: every byte of it, also what would steer a terminal.
    pub fn print_exactly(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes)?;
        Ok(out.flush()?)
    }

    /// Prints an answer: as it came for `--json`, else as `render` makes it readable.
    pub fn show<T: DeserializeOwned>(
        &mut self,
        answer: &RawValue,
        render: impl FnOnce(T) -> String,
    ) -> Result<(), CliError> {
        if self.globals.json {
            return self.print(format_args!("{}\n", answer.get()));
        }
        let text = render(serde_json::from_str(answer.get())?);
        self.print(text)
    }

    /// Tells the person something that is not data. Nobody there to read it is no error.
    pub fn say(&mut self, text: impl Display) {
        writeln!(self.err, "{text}").ok();
    }

    /// As [`Ctx::say`], without ending the line.
    pub fn mutter(&mut self, text: impl Display) {
        write!(self.err, "{text}").ok();
        self.err.flush().ok();
    }

    /// Whether stdout is a terminal.
    pub fn out_is_terminal(&self) -> bool {
        std::io::stdout().is_terminal()
    }

    /// Whether stderr is a terminal.
    pub fn err_is_terminal(&self) -> bool {
        std::io::stderr().is_terminal()
    }

    /// Whether a person can be asked: stdin and stderr are a terminal.
    pub fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }
}

/// Where everything lies for these options in this environment.
pub fn resolve_paths(globals: &Globals, env: &BTreeMap<String, String>) -> Result<Paths, CliError> {
    let overrides = PathOverrides { config: globals.config.clone(), socket: globals.socket.clone() };
    Paths::resolve(&overrides, env).map_err(misplaced)
}

fn misplaced(error: PathsError) -> CliError {
    CliError::new(Exit::Config, error.message).hint(error.hint)
}

/// The directory that `-C` names, or the working directory, without links.
///
/// # Errors
/// One cannot go there.
pub fn directory(dir: Option<&Path>) -> Result<PathBuf, CliError> {
    let dir = dir.unwrap_or_else(|| Path::new("."));
    std::fs::canonicalize(dir)
        .map_err(|error| CliError::usage(format!("cannot go to {}: {error}", dir.display())))
}

/// The words of a command line as one text; a single `-` stands for stdin.
pub fn text_or_stdin(words: &[String]) -> Result<String, CliError> {
    if words != ["-"] {
        return Ok(words.join(" "));
    }
    let mut text = String::new();
    let read = std::io::stdin().lock().take(STDIN_BYTES_MAX + 1).read_to_string(&mut text);
    let read = read.map_err(|error| CliError::usage(format!("cannot read stdin: {error}")))?;
    if read as u64 > STDIN_BYTES_MAX {
        return Err(CliError::usage(format!("stdin holds more than {STDIN_BYTES_MAX} bytes")));
    }
    Ok(text)
}

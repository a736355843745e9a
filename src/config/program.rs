//! Finds the program of an agent. Starts nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::AgentConfig;

/// Any of the three execute bits.
const EXECUTE_BITS: u32 = 0o111;

/// The program that `words`, a command line of an agent, begins with: its path if it has a slash,
/// else the first executable of that name on the agent's own `PATH`, which is the one in its `env`
/// or else `env_path`.
///
/// # Errors
/// Says why there is none: nothing configured, not found, no file, not executable.
pub fn find_program_of(agent: &AgentConfig, words: &[String], env_path: &str) -> Result<PathBuf, String> {
    let program = words.first().ok_or("no command is configured")?;
    find_program_on(program, agent.env.get("PATH").map_or(env_path, String::as_str))
}

/// A program by its path if it has a slash, else the first executable of that name on `search`.
///
/// # Errors
/// Says why there is none: not found, no file, not executable.
pub fn find_program_on(program: &str, search: &str) -> Result<PathBuf, String> {
    if program.contains('/') {
        let path = PathBuf::from(program);
        return executable(&path).map(|()| path);
    }
    let mut refused = None;
    // An empty entry would be the working directory, which the daemon has none of to speak of.
    for directory in std::env::split_paths(search).filter(|directory| directory.is_absolute()) {
        let candidate = directory.join(program);
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(why) if candidate.exists() => refused = refused.or(Some(why)),
            Err(_) => {}
        }
    }
    Err(refused.unwrap_or_else(|| format!("`{program}` is not on PATH")))
}

fn executable(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let facts = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{shown} does not exist"),
        _ => format!("{shown} cannot be read: {error}"),
    })?;
    if !facts.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    if facts.permissions().mode() & EXECUTE_BITS == 0 {
        return Err(format!("{shown} is not executable"));
    }
    Ok(())
}

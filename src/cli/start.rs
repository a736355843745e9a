//! Starts a daemon in the background and waits until it answers.
//!
//! The daemon leaves its caller by itself (see [`super::daemon`]). Until it is ready its stdout
//! and stderr are pipes to us: a line on stdout says that it is ready, the end of both without
//! that line says that it failed, and then stderr holds the reason and the exit code its kind.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::context::Ctx;
use super::error::{CliError, Exit, ExitCode};
use super::link::{Link, socket_in_lock};
use crate::backend::process::mark;
use crate::daemon::{READY, StartedByAgent};

/// How long a start may take: a migration of a large database is in it.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// How long another starter, who won, may take until its daemon answers.
const OTHER_TIMEOUT: Duration = Duration::from_secs(30);

/// How often the socket of another starter's daemon is tried.
const OTHER_PAUSE: Duration = Duration::from_millis(25);

/// The most that is relayed of what a daemon said before it failed, in bytes.
const RELAYED_BYTES_MAX: usize = 64 << 10;

/// Who started the daemon that answers now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// We did.
    ByUs,
    /// Somebody else, at the same time.
    ByAnother,
}

/// Starts a daemon in the background; returns once the socket answers.
///
/// # Errors
/// It did not come up, or an agent asked for it.
pub async fn in_background(ctx: &Ctx) -> Result<Started, CliError> {
    if mark::is_own_marked() {
        return Err(CliError::new(Exit::Refused, StartedByAgent.to_string()).hint(StartedByAgent::HINT));
    }
    let paths = ctx.paths()?;
    let child = spawn(ctx)?;
    let said = tokio::task::spawn_blocking(move || listen(child));
    let said = tokio::time::timeout(READY_TIMEOUT, said).await.map_err(|_| {
        CliError::new(Exit::TryAgain, "the daemon has not come up yet")
            .hint(format!("look into {}", paths.logs.display()))
    })?;
    let failed = match said.map_err(|error| CliError::failed(error.to_string()))?? {
        Said::Ready => return Ok(Started::ByUs),
        Said::Failed(failed) => failed,
    };
    if failed.exit != ExitCode::Relayed(Exit::Conflict as u8) {
        return Err(failed);
    }
    // Somebody holds the lock: another starter that won, or a daemon with another socket.
    let elsewhere =
        || paths.socket_is_given && socket_in_lock(&paths.lock).is_some_and(|it| it != paths.socket);
    let answers = async {
        while Link::open(&paths).await.is_err() {
            if elsewhere() {
                return false;
            }
            tokio::time::sleep(OTHER_PAUSE).await;
        }
        true
    };
    match tokio::time::timeout(OTHER_TIMEOUT, answers).await {
        Ok(true) => Ok(Started::ByAnother),
        Ok(false) | Err(_) => Err(failed),
    }
}

enum Said {
    Ready,
    Failed(CliError),
}

/// The `hobd` beside our own executable, else ourselves as the hidden `hob daemon`.
pub fn program() -> Result<(PathBuf, &'static [&'static str]), CliError> {
    #[expect(clippy::disallowed_methods, reason = "what lies beside it now is just what is wanted")]
    let own = std::env::current_exe()
        .map_err(|error| CliError::failed(format!("cannot find the program itself: {error}")))?;
    let beside = own.with_file_name("hobd");
    if beside.is_file() { Ok((beside, &[])) } else { Ok((own, &["daemon"])) }
}

fn spawn(ctx: &Ctx) -> Result<Child, CliError> {
    let (program, args) = program()?;
    #[expect(clippy::disallowed_methods, reason = "a daemon is no agent")]
    let mut command = Command::new(&program);
    command.args(args).arg("--background").current_dir("/");
    for (option, path) in [("--config", &ctx.globals.config), ("--socket", &ctx.globals.socket)] {
        if let Some(path) = path {
            // The daemon will stand in another directory.
            command.arg(option).arg(std::path::absolute(path)?);
        }
    }
    for name in ["HOB_HOME", "HOB_CONFIG", "HOB_SOCKET"] {
        if let Some(path) = ctx.env.get(name).filter(|path| !path.is_empty()) {
            command.env(name, std::path::absolute(path)?);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| CliError::failed(format!("cannot start {}: {error}", program.display())))
}

/// Listens to a starting daemon until it is ready or has ended. Blocking.
fn listen(mut child: Child) -> Result<Said, CliError> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // Both at once: a daemon that has much to say must not wait for us to read the other.
    let reason = std::thread::spawn(move || stderr.map(last_bytes).unwrap_or_default());
    let mut said = String::new();
    if let Some(mut stdout) = stdout {
        stdout.read_to_string(&mut said)?;
    }
    if said.ends_with(READY) {
        return Ok(Said::Ready);
    }
    let reason = reason.join().unwrap_or_default();
    let status = child.wait()?;
    Ok(Said::Failed(relayed(&reason, status.code(), &status.to_string())))
}

/// The end of what a stream has to say.
fn last_bytes(mut stream: impl Read) -> String {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..n]);
        let surplus = kept.len().saturating_sub(RELAYED_BYTES_MAX);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// The error of a daemon that would not start, as if it were ours. What it logged before that is
/// shown only where it gave no reason.
fn relayed(said: &str, code: Option<i32>, status: &str) -> CliError {
    let start =
        said.rmatch_indices("error: ").map(|(at, _)| at).find(|at| *at == 0 || said[..*at].ends_with('\n'));
    let said = start.map_or(said, |start| &said[start..]);
    let (mut message, mut hint) = (Vec::new(), None);
    for line in said.lines() {
        match line.strip_prefix("hint: ") {
            Some(text) => hint = Some(text.to_owned()),
            None => message.push(line.strip_prefix("error: ").unwrap_or(line)),
        }
    }
    let message = match message.join("\n") {
        text if text.trim().is_empty() => format!("the daemon ended before it was ready ({status})"),
        text => text,
    };
    let code = code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
    CliError { exit: ExitCode::Relayed(code.unwrap_or(Exit::Failed as u8)), message, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_daemon_is_relayed_with_its_hint_and_its_code() {
        let said = "INFO settled\nerror: config.toml:3: unknown key `pol`\nhint: `pool`?\n";
        let error = relayed(said, Some(78), "exit status: 78");
        assert_eq!(error.message, "config.toml:3: unknown key `pol`");
        assert_eq!(error.hint.as_deref(), Some("`pool`?"));
        assert_eq!(u8::from(error.exit), 78);
    }

    #[test]
    fn a_daemon_that_died_without_a_word_is_still_a_failure() {
        let error = relayed("", None, "signal: 9 (SIGKILL)");
        assert_eq!(error.message, "the daemon ended before it was ready (signal: 9 (SIGKILL))");
        assert_eq!(u8::from(error.exit), 1);
        assert_eq!(u8::from(relayed("", Some(0), "exit status: 0").exit), 1);
    }
}

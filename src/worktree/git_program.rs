//! The `git` program: found once, checked, and run with an environment and settings under which
//! nothing but what we asked for happens: no hooks, no file system monitor, no questions, no
//! maintenance. Bounded in time and output. Knows nothing of worktrees.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::error::{WorktreeError, WorktreeErrorKind, is_changing, plain};
use super::file_system::Setting;
use super::filter;
use super::method::{GIT_VERSION_MIN, GitFact};

/// A question to git that touches no network.
pub(super) const ASK_TIMEOUT: Duration = Duration::from_secs(60);
/// A checkout, which in a partial clone fetches.
pub(super) const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(900);
/// Output that is read of one call: the paths of a very large repository.
const STDOUT_BYTES_MAX: u64 = 256 << 20;
/// Of its complaints, so much.
const STDERR_BYTES_MAX: u64 = 64 << 10;
/// Characters of its complaints that a person is shown.
const COMPLAINT_CHARS_MAX: usize = 600;

/// Settings for every call. A repository's own configuration cannot override them.
const SETTINGS: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("submodule.recurse", "false"),
    // The directory's `.git` file and its back pointer are compared as absolute paths.
    ("worktree.useRelativePaths", "false"),
    ("core.filesRefLockTimeout", "2000"),
    ("core.packedRefsTimeout", "2000"),
    ("reftable.lockTimeout", "2000"),
    ("protocol.ext.allow", "never"),
];

/// A `git` that can be used.
#[derive(Debug, Clone)]
pub(super) struct Git {
    program: PathBuf,
}

/// One call.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// Where it works.
    pub(super) dir: &'a Path,
    /// The arguments after the settings.
    pub(super) args: Vec<OsString>,
    /// Settings as they were recorded when the repository was first seen.
    pub(super) settings: &'a [(String, String)],
    /// What the file system does that it works on.
    pub(super) file_system: Vec<Setting>,
    /// Whether its paths are patterns: they are taken literally otherwise.
    pub(super) magic_pathspecs: bool,
    /// Variables of its own.
    pub(super) env: Vec<(&'static str, OsString)>,
    /// What it reads.
    pub(super) stdin: Vec<u8>,
    /// How long it may take.
    pub(super) timeout: Duration,
    /// Bytes that it may write. One that writes more fails: half an answer is none.
    pub(super) stdout_max: u64,
}

impl<'a> Call<'a> {
    /// A question in `dir`.
    pub(super) fn ask<S: AsRef<OsStr>>(dir: &'a Path, args: &[S]) -> Self {
        Self {
            dir,
            args: args.iter().map(|arg| arg.as_ref().to_owned()).collect(),
            settings: &[],
            file_system: Vec::new(),
            magic_pathspecs: false,
            env: Vec::new(),
            stdin: Vec::new(),
            timeout: ASK_TIMEOUT,
            stdout_max: STDOUT_BYTES_MAX,
        }
    }
}

/// Finds `git` on `path` and asks for its version.
pub(super) fn find(path: Option<&OsStr>) -> Result<Git, GitFact> {
    let shown = path.map_or_else(|| "an empty PATH".to_owned(), |path| format!("PATH ({})", path.display()));
    let found = std::env::split_paths(path.unwrap_or_default())
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join("git"))
        .find(|file| {
            std::fs::metadata(file)
                .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        });
    let git = Git { program: found.ok_or(GitFact::Missing(shown))? };
    let said = git
        .run(&Call::ask(Path::new("/"), &["version"]))
        .map_err(|error| GitFact::Missing(format!("`{}` ({error})", git.program.display())))?;
    let text = String::from_utf8_lossy(&said).trim().to_owned();
    match version(&text) {
        Some(version) if version >= GIT_VERSION_MIN => Ok(git),
        _ => Err(GitFact::TooOld(text)),
    }
}

/// Major and minor of `git version 2.47.3 (…)`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("git version ")?.split(['.', ' ']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

impl Git {
    /// Runs one call and gives what it wrote to stdout. Blocks.
    pub(super) fn run(&self, call: &Call<'_>) -> Result<Vec<u8>, WorktreeError> {
        let (status, out, complaint) = self.finish(call)?;
        if status.success() {
            return Ok(out);
        }
        Err(failed(call, &status.to_string(), &complaint))
    }

    /// Runs one call whose failure is an answer: `None` then.
    pub(super) fn probe(&self, call: &Call<'_>) -> Result<Option<Vec<u8>>, WorktreeError> {
        let (status, out, _) = self.finish(call)?;
        Ok(status.success().then_some(out))
    }

    /// Runs one call that answers with one line.
    pub(super) fn line(&self, call: &Call<'_>) -> Result<Vec<u8>, WorktreeError> {
        let mut out = self.run(call)?;
        if out.last() == Some(&b'\n') {
            out.pop();
        }
        Ok(out)
    }

    fn finish(&self, call: &Call<'_>) -> Result<(ExitStatus, Vec<u8>, String), WorktreeError> {
        let mut child =
            self.command(call).spawn().map_err(|error| WorktreeError::io("start", &self.program, &error))?;
        let group = Pid::from_raw(child.id().cast_signed());
        let read = watch(&mut child, call);
        let until = Instant::now() + call.timeout;
        let mut output = (Drained::default(), Drained::default());
        for _ in 0..2 {
            match read.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((Pipe::Out, drained)) => output.0 = drained,
                Ok((Pipe::Err, drained)) => output.1 = drained,
                Err(_) => {
                    // Not reaped yet, so the id is still ours. What cannot be killed is gone.
                    killpg(group, Signal::SIGKILL).ok();
                    child.wait().ok();
                    let limit = format!("no end after {} s", call.timeout.as_secs());
                    return Err(failed(call, &limit, ""));
                }
            }
        }
        let status = child.wait().map_err(|error| WorktreeError::io("wait for", &self.program, &error))?;
        if status.success() && !output.0.is_whole {
            let limit = format!("it wrote more than the {} bytes that are read of it", call.stdout_max);
            return Err(failed(call, &limit, ""));
        }
        let complaint = String::from_utf8_lossy(&output.1.bytes).into_owned();
        Ok((status, output.0.bytes, complaint))
    }

    fn command(&self, call: &Call<'_>) -> Command {
        #[expect(
            clippy::disallowed_methods,
            reason = "git is no agent: it runs for seconds and we wait for it"
        )]
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"GIT_") {
                command.env_remove(name);
            }
        }
        command
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "true")
            .env("GIT_EDITOR", "true")
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_COUNT", call.settings.len().to_string());
        // Through the environment, because `-c` cannot say a name that contains `=`.
        for (n, (key, value)) in call.settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{n}"), key);
            command.env(format!("GIT_CONFIG_VALUE_{n}"), value);
        }
        command.envs(call.env.iter().map(|(name, value)| (name, value)));
        command.arg("--no-pager");
        if !call.magic_pathspecs {
            command.arg("--literal-pathspecs");
        }
        command.arg("-C").arg(call.dir);
        for (key, value) in SETTINGS {
            command.arg("-c").arg(format!("{key}={value}"));
        }
        for (key, value) in &call.file_system {
            command.arg("-c").arg(format!("{key}={value}"));
        }
        command
            .args(&call.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }
}

#[derive(Clone, Copy)]
enum Pipe {
    Out,
    Err,
}

/// What a pipe gave.
#[derive(Default)]
struct Drained {
    bytes: Vec<u8>,
    /// Nothing came after that, and nothing was lost.
    is_whole: bool,
}

/// Feeds and drains a child from threads of their own; each output arrives when it has ended.
fn watch(child: &mut Child, call: &Call<'_>) -> mpsc::Receiver<(Pipe, Drained)> {
    let (tell, told) = mpsc::channel();
    if let Some(mut pipe) = child.stdin.take() {
        if call.stdin.is_empty() {
            drop(pipe);
        } else {
            let stdin = call.stdin.clone();
            // A child that does not read to the end says why with its exit status.
            thread::spawn(move || pipe.write_all(&stdin).ok());
        }
    }
    if let Some(pipe) = child.stdout.take() {
        drain(pipe, Pipe::Out, call.stdout_max, tell.clone());
    }
    if let Some(pipe) = child.stderr.take() {
        drain(pipe, Pipe::Err, STDERR_BYTES_MAX, tell);
    }
    told
}

fn drain(mut from: impl Read + Send + 'static, name: Pipe, max: u64, tell: mpsc::Sender<(Pipe, Drained)>) {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // Of a complaint, what came before a read error is still worth having.
        let is_read = from.by_ref().take(max).read_to_end(&mut bytes).is_ok();
        let is_all = std::io::copy(&mut from, &mut std::io::sink()).is_ok_and(|more| more == 0);
        // Nobody listens any more after a time-out.
        tell.send((name, Drained { bytes, is_whole: is_read && is_all })).ok();
    });
}

fn failed(call: &Call<'_>, status: &str, complaint: &str) -> WorktreeError {
    if let Some(error) = filter::failure(call.dir, complaint) {
        return error;
    }
    let name = call.args.iter().take(2).map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let said: Vec<_> = complaint
        .lines()
        .filter_map(|line| line.strip_prefix("fatal: ").or_else(|| line.strip_prefix("error: ")))
        .collect();
    let said = if said.is_empty() { complaint.trim().to_owned() } else { said.join("; ") };
    let said: String = said.chars().take(COMPLAINT_CHARS_MAX).collect();
    let why = if said.is_empty() { status.to_owned() } else { plain(&said) };
    let message = format!("`git {name}` failed in `{}`: {why}", call.dir.display());
    let kind = match lock_in(complaint) {
        Some(lock) => WorktreeErrorKind::Busy(lock),
        // It maps what it reads, and a file that became shorter is a signal then.
        None if is_changing(complaint) || status.contains("SIGBUS") => WorktreeErrorKind::Changing,
        None if NO_OBJECT.iter().any(|words| complaint.contains(words)) => WorktreeErrorKind::Missing,
        None if complaint.contains("No space left") || complaint.contains("quota exceeded") => {
            WorktreeErrorKind::Full
        }
        None => WorktreeErrorKind::Io,
    };
    WorktreeError::new(kind, message)
}

/// What git says of objects that are not there.
const NO_OBJECT: [&str; 7] = [
    "bad object",
    "unable to read sha1 file",
    "unable to read tree",
    "invalid object",
    "missing object",
    "error building trees",
    "not a valid object",
];

/// The lock file that git said was in its way.
fn lock_in(complaint: &str) -> Option<String> {
    let after = complaint.split_once("nable to create '").map(|(_, after)| after)?;
    let (path, rest) = after.split_once('\'')?;
    (path.ends_with(".lock") && rest.contains("File exists")).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_every_vendor_writes_them() {
        assert_eq!(version("git version 2.47.3"), Some((2, 47)));
        assert_eq!(version("git version 2.39.5 (Apple Git-154)"), Some((2, 39)));
        assert_eq!(version("git version 3.0"), Some((3, 0)));
        assert_eq!(version("hub version 2"), None);
    }

    #[test]
    fn a_lock_in_the_way_is_told_from_other_failures() {
        let lock = "fatal: Unable to create '/r/.git/index.lock': File exists.\n\nAnother git process";
        assert_eq!(lock_in(lock).as_deref(), Some("/r/.git/index.lock"));
        assert_eq!(lock_in("fatal: Unable to create '/r/x.lock': Permission denied"), None);
        assert_eq!(lock_in("fatal: invalid reference"), None);
    }

    #[test]
    fn a_call_past_its_time_is_ended() {
        let Ok(git) = find(std::env::var_os("PATH").as_deref()) else {
            panic!("these tests need git");
        };
        let dir = tempfile::tempdir().unwrap();
        let mut call = Call::ask(dir.path(), &["-c", "alias.wait=!sleep 600", "wait"]);
        call.timeout = Duration::from_millis(100);
        let error = git.run(&call).unwrap_err();
        assert!(error.message.contains("no end after"), "{error}");
    }

    #[test]
    fn a_call_that_says_too_much_fails() {
        let Ok(git) = find(std::env::var_os("PATH").as_deref()) else {
            panic!("these tests need git");
        };
        let dir = tempfile::tempdir().unwrap();
        let mut call = Call::ask(dir.path(), &["-c", "alias.say=!printf 0123456789", "say"]);
        call.stdout_max = 10;
        assert_eq!(git.run(&call).unwrap(), b"0123456789");
        call.stdout_max = 9;
        assert!(git.probe(&call).is_err());
        let error = git.run(&call).unwrap_err();
        assert!(error.message.contains("more than the 9 bytes"), "{error}");
    }

    #[test]
    fn a_directory_without_git_says_where_it_looked() {
        let dir = tempfile::tempdir().unwrap();
        let Err(GitFact::Missing(place)) = find(Some(dir.path().as_os_str())) else {
            panic!("found a git in an empty directory");
        };
        assert!(place.contains(dir.path().to_str().unwrap()));
    }
}

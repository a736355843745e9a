//! Where everything of hob's lies: configuration, state, socket, lock.
//!
//! Decided from the environment alone, without looking at the disk; [`Paths::create_dirs`] is the
//! only thing here that touches it. Everything may be gathered under one directory with
//! `HOB_HOME`; else the XDG base directories hold.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::AccessFlags;

use crate::trust::{PlaceError, no_link, trusted_path};

/// What `sockaddr_un` can hold: 108 bytes with the closing zero.
const SOCKET_BYTES_MAX: usize = 107;
/// What SQLite adds to the name of the database for the files beside it.
const DATABASE_FILES: [&str; 4] = ["", "-wal", "-shm", "-journal"];
/// Only their owner may look into hob's directories.
const PRIVATE: u32 = 0o700;

/// What was said on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathOverrides {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--socket`
    pub socket: Option<PathBuf>,
}

/// Where everything lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The configuration file.
    pub config: PathBuf,
    /// Whether it was asked for by name, so that it must exist.
    pub config_is_given: bool,
    /// The directory of everything that is remembered.
    pub state: PathBuf,
    /// The database.
    pub database: PathBuf,
    /// The directory of the worktrees, unless configured otherwise.
    pub worktrees: PathBuf,
    /// Where retired worktrees wait, unless the worktrees lie elsewhere.
    pub trash: PathBuf,
    /// What the daemon writes when it runs in the background.
    pub logs: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// Whether it was asked for by name. If not, a client may read the place from the lock.
    pub socket_is_given: bool,
    /// The lock of the daemon; holds its pid and the path of its socket.
    pub lock: PathBuf,
    /// `HOB_HOME`, if everything lies under one directory.
    pub home: Option<PathBuf>,
    /// What `XDG_RUNTIME_DIR` names, where that cannot be used: the socket is elsewhere then.
    pub stale_runtime: Option<PathBuf>,
}

/// A place cannot be used, or cannot be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathsError {
    /// What is wrong, as a lower-case fragment.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl std::error::Error for PathsError {}

impl fmt::Display for PathsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.hint)
    }
}

impl PathsError {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// The environment, where an empty value is as good as none.
struct Env<'a>(&'a BTreeMap<String, String>);

impl Env<'_> {
    fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// A place in a variable of ours: the same wherever it is read. A relative one would be another
    /// in every directory, and another daemon.
    fn own_path(&self, name: &str) -> Result<Option<PathBuf>, PathsError> {
        match self.path(name) {
            Some(path) if !path.is_absolute() => Err(PathsError::new(
                format!("{name} is `{}`, which is another place in every directory", path.display()),
                format!(
                    "set it to a path that begins with a slash: export {name}=\"$PWD/{}\"",
                    path.display()
                ),
            )),
            path => Ok(path),
        }
    }

    /// A directory of the XDG specification, which tells to ignore relative ones.
    fn xdg(&self, name: &str) -> Option<PathBuf> {
        self.path(name).filter(|path| path.is_absolute())
    }

    fn xdg_or_home(&self, name: &str, below_home: &str) -> Result<PathBuf, PathsError> {
        let home = || self.path("HOME").filter(|path| path.is_absolute()).map(|home| home.join(below_home));
        self.xdg(name).or_else(home).ok_or_else(|| {
            PathsError::new(
                format!("neither HOME nor {name} names a directory"),
                "set HOME, or HOB_HOME to a directory for everything of hob's",
            )
        })
    }
}

/// The environment of this process. What is not UTF-8 is left out, unless it is what says where
/// everything lies.
///
/// # Errors
/// A variable that would decide that is not UTF-8.
pub fn environment() -> Result<BTreeMap<String, String>, PathsError> {
    const PLACES: [&str; 7] = [
        "HOB_HOME",
        "HOB_CONFIG",
        "HOB_SOCKET",
        "HOME",
        "XDG_STATE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_RUNTIME_DIR",
    ];
    let mut environment = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => drop(environment.insert(name, value)),
            (Ok(name), Err(value)) if PLACES.contains(&name.as_str()) => {
                let message = format!("{name} is `{}`, which is not UTF-8", value.display());
                return Err(PathsError::new(message, format!("set {name} to a path that is UTF-8")));
            }
            _ => {}
        }
    }
    Ok(environment)
}

impl Paths {
    /// Decides where everything lies. Relative paths that were given as options are taken from the
    /// working directory.
    ///
    /// # Errors
    /// Where no home is known, a variable of ours holds a relative path, or the path of the socket is
    /// longer than the system takes.
    pub fn resolve(overrides: &PathOverrides, env: &BTreeMap<String, String>) -> Result<Self, PathsError> {
        Self::resolve_with(overrides, env, is_ours)
    }

    /// The same, where `is_usable` says which runtime directory is one.
    fn resolve_with(
        overrides: &PathOverrides,
        env: &BTreeMap<String, String>,
        is_usable: impl Fn(&Path) -> bool,
    ) -> Result<Self, PathsError> {
        let env = Env(env);
        let home = env.own_path("HOB_HOME")?;
        let state = match &home {
            Some(home) => home.clone(),
            None => env.xdg_or_home("XDG_STATE_HOME", ".local/state")?.join("hob"),
        };
        let config_given = overrides.config.clone().map(absolute).transpose()?;
        let config_given =
            config_given.map_or_else(|| env.own_path("HOB_CONFIG"), |given| Ok(Some(given)))?;
        let socket_given = overrides.socket.clone().map(absolute).transpose()?;
        let socket_given =
            socket_given.map_or_else(|| env.own_path("HOB_SOCKET"), |given| Ok(Some(given)))?;
        let config_is_given = config_given.is_some();
        let socket_is_given = socket_given.is_some();
        let config = match (config_given, &home) {
            (Some(given), _) => given,
            (None, Some(home)) => home.join("config.toml"),
            (None, None) => env.xdg_or_home("XDG_CONFIG_HOME", ".config")?.join("hob/config.toml"),
        };
        let runtime = env.xdg("XDG_RUNTIME_DIR");
        let stale = runtime.clone().filter(|runtime| !is_usable(runtime));
        let runtime = runtime.filter(|_| stale.is_none());
        let usual = || default_socket(runtime.as_deref(), home.as_deref(), &state);
        let needs_none = socket_is_given || home.is_some();
        let socket = socket_given.unwrap_or_else(usual);
        Ok(Self {
            config,
            config_is_given,
            database: state.join("hob.db"),
            worktrees: state.join("worktrees"),
            trash: state.join("worktrees/.trash"),
            logs: state.join("logs"),
            socket: fitting(socket)?,
            socket_is_given,
            lock: state.join("hob.lock"),
            stale_runtime: stale.filter(|_| !needs_none),
            state,
            home,
        })
    }

    /// Makes the directories that hob writes to, readable by their owner alone. What exists is
    /// left as it is: others may read it on purpose. [`Paths::check_owners`] refuses what they can
    /// write to.
    ///
    /// # Errors
    /// The first that could not be made, named in the message.
    pub fn create_dirs(&self) -> io::Result<()> {
        private_dir(&self.state)?;
        private_dir(&self.worktrees)?;
        private_dir(&self.logs)?;
        // The directory of a socket that was given is somebody else's, as is XDG_RUNTIME_DIR.
        match self.socket.parent() {
            Some(parent) if !self.socket_is_given => private_dir(parent),
            _ => Ok(()),
        }
    }
}

impl Paths {
    /// What a person should know of where the socket lies.
    pub fn notice(&self) -> Option<String> {
        let stale = self.stale_runtime.as_ref()?;
        Some(format!(
            "XDG_RUNTIME_DIR is `{}`, which is not there or not yours (su and sudo leave that): the socket is {}",
            stale.display(),
            self.socket.display()
        ))
    }

    /// Checks that everything that hob writes to is ours alone. The directory of a socket that was
    /// given is not asked for: a client looks who answers there.
    ///
    /// # Errors
    /// The first place that is not.
    pub fn check_owners(&self) -> Result<(), PlaceError> {
        let socket_directory = self.socket.parent().filter(|_| !self.socket_is_given);
        let directories = [&*self.state, &*self.worktrees, &*self.logs];
        for directory in directories.into_iter().chain(socket_directory) {
            trusted_path(directory)?;
        }
        for suffix in DATABASE_FILES {
            let mut file = self.database.as_os_str().to_owned();
            file.push(suffix);
            no_link(Path::new(&file))?;
        }
        Ok(())
    }
}

/// Whether a runtime directory is there and this user's. One that another login left behind (su, sudo,
/// a logout) is as good as none.
fn is_ours(runtime: &Path) -> bool {
    let writable = nix::unistd::access(runtime, AccessFlags::W_OK | AccessFlags::X_OK).is_ok();
    let found = std::fs::metadata(runtime);
    writable && found.is_ok_and(|found| found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw())
}

fn default_socket(runtime: Option<&Path>, home: Option<&Path>, state: &Path) -> PathBuf {
    match (home, runtime) {
        (Some(home), _) => home.join("hob.sock"),
        (None, Some(runtime)) => runtime.join("hob/hob.sock"),
        (None, None) => state.join("run/hob.sock"),
    }
}

fn fitting(socket: PathBuf) -> Result<PathBuf, PathsError> {
    let bytes = socket.as_os_str().as_bytes().len();
    if bytes <= SOCKET_BYTES_MAX {
        return Ok(socket);
    }
    let message = format!(
        "the path of the socket is {bytes} bytes long, {SOCKET_BYTES_MAX} is the most: {}",
        socket.display()
    );
    Err(PathsError::new(message, "give a shorter one with --socket or HOB_SOCKET"))
}

fn absolute(path: PathBuf) -> Result<PathBuf, PathsError> {
    std::path::absolute(&path).map_err(|error| {
        PathsError::new(
            format!("{} cannot be made absolute: {error}", path.display()),
            "give an absolute path",
        )
    })
}

fn private_dir(path: &Path) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    std::fs::DirBuilder::new().recursive(true).mode(PRIVATE).create(path).map_err(named)
}

#[cfg(test)]
mod tests;

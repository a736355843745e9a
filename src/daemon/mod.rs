//! The composition root: the only place where all parts meet.
//!
//! [`run`] is the whole life of a daemon, in order: lock, database, sweep, tree, socket, ready;
//! then it waits; then the same list backwards. [`main`] picks the exit code.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use hob_actors::ports::Ports;
use hob_actors::tree::{self, Tree};
use nix::sys::signal::Signal;
use tokio_util::sync::CancellationToken;

use crate::arena::Arenas;
use crate::backend::Agents;
use crate::backend::mcp_server::OwnServer;
use crate::backend::process::{
    KeeperProgram, Spawner, SpawnerOptions, StoreLedger, ThisMachine, descriptors, mark,
};
use crate::config::{Config, SharedConfig};
use crate::control::wire::Moment;
use crate::control::{self, Audience, Services};
use crate::paths::{self, PathOverrides, Paths};
use crate::pending::Pending;
use crate::retire::{Hooks, Retire};
use crate::store::Store;
use crate::sys;
use crate::worktree::Worktrees;

mod control_door;
mod exit;
mod init;
mod lock;
mod log;
mod notify;
mod retention;
mod wait;

pub use control_door::{DaemonControl, ShutdownRequest};
pub use exit::StartedByAgent;
pub use lock::{Held, HomeLock};
pub use log::LogFile;
use notify::Notifier;

/// What a daemon says on its stdout when it is ready.
pub const READY: &str = "ready\n";

/// What `hobd` is started with.
#[derive(Debug, Clone, Default)]
pub struct DaemonArgs {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--socket`
    pub socket: Option<PathBuf>,
    /// Stop when stdin ends.
    pub exit_with_stdin: bool,
    /// Log more, and allow debuggers and core dumps.
    pub debug: bool,
    /// Leave the caller's session, and write into `logs/` once ready.
    pub background: bool,
}

/// Everything that a daemon is told.
pub struct DaemonOptions {
    /// Where everything lies.
    pub paths: Paths,
    /// What the person configured.
    pub config: Config,
    /// The environment that agents inherit from.
    pub env: BTreeMap<String, String>,
    /// Stop when stdin ends.
    pub exit_with_stdin: bool,
    /// Allow debuggers and core dumps.
    pub debug: bool,
    /// In the background: where its words go, and that it leaves the caller once ready.
    pub background: Option<LogFile>,
    /// The program of the keepers.
    pub keeper: KeeperProgram,
}

/// Runs a daemon until it is told to stop. Says on stderr why it could not.
pub fn main(args: DaemonArgs) -> ExitCode {
    if std::process::id() == init::PID {
        return init::run();
    }
    match prepare(args).and_then(serve_until_stopped) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (code, hint) = exit::judge(&error);
            eprintln!("error: {}", exit::spoken(&error));
            if let Some(hint) = hint {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(code)
        }
    }
}

fn prepare(args: DaemonArgs) -> anyhow::Result<DaemonOptions> {
    if mark::is_own_marked() {
        return Err(exit::StartedByAgent.into());
    }
    let env = paths::environment()?;
    let paths = Paths::resolve(&PathOverrides { config: args.config, socket: args.socket }, &env)?;
    let config = Config::load_at(&paths, &env)?.config;
    if args.background {
        // Fails only for a process that leads its group already, and then there is nothing to leave.
        nix::unistd::setsid().ok();
    }
    // A write beyond the limit of a file's size (`ulimit -f`) is then an error, like a full disk.
    // Agents get the default back.
    crate::sys::ignore_signal(Signal::SIGXFSZ)?;
    make_dirs(&paths)?;
    descriptors::raise();
    let background = log::start(args.debug, args.background.then_some(&*paths.logs))?;
    Ok(DaemonOptions {
        paths,
        config,
        env,
        exit_with_stdin: args.exit_with_stdin,
        debug: args.debug,
        background,
        keeper: KeeperProgram::own().context("cannot open the daemon's own program")?,
    })
}

fn serve_until_stopped(options: DaemonOptions) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("hobd").build()?;
    let ended = runtime.block_on(run(options));
    // What is left on blocking threads (a git that hangs) must not hold up the end.
    runtime.shutdown_background();
    ended
}

/// The parts of a daemon that is up, in start order.
struct Parts {
    store: Store,
    spawner: Spawner,
    tree: Tree,
    arenas: Arenas,
    stopping: CancellationToken,
    stopped: CancellationToken,
    server: tokio::task::JoinHandle<()>,
    /// Whether the socket file is ours to remove: systemd keeps its own.
    owns_socket: bool,
    notifier: Notifier,
}

/// The whole life of a daemon.
///
/// # Errors
/// Where it could not start, or where a part without which it cannot go on has failed.
pub async fn run(options: DaemonOptions) -> anyhow::Result<()> {
    let paths = options.paths.clone();
    make_dirs(&paths)?;
    // Taken before anything is opened or swept: one daemon per state directory.
    let lock = HomeLock::take_over(&paths.lock, &paths.socket).await?;
    if !options.debug {
        crate::sys::set_undumpable();
    }
    let (door, mut requests) = control_door::open(&options);
    let parts = start(&options, &door).await?;
    retention::begin(&parts.store, &door, &parts.stopped);
    for notice in paths.notice().into_iter().chain(door.config().current().warnings.iter().cloned()) {
        tracing::warn!("{notice}");
    }
    tracing::info!(pid = std::process::id(), socket = %paths.socket.display(), "ready");
    parts.notifier.tell("READY=1");
    log::say_ready(options.background.as_ref())?;

    let owns_socket = parts.owns_socket;
    let why = wait::for_the_end(&parts, &door, &mut requests, options.exit_with_stdin).await;
    let failed = stop(parts, why, &mut requests).await;
    if owns_socket {
        std::fs::remove_file(&paths.socket).ok();
    }
    drop(lock);
    failed
}

/// Makes the directories, and looks whose everything is that the daemon will write to.
fn make_dirs(paths: &Paths) -> anyhow::Result<()> {
    paths
        .create_dirs()
        .with_context(|| format!("cannot make the directories of {}", paths.state.display()))?;
    Ok(paths.check_owners()?)
}

async fn start(options: &DaemonOptions, door: &DaemonControl) -> anyhow::Result<Parts> {
    #[cfg(feature = "campaign")]
    hob_actors::mutant::hear_old_generations(mutant!("no_generation_check"));
    let paths = &options.paths;
    let store = open_store(paths).await?;
    crash_point!("start.opened");
    let settled =
        store.settle("the daemon ended while it ran").await.context("cannot settle what ran before")?;
    tracing::info!(?settled, "settled what ran before");
    let config = door.config();
    let spawner = start_spawner(options, &store, &config).await?;
    crash_point!("start.unswept");
    let swept = if mutant!("no_sweep") { Default::default() } else { spawner.sweep().await };
    crash_point!("start.swept");
    tracing::info!(ended = swept.ended.len(), unreadable = swept.unreadable.len(), "swept");

    let root = config.current().worktrees.root.clone().unwrap_or_else(|| paths.worktrees.clone());
    let copied = config.clone();
    let worktrees = Worktrees::new(root, Arc::new(move || copied.current().worktrees.copy.clone()));
    let program = options.keeper.file().context("cannot tell where the daemon's own program lies")?;
    let own_server = OwnServer::new(&program, &paths.socket);
    let (env, state) = (options.env.clone(), paths.state.clone());
    let hooks = Hooks::new(config.clone(), env.clone(), spawner.clone(), own_server.env.clone());
    let agents = Arc::new(Agents::new(config.clone(), spawner.clone(), env, state, own_server));
    let pending = Pending::new(store.clone(), worktrees.clone());
    let retire = Retire::new(store.clone(), worktrees.clone(), config.clone(), hooks, pending.clone());
    resume(&retire, &pending).await?;
    let audience = Audience::new();
    let tree = tree::start(Ports {
        store: Arc::new(store.clone()),
        backend: agents.clone(),
        settings: Arc::new(config.clone()),
        audience: Arc::new(audience.clone()),
        machine: Arc::new(ThisMachine),
        snapshots: Arc::new(pending.clone()),
        worktrees: Arc::new(retire.clone()),
    })
    .await
    .context("cannot start the supervision tree")?;
    audience.attach(tree.handle());
    retire.attach(tree.handle());
    door.attach(tree.handle());
    let arenas = Arenas::new(store.clone(), retire.hooks().clone());
    arenas.resume().await.context("cannot take up the checks of arenas")?;

    crash_point!("start.deaf");
    let (listener, owns_socket) = listen(paths)?;
    crash_point!("start.listening");
    let (stopping, stopped) = (CancellationToken::new(), CancellationToken::new());
    let services = Arc::new(Services {
        store: store.clone(),
        config,
        paths: paths.clone(),
        worktrees,
        pending,
        retire,
        arenas: arenas.clone(),
        agents,
        tree: tree.handle(),
        audience,
        control: door.clone(),
        started_at: Moment::now(),
        up_since: Instant::now(),
        kin: spawner.kin().clone(),
        owns_socket,
        stopping: stopping.clone(),
        flights: control::flight::Flights::default(),
    });
    let server = tokio::spawn(control::serve(listener, services, stopped.clone().cancelled_owned()));
    let notifier = Notifier::of_environment();
    Ok(Parts { store, spawner, tree, arenas, stopping, stopped, server, owns_socket, notifier })
}

/// Takes up what an earlier daemon did not come to the end of, with worktrees and with files.
async fn resume(retire: &Retire, pending: &Pending) -> anyhow::Result<()> {
    retire.resume().await.context("cannot finish what was begun with worktrees")?;
    retire.take_up().await.context("cannot look where worktrees are")?;
    pending.resume().await;
    crash_point!("start.resumed");
    Ok(())
}

async fn start_spawner(
    options: &DaemonOptions,
    store: &Store,
    config: &SharedConfig,
) -> anyhow::Result<Spawner> {
    let options = SpawnerOptions {
        keeper: options.keeper.clone(),
        ledger: Arc::new(StoreLedger::new(store.clone())),
        orphan_grace: config.current().process.orphan_grace,
        debug: options.debug,
    };
    Spawner::start(options).await.context("cannot start the spawner")
}

async fn open_store(paths: &Paths) -> anyhow::Result<Store> {
    let database = paths.database.clone();
    let opened = tokio::task::spawn_blocking(move || Store::open(&database)).await?;
    Ok(opened.map_err(|error| exit::NotOpened { database: paths.database.clone(), error })?)
}

/// The socket that systemd handed over, else our own; and whether it is our own.
fn listen(paths: &Paths) -> anyhow::Result<(tokio::net::UnixListener, bool)> {
    match listenfd::ListenFd::from_env().take_unix_listener(0) {
        Ok(Some(listener)) if !sys::is_listening(&listener) => {
            anyhow::bail!("systemd handed over a socket that does not listen")
        }
        Ok(Some(listener)) => Ok((control::adopt(listener)?, false)),
        Ok(None) => Ok((control::bind(&paths.socket)?, true)),
        Err(error) => Err(error).context("systemd handed over something that is not a Unix socket"),
    }
}

/// The list backwards. A failed part is reported after everybody else was stopped in order.
async fn stop(parts: Parts, why: wait::End, requests: &mut control_door::Requests) -> anyhow::Result<()> {
    tracing::info!(?why, "stopping");
    parts.notifier.tell("STOPPING=1");
    parts.stopping.cancel();
    crash_point!("stop.refusing");
    let mut now = why.now;
    if let Some(limit) = why.drain {
        tokio::select! {
            () = parts.tree.drain(limit) => {}
            // A second signal hurries.
            () = wait::hurried(requests) => now = true,
        }
    }
    parts.arenas.stop().await;
    parts.store.begin_to_end();
    {
        let letting_go = parts.tree.stop(now);
        tokio::pin!(letting_go);
        tokio::select! {
            () = &mut letting_go => {}
            () = wait::hurried(requests), if !now => parts.tree.stop(true).await,
        }
    }
    crash_point!("stop.let_go");
    parts.stopped.cancel();
    parts.server.await.ok();
    crash_point!("stop.deaf");
    parts.spawner.close().await;
    crash_point!("stop.gone");
    let closed = parts.store.close().await;
    crash_point!("stop.closed");
    tracing::info!("stopped");
    match why.failure {
        // A database that failed cannot be closed well, and that is not the news.
        Some(failure) => Err(failure.into()),
        None => closed.context("cannot close the database"),
    }
}

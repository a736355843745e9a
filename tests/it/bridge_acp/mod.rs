//! `hob acp`: editors and other ACP clients, bridged to the daemon.

mod acpx;
mod attached;
mod bad;
mod choose;
mod lost;
mod real;
mod sdk;
mod turns;

use crate::support::daemon::TestDaemon;
use crate::support::editor::Editor;
use crate::support::home::Setup;
use crate::support::repo::Repo;

/// Never starts a daemon by itself: the test does.
const NO_START: &str = "--no-start";

/// A daemon, a repository, and an editor whose agent is the built-in one.
fn stage() -> (TestDaemon, Repo, Editor) {
    let daemon = Setup::new().config("default_agent = \"demo\"").start();
    let repo = daemon.repo("repo");
    let editor = Editor::greeted(&daemon, &["-a", "demo", NO_START]);
    (daemon, repo, editor)
}

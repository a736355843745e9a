//! Places that others own or can write to, and daemons of others: refused with exit 4 and the command
//! that mends it, before anything is read, written or said.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::client::Client;
use crate::support::home::{Home, Ran, Setup};
use crate::support::wait::until;

/// Two users that have nothing to do with each other.
const THEM: u32 = 65533;
const OTHERS: u32 = 65532;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Both programs: the daemon itself, and a command that would start it.
fn both(home: &Home) -> [Ran; 2] {
    let hobd = home.command(env!("CARGO_BIN_EXE_hobd")).output().unwrap();
    [Ran::of(hobd), home.hob(&["up"])]
}

fn is_root(test: &str) -> bool {
    let is_root = nix::unistd::Uid::effective().is_root();
    if !is_root {
        // Written past the capture of the test harness, so that it is seen.
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: only root can be somebody else");
    }
    is_root
}

#[test]
fn a_home_that_others_can_write_to_is_refused_until_it_is_mended() {
    let home = Setup::new().home();
    set_mode(&home.hob_home(), 0o777);
    for ran in both(&home) {
        ran.exit(4).says(&["others can write to", "o-w ", home.hob_home().to_str().unwrap()]);
    }
    assert!(!home.hob_home().join("hob.db").exists(), "nothing was written there");
    set_mode(&home.hob_home(), 0o755);
    home.hob(&["up"]).ok();
    home.hob(&["down"]).ok();
}

#[test]
fn a_configuration_that_others_can_write_to_is_not_read_and_a_reload_keeps_the_old_one() {
    let home = Setup::new().home();
    let file = home.hob_home().join("config.toml");
    set_mode(&file, 0o666);
    for ran in both(&home).into_iter().chain([home.hob(&["config", "check"])]) {
        ran.exit(4).says(&["config.toml", "o-w "]);
    }
    set_mode(&file, 0o600);
    home.hob(&["up"]).ok();
    // Where the file lies counts as much as the file.
    let shared = home.root().join("shared");
    fs::create_dir_all(&shared).unwrap();
    fs::rename(&file, shared.join("config.toml")).unwrap();
    symlink(shared.join("config.toml"), &file).unwrap();
    home.hob(&["reload"]).ok();
    set_mode(&shared, 0o777);
    home.hob(&["reload"]).exit(4).says(&["o-w ", shared.to_str().unwrap()]);
    home.hob(&["status"]).ok();
    home.hob(&["down"]).ok();
}

#[test]
fn a_runtime_directory_that_others_can_write_to_is_refused() {
    let home = Setup::new().home();
    let runtime = home.root().join("run");
    fs::create_dir_all(runtime.join("hob")).unwrap();
    set_mode(&runtime.join("hob"), 0o777);
    let mut hobd = home.command(env!("CARGO_BIN_EXE_hobd"));
    hobd.env_remove("HOB_HOME").env("XDG_RUNTIME_DIR", &runtime).env("XDG_STATE_HOME", home.root());
    Ran::of(hobd.output().unwrap()).exit(4).says(&["o-w ", "run/hob"]);
    assert!(!runtime.join("hob/hob.sock").exists());
}

#[test]
fn planted_links_in_the_place_of_what_hob_writes_are_not_followed() {
    for planted in ["hob.lock", "logs/hobd.log", "hob.db", "hob.db-wal"] {
        let home = Setup::new().home();
        let precious = home.root().join("precious");
        fs::write(&precious, "precious").unwrap();
        fs::create_dir_all(home.hob_home().join("logs")).unwrap();
        symlink(&precious, home.hob_home().join(planted)).unwrap();
        home.hob(&["up"]).exit(4).says(&["is a link", planted, "rm "]);
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious", "{planted}");
        fs::remove_file(home.hob_home().join(planted)).unwrap();
        home.hob(&["up"]).ok();
        home.hob(&["down"]).ok();
    }
}

#[test]
fn a_configuration_of_another_user_is_refused() {
    if !is_root("a_configuration_of_another_user_is_refused") {
        return;
    }
    let home = Setup::new().home();
    let file = home.hob_home().join("config.toml");
    chown(&file, Some(THEM), None).unwrap();
    for ran in both(&home) {
        ran.exit(4).says(&["belongs to user", "sudo chown -h root", "config.toml"]);
    }
}

/// A copy of `hob` that every user can run, in a directory that they can look into.
fn program_for_all(home: &Home) -> PathBuf {
    let program = home.root().join("hob-for-all");
    // By another process: what one has open for writing while a neighbour forks cannot be executed.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_hob")).arg(&program).status().unwrap();
    assert!(copied.success());
    set_mode(&program, 0o755);
    set_mode(home.root(), 0o755);
    program
}

#[test]
fn nothing_is_said_to_a_daemon_of_another_user() {
    if !is_root("nothing_is_said_to_a_daemon_of_another_user") {
        return;
    }
    let home = Setup::new().home();
    let program = program_for_all(&home);
    let theirs = home.root().join("theirs");
    fs::create_dir(&theirs).unwrap();
    chown(&theirs, Some(THEM), Some(THEM)).unwrap();
    let socket = theirs.join("hob.sock");
    let run = |uid: u32| {
        let mut command = home.command(&program);
        command.env("HOB_HOME", &theirs).uid(uid).gid(uid);
        command
    };
    let mut daemon = run(THEM).args(["daemon", "--exit-with-stdin"]).stdin(Stdio::piped()).spawn().unwrap();
    until("their daemon to answer", || Client::connect(&socket).ok());
    set_mode(&socket, 0o777);

    Ran::of(run(THEM).args(["--no-start", "status"]).output().unwrap()).ok();
    let named = ["--no-start", "--socket", socket.to_str().unwrap(), "status"];
    let refused = |ran: Ran| ran.exit(4).says(&["runs as user 65533"]);
    // Another user, whom the daemon would refuse as well.
    refused(Ran::of(run(OTHERS).args(named).output().unwrap()));
    // root, whom it would serve: only where the socket is named.
    refused(Ran::of(home.command(&program).env("HOB_HOME", &theirs).args(["ps"]).output().unwrap()));
    Ran::of(home.command(&program).args(named).output().unwrap()).ok();

    drop(daemon.stdin.take());
    daemon.wait().unwrap();
}

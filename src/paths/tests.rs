//! Where everything lies, by what the environment says.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn resolve(pairs: &[(&str, &str)]) -> Paths {
    Paths::resolve_with(&PathOverrides::default(), &env(pairs), |dir| dir != Path::new("/stale")).unwrap()
}

#[test]
fn the_socket_lies_where_the_environment_says() {
    for (pairs, socket) in [
        (&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/1")][..], "/run/user/1/hob/hob.sock"),
        (&[("HOME", "/h")], "/h/.local/state/hob/run/hob.sock"),
        (&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")], "/s/hob/run/hob.sock"),
        (&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "relative")], "/h/.local/state/hob/run/hob.sock"),
        (&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "")], "/h/.local/state/hob/run/hob.sock"),
        (&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/stale")], "/h/.local/state/hob/run/hob.sock"),
        (&[("HOB_HOME", "/o"), ("XDG_RUNTIME_DIR", "/run/user/1")], "/o/hob.sock"),
        (&[("HOB_HOME", "/o"), ("HOB_SOCKET", "/x.sock")], "/x.sock"),
    ] {
        assert_eq!(resolve(pairs).socket, Path::new(socket), "{pairs:?}");
    }
}

#[test]
fn a_runtime_directory_that_is_of_no_use_is_told_where_it_would_be_used() {
    let stale = [("HOME", "/h"), ("XDG_RUNTIME_DIR", "/stale")];
    assert_eq!(resolve(&stale).stale_runtime.as_deref(), Some(Path::new("/stale")));
    assert_eq!(resolve(&[&stale[..], &[("HOB_HOME", "/o")]].concat()).stale_runtime, None);
    assert_eq!(resolve(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/1")]).stale_runtime, None);
    let temp = tempfile::tempdir().unwrap();
    assert!(is_ours(temp.path()));
    assert!(!is_ours(&temp.path().join("gone")) && !is_ours(Path::new("/proc/self/status")));
}

#[test]
fn one_home_holds_everything_directly() {
    let paths = resolve(&[("HOB_HOME", "/o"), ("HOME", "/h"), ("XDG_CONFIG_HOME", "/c")]);
    assert_eq!(paths.config, Path::new("/o/config.toml"));
    assert_eq!(paths.database, Path::new("/o/hob.db"));
    assert_eq!(paths.worktrees, Path::new("/o/worktrees"));
    assert_eq!(paths.logs, Path::new("/o/logs"));
    assert_eq!(paths.lock, Path::new("/o/hob.lock"));
    assert!(!paths.config_is_given);
}

#[test]
fn what_is_said_on_the_command_line_wins() {
    let overrides = PathOverrides { config: Some("/a.toml".into()), socket: Some("/a.sock".into()) };
    let paths =
        Paths::resolve(&overrides, &env(&[("HOB_HOME", "/o"), ("HOB_CONFIG", "/b"), ("HOB_SOCKET", "/c")]))
            .unwrap();
    assert_eq!(paths.config, Path::new("/a.toml"));
    assert_eq!(paths.socket, Path::new("/a.sock"));
    assert!(paths.config_is_given && paths.socket_is_given);
}

#[test]
fn a_socket_path_may_have_107_bytes_and_no_more() {
    let fits = format!("/{}", "s".repeat(106));
    assert_eq!(resolve(&[("HOME", "/h"), ("HOB_SOCKET", &fits)]).socket, Path::new(&fits));
    let error = Paths::resolve(
        &PathOverrides::default(),
        &env(&[("HOME", "/h"), ("HOB_SOCKET", &format!("{fits}s"))]),
    );
    let text = error.unwrap_err().to_string();
    assert!(text.contains("108 bytes") && text.contains("HOB_SOCKET"), "{text}");
}

#[test]
fn a_relative_place_in_a_variable_is_refused_with_what_to_type() {
    for name in ["HOB_HOME", "HOB_CONFIG", "HOB_SOCKET"] {
        let error = Paths::resolve(&PathOverrides::default(), &env(&[("HOME", "/h"), (name, "./x")]));
        let error = error.unwrap_err();
        assert!(error.message.contains("./x") && error.hint.contains(&format!("export {name}=")), "{error}");
    }
}

#[test]
fn without_any_home_the_error_says_what_to_set() {
    let error = Paths::resolve(&PathOverrides::default(), &env(&[])).unwrap_err();
    assert!(error.to_string().contains("HOB_HOME"), "{error}");
}

#[test]
fn directories_are_made_private() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path().join("new/home");
    let paths = resolve(&[("HOB_HOME", home.to_str().unwrap())]);
    paths.create_dirs().unwrap();
    for directory in [&paths.state, &paths.worktrees, &paths.logs] {
        assert_eq!(std::fs::metadata(directory).unwrap().permissions().mode() & 0o777, 0o700);
    }
}

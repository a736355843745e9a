//! Tests of the configuration: what is taken, what is refused and in which words, and what wins.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use hob_actors::id::AgentName;
use hob_actors::ports::{PermissionPolicy, Settings as _, Unattended};

use super::*;

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Loads a file with that text, and variables over it. The path in errors is `F`.
fn load(text: &str, pairs: &[(&str, &str)]) -> Result<Loaded, String> {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(Some(&path), &variables(pairs))
        .map_err(|error| error.to_string().replace(path.to_str().unwrap(), "F"))
}

fn config(text: &str) -> Config {
    load(text, &[]).unwrap().config
}

#[test]
fn a_missing_file_and_an_empty_one_mean_the_defaults() {
    let missing = Config::load(Some(Path::new("/nonexistent/config.toml")), &BTreeMap::new()).unwrap();
    assert_eq!(missing.config, Config::default());
    assert_eq!(config(""), Config::default());
    assert_eq!(missing.config.pool.max_live, 12);
    assert_eq!(missing.config.process.orphan_grace, Duration::from_millis(300));
    assert_eq!(missing.config.watchdog.permission, None);
}

#[test]
fn every_default_that_is_shown_may_be_written_back() {
    let shown = load("", &[]).unwrap().shown();
    let text: String = shown.iter().map(|line| format!("{} = {}\n", line.key, line.value)).collect();
    let again = config(&text);
    assert_eq!(again.changed_keys(&Config::default()), Vec::<String>::new(), "{text}");
    assert!(shown.len() > 50);
}

#[test]
fn the_example_of_the_documentation_does_what_it_says() {
    let config = config(
        r#"
default_agent = "goose"

[agents.goose]
command = ["goose", "acp"]
env = { GOOSE_MODE = "auto" }
pass = ["MY_TOKEN"]
[agents.goose.health]
stale_grace = "5m"
"#,
    );
    let goose = config.agent("goose").unwrap();
    assert_eq!(config.default_agent.as_deref(), Some("goose"));
    assert!(goose.configured && !config.agent("qwen").unwrap().configured);
    assert!(goose.pass.contains(&"MY_TOKEN".to_owned()) && goose.pass.contains(&"GOOSE_*".to_owned()));
    assert_eq!(goose.health.stale_grace, Duration::from_secs(300));
    assert_eq!(goose.health.failures_max, Some(8));
    assert_eq!(config.agent("opencode").unwrap().health.failures_max, Some(20));
    assert_eq!(config.health.stale_grace, Duration::from_secs(120));
}

/// What is written, and how the refusal begins.
const REFUSED: &[(&str, &str)] = &[
    ("[pool]\nmax_liv = 3", "F:2: key `pool.max_liv`: unknown key; did you mean `max_live`?"),
    ("\n[puul]\nx = 1", "F:2: key `puul`: unknown key; did you mean `pool`?"),
    ("colour = 1", "F:1: key `colour`: unknown key; known are"),
    (
        "[pool]\nmax_live = \"many\"",
        "F:2: key `pool.max_live`: invalid type: string \"many\", expected usize",
    ),
    ("[pool]\nmax_live = 0", "F:2: key `pool.max_live`: \"0\" is not allowed: must be at least 1"),
    ("[pool]\nmax_live = -1", "F:2: key `pool.max_live`: "),
    (
        "[pool]\n\nidle_ttl = 30",
        "F:3: key `pool.idle_ttl`: invalid type: integer `30`, expected a duration with its unit",
    ),
    (
        "[pool]\nidle_ttl = \"soon\"",
        "F:2: key `pool.idle_ttl`: \"soon\" is not allowed: expected a duration such as",
    ),
    (
        "[pool]\nmin_available = \"much\"",
        "F:2: key `pool.min_available`: \"much\" is not allowed: expected a size",
    ),
    (
        "[control]\nmax_frame = \"1KiB\"",
        "F:2: key `control.max_frame`: \"1KiB\" is not allowed: must be at least 4KiB",
    ),
    (
        "[control]\nmax_frame = \"9GiB\"",
        "F:2: key `control.max_frame`: \"9GiB\" is not allowed: must be at most 256MiB",
    ),
    (
        "[watchdog]\nsilence = \"0s\"",
        "F:2: key `watchdog.silence`: \"0s\" is not allowed: must be longer than 0s; \"off\"",
    ),
    (
        "[health]\ninterval = \"0s\"",
        "F:2: key `health.interval`: \"0s\" is not allowed: must be at least 1ms",
    ),
    (
        "[permissions]\nedit = \"alow\"",
        "F:2: key `permissions.edit`: \"alow\" is not a value of this key; did you mean `allow`?",
    ),
    (
        "[permissions]\nunattended = \"ask\"",
        "F:2: key `permissions.unattended`: \"ask\" is not a value of this key; known are",
    ),
    ("pool = 3", "F:1: key `pool`: invalid type: integer `3`, expected a table"),
    ("[pool]\nmax_live = 1\nmax_live = 2", "F:3: duplicate key at \"max_live\""),
    ("[pool\nmax_live = 1", "F:1: "),
    ("[restart]\nbackoff_min = \"1m\"", "F:2: key `restart.backoff_min`: is longer than `backoff_max`"),
    (
        "default_agent = \"gose\"",
        "F:1: key `default_agent`: no agent is called \"gose\"; did you mean `goose`?",
    ),
    ("[worktrees]\nroot = \"here\"", "F:2: key `worktrees.root`: is not an absolute path"),
    ("[worktrees]\ncopy = [\"../x\"]", "F:2: key `worktrees.copy`: \"../x\" leads out of the repository"),
    ("[worktrees]\ndisposable = [\".git\"]", "F:2: key `worktrees.disposable`: \".git\" is not"),
    ("[agents.x]\n", "F:1: key `agents.x.command`: is missing; give program and arguments as a list"),
    (
        "[agents.x]\ncommand = \"x\"",
        "F:2: key `agents.x.command`: invalid type: string \"x\", expected a list",
    ),
    ("[agents.x]\ncommand = [\"bin/x\"]", "F:2: key `agents.x.command`: \"bin/x\" is relative"),
    ("[agents.x]\nbackend = \"oneshot\"", "F:1: key `agents.x.oneshot`: is missing"),
    (
        "[agents.x]\nbackend = \"oneshot\"\noneshot = [\"x\", \"-p\"]",
        "F:3: key `agents.x.oneshot`: has no {prompt}, so no task would ever reach the program; write",
    ),
    (
        "[agents.x]\nbackend = \"oneshot\"\noneshot = [\"x\", \"{model}\", \"{prompt}\"]",
        "F:3: key `agents.x.oneshot`: has {model}, and no model is configured; set model",
    ),
    (
        "[agents.goose]\noneshot = [\"bin/x\", \"{prompt}\"]",
        "F:2: key `agents.goose.oneshot`: \"bin/x\" is relative",
    ),
    ("[agents.demo]\nbackend = \"oneshot\"", "F:1: key `agents.demo.oneshot`: is missing"),
    ("[agents.goose]\npass = [\"LD_*\"]", "F:2: key `agents.goose.pass`: \"LD_*\" cannot be passed on"),
    ("[agents.goose]\npass = [\"*\"]", "F:2: key `agents.goose.pass`: \"*\" cannot be passed on"),
    (
        "[agents.goose.health]\ninterval = \"x\"",
        "F:2: key `agents.goose.health.interval`: \"x\" is not allowed",
    ),
    ("[agents.goose.pool]\nmax_live = 1", "F:1: key `agents.goose.pool`: unknown key; known are"),
    ("[agents.\"a/b\"]\ncommand = [\"x\"]", "F:1: key `agents.\"a/b\"`: is not a name for an agent"),
    (
        "[agents.opencode]\nsandbox = \"worktree\"",
        "F:2: key `agents.opencode.sandbox`: needs a process for each",
    ),
    (
        "[agents.goose]\nmode = \"auto\"\nshare = \"workspace\"",
        "F:3: key `agents.goose.share`: only an opencode server can be shared",
    ),
    (
        "[agents.opencode]\nshare = \"all\"\nbackend = \"acp\"",
        "F:2: key `agents.opencode.share`: only an opencode server can be shared",
    ),
];

#[test]
fn what_is_wrong_is_named_with_file_line_and_key() {
    for (text, error) in REFUSED {
        let found = load(text, &[]).map(|_| ()).unwrap_err();
        assert!(found.starts_with(error), "for {text:?}\n   found {found}\nexpected {error}");
    }
}

#[test]
fn a_variable_wins_over_the_file_and_an_error_names_it() {
    let text = "[pool]\nmax_live = 3\n[agents.my-agent]\ncommand = [\"x\"]";
    let loaded = load(
        text,
        &[
            ("HOB_POOL__MAX_LIVE", "4"),
            ("HOB_POOL__IDLE_TTL", "1h"),
            ("HOB_DEFAULT_AGENT", "demo"),
            ("HOB_AGENTS__MY_AGENT__COMMAND", "[\"y\", \"z\"]"),
            ("HOB_AGENTS__MY_AGENT__MODEL", "4"),
            ("HOB_AGENTS__GOOSE__ENV__GOOSE_MODE", "1"),
            ("HOB_AGENTS__GOOSE__PROCESS__STOP_GRACE", "1s"),
            ("HOB_HOME", "/ignored"),
            ("HOB_LOG", "debug"),
        ],
    )
    .unwrap();
    let config = &loaded.config;
    assert_eq!((config.pool.max_live, config.pool.idle_ttl), (4, Duration::from_secs(3600)));
    assert_eq!(config.agent("my-agent").unwrap().command, ["y", "z"]);
    assert_eq!(config.agent("my-agent").unwrap().model.as_deref(), Some("4"));
    assert_eq!(config.agent("goose").unwrap().env["GOOSE_MODE"], "1");
    assert_eq!(config.agent("goose").unwrap().process.stop_grace, Duration::from_secs(1));
    assert_eq!(config.agent("qwen").unwrap().process.stop_grace, Duration::from_secs(5));

    for (variable, value, error) in [
        (
            "HOB_POOL__MAX_LIV",
            "4",
            "environment variable `HOB_POOL__MAX_LIV`: unknown key; did you mean `max_live`?",
        ),
        ("HOB_PUUL__X", "4", "environment variable `HOB_PUUL__X`: unknown key; did you mean `pool`?"),
        (
            "HOB_POOL__MAX_LIVE",
            "0",
            "environment variable `HOB_POOL__MAX_LIVE`: \"0\" is not allowed: must be at least 1",
        ),
        (
            "HOB_POOL__MAX_LIVE",
            "a few",
            "environment variable `HOB_POOL__MAX_LIVE`: invalid type: string \"a few\"",
        ),
        (
            "HOB_DEFAULT_AGENT",
            "nobody",
            "environment variable `HOB_DEFAULT_AGENT`: no agent is called \"nobody\"",
        ),
        ("HOB_RESTART__BACKOFF_MIN", "1h", "environment variable `HOB_RESTART__BACKOFF_MIN`: is longer than"),
    ] {
        let found = load("", &[(variable, value)]).map(|_| ()).unwrap_err();
        assert!(found.starts_with(error), "found {found}\nexpected {error}");
    }
}

#[test]
fn every_value_says_where_it_comes_from() {
    let text = "[pool]\nmax_live = 3\n[agents.goose.env]\nSOME_API_KEY = \"very secret\"\nPLAIN = \"told\"";
    let loaded = load(text, &[("HOB_DISPATCH__MAX_RUNNING", "2")]).unwrap();
    let shown = loaded.shown();
    let line =
        |key: &str| shown.iter().find(|line| line.key == key).unwrap_or_else(|| panic!("{key} is not shown"));
    assert!(matches!(&line("pool.max_live").origin, Origin::File { line: 2, .. }));
    assert_eq!(line("pool.idle_ttl").origin, Origin::Default);
    assert_eq!(line("pool.idle_ttl").value, "\"30m\"");
    assert_eq!(line("dispatch.max_running").origin, Origin::Variable("HOB_DISPATCH__MAX_RUNNING".into()));
    assert_eq!(line("agents.goose.command").origin, Origin::Known);
    assert_eq!(line("agents.goose.env.PLAIN").value, "\"told\"");
    assert!(shown.iter().all(|line| !line.value.contains("very secret")));
}

#[test]
fn a_reload_says_which_keys_changed() {
    let shared = SharedConfig::new(config("[pool]\nmax_live = 3"));
    let before = shared.current();
    let changed = shared.replace(config("[pool]\nmax_live = 4\n[agents.x]\ncommand = [\"x\"]"));
    assert_eq!(changed, ["agents.x.command", "pool.max_live"]);
    assert_eq!((before.pool.max_live, shared.current().pool.max_live), (3, 4));
    assert_eq!(shared.replace(Config::clone(&shared.current())), Vec::<String>::new());
}

#[test]
fn the_tree_sees_an_agents_overrides() {
    let shared = SharedConfig::new(config(
        "[permissions]\nedit = \"allow\"\n[agents.goose.permissions]\nexecute = \"reject\"\n[agents.goose.process]\ncancel_grace = \"1s\"",
    ));
    let goose = shared.agent(&AgentName::from("goose"));
    let other = shared.agent(&AgentName::from("no longer there"));
    assert_eq!(goose.cancel_grace, Duration::from_secs(1));
    assert_eq!(other.cancel_grace, Duration::from_secs(10));
    assert_eq!(goose.permissions.by_kind.get("edit"), Some(&PermissionPolicy::Allow));
    assert_eq!(goose.permissions.by_kind.get("execute"), Some(&PermissionPolicy::Reject));
    assert_eq!(other.permissions.by_kind.get("execute"), None);
    assert_eq!(goose.permissions.unattended, Unattended::BySource);
    assert_eq!(shared.limits().max_live, 12);
}

#[test]
fn opencode_can_be_driven_over_acp_by_saying_so() {
    let opencode = |text: &str| config(text).agent("opencode").unwrap().clone();
    assert_eq!((opencode("").command, opencode("").share), (vec!["opencode".to_owned()], Share::All));
    let over_acp = opencode("[agents.opencode]\nbackend = \"acp\"");
    assert_eq!(
        (over_acp.command, over_acp.share),
        (vec!["opencode".to_owned(), "acp".to_owned()], Share::None)
    );
}

#[test]
fn the_built_in_agent_is_always_there_and_may_be_adjusted() {
    assert!(Config::default().agent("demo").unwrap().is_demo());
    let adjusted = config("[agents.demo]\nmodel = \"m\"");
    assert!(adjusted.agent("demo").unwrap().is_demo() && adjusted.agent("demo").unwrap().configured);
}

#[test]
fn a_file_that_was_asked_for_must_exist() {
    let overrides = crate::paths::PathOverrides { config: Some("/nonexistent/x.toml".into()), socket: None };
    let paths = Paths::resolve(&overrides, &variables(&[("HOME", "/h")])).unwrap();
    let error = Config::load_at(&paths, &BTreeMap::new()).unwrap_err();
    assert_eq!(error.to_string(), "/nonexistent/x.toml: cannot be read: no such file");
}

#[test]
fn a_program_is_looked_up_on_the_agents_own_path() {
    let temp = tempfile::tempdir().unwrap();
    let place = |name: &str, mode: u32| {
        let path = temp.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let (good, plain) = (place("b/tool", 0o755), place("a/tool", 0o644));
    let both = format!("{}:{}", temp.path().join("a").display(), temp.path().join("b").display());
    let agent = |command: &str, path: Option<&str>| {
        let mut agent = config("[agents.x]\ncommand = [\"x\"]").agent("x").unwrap().clone();
        agent.command = vec![command.to_owned()];
        agent.env = path.map(|path| ("PATH".to_owned(), path.to_owned())).into_iter().collect();
        agent
    };
    let find_program = |agent: &AgentConfig, path: &str| find_program_of(agent, &agent.command, path);
    assert_eq!(find_program(&agent("tool", None), &both), Ok(good.clone()));
    assert_eq!(find_program(&agent("tool", Some(&both)), "/nowhere"), Ok(good.clone()));
    assert_eq!(find_program(&agent(good.to_str().unwrap(), None), ""), Ok(good));
    let only_plain = temp.path().join("a");
    assert_eq!(
        find_program(&agent("tool", None), only_plain.to_str().unwrap()),
        Err(format!("{} is not executable", plain.display()))
    );
    assert_eq!(find_program(&agent("tool", None), ""), Err("`tool` is not on PATH".to_owned()));
    assert_eq!(find_program(&agent("/no/tool", None), ""), Err("/no/tool does not exist".to_owned()));
}

//! The real agents, at pinned versions, each started so that it needs no login, sends nothing
//! home, looks for no update and talks to nobody but the scripted model on loopback.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::json;

use super::model::{MODEL_NAME, Model, OTHER_MODEL_NAME};

/// The oldest major version of Node.js that runs them.
const NODE_MAJOR_MIN: u32 = 20;

/// A mode of opencode's in which it writes no file.
pub const CAREFUL_MODE: &str = "careful";

/// A real agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RealAgent {
    Goose,
    Qwen,
    /// opencode on stdio.
    Opencode,
    /// opencode as a server.
    OpencodeServer,
}

/// Whether the agent asks before it writes files or runs commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    Asks,
    Assumes,
}

impl RealAgent {
    /// Its configured name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Goose => "goose",
            Self::Qwen => "qwen",
            Self::Opencode => "opencode",
            Self::OpencodeServer => "opencode-server",
        }
    }

    /// What goes into `[agents.NAME]`; what the agent keeps lands below `home`.
    pub fn config(self, home: &Path, model: &Model, consent: Consent) -> toml::Table {
        let modules = installed();
        fs::create_dir_all(home).unwrap();
        let (command, mut env) = match self {
            Self::Goose => goose(modules, home, model, consent),
            Self::Qwen => qwen(modules, home, model, consent),
            Self::Opencode => opencode(modules, home, model, consent),
            Self::OpencodeServer => opencode_server(modules, home, model, consent),
        };
        env.extend(private_places(home));
        let mut table = toml::Table::new();
        let backend = if self == Self::OpencodeServer { "opencode" } else { "acp" };
        table.insert("backend".into(), backend.into());
        table.insert("command".into(), command.into());
        table.insert("env".into(), toml::Value::Table(env.into_iter().map(|(k, v)| (k, v.into())).collect()));
        table
    }
}

/// `acpx`, a client of the protocol that the agents speak, pinned like them.
pub fn acpx() -> PathBuf {
    installed().join(".bin/acpx")
}

type Recipe = (Vec<String>, Vec<(String, String)>);

fn goose(modules: &Path, home: &Path, model: &Model, consent: Consent) -> Recipe {
    let program = modules.join(format!("@aaif/goose-binary-linux-{}/bin/goose", node_architecture()));
    let mode = if consent == Consent::Asks { "approve" } else { "auto" };
    let env = pairs([
        ("GOOSE_PATH_ROOT", text(&home.join("goose"))),
        ("GOOSE_PROVIDER", "openai".into()),
        ("GOOSE_MODEL", MODEL_NAME.into()),
        ("GOOSE_MODE", mode.into()),
        ("GOOSE_CONTEXT_LIMIT", "128000".into()),
        ("GOOSE_DISABLE_KEYRING", "1".into()),
        ("GOOSE_TELEMETRY_OFF", "1".into()),
        ("GOOSE_TELEMETRY_ENABLED", "false".into()),
        // Each of these is one more request to the model.
        ("GOOSE_DISABLE_SESSION_NAMING", "true".into()),
        ("GOOSE_DISABLE_TOOL_CALL_SUMMARY", "true".into()),
        ("OPENAI_API_KEY", "none".into()),
        ("OPENAI_HOST", model.url()),
        ("OPENAI_BASE_PATH", "v1/chat/completions".into()),
    ]);
    (vec![text(&program), "acp".into()], env)
}

fn qwen(modules: &Path, home: &Path, model: &Model, consent: Consent) -> Recipe {
    let mode = if consent == Consent::Asks { "default" } else { "yolo" };
    let settings = json!({
        "$version": 4,
        // Without this it sends statistics, and stalls for seconds where the name is not found.
        "privacy": {"usageStatisticsEnabled": false},
        "telemetry": {"enabled": false},
        "general": {"enableAutoUpdate": false},
        "security": {"auth": {"selectedType": "openai"}},
        "model": {"name": MODEL_NAME},
        "tools": {"approvalMode": mode},
        "memory": {"enableManagedAutoMemory": false, "enableManagedAutoDream": false},
    });
    write(&home.join(".qwen/settings.json"), &settings.to_string());
    let env = pairs([
        ("OPENAI_API_KEY", "none".into()),
        ("OPENAI_BASE_URL", format!("{}/v1", model.url())),
        ("OPENAI_MODEL", MODEL_NAME.into()),
        // Else it executes itself again, and the first process is not the one that works.
        ("QWEN_CODE_NO_RELAUNCH", "1".into()),
        ("QWEN_CODE_DISABLE_PRECONNECT", "1".into()),
    ]);
    (vec![text(&modules.join(".bin/qwen")), "--acp".into()], env)
}

fn opencode(modules: &Path, home: &Path, model: &Model, consent: Consent) -> Recipe {
    let program = modules.join(format!("opencode-linux-{}/bin/opencode", node_architecture()));
    let action = if consent == Consent::Asks { "ask" } else { "allow" };
    let limits = json!({"context": 128_000, "output": 8192});
    let about = |name: &str| json!({"name": name, "tool_call": true, "reasoning": true, "cost": {"input": 1, "output": 2}, "limit": limits});
    let models = json!({MODEL_NAME: about(MODEL_NAME), OTHER_MODEL_NAME: about(OTHER_MODEL_NAME)});
    let options = json!({"baseURL": format!("{}/v1", model.url()), "apiKey": "none"});
    let provider =
        json!({"npm": "@ai-sdk/openai-compatible", "name": "Scripted", "options": options, "models": models});
    let name = format!("scripted/{MODEL_NAME}");
    let config = json!({
        "provider": {"scripted": provider}, "enabled_providers": ["scripted"], "model": name, "small_model": name,
        "autoupdate": false, "share": "disabled",
        // Its own plan mode asks for what is allowed here, and is told yes.
        "agent": {CAREFUL_MODE: {"mode": "primary", "permission": {"edit": "deny"}}},
        "permission": {"edit": action, "bash": action, "webfetch": "deny", "external_directory": action},
    });
    // Without these two it installs a plugin of 63 MB from the registry at its first start.
    let folder = home.join(".config/opencode");
    fs::create_dir_all(folder.join("node_modules")).unwrap();
    let plugin = json!({"packages": {"": {"dependencies": {"@opencode-ai/plugin": "1.18.33"}}}});
    write(&folder.join("package-lock.json"), &plugin.to_string());
    let switches = [
        "MODELS_FETCH",
        "AUTOUPDATE",
        "LSP_DOWNLOAD",
        "DEFAULT_PLUGINS",
        "SHARE",
        "EXTERNAL_SKILLS",
        "CLAUDE_CODE",
        "PROJECT_CONFIG",
    ];
    let mut env: Vec<_> =
        switches.iter().map(|s| (format!("OPENCODE_DISABLE_{s}"), "1".to_owned())).collect();
    env.push(("OPENCODE_CONFIG_CONTENT".into(), config.to_string()));
    // It listens on a port of its own as well; without a password anybody could prompt it there.
    env.push(("OPENCODE_SERVER_PASSWORD".into(), "of the test".into()));
    (vec![text(&program), "acp".into()], env)
}

fn opencode_server(modules: &Path, home: &Path, model: &Model, consent: Consent) -> Recipe {
    let (mut command, mut env) = opencode(modules, home, model, consent);
    command.truncate(1);
    // The daemon makes one.
    env.retain(|(name, _)| name != "OPENCODE_SERVER_PASSWORD");
    (command, env)
}

fn private_places(home: &Path) -> Vec<(String, String)> {
    let tmp = home.join("tmp");
    fs::create_dir_all(&tmp).unwrap();
    pairs([
        ("HOME", text(home)),
        ("TMPDIR", text(&tmp)),
        ("XDG_CONFIG_HOME", text(&home.join(".config"))),
        ("XDG_DATA_HOME", text(&home.join(".local/share"))),
        ("XDG_STATE_HOME", text(&home.join(".local/state"))),
        ("XDG_CACHE_HOME", text(&home.join(".cache"))),
        ("TERM", "dumb".into()),
        ("NO_COLOR", "1".into()),
    ])
}

/// `tests/agents/node_modules`, with what the lock file says in it.
fn installed() -> &'static Path {
    static MODULES: OnceLock<PathBuf> = OnceLock::new();
    MODULES.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agents");
        // Other test processes may have the same idea at the same time.
        let guard = fs::File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("agents.lock")).unwrap();
        guard.lock().unwrap();
        check_node();
        let modules = folder.join("node_modules");
        let stamp = modules.join(".installed-from");
        let wanted = fs::read(folder.join("package-lock.json")).unwrap();
        if fs::read(&stamp).ok().as_deref() != Some(&wanted) {
            install(&folder);
            fs::write(stamp, wanted).unwrap();
        }
        modules
    })
}

fn install(folder: &Path) {
    eprintln!("installing the pinned agents into {} (1 GB, once)", folder.display());
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"])
        .current_dir(folder)
        .output()
        .unwrap_or_else(|e| panic!("the tests of real agents need npm on PATH: {e}"));
    assert!(
        output.status.success(),
        "npm ci in {} failed; it needs the npm registry once:\n{}",
        folder.display(),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn check_node() {
    let output = Command::new("node").arg("--version").output();
    let version = output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    let version = version.unwrap_or_else(|e| panic!("the tests of real agents need Node.js on PATH: {e}"));
    let major = version.trim_start_matches('v').split('.').next().and_then(|n| n.parse::<u32>().ok());
    assert!(
        major.is_some_and(|major| major >= NODE_MAJOR_MIN),
        "the tests of real agents need Node.js {NODE_MAJOR_MIN} or newer, found {version:?}"
    );
}

/// How Node.js calls the architecture that this was built for.
fn node_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "x64",
    }
}

fn pairs<const N: usize>(pairs: [(&str, String); N]) -> Vec<(String, String)> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

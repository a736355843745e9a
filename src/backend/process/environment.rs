//! Which variables of the daemon's environment an agent gets to see. Pure.

use std::collections::BTreeMap;

/// What every agent inherits, where it is set.
const ALLOWED: &[&str] = &[
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_*", "TERM", "TMPDIR", "SHELL", "XDG_*", "SSL_CERT_*",
    "*_PROXY", "SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS",
];

/// Spellings that many programs read instead of the ones in capitals.
const ALLOWED_LOWER: &[&str] = &["*_proxy"];

/// What no agent inherits, whoever asks for it: these change which repository, which code or which
/// daemon it would work on.
const NEVER: &[&str] = &["GIT_*", "LD_*", "NODE_OPTIONS", "HOB_*"];

/// The environment of an agent: of `from` what the allow list and `pass` name, then `configured`
/// on top. Patterns may hold one `*`, for anything.
pub fn agent_environment(
    pass: &[String],
    configured: &BTreeMap<String, String>,
    from: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = from
        .iter()
        .filter(|(name, _)| is_inherited(name, pass))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    environment.extend(configured.iter().map(|(name, value)| (name.clone(), value.clone())));
    // Our own marker is ours to set; a made-up one would make a stranger ours.
    environment.remove(super::mark::ENVIRONMENT);
    environment
}

fn is_inherited(name: &str, pass: &[String]) -> bool {
    let any = |patterns: &[&str]| patterns.iter().any(|pattern| matches(pattern, name));
    !any(NEVER)
        && (any(ALLOWED) || any(ALLOWED_LOWER) || pass.iter().any(|pattern| matches(pattern, name)))
}

/// Whether a name fits a pattern, in which the first `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => {
            name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_allow_list_lets_through_what_it_names_and_nothing_else() {
        let passes = [
            "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TERM", "TMPDIR", "SHELL", "XDG_RUNTIME_DIR",
            "SSL_CERT_FILE", "HTTPS_PROXY", "NO_PROXY", "https_proxy", "SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS",
        ];
        let stays = ["AWS_SECRET_ACCESS_KEY", "PATHS", "MY_HOME", "LC", "RUST_LOG", "NOTIFY_SOCKET", "LISTEN_FDS"];
        for name in passes {
            assert!(is_inherited(name, &[]), "{name}");
        }
        for name in stays {
            assert!(!is_inherited(name, &[]), "{name}");
        }
    }

    #[test]
    fn the_pass_list_adds_names_and_patterns() {
        let pass = ["OPENAI_API_KEY".to_owned(), "GOOSE_*".to_owned()];
        let from = map(&[("OPENAI_API_KEY", "k"), ("GOOSE_MODEL", "m"), ("QWEN_KEY", "q")]);
        let environment = agent_environment(&pass, &BTreeMap::new(), &from);
        assert_eq!(environment, map(&[("OPENAI_API_KEY", "k"), ("GOOSE_MODEL", "m")]));
    }

    #[test]
    fn what_is_never_inherited_is_not_even_when_asked_for() {
        let from = map(&[
            ("GIT_DIR", "/elsewhere"),
            ("LD_PRELOAD", "/evil.so"),
            ("NODE_OPTIONS", "--inspect"),
            ("HOB_SOCKET", "/run/hob.sock"),
        ]);
        assert!(agent_environment(&["*".to_owned()], &BTreeMap::new(), &from).is_empty());
    }

    #[test]
    fn what_is_configured_wins_over_what_is_inherited() {
        let configured = map(&[("HOME", "/there"), ("GIT_AUTHOR_NAME", "agent"), ("HOB_MARK", "0")]);
        let environment = agent_environment(&[], &configured, &map(&[("HOME", "/here")]));
        assert_eq!(environment, map(&[("HOME", "/there"), ("GIT_AUTHOR_NAME", "agent")]));
    }

    #[test]
    fn a_star_needs_both_its_ends() {
        assert!(matches("*_PROXY", "ALL_PROXY"));
        assert!(!matches("AB*BA", "ABA"));
        assert!(matches("*", ""));
    }
}

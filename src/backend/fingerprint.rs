//! The fingerprint of what an agent session is started with. Pure.

use std::collections::BTreeMap;
use std::path::Path;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::mcp_server::OwnServer;

/// SHA-256, in hex, over command, arguments, environment names and values, working directory,
/// model and mode, and the MCP server that the agent is handed.
pub(super) fn config_hash(
    command: &[String],
    env: &BTreeMap<String, String>,
    cwd: &Path,
    [model, mode]: [&Option<String>; 2],
    mcp: Option<&OwnServer>,
) -> String {
    let mut hash = Sha256::new();
    // Every list and every value is preceded by its length, so that no two configurations read
    // the same.
    let mut list = |values: &[&[u8]]| {
        hash.update((values.len() as u64).to_le_bytes());
        for value in values {
            hash.update((value.len() as u64).to_le_bytes());
            hash.update(value);
        }
    };
    list(&command.iter().map(String::as_bytes).collect::<Vec<_>>());
    list(&env.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]).collect::<Vec<_>>());
    list(&[cwd.as_os_str().as_encoded_bytes()]);
    list(&model.iter().map(String::as_bytes).collect::<Vec<_>>());
    list(&mode.iter().map(String::as_bytes).collect::<Vec<_>>());
    if let Some(OwnServer { command, env }) = mcp {
        list(&command.iter().map(String::as_bytes).collect::<Vec<_>>());
        list(&env.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]).collect::<Vec<_>>());
    }
    HEXLOWER.encode(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(command: &[&str], env: &[(&str, &str)], model: Option<&str>, mode: Option<&str>) -> String {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let choices = [&model.map(str::to_owned), &mode.map(str::to_owned)];
        config_hash(&command, &env, Path::new("/w"), choices, None)
    }

    fn with_server(program: &str, socket: &str) -> String {
        let server = OwnServer::new(Path::new(program), Path::new(socket));
        config_hash(&["a".to_owned()], &BTreeMap::new(), Path::new("/w"), [&None, &None], Some(&server))
    }

    #[test]
    fn any_difference_is_a_difference() {
        let hashes = [
            hash(&["a", "b"], &[], None, None),
            hash(&["ab"], &[], None, None),
            hash(&["a"], &[("b", "")], None, None),
            hash(&["a"], &[("b", "c")], None, None),
            hash(&["a"], &[("bc", "")], None, None),
            hash(&["a"], &[], Some("m"), None),
            hash(&["a"], &[], None, Some("m")),
            hash(&["a"], &[], None, None),
            with_server("/hobd", "/s"),
            with_server("/hob", "/s"),
            with_server("/hobd", "/t"),
        ];
        for (n, one) in hashes.iter().enumerate() {
            assert_eq!(one.len(), 64);
            assert!(!hashes[..n].contains(one), "{n}");
        }
        assert_eq!(hash(&["a"], &[("b", "c")], None, None), hashes[3]);
    }
}

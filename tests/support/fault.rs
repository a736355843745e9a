//! The agent that misbehaves on demand: an example program of this package, built by `cargo test`.

use std::path::{Path, PathBuf};

/// Where it writes down the prompts that it got: in the home directory.
pub const LEDGER: &str = "fault-ledger";

/// What goes into `[agents.NAME]` for an agent that is started with these arguments.
pub fn config(arguments: &[&str]) -> toml::Table {
    let mut command = vec![program().to_str().unwrap().to_owned()];
    command.extend(arguments.iter().map(|&argument| argument.to_owned()));
    let mut table = toml::Table::new();
    table.insert("backend".into(), "acp".into());
    table.insert("command".into(), command.into());
    let env = toml::Table::from_iter([("FAULT_LEDGER".to_owned(), LEDGER.into())]);
    table.insert("env".into(), toml::Value::Table(env));
    table
}

/// The command of an opencode server that misbehaves like this.
pub fn server(arguments: &[&str]) -> toml::Value {
    let program = example("fault-server");
    let words = [program.to_str().unwrap()].into_iter().chain(arguments.iter().copied());
    toml::Value::Array(words.map(|word| word.into()).collect())
}

fn program() -> PathBuf {
    example("fault-agent")
}

/// Cargo puts examples into a folder beside the programs.
fn example(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_hobd")).with_file_name("examples").join(name);
    assert!(program.is_file(), "{} is missing: `cargo build --examples` makes it", program.display());
    program
}

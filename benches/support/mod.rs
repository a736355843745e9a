//! What the benches are written with; nothing is measured in here.

pub mod agent;
pub mod client;
pub mod daemon;
pub mod machine;
pub mod pairs;
pub mod processes;

#[expect(dead_code, reason = "the tests have a client of an editor's, too")]
#[path = "../../tests/support/agents.rs"]
pub mod agents;
#[path = "../../tests/support/leftovers.rs"]
pub mod leftovers;
#[expect(dead_code, unused_imports, reason = "the tests look into what was asked, too")]
#[path = "../../tests/support/model/mod.rs"]
pub mod model;
#[path = "../../tests/support/repo.rs"]
pub mod repo;
#[path = "../../tests/support/wait.rs"]
pub mod wait;

use std::io::Write as _;

/// Says a line that is for the report.
pub fn say(line: &str) {
    // Who closed the pipe does not want to know.
    let _ = writeln!(std::io::stdout().lock(), "= {line}");
}

/// Whether a line has a text in it.
pub fn has(line: &[u8], text: &str) -> bool {
    memchr::memmem::find(line, text.as_bytes()).is_some()
}

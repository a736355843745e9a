//! What an agent lacks in the daemon's environment, told so that it can be given: a program that is not on
//! the PATH, an interpreter, a key. That environment is the one of the daemon's start, and no shell's that
//! was opened since.

use std::io::Read as _;
use std::path::Path;
use std::sync::OnceLock;

use hob_actors::event::Exit;
use jiff::Zoned;

use crate::config::find_program_on;
use crate::regular;

/// What a shell and `env` exit with when a program cannot be executed, and when it is not found (POSIX,
/// shell command language, 2.8.2).
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;
/// As sysexits.h has it: something is wrong with the configuration.
const EXIT_CONFIG: i32 = 78;
/// The longest first line that says an interpreter, in bytes (BINPRM_BUF_SIZE of Linux).
const FIRST_LINE_BYTES_MAX: u64 = 256;

static STARTED: OnceLock<String> = OnceLock::new();

/// Takes note of the time whose environment it is. Called once, when the agents are made.
pub(super) fn begin() {
    STARTED.get_or_init(|| Zoned::now().strftime("%H:%M").to_string());
}

/// Which environment that is, and how another one is taken.
pub fn told() -> String {
    let at = STARTED.get().map(|at| format!(" at {at}")).unwrap_or_default();
    format!(
        "the environment of agents is that of the daemon's start{at}: `hob down && hob up` takes your shell's"
    )
}

/// Whether another start would end the same way.
pub(super) fn cannot_work(exit: &Exit) -> bool {
    matches!(exit.code, Some(EXIT_CONFIG | NOT_EXECUTABLE | NOT_FOUND))
}

/// What an agent that ended so lacks, as far as its program says. Reads its first line.
pub(super) fn lacking(exit: &Exit, program: &Path, path: &str) -> Option<String> {
    let code = exit.code.filter(|code| [NOT_EXECUTABLE, NOT_FOUND].contains(code))?;
    let mut first = Vec::new();
    let file = regular::open(program).ok()?;
    file.take(FIRST_LINE_BYTES_MAX).read_to_end(&mut first).ok()?;
    let found = interpreter(&first).map(|name| (name, find_program_on(name, path)));
    Some(match found {
        Some((name, Err(_))) if code == NOT_FOUND => {
            format!("its interpreter `{name}` is not on its PATH; {}", told())
        }
        _ => format!("a program that it needs cannot be run; {}", told()),
    })
}

/// The program that `#!/usr/bin/env NAME` or `#!/path/NAME` names.
fn interpreter(first: &[u8]) -> Option<&str> {
    let line = first.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let program = words.next()?;
    match Path::new(program).file_name()?.to_str()? {
        "env" => words.find(|word| !word.starts_with('-') && !word.contains('=')),
        _ => Some(program),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_is_that_of_the_first_line() {
        let cases: [(&[u8], Option<&str>); 6] = [
            (b"#!/usr/bin/env node\nrest", Some("node")),
            (b"#!/usr/bin/env -S node --flag\n", Some("node")),
            (b"#!/usr/bin/env A=1 python3\n", Some("python3")),
            (b"#! /bin/sh -e\n", Some("/bin/sh")),
            (b"\x7fELF", None),
            (b"#!", None),
        ];
        for (first, expected) in cases {
            assert_eq!(interpreter(first), expected, "{}", first.escape_ascii());
        }
    }
}

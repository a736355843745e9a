//! What was said in a conversation, kept in one file of JSON lines for each, so that it survives
//! the process. Nothing else is kept, and a directory that cannot be written to only means that
//! conversations end with the process.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Conversations that are listed.
const LISTED_MAX: usize = 1000;

/// One thing that was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line {
    /// By the person.
    Prompt(String),
    /// By the agent.
    Answer(String),
}

impl Line {
    fn prompt(&self) -> Option<&str> {
        match self {
            Self::Prompt(text) => Some(text),
            Self::Answer(_) => None,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    cwd: PathBuf,
}

/// A conversation.
pub(super) struct Memory {
    cwd: PathBuf,
    lines: Vec<Line>,
    file: Option<PathBuf>,
}

/// Where conversations are kept, by the environment.
pub(super) fn directory(var: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let state = || {
        let xdg = var("XDG_STATE_HOME").map(PathBuf::from);
        let state = xdg.or_else(|| Some(PathBuf::from(var("HOME")?).join(".local/state")))?;
        Some(state.join("hob").join("demo"))
    };
    var(crate::backend::DEMO_STATE).map(PathBuf::from).or_else(state)
}

/// The file of a conversation; `None` for an id that is no file name of ours.
fn file(state: Option<&Path>, id: &str) -> Option<PathBuf> {
    let is_ours = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_ours.then(|| state.map(|state| state.join(format!("{id}.jsonl")))).flatten()
}

/// The conversations that are kept, with their directories.
pub(super) fn list(state: Option<&Path>) -> Vec<(String, PathBuf)> {
    let entries = state.and_then(|state| fs::read_dir(state).ok()).into_iter().flatten().flatten();
    let ids =
        entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".jsonl")?.to_owned()));
    let kept = ids.take(LISTED_MAX).filter_map(|id| {
        let memory = Memory::open(state, &id)?;
        Some((id, memory.cwd))
    });
    kept.collect()
}

impl Memory {
    /// A conversation in which nothing was said.
    pub(super) fn new(state: Option<&Path>, id: &str, cwd: &Path) -> Self {
        Self { cwd: cwd.to_owned(), lines: Vec::new(), file: file(state, id) }
    }

    /// A conversation that was kept.
    pub(super) fn open(state: Option<&Path>, id: &str) -> Option<Self> {
        let file = file(state, id)?;
        let text = fs::read_to_string(&file).ok()?;
        let mut kept = text.lines();
        let head: Head = serde_json::from_str(kept.next()?).ok()?;
        // A process that was killed while it wrote leaves half a line at the end.
        let lines = kept.map_while(|line| serde_json::from_str(line).ok()).collect();
        Some(Self { cwd: head.cwd, lines, file: Some(file) })
    }

    /// The directory that it is about.
    pub(super) fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// What was said, in order.
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The prompts, in order.
    pub(super) fn prompts(&self) -> Vec<&str> {
        self.lines.iter().filter_map(Line::prompt).collect()
    }

    /// Remembers something that was said.
    pub(super) fn note(&mut self, line: Line) {
        let first = self.lines.is_empty();
        self.lines.push(line);
        if let Err(error) = self.write_last(first) {
            eprintln!("demo-agent: cannot keep the conversation: {error}");
            self.file = None;
        }
    }

    fn write_last(&self, first: bool) -> io::Result<()> {
        let (Some(path), Some(line)) = (&self.file, self.lines.last()) else { return Ok(()) };
        if let Some(directory) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let mut text = String::new();
        if first {
            text = serde_json::to_string(&Head { cwd: self.cwd.clone() })? + "\n";
        }
        text += &serde_json::to_string(line)?;
        text.push('\n');
        fs::File::options().create(true).append(true).mode(0o600).open(path)?.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_survives_the_process() {
        let state = tempfile::tempdir().unwrap();
        let mut memory = Memory::new(Some(state.path()), "demo-1", Path::new("/w"));
        assert!(list(Some(state.path())).is_empty());
        memory.note(Line::Prompt("a".into()));
        memory.note(Line::Answer("b\nc".into()));
        let again = Memory::open(Some(state.path()), "demo-1").unwrap();
        assert_eq!(again.lines(), memory.lines());
        assert_eq!(list(Some(state.path())), [("demo-1".into(), PathBuf::from("/w"))]);
    }

    #[test]
    fn half_a_line_at_the_end_costs_only_itself() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join("demo-1.jsonl"), "{\"cwd\":\"/w\"}\n{\"prompt\":\"a\"}\n{\"ans").unwrap();
        let memory = Memory::open(Some(state.path()), "demo-1").unwrap();
        assert_eq!(memory.prompts(), ["a"]);
    }

    #[test]
    fn an_id_is_never_a_path() {
        let state = tempfile::tempdir().unwrap();
        for id in ["../x", "a/b", "", ".", "a.b"] {
            assert!(Memory::open(Some(state.path()), id).is_none(), "{id}");
            assert_eq!(file(Some(state.path()), id), None, "{id}");
        }
    }

    #[test]
    fn the_directory_is_the_one_that_is_given_or_the_users_own() {
        let env = |set: &'static [(&str, &str)]| {
            move |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value))
        };
        let given = env(&[("HOB_DEMO_STATE", "/s"), ("HOME", "/h")]);
        assert_eq!(directory(given), Some("/s".into()));
        assert_eq!(directory(env(&[("HOME", "/h")])), Some("/h/.local/state/hob/demo".into()));
        assert_eq!(directory(env(&[])), None);
    }
}

//! What a salvaged tree cannot say of a worktree, written down in the message of its commit. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::worktree::error::{WorktreeError, WorktreeErrorKind};

/// Begins the line of the message that a program reads.
const LINE: &str = "hob-salvage: ";

/// Everything of a worktree that is in no tree. Paths are as git writes them, bytes that are no UTF-8
/// in percent signs and hexadecimal digits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Manifest {
    /// The worktree.
    pub(super) worktree: String,
    /// The branch of HEAD, in full; `None` if it was detached.
    pub(super) branch: Option<String>,
    /// The commit of HEAD; `None` before the first.
    pub(super) head: Option<String>,
    /// The commit of the index's tree.
    pub(super) index: Option<String>,
    /// Permission bits that git does not keep, by path.
    pub(super) modes: BTreeMap<String, u32>,
    /// Permission bits of directories, where they are not those of a new one.
    pub(super) folders: BTreeMap<String, u32>,
    /// The repositories of submodules, which git keeps beside the worktree.
    pub(super) modules: Option<Modules>,
    /// Settings of this worktree alone, which git keeps beside it: the bytes, by the name of the file.
    pub(super) settings: BTreeMap<String, String>,
    /// Directories with nothing in them.
    pub(super) empty: Vec<String>,
    /// Names that no tree may have, and what they are called in it.
    pub(super) renamed: BTreeMap<String, String>,
    /// Entries of the index in conflict: stage, mode, object, path.
    pub(super) conflicts: Vec<(u16, u32, String, String)>,
    /// Entries of the index that are only announced.
    pub(super) intended: Vec<String>,
    /// Entries of the index that git was told to take for unchanged.
    pub(super) assumed: Vec<String>,
    /// Entries of the index that git was told to leave out of the checkout.
    pub(super) skipped: Vec<String>,
    /// What is not in the tree.
    pub(super) left_out: Vec<String>,
}

/// The repositories of submodules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Modules {
    /// The commit of their files.
    pub(super) commit: String,
    /// What its tree cannot say.
    pub(super) manifest: Box<Manifest>,
}

impl Manifest {
    /// The message of the commit.
    pub(super) fn message(&self) -> Result<String, WorktreeError> {
        let json = serde_json::to_string(self).map_err(|error| {
            WorktreeError::new(WorktreeErrorKind::Io, format!("cannot write down what was salvaged: {error}"))
        })?;
        let left_out = match self.left_out.len() {
            0 => String::new(),
            n => format!("Left out ({n}): {}\n\n", self.left_out.join(", ")),
        };
        Ok(format!("Salvage of the worktree {}\n\n{left_out}{LINE}{json}\n", self.worktree))
    }

    /// Reads it back.
    pub(super) fn read(message: &str) -> Result<Self, WorktreeError> {
        let bad = |why: String| {
            WorktreeError::new(WorktreeErrorKind::Io, format!("the commit is no salvage of hob's: {why}"))
        };
        let line = message.lines().find_map(|line| line.strip_prefix(LINE));
        let line = line.ok_or_else(|| bad("it does not say of what".to_owned()))?;
        serde_json::from_str(line).map_err(|error| bad(error.to_string()))
    }
}

/// A path as text that can be read back.
pub(super) fn text(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        text.push_str(&chunk.valid().replace('%', "%25"));
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("%{byte:02X}")));
    }
    text
}

/// The path that a text stands for.
pub(super) fn path(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut path, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                path.push(byte);
                at += 3;
            }
            None => {
                path.push(bytes[at]);
                at += 1;
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_path_reads_back(bytes in proptest::collection::vec(1..=255_u8, 0..20)) {
            prop_assert_eq!(path(&text(&bytes)), bytes);
        }
    }

    #[test]
    fn what_was_written_down_reads_back() {
        let manifest = Manifest {
            worktree: "w-1".into(),
            branch: Some("refs/heads/hob/w-1".into()),
            modes: BTreeMap::from([("a".into(), 0o600)]),
            left_out: vec!["big: 3 GiB".into()],
            ..Manifest::default()
        };
        let message = manifest.message().unwrap();
        assert!(message.starts_with("Salvage of the worktree w-1\n\nLeft out (1): big: 3 GiB\n"));
        assert_eq!(Manifest::read(&message).unwrap(), manifest);
        assert!(Manifest::read("anything").is_err());
    }
}

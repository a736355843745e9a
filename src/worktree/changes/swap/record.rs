//! What is written down of a swap before it begins, so that the next daemon can finish it or take it
//! back if this one is killed. One file for each, beside our other files about repositories.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Intent, PREFIX, Replace, Wanted, Way};
use crate::path_text;
use crate::regular;
use crate::worktree::changes::disk::Stamp;

/// How the file of a record begins and ends.
const NAME: (&str, &str) = ("swap-", ".json");

/// What tells a file when its directory may be another one by number: inode, size, and the time of its
/// last write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Print {
    inode: u64,
    size: u64,
    written: [i64; 2],
}

impl Print {
    /// That of a file which was looked at.
    pub(super) fn of(stamp: Stamp) -> Option<Self> {
        let (_, inode, size, [seconds, nanos, ..]) = stamp?;
        Some(Self { inode, size, written: [seconds, nanos] })
    }
}

/// A path that is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Step {
    /// Its bytes in hexadecimal digits.
    path: String,
    /// What was there.
    pub(super) old: Option<Print>,
    /// What is to be there.
    pub(super) new: Option<Print>,
}

impl Step {
    /// Where it is, relative to the top.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let bytes = data_encoding::HEXLOWER.decode(self.path.as_bytes()).ok()?;
        Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
    }

    pub(super) fn of(replace: &Replace, new: Stamp) -> Self {
        let path = data_encoding::HEXLOWER.encode(replace.path.as_os_str().as_bytes());
        let new = if matches!(replace.wanted, Wanted::Nothing) { None } else { Print::of(new) };
        Self { path, old: Print::of(replace.seen), new }
    }
}

/// A swap as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::worktree) struct Record {
    /// The worktree whose changes they are.
    pub(in crate::worktree) worktree: String,
    /// Its repository.
    #[serde(with = "path_text::serde")]
    pub(in crate::worktree) common_dir: PathBuf,
    /// The directory whose files are replaced.
    #[serde(with = "path_text::serde")]
    pub(super) top: PathBuf,
    /// What becomes of it if it is cut short.
    pub(super) way: Way,
    /// What counts as the person's own when it is done.
    pub(in crate::worktree) baseline: Option<String>,
    /// What else is to be recorded then, in the words of who asked for it.
    pub(in crate::worktree) then: Option<String>,
    /// What is replaced; `None` while that is still written beside.
    pub(super) steps: Option<Vec<Step>>,
}

impl Record {
    /// Of a swap that begins.
    pub(super) fn of(top: &Path, intent: Intent) -> Self {
        Self {
            worktree: intent.worktree,
            common_dir: intent.common_dir,
            top: top.to_owned(),
            way: intent.way,
            baseline: intent.baseline,
            then: intent.then,
            steps: None,
        }
    }
}

/// A file with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::worktree) struct Note {
    file: PathBuf,
}

impl Note {
    /// Writes down a new one.
    pub(super) fn begin(dir: &Path, record: &Record) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let file = tempfile::Builder::new().prefix(NAME.0).suffix(NAME.1).tempfile_in(dir)?;
        let note = Self { file: file.into_temp_path().keep().map_err(|error| error.error)? };
        note.write(record).inspect_err(|_| note.remove())?;
        Ok(note)
    }

    /// Writes it anew, whole or not at all.
    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        let beside = self.file.with_extension("new");
        let mut out = File::create(&beside)?;
        out.write_all(&serde_json::to_vec(record)?)?;
        out.sync_all()?;
        fs::rename(&beside, &self.file)?;
        File::open(self.file.parent().unwrap_or(Path::new("/")))?.sync_all()
    }

    /// Reads it.
    pub(super) fn read(&self) -> io::Result<Record> {
        Ok(serde_json::from_slice(&regular::read(&self.file)?)?)
    }

    /// Where the files of the swap lie.
    pub(super) fn place(&self, top: &Path) -> PathBuf {
        let name = self.file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        top.join(format!("{PREFIX}{}", name.trim_start_matches(NAME.0).trim_end_matches(NAME.1)))
    }

    /// Forgets it. What is left of it is read again, and found to be over.
    pub(super) fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.file)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(file = %self.file.display(), %error, "the record of a swap is left");
        }
    }

    /// Every record that is there.
    pub(in crate::worktree) fn all(dir: &Path) -> Vec<Self> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let is_ours = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with(NAME.0) && name.ends_with(NAME.1)
        };
        let mut found: Vec<_> = entries.map(|entry| entry.path()).filter(is_ours).collect();
        found.sort();
        found.into_iter().map(|file| Self { file }).collect()
    }
}

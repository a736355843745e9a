//! What looks at one worktree made of its weighty files, so that each is read once for as long as its
//! size, times and inode stay. Lies in a file of its own beside our other records; a file that cannot be
//! read is as good as none.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::weight::{Kept, Weight};
use crate::regular;
use crate::worktree::carry::Entry;
use crate::worktree::large::NAMED_BYTES_MIN;
use crate::worktree::source::{bytes_of, path_from};

/// The first record of the file; one that begins otherwise is begun anew.
const HEADER: &str = "hob weighty files 1";
/// Files of one worktree that are remembered.
const FILES_MAX: usize = 4_096;
/// A file that was written less long ago than this may be written again and keep its times.
const GRANULARITY: Duration = Duration::from_millis(100);
/// The same where the file system knows whole seconds only.
const GRANULARITY_COARSE: Duration = Duration::from_secs(2);

/// What tells that a file was left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    inode: u64,
    mode: u32,
    modified: Time,
    changed: Time,
}

/// Seconds since 1970, and nanoseconds.
type Time = (i64, i64);

/// A file as it was found.
#[derive(Debug)]
pub(super) struct Found {
    /// Where it is, in the worktree.
    pub(super) path: PathBuf,
    /// What is decided on.
    pub(super) weight: Weight,
    stamp: Option<Stamp>,
    at: SystemTime,
}

/// What is known of the files of one worktree.
pub(super) struct Memory {
    file: PathBuf,
    before: BTreeMap<PathBuf, (Stamp, Kept)>,
    now: BTreeMap<PathBuf, (Stamp, Kept)>,
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            size: found.size(),
            inode: found.ino(),
            mode: found.mode(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// Whether a write at `at` or later would be seen in its times. Pure.
    fn is_settled(&self, at: SystemTime) -> bool {
        let is_coarse = self.modified.1 == 0 && self.changed.1 == 0;
        let granularity = if is_coarse { GRANULARITY_COARSE } else { GRANULARITY };
        [self.modified, self.changed].into_iter().all(|(seconds, nanos)| {
            let since = Duration::new(seconds.try_into().unwrap_or(0), nanos.try_into().unwrap_or(0));
            let written = SystemTime::UNIX_EPOCH + since;
            at.duration_since(written).is_ok_and(|age| age > granularity)
        })
    }
}

impl Memory {
    /// What was written down in `file`.
    pub(super) fn read(file: PathBuf) -> Self {
        let before = regular::read(&file).ok().and_then(|bytes| parse(&bytes)).unwrap_or_default();
        Self { file, before, now: BTreeMap::new() }
    }

    /// What lies at a path below `top`, and what it was before.
    pub(super) fn find(&self, top: &Path, path: PathBuf) -> Found {
        let at = SystemTime::now();
        let found = fs::symlink_metadata(top.join(&path)).ok();
        let size = found.as_ref().map_or(0, Metadata::size);
        let is_weighty = |found: &Metadata| found.is_file() && found.size() > NAMED_BYTES_MIN;
        let stamp = found.filter(is_weighty).map(|found| Stamp::of(&found));
        let kept = self.before.get(&path).filter(|(before, _)| Some(before) == stamp.as_ref());
        let weight = Weight { size, kept: kept.map(|(_, kept)| kept.clone()) };
        Found { path, weight, stamp, at }
    }

    /// Remembers what was made of a file.
    pub(super) fn keep(&mut self, found: Found, kept: Kept) {
        if let Some(stamp) = found.stamp.filter(|_| self.now.len() < FILES_MAX) {
            self.now.insert(found.path, (stamp, kept));
        }
    }

    /// Remembers the entry of a file that was read just now.
    pub(super) fn keep_read(&mut self, top: &Path, found: Found, entry: Entry) {
        let Some(stamp) = &found.stamp else { return };
        let after = fs::symlink_metadata(top.join(&found.path)).map(|after| Stamp::of(&after));
        if after.is_ok_and(|after| after == *stamp) {
            let is_settled = stamp.is_settled(found.at);
            self.keep(found, Kept::Content { entry, is_settled });
        }
    }

    /// Writes it down: what was seen in this look, and where it was broken off, what was known before.
    pub(super) fn write(mut self, is_whole: bool) {
        if !is_whole {
            let known = std::mem::take(&mut self.before);
            let seen = std::mem::take(&mut self.now);
            self.now = known.clone().into_iter().chain(seen).collect();
            self.before = known;
        }
        if self.now != self.before
            && let Err(error) = self.replace()
        {
            // The next look reads them again.
            tracing::warn!(file = %self.file.display(), %error, "what a look read is not remembered");
        }
    }

    fn replace(&self) -> io::Result<()> {
        let dir = self.file.parent().unwrap_or(&self.file);
        fs::create_dir_all(dir)?;
        let mut beside = tempfile::NamedTempFile::new_in(dir)?;
        io::Write::write_all(&mut beside, &render(&self.now))?;
        beside.persist(&self.file)?;
        Ok(())
    }
}

fn render(files: &BTreeMap<PathBuf, (Stamp, Kept)>) -> Vec<u8> {
    let mut out = format!("{HEADER}\0").into_bytes();
    for (path, (stamp, kept)) in files {
        let kept = match kept {
            Kept::Content { entry, is_settled } => {
                format!("{} {:o} {}", if *is_settled { "read" } else { "fresh" }, entry.mode, entry.object)
            }
            Kept::Name => "named 0 0".to_owned(),
        };
        let (modified, changed) = (stamp.modified, stamp.changed);
        let line = format!(
            "{kept} {} {} {:o} {} {} {} {}\t",
            stamp.size, stamp.inode, stamp.mode, modified.0, modified.1, changed.0, changed.1
        );
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(bytes_of(path));
        out.push(0);
    }
    out
}

/// `None` if it is not a whole record.
fn parse(bytes: &[u8]) -> Option<BTreeMap<PathBuf, (Stamp, Kept)>> {
    let mut records = bytes.strip_suffix(b"\0")?.split(|byte| *byte == 0);
    if records.next()? != HEADER.as_bytes() {
        return None;
    }
    records.map(record).collect()
}

fn record(bytes: &[u8]) -> Option<(PathBuf, (Stamp, Kept))> {
    let tab = bytes.iter().position(|byte| *byte == b'\t')?;
    let path = path_from(bytes.get(tab + 1..)?.to_vec());
    let mut words = std::str::from_utf8(&bytes[..tab]).ok()?.split(' ');
    let (word, mode, object) = (words.next()?, words.next()?, words.next()?);
    let entry = || Some(Entry { mode: u32::from_str_radix(mode, 8).ok()?, object: object.to_owned() });
    let kept = match word {
        "read" => Kept::Content { entry: entry()?, is_settled: true },
        "fresh" => Kept::Content { entry: entry()?, is_settled: false },
        "named" => Kept::Name,
        _ => return None,
    };
    let (size, inode) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let mode = u32::from_str_radix(words.next()?, 8).ok()?;
    let mut time = || Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?));
    Some((path, (Stamp { size, inode, mode, modified: time()?, changed: time()? }, kept)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(modified: Time, changed: Time) -> Stamp {
        Stamp { size: 2 << 20, inode: 7, mode: 0o100_644, modified, changed }
    }

    #[test]
    fn a_file_that_was_written_a_moment_ago_is_not_taken_for_unchanged() {
        let at = SystemTime::UNIX_EPOCH + Duration::new(1_000, 500_000_000);
        let cases = [
            (stamp((990, 1), (990, 1)), true),
            (stamp((990, 1), (1_000, 450_000_000)), false),
            (stamp((1_000, 450_000_000), (990, 1)), false),
            (stamp((1_000, 399_999_999), (1_000, 399_999_999)), true),
            (stamp((999, 0), (999, 0)), false),
            (stamp((998, 0), (998, 0)), true),
            // A clock that was set back.
            (stamp((2_000, 1), (2_000, 1)), false),
        ];
        for (stamp, wanted) in cases {
            assert_eq!(stamp.is_settled(at), wanted, "{stamp:?}");
        }
    }

    #[test]
    fn what_is_written_down_reads_back_and_half_of_it_is_nothing() {
        let entry = Entry { mode: 0o100_755, object: "ab".repeat(20) };
        let times = stamp((1, 2), (3, 4));
        let read = |is_settled| Kept::Content { entry: entry.clone(), is_settled };
        let files: BTreeMap<PathBuf, (Stamp, Kept)> = [
            (PathBuf::from("a b\tc\n"), (times.clone(), read(true))),
            (path_from(b"\xff".to_vec()), (times.clone(), read(false))),
            (PathBuf::from("n"), (times, Kept::Name)),
        ]
        .into();
        let bytes = render(&files);
        assert_eq!(parse(&bytes), Some(files));
        assert_eq!(parse(&bytes[..bytes.len() - 1]), None);
        assert_eq!(parse(b"another\0"), None);
    }
}

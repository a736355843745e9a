//! Which directory a worktree is, told again after a boot or a move of its repository. The rule is pure; the
//! look at the disk is beside it.
//!
//! A mark of ours in the worktree's entry decides. The inode and the time of birth of the directory confirm
//! it. A device number means something only within one boot: the next one may number the disks in another
//! order.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

use nix::fcntl::OFlag;

use super::error::WorktreeError;

/// The file in the entry of a worktree that has its mark.
const MARK_FILE: &str = "hob-mark";
/// Characters of a mark: 128 bits.
const MARK_CHARS: usize = 32;

/// What is known of a worktree's directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Device number of the directory.
    pub device: u64,
    /// Inode number of the directory.
    pub inode: u64,
    /// When the directory was made, in nanoseconds since 1970, where the file system knows.
    pub birth: Option<i64>,
    /// The boot that the device number is of.
    pub boot: Option<String>,
    /// The mark in the worktree's entry.
    pub mark: Option<String>,
}

/// What a look at a directory says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the one, as it is written down.
    Same,
    /// It is the one, and more or something else is known of it than what is written down.
    Renewed,
    /// It is another one, or may be: says why.
    Another(&'static str),
}

impl Identity {
    /// Whether a directory that was found is the one that is written down.
    pub(super) fn judge(&self, found: &Self) -> Verdict {
        const ANOTHER: &str = "another directory is there now";
        let differ = |a: Option<i64>, b: Option<i64>| matches!((a, b), (Some(a), Some(b)) if a != b);
        if self.inode != found.inode || differ(self.birth, found.birth) {
            return Verdict::Another(ANOTHER);
        }
        let is_one = match (&self.mark, &found.mark) {
            (Some(written), Some(found)) if written != found => {
                return Verdict::Another("its entry in the repository is that of another worktree");
            }
            (Some(_), Some(_)) => true,
            // Nothing but the numbers is left to go by.
            (None, _) | (Some(_), None) => {
                let is_one_boot = self.boot.is_none() || self.boot == found.boot;
                let is_one_birth = self.birth.is_some() && self.birth == found.birth;
                self.device == found.device && (is_one_boot || is_one_birth)
            }
        };
        if !is_one {
            let why = if self.mark.is_some() && found.mark.is_none() {
                "its mark is gone, and nothing else says that it is the one that was made"
            } else {
                "nothing says that it is the one that was made: its file system has another number"
            };
            return Verdict::Another(why);
        }
        if self == found { Verdict::Same } else { Verdict::Renewed }
    }

    /// Looks at a directory, and at the entry that may have its mark.
    pub(super) fn of(directory: &Path, entry: &Path) -> io::Result<Self> {
        let at = fs::symlink_metadata(directory)?;
        Ok(Self {
            device: at.dev(),
            inode: at.ino(),
            birth: birth(&at),
            boot: boot().map(str::to_owned),
            mark: mark_in(entry),
        })
    }
}

/// When a file was made, where that is known.
pub(super) fn birth(at: &fs::Metadata) -> Option<i64> {
    let since = at.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok()
}

/// This boot. It does not change while we run.
fn boot() -> Option<&'static str> {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    BOOT.get_or_init(|| crate::backend::process::boot_id().ok()).as_deref()
}

/// The mark in an entry, if there is a whole one.
pub(super) fn mark_in(entry: &Path) -> Option<String> {
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(entry.join(MARK_FILE)).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(MARK_CHARS as u64 * 2).read_to_string(&mut text).ok()?;
    let mark = text.trim_end();
    let is_whole = mark.len() == MARK_CHARS && mark.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_whole.then(|| mark.to_owned())
}

/// A mark that no other worktree has.
pub(super) fn fresh_mark() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// Puts a mark into an entry, whole or not at all.
pub(super) fn write_mark(entry: &Path, mark: &str) -> Result<(), WorktreeError> {
    let (file, beside) = (entry.join(MARK_FILE), entry.join(format!("{MARK_FILE}.new")));
    let write = || {
        let mut out = OpenOptions::new().write(true).create(true).truncate(true).open(&beside)?;
        out.write_all(format!("{mark}\n").as_bytes())?;
        out.sync_all()?;
        fs::rename(&beside, &file)
    };
    write().map_err(|error| WorktreeError::io("write", &file, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Identity {
        Identity {
            device: 5,
            inode: 7,
            birth: Some(100),
            boot: Some("a".to_owned()),
            mark: Some("m".to_owned()),
        }
    }

    /// What no mark was made of yet.
    fn old() -> Identity {
        Identity { birth: None, boot: None, mark: None, ..written() }
    }

    #[test]
    fn the_mark_decides_the_inode_and_the_birth_confirm_and_the_device_counts_within_one_boot() {
        let next = |of: Identity| Identity { boot: Some("b".to_owned()), ..of };
        let moved = |of: Identity| Identity { device: 6, ..of };
        let unmarked = |of: Identity| Identity { mark: None, ..of };
        let unborn = |of: Identity| Identity { birth: None, ..of };
        let cases = [
            ("as it was", written(), written(), "same"),
            ("the next boot", written(), next(written()), "renewed"),
            ("another device number", written(), moved(next(written())), "renewed"),
            ("a disk that was taken out and put in", written(), moved(written()), "renewed"),
            ("no birth is known", unborn(written()), moved(next(unborn(written()))), "renewed"),
            ("another inode", written(), Identity { inode: 8, ..written() }, "another"),
            (
                "an inode that was given again",
                written(),
                Identity { birth: Some(101), ..written() },
                "another",
            ),
            ("another mark", written(), Identity { mark: Some("n".to_owned()), ..written() }, "another"),
            ("the mark is gone", written(), unmarked(written()), "renewed"),
            ("gone in another boot", written(), unmarked(next(written())), "renewed"),
            ("gone, with no birth to go by", unborn(written()), unmarked(next(unborn(written()))), "another"),
            ("gone, with another number", written(), moved(unmarked(written())), "another"),
            ("of before, as it was", old(), unmarked(written()), "renewed"),
            ("of before, with another number", old(), moved(unmarked(written())), "another"),
            ("of before, cut short when it was marked", old(), written(), "renewed"),
        ];
        for (name, written, found, expected) in cases {
            let said = match written.judge(&found) {
                Verdict::Same => "same",
                Verdict::Renewed => "renewed",
                Verdict::Another(_) => "another",
            };
            assert_eq!(said, expected, "{name}");
        }
    }

    #[test]
    fn a_mark_reads_back_and_half_of_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let mark = fresh_mark();
        assert_eq!(mark_in(dir.path()), None);
        write_mark(dir.path(), &mark).unwrap();
        assert_eq!(mark_in(dir.path()), Some(mark.clone()));
        fs::write(dir.path().join(MARK_FILE), &mark[..9]).unwrap();
        assert_eq!(mark_in(dir.path()), None);
        fs::remove_file(dir.path().join(MARK_FILE)).unwrap();
        nix::unistd::mkfifo(&dir.path().join(MARK_FILE), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(mark_in(dir.path()), None, "a pipe is not waited for");
    }
}

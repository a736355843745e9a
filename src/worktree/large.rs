//! Files that are too large to be kept at every turn, by themselves or all together. In a snapshot a
//! small text stands for such a file; it names the file by its size, its inode and its times, so that it
//! is known again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file of more bytes than this is never kept in snapshots.
pub(super) const LARGE_BYTES: u64 = 100 << 20;
/// A text never stands for a file of no more bytes than this.
pub(super) const NAMED_BYTES_MIN: u64 = 1 << 20;
/// The first line of what stands for one.
const HEADER: &str = "hob: a file too large to be kept";
/// What stands for one is never longer.
pub(super) const POINTER_BYTES_MAX: u64 = 256;

/// What would stand for the file at `path`; `None` if nothing ever does.
pub(super) fn pointer(path: &Path) -> Option<Vec<u8>> {
    let found = fs::symlink_metadata(path).ok()?;
    if !found.is_file() || found.size() <= NAMED_BYTES_MIN {
        return None;
    }
    let (size, inode) = (found.size(), found.ino());
    let text = format!(
        "{HEADER}\nsize {size}\ninode {inode}\nmode {:o}\nmodified {}.{:09}\n",
        found.mode() & 0o777,
        found.mtime(),
        found.mtime_nsec()
    );
    Some(text.into_bytes())
}

/// What stands for a content that was kept once.
pub(super) fn name_of(object: &str, size: u64) -> Vec<u8> {
    format!("{HEADER}\nsize {size}\nobject {object}\n").into_bytes()
}

/// The size of the file that a blob stands for, if it stands for one.
pub(super) fn size_of(blob: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(blob).ok()?.strip_prefix(HEADER)?.strip_prefix("\nsize ")?;
    text.lines().next()?.parse().ok().filter(|size| *size > NAMED_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_large_file_is_stood_for_and_what_stands_for_it_says_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = fs::File::create(&path).unwrap();
        file.set_len(NAMED_BYTES_MIN).unwrap();
        assert_eq!(pointer(&path), None);
        file.set_len(NAMED_BYTES_MIN + 1).unwrap();
        let stands = pointer(&path).unwrap();
        assert_eq!(size_of(&stands), Some(NAMED_BYTES_MIN + 1));
        assert!(stands.len() as u64 <= POINTER_BYTES_MAX);
        assert_eq!(pointer(&path), Some(stands));
        let named = name_of(&"a".repeat(64), NAMED_BYTES_MIN + 1);
        assert_eq!(size_of(&named), Some(NAMED_BYTES_MIN + 1));
        assert!(named.len() as u64 <= POINTER_BYTES_MAX);
        assert_eq!(size_of(b"hob: a file too large to be kept\nsize 12\n"), None, "an ordinary file");
    }
}

//! How old and how large the content of a directory is. Reads names and times only, follows no link.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes in a block of `st_blocks`.
const BLOCK_BYTES: u64 = 512;

fn walk(top: &Path, mut each: impl FnMut(&fs::Metadata)) -> Option<()> {
    each(&fs::symlink_metadata(top).ok()?);
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        // What went or cannot be read is left out; who decides by this has looked closer.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            each(&found);
            if found.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Some(())
}

/// The newest change of any file or directory, in milliseconds since 1970; `None` if there is nothing.
pub(super) fn last_write(top: &Path) -> Option<i64> {
    let mut newest = i64::MIN;
    walk(top, |found| {
        let at = |seconds: i64, nanos: i64| seconds.saturating_mul(1000) + nanos / 1_000_000;
        // A time of content can be set to anything; the other is the kernel's.
        newest = newest.max(at(found.ctime(), found.ctime_nsec()));
    })?;
    Some(newest)
}

/// What it takes on the disk.
pub(super) fn size(top: &Path) -> Option<u64> {
    let mut bytes = 0_u64;
    walk(top, |found| bytes += found.blocks() * BLOCK_BYTES)?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_change_counts_whatever_the_file_says() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("old"), "x").unwrap();
        let before = last_write(dir.path()).unwrap();
        let file = fs::File::options().write(true).open(dir.path().join("old")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert!(last_write(dir.path()).unwrap() >= before);
        assert!(size(dir.path()).unwrap() > 0);
        assert_eq!(last_write(&dir.path().join("nowhere")), None);
    }
}

//! What ails the disk when SQLite can only say that a call failed. Asks by writing a small file
//! beside the database, and leaves nothing. A limit of the size of files (`ulimit -f`) counts as a
//! full disk: the write is as far from the beginning of the file as the database could need.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::error::StoreError;

/// What is written: a page, as the database would.
const PROBE_BYTES: usize = 4096;

/// What passes by itself, if that is what keeps files beside `database` from being written.
pub(super) fn trouble(database: &Path) -> Option<StoreError> {
    let mut name = database.as_os_str().to_owned();
    name.push("-probe");
    let path = PathBuf::from(name);
    let written = write(&path, size(database));
    // One that was never made, or that a read-only file system keeps.
    std::fs::remove_file(&path).ok();
    passing(&written.err()?)
}

/// How long the database may become with what its log holds, in bytes.
fn size(database: &Path) -> u64 {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    let bytes = |file: &Path| std::fs::metadata(file).map_or(0, |found| found.len());
    bytes(database) + bytes(Path::new(&log))
}

fn write(path: &Path, offset: u64) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let mut file: File = options.open(path)?;
    // What lies before takes no room.
    file.seek(io::SeekFrom::Start(offset))?;
    file.write_all(&[0; PROBE_BYTES])?;
    file.sync_all()
}

/// The trouble that a failure stands for, if it is one that passes.
fn passing(error: &io::Error) -> Option<StoreError> {
    match error.raw_os_error()? {
        libc::ENOSPC | libc::EDQUOT | libc::EFBIG => Some(StoreError::Full(error.to_string())),
        libc::EROFS => Some(StoreError::ReadOnly(error.to_string())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_by_itself_is_called_passing() {
        let cases = [
            ("full", libc::ENOSPC, true),
            ("over the quota", libc::EDQUOT, true),
            ("over the limit of a file's size", libc::EFBIG, true),
            ("read-only", libc::EROFS, true),
            ("broken", libc::EIO, false),
            ("not ours", libc::EACCES, false),
        ];
        for (name, errno, passes) in cases {
            let trouble = passing(&io::Error::from_raw_os_error(errno));
            assert_eq!(trouble.is_some_and(|trouble| trouble.is_passing()), passes, "{name}");
        }
    }

    #[test]
    fn a_disk_that_is_well_has_no_trouble_and_nothing_stays_on_it() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(trouble(&dir.path().join("hob.db")).is_none());
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 0);
    }
}

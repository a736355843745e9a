//! Whether what lies on the disk is what git has: by hashing all of it, whatever the index says of its
//! times. Reads only; runs no filter.

use std::cell::OnceCell;
use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use git2::{ObjectType, Oid};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{Trouble, unreadable};
use crate::worktree::carry::Entry;
use crate::worktree::convert::Converter;
use crate::worktree::large;
use crate::worktree::objects::{EXECUTABLE, FILE, LINK, Objects};
use crate::worktree::source::bytes_of;

/// A blob of more bytes than this is not compared but by its name.
const COMPARED_BYTES_MAX: u64 = 8 << 20;
/// A file of more bytes is read in pieces. More than a blob that is compared can become with other ends
/// of lines.
const WHOLE_BYTES_MAX: u64 = 2 * COMPARED_BYTES_MAX;
/// Bytes of a piece.
const PIECE_BYTES: usize = 1 << 20;
/// Hexadecimal characters of a SHA-1.
const SHA1_CHARS: usize = 40;
/// What a file kept elsewhere by Git LFS begins with.
const LFS: &str = "version https://git-lfs.github.com/spec/v1\n";
/// What stands for a file kept elsewhere is never longer (Git LFS, docs/spec.md).
const LFS_BYTES_MAX: usize = 1024;

/// Something on the disk: its mode as git writes it, and its bytes, or where they are.
pub(super) struct Disk {
    at: PathBuf,
    mode: u32,
    size: u64,
    /// Its bytes, unless there are so many that they are only read in pieces, and only if they must be.
    bytes: Option<Vec<u8>>,
    /// What stands for it in a snapshot, if it is large.
    pointer: Option<Vec<u8>>,
    /// The name that git has for its content, once it was asked for.
    named: OnceCell<String>,
    until: Instant,
}

impl Disk {
    /// Reads a file or a link without following anything; `None` for what git keeps nothing of. What is
    /// long is read in pieces, until some time at most.
    pub(super) fn read(path: &Path, found: &Metadata, until: Instant) -> Result<Option<Self>, Trouble> {
        let at = path.to_owned();
        let (pointer, named) = (large::pointer(path), OnceCell::new());
        if found.is_symlink() {
            let target = fs::read_link(path).map_err(|error| unreadable(path, &error))?;
            let bytes = bytes_of(&target).to_vec();
            let size = bytes.len() as u64;
            return Ok(Some(Self { at, mode: LINK, size, bytes: Some(bytes), pointer, named, until }));
        }
        if !found.is_file() {
            return Ok(None);
        }
        let mode = if found.mode() & 0o100 == 0 { FILE } else { EXECUTABLE };
        let mut disk = Self { at, mode, size: found.size(), bytes: None, pointer, named, until };
        if found.size() <= WHOLE_BYTES_MAX {
            let mut bytes = Vec::new();
            disk.pieces(|piece| bytes.extend_from_slice(piece))?;
            disk.size = bytes.len() as u64;
            disk.bytes = Some(bytes);
        }
        Ok(Some(disk))
    }

    /// Reads it from the beginning, and a byte more than it had when it was looked at: then it is another.
    fn pieces(&self, mut each: impl FnMut(&[u8])) -> Result<(), Trouble> {
        let failed = |error: io::Error| unreadable(&self.at, &error);
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = File::options().read(true).custom_flags(flags).open(&self.at).map_err(failed)?;
        let mut file = BufReader::with_capacity(PIECE_BYTES, file.take(self.size.saturating_add(1)));
        loop {
            let piece = file.fill_buf().map_err(failed)?;
            if piece.is_empty() {
                return Ok(());
            }
            let n = piece.len();
            each(piece);
            file.consume(n);
            if Instant::now() >= self.until {
                return Err(Trouble::Late);
            }
        }
    }

    /// Whether it is this entry, byte for byte or as the attributes of the repository say that a checkout
    /// differs from it.
    pub(super) fn is(&self, objects: &Objects<'_>, path: &Path, entry: &Entry) -> Result<bool, Trouble> {
        if self.mode != entry.mode {
            return Ok(false);
        }
        if let Some(pointer) = &self.pointer
            && name(pointer, entry.object.len())? == entry.object
        {
            return Ok(true);
        }
        if let Some(bytes) = &self.bytes {
            return self.is_short(bytes, objects, path, entry);
        }
        // What is not here cannot be compared, and is another.
        let Ok(size) = objects.blob_size(&entry.object) else { return Ok(false) };
        if size == self.size {
            return Ok(self.name(entry.object.len())? == entry.object);
        }
        // Of another size, it is never read but where something names its content.
        Ok(size <= LFS_BYTES_MAX as u64 && self.is_stood_for_by(&objects.blob(&entry.object)?)?)
    }

    fn is_short(
        &self,
        bytes: &[u8],
        objects: &Objects<'_>,
        path: &Path,
        entry: &Entry,
    ) -> Result<bool, Trouble> {
        if self.name(entry.object.len())? == entry.object {
            return Ok(true);
        }
        let Ok(size) = objects.blob_size(&entry.object) else { return Ok(false) };
        if self.mode == LINK || size > COMPARED_BYTES_MAX {
            return Ok(false);
        }
        let blob = objects.blob(&entry.object)?;
        if self.is_stood_for_by(&blob)? {
            return Ok(true);
        }
        Ok(Converter::of(objects.source).is_kept_as(path, bytes, (&entry.object, &blob))?)
    }

    /// The name that git has for its content, in a repository whose names have so many characters.
    fn name(&self, chars: usize) -> Result<String, Trouble> {
        if let Some(named) = self.named.get().filter(|named| named.len() == chars) {
            return Ok(named.clone());
        }
        let named = match &self.bytes {
            Some(bytes) => name(bytes, chars)?,
            None if chars == SHA1_CHARS => self.digest(Sha1::new_with_prefix(header(self.size)))?,
            None => self.digest(Sha256::new_with_prefix(header(self.size)))?,
        };
        // Names of one repository are all of one kind.
        self.named.set(named.clone()).ok();
        Ok(named)
    }

    fn digest<D: Digest>(&self, mut hash: D) -> Result<String, Trouble> {
        match &self.bytes {
            Some(bytes) => hash.update(bytes),
            None => self.pieces(|piece| hash.update(piece))?,
        }
        Ok(data_encoding::HEXLOWER.encode(hash.finalize().as_ref()))
    }

    /// Git LFS keeps it elsewhere, under the name that its content has.
    fn is_stood_for_by(&self, blob: &[u8]) -> Result<bool, Trouble> {
        let Some(text) = std::str::from_utf8(blob).ok().filter(|text| text.len() <= LFS_BYTES_MAX) else {
            return Ok(false);
        };
        let Some(rest) = text.strip_prefix(LFS) else { return Ok(false) };
        let value = |key: &str| rest.lines().find_map(|line| line.strip_prefix(key));
        if value("size ") != Some(self.size.to_string().as_str()) {
            return Ok(false);
        }
        Ok(value("oid sha256:") == Some(self.digest(Sha256::new())?.as_str()))
    }
}

/// What git hashes before the content of a blob.
fn header(size: u64) -> String {
    format!("blob {size}\0")
}

/// The name of a blob, in a repository whose names have so many characters.
fn name(bytes: &[u8], chars: usize) -> Result<String, Trouble> {
    if chars == SHA1_CHARS {
        return Ok(Oid::hash_object(ObjectType::Blob, bytes)?.to_string());
    }
    let mut hash = Sha256::new_with_prefix(header(bytes.len() as u64));
    hash.update(bytes);
    Ok(data_encoding::HEXLOWER.encode(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use super::*;

    /// A new file, looked at with little time.
    fn disk(path: &Path, write: impl FnOnce(&mut File)) -> Disk {
        write(&mut File::create(path).unwrap());
        let until = Instant::now() + Duration::from_millis(500);
        Disk::read(path, &fs::symlink_metadata(path).unwrap(), until).unwrap().unwrap()
    }

    #[test]
    fn a_long_file_is_named_from_its_pieces_as_from_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = vec![0_u8; usize::try_from(WHOLE_BYTES_MAX).unwrap() + 1];
        bytes[PIECE_BYTES] = 1;
        let mut disk = disk(&dir.path().join("file"), |file| file.write_all(&bytes).unwrap());
        disk.until += Duration::from_secs(60);
        assert!(disk.bytes.is_none());
        for chars in [SHA1_CHARS, 64] {
            assert_eq!(disk.name(chars).unwrap(), name(&bytes, chars).unwrap());
        }
    }

    #[test]
    fn a_file_that_takes_too_long_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let disk = disk(&dir.path().join("file"), |file| file.set_len(1 << 40).unwrap());
        assert!(matches!(disk.name(SHA1_CHARS), Err(Trouble::Late)));
    }

    #[test]
    fn blobs_are_named_as_git_names_them() {
        assert_eq!(name(b"", 40).unwrap(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(
            name(b"", 64).unwrap(),
            "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813"
        );
    }

    #[test]
    fn what_stands_for_a_file_kept_elsewhere_is_known_by_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let disk = disk(&dir.path().join("file"), |file| file.write_all(b"hello").unwrap());
        let oid = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let stands = |size: usize, oid: &str| format!("{LFS}oid sha256:{oid}\nsize {size}\n").into_bytes();
        assert!(disk.is_stood_for_by(&stands(5, oid)).unwrap());
        assert!(!disk.is_stood_for_by(&stands(6, oid)).unwrap());
        assert!(!disk.is_stood_for_by(&stands(5, &"0".repeat(64))).unwrap());
        assert!(!disk.is_stood_for_by(b"hello").unwrap());
    }
}

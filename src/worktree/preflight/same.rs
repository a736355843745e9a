//! Whether what lies on the disk is what git has: by hashing all of it, whatever the index says of its
//! times. Reads only; runs no filter.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use git2::{ObjectType, Oid};
use sha2::{Digest, Sha256};

use super::{Trouble, unreadable};
use crate::worktree::carry::Entry;
use crate::worktree::eol::{self, Eol};
use crate::worktree::large;
use crate::worktree::objects::{EXECUTABLE, FILE, LINK, Objects};
use crate::worktree::source::bytes_of;

/// A blob of more bytes than this is not compared but by its name.
const COMPARED_BYTES_MAX: u64 = 8 << 20;
/// Hexadecimal characters of a SHA-1.
const SHA1_CHARS: usize = 40;
/// What a file kept elsewhere by Git LFS begins with.
const LFS: &str = "version https://git-lfs.github.com/spec/v1\n";
/// What stands for a file kept elsewhere is never longer (Git LFS, docs/spec.md).
const LFS_BYTES_MAX: usize = 1024;

/// Something on the disk: its mode as git writes it, and its bytes.
pub(super) struct Disk {
    mode: u32,
    bytes: Vec<u8>,
    /// What stands for it in a snapshot, if it is large.
    pointer: Option<Vec<u8>>,
}

impl Disk {
    /// Reads a file or a link without following anything; `None` for what git keeps nothing of.
    pub(super) fn read(path: &Path, found: &Metadata) -> Result<Option<Self>, Trouble> {
        if found.is_symlink() {
            let target = fs::read_link(path).map_err(|error| unreadable(path, &error))?;
            return Ok(Some(Self { mode: LINK, bytes: bytes_of(&target).to_vec(), pointer: None }));
        }
        if !found.is_file() {
            return Ok(None);
        }
        let read = || {
            let mut file =
                File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
            let mut bytes = Vec::with_capacity(usize::try_from(found.size()).unwrap_or(0));
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|error: std::io::Error| unreadable(path, &error))?;
        let mode = if found.mode() & 0o100 == 0 { FILE } else { EXECUTABLE };
        Ok(Some(Self { mode, bytes, pointer: large::pointer(path) }))
    }

    /// Whether it is this entry, byte for byte or as the attributes of the repository say that a checkout
    /// differs from it.
    pub(super) fn is(&self, objects: &Objects<'_>, path: &Path, entry: &Entry) -> Result<bool, Trouble> {
        if self.mode != entry.mode {
            return Ok(false);
        }
        if name(&self.bytes, entry.object.len())? == entry.object {
            return Ok(true);
        }
        if let Some(pointer) = &self.pointer
            && name(pointer, entry.object.len())? == entry.object
        {
            return Ok(true);
        }
        // What is not here cannot be compared, and is another.
        let Ok(size) = objects.blob_size(&entry.object) else { return Ok(false) };
        if self.mode == LINK || size > COMPARED_BYTES_MAX {
            return Ok(false);
        }
        let blob = objects.blob(&entry.object)?;
        Ok(self.is_stood_for_by(&blob) || self.is_converted(objects, path, &blob))
    }

    /// Only the ends of its lines are others, and that is asked for.
    fn is_converted(&self, objects: &Objects<'_>, path: &Path, blob: &[u8]) -> bool {
        eol::of(&self.bytes, blob) == Eol::CrLf
            && eol::to_lf(&self.bytes) == blob
            && eol::configured(objects.source, path, blob) == Eol::CrLf
    }

    /// Git LFS keeps it elsewhere, under the name that its content has.
    fn is_stood_for_by(&self, blob: &[u8]) -> bool {
        let Some(text) = std::str::from_utf8(blob).ok().filter(|text| text.len() <= LFS_BYTES_MAX) else {
            return false;
        };
        let Some(rest) = text.strip_prefix(LFS) else { return false };
        let value = |key: &str| rest.lines().find_map(|line| line.strip_prefix(key));
        value("size ") == Some(self.bytes.len().to_string().as_str())
            && value("oid sha256:")
                == Some(data_encoding::HEXLOWER.encode(&Sha256::digest(&self.bytes)).as_str())
    }
}

/// The name of a blob, in a repository whose names have so many characters.
fn name(bytes: &[u8], chars: usize) -> Result<String, Trouble> {
    if chars == SHA1_CHARS {
        return Ok(Oid::hash_object(ObjectType::Blob, bytes)?.to_string());
    }
    let mut hash = Sha256::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    Ok(data_encoding::HEXLOWER.encode(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let disk = Disk { mode: FILE, bytes: b"hello".to_vec(), pointer: None };
        let oid = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let stands = |size: usize, oid: &str| format!("{LFS}oid sha256:{oid}\nsize {size}\n").into_bytes();
        assert!(disk.is_stood_for_by(&stands(5, oid)));
        assert!(!disk.is_stood_for_by(&stands(6, oid)));
        assert!(!disk.is_stood_for_by(&stands(5, &"0".repeat(64))));
        assert!(!disk.is_stood_for_by(b"hello"));
    }
}

//! What a directory is to a process that may have it under another path: the numbers of everything in it, and
//! where it lies in its file system. Reads; what is costly is read only for processes in another mount
//! namespace, or where the directory is mounted a second time.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Entries of a directory whose numbers are known, at most; what is beyond is not found by them.
const MEMBERS_MAX: usize = 2_000_000;

/// Device and inode.
type Number = (u64, u64);

/// A directory.
pub(super) struct Ground {
    folder: PathBuf,
    /// Where it lies: the file system's number as mounts tell it, and the path within.
    place: Option<(String, PathBuf)>,
    /// Mount namespaces by name: whether they have it mounted.
    namespaces: BTreeMap<OsString, bool>,
    own: Option<OsString>,
    /// The present process sees it under another path than ours.
    is_elsewhere: bool,
    members: OnceCell<HashSet<Number>>,
}

impl Ground {
    pub(super) fn of(folder: &Path) -> Self {
        let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
        let place = place(&mounts, folder);
        let own = namespace(Path::new("/proc/self"));
        let mut ground = Self {
            folder: folder.to_owned(),
            place,
            namespaces: BTreeMap::new(),
            own,
            is_elsewhere: false,
            members: OnceCell::new(),
        };
        if let Some(own) = ground.own.clone() {
            let is_mounted = ground.is_mounted_in(&mounts);
            ground.namespaces.insert(own, is_mounted);
        }
        ground
    }

    /// Takes up a process; whether its mount namespace has the directory, or something in it, mounted.
    pub(super) fn is_mounted_for(&mut self, proc: &Path) -> io::Result<bool> {
        let Some(namespace) = namespace(proc) else {
            // Who may not be asked is asked for what else there is, and that says what is wrong.
            self.is_elsewhere = true;
            return Ok(false);
        };
        let is_own = self.own.as_ref() == Some(&namespace);
        let is_mounted = match self.namespaces.get(&namespace) {
            Some(known) => *known,
            None => {
                let found = self.is_mounted_in(&fs::read(proc.join("mountinfo"))?);
                self.namespaces.insert(namespace, found);
                found
            }
        };
        self.is_elsewhere = !is_own || is_mounted;
        // In our own namespace everybody would be inside; there it counts what a process has open.
        Ok(is_mounted && !is_own)
    }

    fn is_mounted_in(&self, mounts: &[u8]) -> bool {
        let Some((device, within)) = &self.place else { return false };
        // A worktree that is a mount of its own is itself among them.
        others(mounts, device, within).any(|mount| mount.point != self.folder)
    }

    /// Whether what a link of `/proc` leads to is in the directory, under whatever path.
    pub(super) fn has(&self, link: &Path, target: &Path) -> bool {
        if !self.is_elsewhere || !target.is_absolute() {
            return false;
        }
        fs::metadata(link).is_ok_and(|at| self.members().contains(&(at.dev(), at.ino())))
    }

    /// Whether something in the directory has these numbers, for a process that may see it elsewhere.
    pub(super) fn has_number(&self, device: u64, inode: u64) -> bool {
        self.is_elsewhere && self.members().contains(&(device, inode))
    }

    fn members(&self) -> &HashSet<Number> {
        self.members.get_or_init(|| {
            let (mut found, mut folders) = (HashSet::new(), vec![self.folder.clone()]);
            if let Ok(at) = fs::symlink_metadata(&self.folder) {
                found.insert((at.dev(), at.ino()));
            }
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                    let Ok(at) = entry.metadata() else { continue };
                    if at.is_dir() {
                        folders.push(entry.path());
                    }
                    if !at.is_symlink() && found.len() < MEMBERS_MAX {
                        found.insert((at.dev(), at.ino()));
                    }
                }
            }
            found
        })
    }
}

/// Where else, in our own mount namespace, a directory or something in it is mounted.
pub(crate) fn mounted_elsewhere(folder: &Path) -> io::Result<Option<PathBuf>> {
    Ok(elsewhere(&fs::read("/proc/self/mountinfo")?, folder))
}

fn elsewhere(mounts: &[u8], folder: &Path) -> Option<PathBuf> {
    let (device, within) = place(mounts, folder)?;
    others(mounts, &device, &within).find(|mount| mount.point != folder).map(|mount| mount.point)
}

/// Mounts of a directory of a file system, or of something in it.
fn others<'m>(mounts: &'m [u8], device: &'m str, within: &'m Path) -> impl Iterator<Item = Mount> + 'm {
    let lines = mounts.split(|byte| *byte == b'\n').filter_map(Mount::of);
    lines.filter(move |mount| mount.device == device && mount.root.starts_with(within))
}

/// The name of a mount namespace.
fn namespace(proc: &Path) -> Option<OsString> {
    fs::read_link(proc.join("ns/mnt")).ok().map(PathBuf::into_os_string)
}

/// Where a directory lies: in which file system, and where within.
fn place(mounts: &[u8], folder: &Path) -> Option<(String, PathBuf)> {
    let lines = mounts.split(|byte| *byte == b'\n').filter_map(Mount::of);
    let below = lines.filter(|mount| folder.starts_with(&mount.point));
    // Of two at one point the later one is on top.
    let mount = below.max_by_key(|mount| mount.point.components().count())?;
    let rest = folder.strip_prefix(&mount.point).ok()?;
    // Joined with nothing, a path would end with a slash.
    let within = if rest.as_os_str().is_empty() { mount.root } else { mount.root.join(rest) };
    Some((mount.device, within))
}

/// A line of `mountinfo`.
struct Mount {
    device: String,
    root: PathBuf,
    point: PathBuf,
}

impl Mount {
    /// `36 35 98:0 /root /point options …`
    fn of(line: &[u8]) -> Option<Self> {
        let mut words = line.split(|byte| *byte == b' ').skip(2);
        let device = String::from_utf8(words.next()?.to_vec()).ok()?;
        let (root, point) = (words.next()?, words.next()?);
        Some(Self { device, root: unescaped(root), point: unescaped(point) })
    }
}

/// A path in which blanks are written as octal numbers.
pub(crate) fn unescaped(word: &[u8]) -> PathBuf {
    let (mut bytes, mut at) = (Vec::with_capacity(word.len()), 0);
    while at < word.len() {
        let octal = word.get(at + 1..at + 4).filter(|_| word[at] == b'\\');
        let code = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                at += 4;
            }
            None => {
                bytes.push(word[at]);
                at += 1;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// A file that a process has mapped.
pub(super) struct Mapped {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) path: PathBuf,
}

impl Mapped {
    /// `start-end perms offset major:minor inode   /path`; `None` for what is no file.
    pub(super) fn of(line: &[u8]) -> Option<Self> {
        let mut words = line.splitn(6, |byte| *byte == b' ').skip(3);
        let device = std::str::from_utf8(words.next()?).ok()?;
        let inode = std::str::from_utf8(words.next()?).ok()?.parse().ok().filter(|inode| *inode != 0)?;
        let path = words.next()?.trim_ascii_start();
        let (major, minor) = device.split_once(':')?;
        let number = |text: &str| u32::from_str_radix(text, 16).ok();
        let device = libc::makedev(number(major)?, number(minor)?);
        Some(Self { device, inode, path: PathBuf::from(OsString::from_vec(path.to_vec())) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = b"20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
        21 20 8:2 /vol /state rw - btrfs /dev/sda2 rw\n\
        22 20 0:5 / /proc rw - proc proc rw\n";

    #[test]
    fn where_a_directory_lies_is_told_by_the_mount_that_is_nearest() {
        let at = |folder: &str| place(MOUNTS, Path::new(folder)).unwrap();
        assert_eq!(at("/state/w-1"), ("8:2".to_owned(), PathBuf::from("/vol/w-1")));
        assert_eq!(at("/state"), ("8:2".to_owned(), PathBuf::from("/vol")));
        assert_eq!(at("/statement/w-1"), ("8:1".to_owned(), PathBuf::from("/statement/w-1")));
        assert_eq!(unescaped(b"/a\\040b\\"), PathBuf::from("/a b\\"));
    }

    #[test]
    fn a_mount_of_the_directory_or_of_something_in_it_counts_and_one_of_what_it_is_in_does_not() {
        let mut ground = Ground::of(Path::new("/"));
        (ground.folder, ground.place) = ("/state/w-1".into(), place(MOUNTS, Path::new("/state/w-1")));
        for (root, device, is) in [
            ("/vol/w-1", "8:2", true),
            ("/vol/w-1/src", "8:2", true),
            ("/vol/w-1//deleted", "8:2", true),
            ("/vol/w-12", "8:2", false),
            ("/vol", "8:2", false),
            ("/", "8:2", false),
            ("/vol/w-1", "8:1", false),
        ] {
            let line = format!("50 40 {device} {root} /work rw - btrfs /dev/sda2 rw");
            assert_eq!(ground.is_mounted_in(line.as_bytes()), is, "{root} of {device}");
        }
        assert!(!ground.is_mounted_in(MOUNTS));
        assert!(!ground.is_mounted_in(b"50 40 8:2 /vol/w-1 /state/w-1 rw - btrfs /dev/sda2 rw"), "itself");
    }

    #[test]
    fn a_second_mount_of_our_own_is_found_with_its_place() {
        let with = |line: &str| [MOUNTS, line.as_bytes()].concat();
        let folder = Path::new("/state/w-1");
        let second = with("50 40 8:2 /vol/w-1 /box/work rw - btrfs /dev/sda2 rw\n");
        assert_eq!(elsewhere(&second, folder), Some(PathBuf::from("/box/work")));
        let part = with("50 40 8:2 /vol/w-1/src /box/src rw - btrfs /dev/sda2 rw\n");
        assert_eq!(elsewhere(&part, folder), Some(PathBuf::from("/box/src")));
        let whole = with("50 40 8:2 /vol /again rw - btrfs /dev/sda2 rw\n");
        assert_eq!(elsewhere(&whole, folder), None, "the file system is mounted twice, and not for this one");
        assert_eq!(elsewhere(MOUNTS, folder), None);
    }

    #[test]
    fn a_line_of_the_maps_names_its_file_and_one_without_a_file_is_none() {
        let line = b"7f00-7f10 rw-s 00000000 fd:01 4711                       /home/a file";
        let mapped = Mapped::of(line).unwrap();
        assert_eq!((mapped.inode, mapped.path), (4711, PathBuf::from("/home/a file")));
        assert_eq!(mapped.device, libc::makedev(0xfd, 1));
        assert!(Mapped::of(b"7f00-7f10 rw-p 00000000 00:00 0 ").is_none());
        assert!(Mapped::of(b"7f00-7f10 rw-p 00000000 00:00 0                  [stack]").is_none());
        assert!(Mapped::of(b"").is_none());
    }
}

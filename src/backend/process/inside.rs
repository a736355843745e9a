//! Who works inside a directory: processes with their working directory, root, program, an open or mapped
//! file there, or a mount of it. Reads `/proc`, ends nobody.
//!
//! A process in another mount namespace may have the directory under another path. It is found by device and
//! inode of what it has open, and by what its namespace has mounted.
//!
//! What cannot be read of a process of another user is no evidence, and makes the answer a partial one.
//! A process that carries a mark of ours must be readable, or nothing is known of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::ground::Ground;
use super::procfs::{Stat, pids};
use super::{ground, mark};

/// What the kernel appends to the name of a file that was removed.
const DELETED: &str = " (deleted)";

/// A process inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupant {
    /// Its pid.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// With what: `working directory`, `open file`, …
    pub with: &'static str,
}

/// Who is inside, and what could not be looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inside {
    /// Processes inside.
    pub occupants: Vec<Occupant>,
    /// Some processes could not be looked at.
    pub partial: bool,
    /// Processes that carry a mark of ours and could not be looked at.
    pub hidden: Vec<u32>,
}

/// Looks who is inside `folder`, which is given without symbolic links. Our own process does not count:
/// it looks.
pub fn inside(folder: &Path) -> Inside {
    let mut found = Inside::default();
    let mut ground = Ground::of(folder);
    let own = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
    for pid in pids().filter(|pid| *pid != own) {
        let Some(stat) = Stat::of(pid).filter(|stat| !stat.is_zombie()) else { continue };
        match with(pid, folder, &mut ground) {
            Ok(Some(with)) => {
                found.occupants.push(Occupant { pid: pid.unsigned_abs(), name: stat.name, with });
            }
            Ok(None) => {}
            // It ended while we looked.
            Err(error) if is_gone(&error) => {}
            Err(_) => {
                found.partial = true;
                if mark::read(pid.unsigned_abs()).is_some() {
                    found.hidden.push(pid.unsigned_abs());
                }
            }
        }
    }
    found
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// With what a process is inside, if it is.
fn with(pid: i32, folder: &Path, ground: &mut Ground) -> io::Result<Option<&'static str>> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    if ground.is_mounted_for(&proc)? {
        return Ok(Some("mount"));
    }
    let is_inside = |link: &Path, target: &Path| is_within(target, folder) || ground.has(link, target);
    for (link, with) in [("cwd", "working directory"), ("root", "root directory"), ("exe", "program")] {
        match fs::read_link(proc.join(link)) {
            Ok(target) if is_inside(&proc.join(link), &target) => return Ok(Some(with)),
            Ok(_) => {}
            // A kernel thread has no program.
            Err(error) if link == "exe" && is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    for file in fs::read_dir(proc.join("fd"))? {
        let link = file?.path();
        match fs::read_link(&link) {
            Ok(target) if is_inside(&link, &target) => return Ok(Some("open file")),
            Ok(_) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    match maps(&proc, folder, ground) {
        Ok(true) => Ok(Some("mapped file")),
        Ok(false) => Ok(None),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a file of the directory is mapped: that stays when its descriptor is closed.
fn maps(proc: &Path, folder: &Path, ground: &Ground) -> io::Result<bool> {
    let text = fs::read(proc.join("maps"))?;
    Ok(text
        .split(|byte| *byte == b'\n')
        .filter_map(ground::Mapped::of)
        .any(|mapped| is_within(&mapped.path, folder) || ground.has_number(mapped.device, mapped.inode)))
}

pub(super) fn is_within(target: &Path, folder: &Path) -> bool {
    if target.starts_with(folder) {
        return true;
    }
    let text = target.as_os_str().as_encoded_bytes();
    text.strip_suffix(DELETED.as_bytes()).is_some_and(|text| text == folder.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_beside_the_folder_is_not_inside_and_a_removed_one_is() {
        let folder = Path::new("/a/b");
        for (target, is) in [
            ("/a/b", true),
            ("/a/b/c", true),
            ("/a/b/c (deleted)", true),
            ("/a/b (deleted)", true),
            ("/a/bc", false),
            ("/a", false),
            ("pipe:[1]", false),
        ] {
            assert_eq!(is_within(Path::new(target), folder), is, "{target}");
        }
    }
}

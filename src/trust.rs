//! Whether a place belongs to us. What lies there decides what runs as us (configuration, hooks),
//! or receives what we write (lock, log, database).
//!
//! A place is trusted when it, every directory on the way and every link belong to us or to root,
//! and nobody else can write there. The walk over the path is that of `fs-mistrust`; who counts as
//! us, and what a person can type, is decided here. Nothing here changes the rights of anything.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use fs_mistrust::{Mistrust, TrustedGroup, TrustedUser};
use nix::errno::Errno;
use nix::unistd::{Group, Uid, User, geteuid};

/// How the kernel shows an owner that has no number in this user namespace (proc_sys_kernel(5)).
const OVERFLOW_UID_FILE: &str = "/proc/sys/kernel/overflowuid";
/// What it is where nobody set it.
const OVERFLOW_UID: u32 = 65534;
/// The numbers of this user namespace (user_namespaces(7)).
const UID_MAP_FILE: &str = "/proc/self/uid_map";
/// Write permission of the group, and of everybody.
const GROUP_MAY_WRITE: u32 = 0o020;
const OTHERS_MAY_WRITE: u32 = 0o002;

/// A place that is not used, or cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// It is not ours alone.
    #[error("{message}")]
    Untrusted {
        /// What is wrong, as a lower-case fragment.
        message: String,
        /// The command that mends it.
        hint: String,
    },
    /// The system refused.
    #[error("cannot open {}", path.display())]
    Io {
        /// The place.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl PlaceError {
    fn untrusted(message: String, hint: String) -> Self {
        Self::Untrusted { message, hint }
    }

    /// What mends it, where that is known.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Untrusted { hint, .. } => Some(hint),
            Self::Io { .. } => None,
        }
    }
}

/// Who counts as us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Us {
    uid: u32,
    /// The group that only we are in.
    private_group: Option<u32>,
    /// How owners show that this user namespace has no number for; `None` where every owner has one.
    unmapped: Option<u32>,
}

impl Us {
    /// Asks the system, and the user database where it knows us.
    fn ask() -> Self {
        let overflow = std::fs::read_to_string(OVERFLOW_UID_FILE).ok();
        let overflow = overflow.and_then(|text| text.trim().parse().ok()).unwrap_or(OVERFLOW_UID);
        let map = std::fs::read_to_string(UID_MAP_FILE).unwrap_or_default();
        let unmapped = (!is_mapped(&map, overflow)).then_some(overflow);
        Self { uid: geteuid().as_raw(), private_group: private_group(), unmapped }
    }
}

/// Whether a user namespace with this map has that number. A map that cannot be read has all.
fn is_mapped(map: &str, uid: u32) -> bool {
    let mut ranges = map.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return None;
        };
        Some(first..first + count)
    });
    map.is_empty() || ranges.any(|range| range.contains(&u64::from(uid)))
}

/// Our own group, if it has our name and nobody else is in it: with a umask of 002, as Debian and
/// Fedora have it for such groups, everything that we make can be written to by that group.
fn private_group() -> Option<u32> {
    let user = User::from_uid(geteuid()).ok()??;
    let group = Group::from_gid(user.gid).ok()??;
    let is_private = group.name == user.name && group.mem.iter().all(|member| *member == user.name);
    is_private.then_some(group.gid.as_raw())
}

/// Checks that a place belongs to us, and everything on the way to it. What is not there yet is
/// judged by the directories that are.
///
/// # Errors
/// [`PlaceError::Untrusted`], with the `chown` or `chmod` that mends it.
pub fn trusted_path(path: &Path) -> Result<(), PlaceError> {
    let us = Us::ask();
    let group = us.private_group.map_or(TrustedGroup::None, TrustedGroup::Id);
    let rules = Mistrust::builder()
        .ignore_environment()
        .trust_user(TrustedUser::Id(us.uid))
        .trust_group(group)
        .build()
        .map_err(|error| unreadable(path, &error))?;
    let walk = rules.verifier().permit_readable().permit_all_object_types().all_errors();
    let Err(error) = walk.check(path) else { return Ok(()) };
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    error.errors().find_map(|error| fault(error, &target, us)).map_or(Ok(()), Err)
}

fn unreadable(path: &Path, error: &fs_mistrust::Error) -> PlaceError {
    PlaceError::untrusted(
        format!("cannot tell who may write to {}: {error}", path.display()),
        format!("ls -ld {}", quoted(path)),
    )
}

/// What one finding of the walk means for us; `None` if it does not count.
fn fault(error: &fs_mistrust::Error, target: &Path, us: Us) -> Option<PlaceError> {
    use fs_mistrust::Error;
    match error {
        // A directory of the machine's, seen from a user namespace that has no number for root.
        // The place itself must have an owner that we know.
        Error::BadOwner(place, owner) if Some(*owner) == us.unmapped && place != target => None,
        Error::BadOwner(place, owner) => Some(PlaceError::untrusted(
            format!("{} belongs to {}", place.display(), named(*owner)),
            format!("sudo chown -h {} {}", name_of(us.uid), quoted(place)),
        )),
        Error::BadPermission(place, mode, bad) => Some(PlaceError::untrusted(
            format!("others can write to {} (mode {mode:04o})", place.display()),
            format!("chmod {} {}", taken_away(*bad), quoted(place)),
        )),
        // What cannot be reached cannot be used either, and its use says why.
        Error::NotFound(_) | Error::CouldNotInspect(..) | Error::StepsExceeded => None,
        other => Some(unreadable(target, other)),
    }
}

/// The mode for `chmod` that takes these bits away.
fn taken_away(bits: u32) -> &'static str {
    match (bits & GROUP_MAY_WRITE != 0, bits & OTHERS_MAY_WRITE != 0) {
        (true, false) => "g-w",
        (false, true) => "o-w",
        _ => "go-w",
    }
}

fn name_of(uid: u32) -> String {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

fn named(uid: u32) -> String {
    format!("user {}", name_of(uid))
}

fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    shlex::try_quote(&text).map_or_else(|_| format!("{text:?}"), |quoted| quoted.into_owned())
}

/// Opens a file that hob writes: through no link, and only a regular file of ours or root's.
///
/// # Errors
/// [`PlaceError::Untrusted`] if something else lies there, [`PlaceError::Io`] if it cannot be opened.
pub fn open_own(path: &Path, options: &mut OpenOptions) -> Result<File, PlaceError> {
    // Without O_NONBLOCK a FIFO would be waited for.
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let failed = |source: io::Error| match Errno::from_raw(source.raw_os_error().unwrap_or_default()) {
        Errno::ELOOP => in_the_way(path, "is a link"),
        Errno::ENXIO => in_the_way(path, "is not a regular file"),
        _ => PlaceError::Io { path: path.to_owned(), source },
    };
    let file = options.open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(in_the_way(path, "is not a regular file"));
    }
    if found.uid() != geteuid().as_raw() && !Uid::from_raw(found.uid()).is_root() {
        return Err(in_the_way(path, &format!("belongs to {}", named(found.uid()))));
    }
    Ok(file)
}

/// Refuses a link in the place of a file that a library opens for us.
///
/// # Errors
/// [`PlaceError::Untrusted`] if a link lies there.
pub fn no_link(path: &Path) -> Result<(), PlaceError> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => Err(in_the_way(path, "is a link")),
        _ => Ok(()),
    }
}

fn in_the_way(path: &Path, what: &str) -> PlaceError {
    PlaceError::untrusted(
        format!("{} {what}; hob does not write there", path.display()),
        format!("rm {}", quoted(path)),
    )
}

#[cfg(test)]
mod tests;

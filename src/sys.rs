//! The calls into the kernel that no library wraps safely: process descriptors, limits of other
//! processes, descriptors that come over a socket.
//!
//! **Invariant:** `unsafe` is written here and nowhere else (a lint denies it everywhere else).
//! Every function here is safe to call; what makes it so stands beside the block.
#![expect(unsafe_code, reason = "the one module that may; each block says why it is sound")]

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Descriptors that one message may carry.
pub const FDS_PER_MESSAGE_MAX: usize = 3;

/// A descriptor of a process: it means this process and no later one with the same number, and it
/// becomes readable when the process, all threads of it, has ended.
///
/// # Errors
/// `ESRCH` if there is no such process.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two numbers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = RawFd::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, close-on-exec; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets a task wait for a descriptor to become readable. Needs a runtime.
///
/// # Errors
/// Those of registering it.
pub fn awaitable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor is open and stays the same until it is dropped, and only the
    // result owns it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// Sends a signal to exactly the process that the descriptor means.
///
/// # Errors
/// `ESRCH` if it has ended and was waited for, `EPERM` if it is not ours to signal.
pub fn pidfd_kill(process: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed, so it is open; the null pointer asks the kernel to fill
    // in the signal's details itself.
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal as libc::c_int,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether the process that the descriptor means was not collected yet: nobody else can have its
/// number.
pub fn pidfd_has_its_number(process: BorrowedFd<'_>) -> bool {
    // SAFETY: the descriptor is borrowed, so it is open; no signal is sent, no memory touched.
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            0,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    done == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// The `RLIMIT_LOCKS` of a process (0 is the caller): soft and hard limit.
///
/// # Errors
/// `ESRCH` if there is no such process, `EPERM` if it runs as somebody else.
pub fn locks_limit(pid: i32) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the new limit is null, so nothing is set; the old one is written to a live local.
    let done = unsafe { libc::prlimit64(pid, libc::RLIMIT_LOCKS, std::ptr::null(), &raw mut limit) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok((limit.rlim_cur, limit.rlim_max)) }
}

/// Closes every descriptor from `first` on.
///
/// For a process that has just begun and owns none of them: the caller promises to hold no
/// descriptor from `first` on. A broken promise is a descriptor that answers `EBADF`, in a
/// single-threaded process that opens its own ones afterwards.
///
/// # Errors
/// Those of `close_range(2)`.
pub fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: no memory is touched; see above for the descriptors.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Receives some bytes and the descriptors that came with them, all close-on-exec.
///
/// # Errors
/// Those of `recvmsg(2)`.
pub fn receive(socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = cmsg_space!([RawFd; FDS_PER_MESSAGE_MAX]);
    let mut parts = [IoSliceMut::new(into)];
    let message =
        recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = part {
            // SAFETY: the kernel has just made these descriptors for us; nobody else has them.
            fds.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok((message.bytes, fds))
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// Its number, which is free again now.
    pub pid: i32,
    /// The exit code, if it exited.
    pub code: Option<i32>,
    /// The number of the signal, if one ended it.
    pub signal: Option<i32>,
}

/// Collects one dead child, whichever it is; `None` if all that are left live.
///
/// Only for a process whose whole job its children are. (The safe wrapper fails, with the child
/// collected and unknown, where a real-time signal ended it.)
///
/// # Errors
/// `ECHILD` if there is no child at all.
pub fn collect_any_child() -> io::Result<Option<Death>> {
    let mut status = 0;
    // SAFETY: the status is written to a live local.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    match pid {
        0 => Ok(None),
        ..0 => Err(io::Error::last_os_error()),
        1.. => Ok(Some(Death {
            pid,
            code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
            signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
        })),
    }
}

/// Sets the disposition of a signal back to the default.
///
/// # Errors
/// Those of `sigaction(2)`.
pub fn default_disposition(of: Signal) -> io::Result<()> {
    // SAFETY: no handler is installed, so none can run in a bad moment.
    unsafe { signal(of, SigHandler::SigDfl) }?;
    Ok(())
}

/// Ignores a signal, also for what is executed later and does not say otherwise.
///
/// # Errors
/// Those of `sigaction(2)`.
pub fn ignore_signal(of: Signal) -> io::Result<()> {
    // SAFETY: no handler is installed, so none can run in a bad moment.
    unsafe { signal(of, SigHandler::SigIgn) }?;
    Ok(())
}

/// Keeps other processes of the same user from reading this one's memory, and it from dumping
/// core.
pub fn set_undumpable() {
    // It fails only for a value that is none.
    nix::sys::prctl::set_dumpable(false).ok();
}

/// Whether a socket takes connections (`SO_ACCEPTCONN`, socket(7)). Unknown means no.
pub fn is_listening(socket: &impl std::os::fd::AsFd) -> bool {
    nix::sys::socket::getsockopt(&socket.as_fd(), nix::sys::socket::sockopt::AcceptConn).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a process to try it on, no agent")]
    fn a_descriptor_of_a_process_signals_it_and_no_other() {
        let mut child = std::process::Command::new("/bin/sleep").arg("1000").spawn().expect("spawns");
        let process = pidfd_open(child.id().cast_signed()).expect("is there");
        pidfd_kill(process.as_fd(), Signal::SIGKILL).expect("is ours");
        assert!(pidfd_has_its_number(process.as_fd()));
        assert!(!child.wait().expect("is ours").success());
        assert!(!pidfd_has_its_number(process.as_fd()));
        let late = pidfd_kill(process.as_fd(), Signal::SIGKILL).expect_err("has ended");
        assert_eq!(late.raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn the_limit_of_a_process_that_is_not_there_is_an_error() {
        assert!(locks_limit(0).is_ok());
        assert_eq!(locks_limit(i32::MAX).expect_err("no such").raw_os_error(), Some(libc::ESRCH));
    }
}

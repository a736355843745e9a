//! Opens what an agent or another program may have put in a place of ours, and only a regular file:
//! to open a named pipe waits for somebody who may never come, and a device can do anything.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Opens a regular file, or what a link leads to if that is one.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // Before it is opened: to open a device may do something.
    if !fs::metadata(path)?.is_file() {
        return Err(irregular());
    }
    opened(path, libc::O_NONBLOCK | libc::O_NOCTTY)
}

/// Opens a regular file that is no link.
pub(crate) fn open_no_link(path: &Path) -> io::Result<File> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(irregular());
    }
    opened(path, libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW)
}

/// The content of a regular file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The content of a regular file that is text.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// The content of a regular file of at most so many bytes.
pub(crate) fn read_up_to(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)? as u64 > bytes_max {
        let message = format!("it is longer than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// Opens a directory that is no link: it is waited for by nobody.
pub(crate) fn open_directory(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path)
}

fn opened(path: &Path, flags: libc::c_int) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    // It may have been exchanged since it was looked at.
    if file.metadata()?.is_file() { Ok(file) } else { Err(irregular()) }
}

fn irregular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_is_opened_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "text").unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for (name, to) in [("to-file", "file"), ("to-pipe", "pipe"), ("to-device", "/dev/zero")] {
            std::os::unix::fs::symlink(to, at(name)).unwrap();
        }
        assert_eq!(read_text(&at("file")).unwrap(), "text");
        assert_eq!(read_up_to(&at("file"), 4).unwrap(), b"text");
        assert_eq!(read_up_to(&at("file"), 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read(&at("to-file")).unwrap(), b"text");
        assert!(open_no_link(&at("file")).is_ok() && open_no_link(&at("to-file")).is_err());
        for name in ["pipe", "socket", "to-pipe", "to-device", "."] {
            assert_eq!(open(&at(name)).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        assert_eq!(open(&at("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

//! Tells a service manager (systemd's protocol, sd_notify(3)) how far the daemon is. A socket that nobody
//! reads fills up, and then a word must not hold anything up: a thread of its own says them.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::mpsc;
use std::time::Duration;

/// The socket that the words go to.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Whom the words go to; to nobody where there is no service manager.
#[derive(Debug, Clone, Default)]
pub(super) struct Notifier(Option<mpsc::Sender<&'static str>>);

impl Notifier {
    /// The one that the environment names.
    pub(super) fn of_environment() -> Self {
        let Some(name) = std::env::var_os(SOCKET) else { return Self::default() };
        let bytes = name.as_bytes();
        // A name in the abstract namespace begins with an at sign.
        let address = match bytes.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };
        let connected = address.and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address)?;
            Ok(socket)
        });
        match connected {
            Ok(socket) => Self(Some(speak(socket))),
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be told anything");
                Self::default()
            }
        }
    }

    /// Says a word, some time soon.
    pub(super) fn tell(&self, word: &'static str) {
        if let Some(words) = &self.0 {
            // Without its thread the word is lost, and nothing else.
            words.send(word).ok();
        }
    }
}

fn speak(socket: UnixDatagram) -> mpsc::Sender<&'static str> {
    let (words, told) = mpsc::channel::<&'static str>();
    // It ends with the daemon, in the middle of a word if need be.
    std::thread::spawn(move || {
        for word in told {
            if let Err(error) = socket.send(word.as_bytes()) {
                tracing::debug!(%error, word, "the service manager did not hear it");
            }
        }
    });
    words
}

/// How often a watchdog wants to hear that the daemon lives, if one does. A period of nothing is none.
pub(super) fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|period| !period.is_zero())
}

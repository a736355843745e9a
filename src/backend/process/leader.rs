//! A process group that may outlive the daemon that started it: written down, and known again by the
//! birth of its leader, so that a pid that was given to somebody else meanwhile is left alone.

use std::fmt;
use std::str::FromStr;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::procfs::{Stat, boot_id};

/// The leader of a process group, as written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    pid: i32,
    start_time: u64,
    boot_id: String,
}

impl Leader {
    /// The leader with this pid, while it lives.
    pub fn of(pid: i32) -> Option<Self> {
        let start_time = Stat::of(pid)?.start_time;
        Some(Self { pid, start_time, boot_id: boot_id().ok()? })
    }

    /// Ends its group, if it is still the one that was written down; says whether it was.
    pub fn end_group(&self) -> bool {
        let is_it = Self::of(self.pid).as_ref() == Some(self);
        // An error only says that nobody is left in it.
        is_it && killpg(Pid::from_raw(self.pid), Signal::SIGKILL).is_ok()
    }
}

impl fmt::Display for Leader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.pid, self.start_time, self.boot_id)
    }
}

impl FromStr for Leader {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.splitn(3, ' ');
        let mut word = || words.next().ok_or(());
        let pid: i32 = word()?.parse().map_err(drop)?;
        // 0 and 1 would be everybody, and what is below them other groups.
        if pid <= 1 {
            return Err(());
        }
        Ok(Self { pid, start_time: word()?.parse().map_err(drop)?, boot_id: word()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_is_known_again_and_nobody_else_is_taken_for_it() {
        let own = Leader::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert_eq!(own.to_string().parse(), Ok(own.clone()));
        let another = [
            Leader { start_time: own.start_time + 1, ..own.clone() },
            Leader { boot_id: "another boot".to_owned(), ..own },
        ];
        for leader in another {
            assert!(!leader.end_group(), "{leader}");
        }
        for text in ["", "12", "12 x boot", "0 5 boot", "1 5 boot", "-7 5 boot", "12 5"] {
            assert_eq!(text.parse::<Leader>(), Err(()), "{text}");
        }
    }
}

//! A process group that may outlive the daemon that started it: written down, and known again by the
//! birth of its leader, so that a pid that was given to somebody else meanwhile is left alone.

use std::fmt;
use std::str::FromStr;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgid};

use super::procfs::{Stat, boot_id, pids};

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

    /// Ends its group, if it is still the one that was written down; says whether it was. Where the
    /// leader ended before what it started, that is a group with a member that has `mark`, as
    /// `NAME=value`, in its environment: the number may be another's by now.
    pub fn end_group(&self, mark: &str) -> bool {
        let is_it = match Self::of(self.pid) {
            Some(leader) => leader == *self,
            None => boot_id().is_ok_and(|boot| boot == self.boot_id) && has_member(self.pid, mark),
        };
        // An error only says that nobody is left in it.
        is_it && killpg(Pid::from_raw(self.pid), Signal::SIGKILL).is_ok()
    }
}

fn has_member(group: i32, mark: &str) -> bool {
    let group = Pid::from_raw(group);
    let is_marked = |pid: i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
    };
    pids().any(|pid| getpgid(Some(Pid::from_raw(pid))) == Ok(group) && is_marked(pid))
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
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::process::CommandExt as _;
    use std::process::Stdio;

    use super::*;

    /// A group whose leader has ended and was collected, and the member that lives on.
    #[expect(clippy::disallowed_methods, reason = "a shell for a test, and no agent")]
    fn left_behind(arena: &str) -> (Leader, i32) {
        let mut shell = std::process::Command::new("sh")
            // A copy of the shell: what it says of itself is there from its first moment.
            .args(["-c", "(while :; do sleep 1; done) >/dev/null & echo $!; read wait"])
            .env("HOB_ARENA", arena)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let leader = Leader::of(i32::try_from(shell.id()).unwrap()).unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        drop(shell.stdin.take());
        shell.wait().unwrap();
        (leader, line.trim().parse().unwrap())
    }

    #[test]
    fn what_a_leader_left_is_ended_where_it_says_whose_it_is() {
        let (leader, member) = left_behind("a-1");
        assert!(Leader::of(leader.pid).is_none() && Leader::of(member).is_some());
        assert!(!leader.end_group("HOB_ARENA=a-2"), "somebody else's");
        let earlier = Leader { boot_id: "another boot".to_owned(), ..leader.clone() };
        assert!(!earlier.end_group("HOB_ARENA=a-1"), "of another boot");
        assert!(Leader::of(member).is_some());
        assert!(leader.end_group("HOB_ARENA=a-1"));
        let is_over = || Stat::of(member).is_none_or(|stat| stat.is_zombie());
        while !is_over() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_leader_is_known_again_and_nobody_else_is_taken_for_it() {
        let own = Leader::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert_eq!(own.to_string().parse(), Ok(own.clone()));
        let another = [
            Leader { start_time: own.start_time + 1, ..own.clone() },
            Leader { boot_id: "another boot".to_owned(), ..own },
        ];
        for leader in another {
            assert!(!leader.end_group("PATH=/nowhere"), "{leader}");
        }
        for text in ["", "12", "12 x boot", "0 5 boot", "1 5 boot", "-7 5 boot", "12 5"] {
            assert_eq!(text.parse::<Leader>(), Err(()), "{text}");
        }
    }
}

//! What `/proc` says about processes: who is whose child, since when, how large. Reads only.
//!
//! A number of a process is reused some day; a number together with its start time is not (within
//! one boot). A process that is gone by the time it is read is simply not in the answer.

use std::collections::BTreeMap;
use std::fs;

use nix::unistd::{SysconfVar, sysconf};

/// Used where the kernel does not tell the size of a page.
const PAGE_BYTES: u64 = 4096;

/// One line of `/proc/PID/stat`, as far as it is of use here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    /// Its number.
    pub pid: i32,
    /// Its name: the first 15 bytes of its program's.
    pub name: String,
    /// `R`, `S`, `D`, `Z`, `T`, …
    pub state: char,
    /// Its parent.
    pub parent: i32,
    /// When it started, in clock ticks since the machine did.
    pub start_time: u64,
    /// Resident memory, in pages.
    pub rss_pages: u64,
}

impl Stat {
    /// Reads the stat of one process; `None` if there is none.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
        Self::parse(&String::from_utf8_lossy(&text))
    }

    /// The name may contain spaces and parentheses, so it ends at the *last* parenthesis.
    fn parse(text: &str) -> Option<Self> {
        let (head, tail) = text.rsplit_once(')')?;
        let (pid, name) = head.split_once('(')?;
        // proc_pid_stat(5) counts from 1, and the third field is the first one after the name.
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            pid: pid.trim().parse().ok()?,
            name: name.to_owned(),
            state: field(3)?.chars().next()?,
            parent: field(4)?.parse().ok()?,
            start_time: field(22)?.parse().ok()?,
            rss_pages: field(24)?.parse().unwrap_or(0),
        })
    }

    /// It has ended and only waits to be collected.
    pub(super) fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// Whether a process is dead, though it may wait to be collected. Reads only what the kernel makes up.
pub fn has_ended(pid: u32) -> bool {
    Stat::of(pid.cast_signed()).is_none_or(|stat| stat.is_zombie())
}

/// All processes at about one moment.
#[derive(Debug, Default)]
pub(super) struct Table(BTreeMap<i32, Stat>);

impl Table {
    /// Reads all of `/proc`. Empty if it cannot be read.
    pub(super) fn read() -> Self {
        Self(pids().filter_map(Stat::of).map(|stat| (stat.pid, stat)).collect())
    }

    /// Everything below a process, and nobody else: what that costs does not grow with the machine.
    /// Where a process ends meanwhile, another may be missing; where the kernel does not list
    /// children, everybody is there.
    pub(super) fn below(root: i32) -> Self {
        let Some(mut next) = children(root) else { return Self::read() };
        let mut found = BTreeMap::new();
        while let Some(pid) = next.pop() {
            let Some(stat) = Stat::of(pid) else { continue };
            if found.insert(pid, stat).is_none() {
                next.extend(children(pid).unwrap_or_default());
            }
        }
        Self(found)
    }

    /// One process.
    pub(super) fn get(&self, pid: i32) -> Option<&Stat> {
        self.0.get(&pid)
    }

    /// Everything below a process, parents before their children; without itself.
    pub(super) fn descendants(&self, root: i32) -> Vec<&Stat> {
        let mut children: BTreeMap<i32, Vec<&Stat>> = BTreeMap::new();
        for stat in self.0.values().filter(|stat| stat.pid != root) {
            children.entry(stat.parent).or_default().push(stat);
        }
        // Each list is taken once, so a table that changed while it was read cannot make a circle.
        let mut found = children.remove(&root).unwrap_or_default();
        let mut next = 0;
        while let Some(stat) = found.get(next) {
            let below = children.remove(&stat.pid).unwrap_or_default();
            found.extend(below);
            next += 1;
        }
        found
    }
}

/// The numbers of all processes that `/proc` shows.
pub(super) fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The children of a process, of all of its threads. `None` if there is no such process, or the
/// kernel does not list them (`CONFIG_PROC_CHILDREN`).
fn children(pid: i32) -> Option<Vec<i32>> {
    let mut found = Vec::new();
    let mut is_told = false;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        // A thread may have ended by now.
        let Ok(list) = fs::read_to_string(thread.path().join("children")) else { continue };
        is_told = true;
        found.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    is_told.then_some(found)
}

/// The user that a process runs as (its real user id).
pub(super) fn user_of(pid: i32) -> Option<u32> {
    let text = fs::read(format!("/proc/{pid}/status")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let ids = text.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_ascii_whitespace().next()?.parse().ok()
}

/// Identifies this run of the machine.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn boot_id() -> std::io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Bytes in a page of memory.
pub(super) fn page_bytes() -> u64 {
    let told = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    told.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_confuse() {
        let line = "42 (a) S 7 (b) R 41 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 3 0 12345 1000 77 0";
        let stat = Stat::parse(line).expect("is well formed");
        assert_eq!((stat.pid, stat.name.as_str(), stat.state), (42, "a) S 7 (b", 'R'));
        assert_eq!((stat.parent, stat.start_time, stat.rss_pages), (41, 12345, 77));
    }

    #[test]
    fn what_is_cut_short_is_no_process() {
        assert_eq!(Stat::parse("42 (a) S 7"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn this_process_is_among_the_descendants_of_its_parent() {
        let me = std::process::id().cast_signed();
        let table = Table::read();
        let parent = table.get(me).expect("is there").parent;
        assert!(table.descendants(parent).iter().any(|stat| stat.pid == me));
        assert!(!table.descendants(me).iter().any(|stat| stat.pid == me));
        assert_eq!(user_of(me), Some(nix::unistd::getuid().as_raw()));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test needs processes to look at")]
    fn what_is_below_a_process_is_found_without_a_look_at_the_others() {
        use std::io::{BufRead as _, BufReader};
        use std::process::{Command, Stdio};

        let me = std::process::id().cast_signed();
        let script = "sleep 1000 >&2 & echo $!; wait";
        let mut shell =
            Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().expect("starts");
        let mut said = String::new();
        BufReader::new(shell.stdout.take().expect("is a pipe")).read_line(&mut said).expect("reads");
        let parent = shell.id().cast_signed();
        let child: i32 = said.trim().parse().expect("is a number");
        let table = Table::below(me);
        let order: Vec<_> = table.descendants(parent).iter().map(|stat| stat.pid).collect();
        assert_eq!(order, [child]);
        assert!(table.descendants(me).iter().any(|stat| stat.pid == parent));
        assert!(table.get(1).is_none(), "init is above");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), nix::sys::signal::Signal::SIGKILL)
            .expect("is ours");
        shell.wait().expect("ends with its child");
    }
}

//! Finds processes that a daemon of a test should have ended.
//!
//! A process counts as left behind when it carries the mark of the test's installation, or when
//! its environment names the test's directory. Zombies are dead.

use std::path::Path;

/// A process that is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its id.
    pub pid: u32,
    /// Its command line.
    pub command: String,
}

/// Every living process of the test that keeps its things in `root`, other than the test itself
/// and what it started with its own hands.
pub fn find(root: &Path, installation: Option<u32>) -> Vec<Leftover> {
    let own = std::process::id();
    pids()
        .filter(|&pid| pid != own && is_alive(pid) && parent(pid) != Some(own))
        .filter(|&pid| names_directory(pid, root) || carries_mark(pid, installation))
        .map(|pid| Leftover { pid, command: command(pid) })
        .collect()
}

/// Whether a process exists and is not a zombie.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything; the state comes after it.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The parent of a process.
pub fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// The command line of a process.
pub fn command(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
}

/// Resident memory of a process, in bytes.
pub fn rss_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn names_directory(pid: u32, root: &Path) -> bool {
    let root = root.as_os_str().as_encoded_bytes();
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.windows(root.len()).any(|window| window == root)
}

/// The mark is a limit on locks: 16 bits of magic, 4 of depth, 20 of installation, 24 of attempt.
fn carries_mark(pid: u32, installation: Option<u32>) -> bool {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max file locks"));
    let mark = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    mark.is_some_and(|mark| Some((mark >> 24 & 0xf_ffff) as u32) == installation)
}

//! How much memory there is, and how much of it an agent's whole tree holds. Reads only.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

use hob_actors::ports::{Machine, ProcessTree};

use super::procfs::{Table, page_bytes};
use super::{cgroup, keeper};

/// The machine that the daemon runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThisMachine;

impl Machine for ThisMachine {
    fn available_bytes(&self) -> Option<u64> {
        // Made up by the kernel as it is read: no disk can hold this up.
        let of_machine = available_in(&std::fs::read_to_string("/proc/meminfo").ok()?);
        [of_machine, cgroup::free_bytes()].into_iter().flatten().min()
    }

    fn roll(&self) -> f64 {
        fastrand::f64()
    }

    fn trees(&self, pids: Vec<u32>) -> Pin<Box<dyn Future<Output = Vec<Option<ProcessTree>>> + Send>> {
        Box::pin(async move {
            let n = pids.len();
            // What could not be looked at is not known.
            tokio::task::spawn_blocking(move || trees_of(&pids)).await.unwrap_or_else(|_| vec![None; n])
        })
    }
}

fn available_in(meminfo: &str) -> Option<u64> {
    kib_of(meminfo, "MemAvailable:")
}

/// The bytes in a line like `Name:  12 kB`.
fn kib_of(text: &str, name: &str) -> Option<u64> {
    let kib = text.lines().find_map(|line| line.strip_prefix(name))?;
    kib.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The trees of several processes, with one look at the machine; `None` for one that is gone.
/// Walks `/proc`: blocking, but short.
///
/// For an agent under its keeper, orphans of the tree, which have fallen to the keeper, are counted
/// too, and the keeper itself is not.
pub fn trees_of(pids: &[u32]) -> Vec<Option<ProcessTree>> {
    let table = Table::read();
    pids.iter().map(|pid| tree_in(&table, pid.cast_signed())).collect()
}

fn tree_in(table: &Table, pid: i32) -> Option<ProcessTree> {
    let own = table.get(pid)?;
    let keeper = table.get(own.parent).filter(|parent| keeper::NAME.to_str() == Ok(&parent.name));
    let root = keeper.map_or(pid, |keeper| keeper.pid);
    let below = table.descendants(root).into_iter().filter(|stat| stat.pid != pid);
    let mut tree = ProcessTree { descendants: BTreeSet::new(), rss_bytes: 0, pss_bytes: 0 };
    for stat in std::iter::once(own).chain(below.filter(|stat| !stat.is_zombie())) {
        let rss_bytes = stat.rss_pages * page_bytes();
        tree.rss_bytes += rss_bytes;
        // One that is going away, or another user's, does not tell.
        tree.pss_bytes += pss_of(stat.pid).unwrap_or(rss_bytes);
        if stat.pid != pid {
            tree.descendants.insert(stat.pid.cast_unsigned());
        }
    }
    Some(tree)
}

/// The share of a process in what it uses: pages that several use are counted in parts, so that a sum
/// over a tree counts them once.
fn pss_of(pid: i32) -> Option<u64> {
    pss_in(&std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
}

fn pss_in(rollup: &str) -> Option<u64> {
    kib_of(rollup, "Pss:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_holds_some_memory_and_one_that_is_gone_none() {
        let trees = trees_of(&[std::process::id(), i32::MAX.cast_unsigned()]);
        let own = trees[0].as_ref().expect("is there");
        assert!(own.rss_bytes > 1 << 20 && own.pss_bytes > 1 << 20);
        assert_eq!(pss_in("Rss:   900 kB\nPss:     2 kB\nPss_Dirty:  1 kB\n"), Some(2048));
        assert_eq!(trees[1], None);
    }

    #[test]
    fn the_kernel_tells_how_much_memory_there_is() {
        assert!(ThisMachine.available_bytes().expect("is told") > 1 << 20);
        assert_eq!(available_in("MemFree: 1 kB\nMemAvailable:     2048 kB\n"), Some(2 << 20));
        assert_eq!(available_in("MemFree: 1 kB\n"), None);
    }
}

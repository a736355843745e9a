//! How much memory an agent's whole tree holds. Reads only; blocking, but short.

use super::keeper;
use super::procfs::{Table, page_bytes};

/// The resident memory of a process and of everything below it, in bytes; `None` if it is gone.
/// What two processes share is counted twice.
///
/// For an agent under its keeper, orphans of the tree, which have fallen to the keeper, are counted
/// too, and the keeper itself is not.
pub fn tree_rss(pid: u32) -> Option<u64> {
    tree_rss_in(&Table::read(), pid.cast_signed())
}

/// The same for several processes, with one look at the machine.
pub fn tree_rss_of(pids: &[u32]) -> Vec<Option<u64>> {
    let table = Table::read();
    pids.iter().map(|pid| tree_rss_in(&table, pid.cast_signed())).collect()
}

fn tree_rss_in(table: &Table, pid: i32) -> Option<u64> {
    let root = table.get(pid)?;
    let keeper = table.get(root.parent).filter(|parent| keeper::NAME.to_str() == Ok(&parent.name));
    let pages: u64 = match keeper {
        Some(keeper) => table.descendants(keeper.pid).iter().map(|stat| stat.rss_pages).sum(),
        None => root.rss_pages + table.descendants(pid).iter().map(|stat| stat.rss_pages).sum::<u64>(),
    };
    Some(pages * page_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_holds_some_memory_and_one_that_is_gone_none() {
        let mine = tree_rss(std::process::id()).expect("is there");
        assert!(mine > 1 << 20);
        assert_eq!(tree_rss_of(&[i32::MAX.cast_unsigned()]), [None]);
    }
}

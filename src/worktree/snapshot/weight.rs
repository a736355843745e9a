//! Decides which changed files a look reads and which it only names, so that no look takes longer than
//! its time and keeps more than its share. Pure.
//!
//! **Invariant:** what stands for a file stays the same for as long as the file does: one that was named
//! once is not read later, and one that was read is not named later.

use crate::worktree::carry::Entry;
use crate::worktree::large::{LARGE_BYTES, NAMED_BYTES_MIN};

/// What an earlier look made of a file that is the same still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kept {
    /// It was read, and this is its entry.
    Content {
        /// As the tree had it.
        entry: Entry,
        /// It cannot have changed since without a trace in its times.
        is_settled: bool,
    },
    /// It was named only.
    Name,
}

/// What a look makes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is read.
    Read,
    /// It is known what it would be read as.
    Known(Entry),
    /// A small text with its size and times stands for it.
    Named,
}

/// A file that is to be in the tree, as far as this decision goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Weight {
    /// Its bytes.
    pub(super) size: u64,
    /// What it was before.
    pub(super) kept: Option<Kept>,
}

/// What is made of each file, when so many bytes more may be read: the smallest are read first.
pub(super) fn plan(files: &[Weight], bytes_left: &mut u64) -> Vec<Fate> {
    let mut fates: Vec<Option<Fate>> = files.iter().map(decided).collect();
    let mut open: Vec<usize> = (0..files.len()).filter(|n| fates[*n].is_none()).collect();
    open.sort_by_key(|n| files[*n].size);
    for n in open {
        let size = files[n].size;
        let is_read = size <= NAMED_BYTES_MIN || size <= *bytes_left;
        if is_read {
            *bytes_left = bytes_left.saturating_sub(size);
        }
        fates[n] = Some(if is_read { Fate::Read } else { Fate::Named });
    }
    fates.into_iter().map(|fate| fate.unwrap_or(Fate::Read)).collect()
}

/// What is no question of how much is read.
fn decided(file: &Weight) -> Option<Fate> {
    match &file.kept {
        _ if file.size > LARGE_BYTES => Some(Fate::Named),
        Some(Kept::Content { entry, is_settled: true }) => Some(Fate::Known(entry.clone())),
        Some(Kept::Content { is_settled: false, .. }) => Some(Fate::Read),
        Some(Kept::Name) => Some(Fate::Named),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn entry() -> Entry {
        Entry { mode: 0o100_644, object: "a".repeat(40) }
    }

    fn kept(is_settled: bool) -> Option<Kept> {
        Some(Kept::Content { entry: entry(), is_settled })
    }

    #[test]
    fn each_file_is_read_known_or_named() {
        let known = Fate::Known(entry());
        let cases: [(u64, Option<Kept>, u64, Fate); 10] = [
            (10 * MIB, None, 10 * MIB, Fate::Read),
            (10 * MIB, None, 10 * MIB - 1, Fate::Named),
            (MIB, None, 0, Fate::Read),
            (MIB + 1, None, 0, Fate::Named),
            (10 * MIB, kept(true), 0, known),
            (10 * MIB, kept(false), 0, Fate::Read),
            (10 * MIB, Some(Kept::Name), 100 * MIB, Fate::Named),
            (100 * MIB, None, 100 * MIB, Fate::Read),
            (100 * MIB + 1, None, 200 * MIB, Fate::Named),
            (100 * MIB + 1, kept(true), 200 * MIB, Fate::Named),
        ];
        for (size, kept, mut left, wanted) in cases {
            let fates = plan(&[Weight { size, kept: kept.clone() }], &mut left);
            assert_eq!(fates, [wanted], "{size} bytes, {kept:?}");
        }
    }

    #[test]
    fn the_largest_are_named_first() {
        let files = [40, 3, 30, 2].map(|size| Weight { size: size * MIB, kept: None });
        let mut left = 40 * MIB;
        assert_eq!(plan(&files, &mut left), [Fate::Named, Fate::Read, Fate::Read, Fate::Read]);
        assert_eq!(left, 5 * MIB);
    }

    proptest! {
        #[test]
        fn a_look_reads_no_more_than_it_may_and_the_next_one_decides_the_same(
            sizes in proptest::collection::vec((MIB + 1)..(120 * MIB), 0..20),
        ) {
            let fresh: Vec<Weight> = sizes.iter().map(|size| Weight { size: *size, kept: None }).collect();
            let mut left = 128 * MIB;
            let first = plan(&fresh, &mut left);
            let read: u64 = first.iter().zip(&sizes).filter(|(f, _)| **f == Fate::Read).map(|(_, s)| *s).sum();
            prop_assert!(read <= 128 * MIB);
            for is_settled in [true, false] {
                let again: Vec<Weight> = first.iter().zip(&sizes).map(|(fate, size)| Weight {
                    size: *size,
                    kept: if *fate == Fate::Named { Some(Kept::Name) } else { kept(is_settled) },
                }).collect();
                let mut left = 128 * MIB;
                let second = plan(&again, &mut left);
                for (one, two) in first.iter().zip(&second) {
                    prop_assert_eq!(*one == Fate::Named, *two == Fate::Named);
                }
            }
        }
    }
}

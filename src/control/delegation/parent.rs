//! Decides which turn a call comes from, where the process of an agent runs several. Pure.

use std::path::{Path, PathBuf};

/// A turn that runs in the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    /// The worktree that it works in, if it has one.
    pub worktree: Option<PathBuf>,
    /// How many agents stand above it.
    pub depth: usize,
    /// When it began, in milliseconds.
    pub started_at: i64,
}

/// The turn that a call from a process in `cwd` belongs to: the one whose worktree holds that
/// directory, else the deepest of all, so that nobody gains a level by being taken for another. Of
/// several that fit it is the deepest too, and of equals the one that began last.
pub(super) fn parent(turns: &[Turn], cwd: Option<&Path>) -> Option<usize> {
    let holds = |turn: &Turn| {
        let worktree = turn.worktree.as_deref();
        worktree.zip(cwd).is_some_and(|(worktree, cwd)| cwd.starts_with(worktree))
    };
    let any_holds = turns.iter().any(holds);
    let fitting = turns.iter().enumerate().filter(|(_, turn)| !any_holds || holds(turn));
    fitting.max_by_key(|(_, turn)| (turn.depth, turn.started_at)).map(|(n, _)| n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(worktree: &str, depth: usize, started_at: i64) -> Turn {
        Turn { worktree: (!worktree.is_empty()).then(|| worktree.into()), depth, started_at }
    }

    #[test]
    fn the_worktree_decides_else_the_depth_else_who_began_last() {
        let two = || vec![turn("/w/1", 0, 5), turn("/w/2", 2, 1)];
        type Case = (&'static str, Vec<Turn>, Option<&'static str>, Option<usize>);
        let cases: [Case; 11] = [
            ("nobody", vec![], Some("/w/1"), None),
            ("one, elsewhere", vec![turn("/w/1", 0, 0)], Some("/tmp"), Some(0)),
            ("its worktree", two(), Some("/w/1"), Some(0)),
            ("a directory in it", two(), Some("/w/2/src"), Some(1)),
            ("a name that only begins so", two(), Some("/w/10"), Some(1)),
            ("in none: the deepest", two(), Some("/home"), Some(1)),
            ("directory unknown: the deepest", two(), None, Some(1)),
            ("no worktree is no place", vec![turn("", 1, 0), turn("/w/2", 0, 0)], Some("/"), Some(0)),
            ("two in one: the deepest", vec![turn("/w", 1, 9), turn("/w", 2, 1)], Some("/w"), Some(1)),
            ("not the deepest of others", vec![turn("/w", 0, 0), turn("/x", 3, 0)], Some("/w/a"), Some(0)),
            ("equals: the latest", vec![turn("/w", 1, 9), turn("/w", 1, 1)], Some("/w"), Some(0)),
        ];
        for (name, turns, cwd, expected) in cases {
            assert_eq!(parent(&turns, cwd.map(Path::new)), expected, "{name}");
        }
    }
}

//! The points at which the daemon is killed, where in its life they lie, and that they are there.

/// When a point is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// While the daemon starts.
    Start,
    /// Under load, so often that one of the first so many times is chosen.
    Load(u64),
    /// While it stops.
    Stop,
}

/// A point.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// What `HOB_CRASH_AT` calls it.
    pub name: &'static str,
    /// When it is reached.
    pub phase: Phase,
}

const fn at(name: &'static str, phase: Phase) -> Point {
    Point { name, phase }
}

/// Every window that matters. `uncommitted/…` lies inside of the transaction of that command,
/// `committed/…` between its commit and its answer.
pub const POINTS: &[Point] = &[
    at("start.opened", Phase::Start),
    at("uncommitted/settle what was left open", Phase::Start),
    at("committed/settle what was left open", Phase::Start),
    at("start.unswept", Phase::Start),
    at("start.swept", Phase::Start),
    at("start.resumed", Phase::Start),
    at("start.deaf", Phase::Start),
    at("start.listening", Phase::Start),
    at("uncommitted/record the task", Phase::Load(30)),
    at("committed/record the task", Phase::Load(30)),
    at("submit.committed", Phase::Load(30)),
    at("submit.unanswered", Phase::Load(30)),
    at("committed/hold or release the chat", Phase::Load(5)),
    at("uncommitted/record the process", Phase::Load(8)),
    at("committed/record the process", Phase::Load(8)),
    at("keeper.spawned", Phase::Load(8)),
    at("committed/record the keeper", Phase::Load(8)),
    at("go.sent", Phase::Load(8)),
    at("agent.recorded", Phase::Load(8)),
    at("agent.gone", Phase::Load(2)),
    at("committed/record the end of the process", Phase::Load(2)),
    at("committed/record the start of a backend", Phase::Load(8)),
    at("committed/record the opened backend", Phase::Load(8)),
    at("committed/record the state of the agent session", Phase::Load(60)),
    at("uncommitted/record the dispatch of the task", Phase::Load(30)),
    at("committed/record the dispatch of the task", Phase::Load(30)),
    at("uncommitted/record the start of the turn", Phase::Load(30)),
    at("committed/record the start of the turn", Phase::Load(30)),
    at("prompt.unsent", Phase::Load(30)),
    at("prompt.sent", Phase::Load(30)),
    at("batch.uncommitted", Phase::Load(200)),
    at("batch.committed", Phase::Load(200)),
    at("batch.published", Phase::Load(200)),
    at("uncommitted/record the question", Phase::Load(2)),
    at("committed/record the question", Phase::Load(2)),
    at("uncommitted/record the answer", Phase::Load(2)),
    at("committed/record the answer", Phase::Load(2)),
    at("answer.given", Phase::Load(2)),
    at("answer.unanswered", Phase::Load(2)),
    at("cancel.sent", Phase::Load(1)),
    at("cancel.unanswered", Phase::Load(5)),
    at("uncommitted/record the end of the turn", Phase::Load(30)),
    at("committed/record the end of the turn", Phase::Load(30)),
    at("uncommitted/record the end of the task", Phase::Load(2)),
    at("committed/record the end of the task", Phase::Load(2)),
    at("agent.exited", Phase::Load(2)),
    at("stop.refusing", Phase::Stop),
    at("stop.let_go", Phase::Stop),
    at("stop.deaf", Phase::Stop),
    at("stop.gone", Phase::Stop),
    at("stop.closed", Phase::Stop),
];

/// Every window of a removal, in order.
pub const REMOVAL: &[&str] = &[
    "uncommitted/record what is begun with a worktree",
    "committed/record what is begun with a worktree",
    "retire.begun",
    "remove.unkept",
    "remove.unproven",
    "remove.salvaged",
    "retire.salvaged",
    "retire.alone",
    "retire.hooked",
    "remove.unmoved",
    "remove.half_moved",
    "remove.moved",
    "remove.verified",
    "retire.moved",
    "uncommitted/record that a worktree is archived",
    "committed/record that a worktree is archived",
    "retire.archived",
    "uncommitted/delete the session",
    "committed/delete the session",
];

/// Every window of an apply, in order.
pub const APPLY: &[&str] = &[
    "swap.begun",
    "swap.prepared",
    "swap.ready",
    "swap.half",
    "swap.done",
    "uncommitted/record what was applied",
    "committed/record what was applied",
    "swap.recorded",
    "swap.half_settled",
];

/// Every window of a restore from the trash, in order.
pub const RESTORE: &[&str] = &[
    "committed/record what is begun with a worktree",
    "restore.begun",
    "restore.half_moved",
    "restore.moved",
    "restore.unrecorded",
    "uncommitted/record that a worktree is restored",
    "restore.recorded",
];

/// Every window of a restore from a salvage alone, in order.
pub const SALVAGE: &[&str] =
    &["restore.begun", "restore.written", "restore.linked", "restore.renamed", "restore.unrecorded"];

/// Every window of a purge, in order.
pub const PURGE: &[&str] = &[
    "uncommitted/record what is begun with a worktree",
    "committed/record what is begun with a worktree",
    "purge.begun",
    "purge.half_aside",
    "purge.aside",
    "purge.within",
    "purge.half",
    "uncommitted/record that a worktree is purged",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Between the turn and its task there is no window but in a mutant.
    const OF_MUTANTS: [&str; 1] = ["turn.ended_alone"];

    fn sources() -> Vec<String> {
        let files = walkdir::WalkDir::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).into_iter().flatten();
        let rust = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "rs"));
        rust.map(|file| std::fs::read_to_string(file.path()).unwrap()).collect()
    }

    #[test]
    fn every_point_of_the_product_is_in_the_list() {
        let sources = sources();
        let named = sources.iter().flat_map(|source| source.split("crash_point!(\"").skip(1));
        let named: BTreeSet<&str> = named.filter_map(|rest| rest.split('"').next()).collect();
        let listed = |name: &&str| {
            let is = |point: &Point| point.name.split('/').next() == Some(*name);
            let of_worktrees = [REMOVAL, APPLY, RESTORE, SALVAGE, PURGE].concat();
            let is_one = of_worktrees.iter().any(|point| point.split('/').next() == Some(*name));
            POINTS.iter().any(is) || is_one || OF_MUTANTS.contains(name)
        };
        let missing: Vec<&&str> = named.iter().filter(|name| !listed(name)).collect();
        assert!(named.len() > 20 && missing.is_empty(), "{missing:?} of {named:?}");
    }

    #[test]
    fn every_point_in_the_list_is_in_the_product() {
        let sources = sources().concat();
        let of_worktrees = [REMOVAL, APPLY, RESTORE, SALVAGE, PURGE].concat();
        for name in POINTS.iter().map(|point| point.name).chain(of_worktrees) {
            // The second half is the name that a command gives itself.
            let literal = name.split('/').next_back().unwrap();
            assert!(sources.contains(&format!("\"{literal}\"")), "{name}");
        }
    }
}

//! What a worktree was started from: kept by a ref of ours, so that neither a history that is rewritten nor
//! a branch that is deleted takes it away. Where it is gone all the same, what is there takes its place.
//!
//! ```text
//! base commit   gone? ▶ what our ref keeps now ▶ HEAD of the worktree ▶ nothing: all files are new
//! baseline      gone? ▶ what its ref keeps now ▶ the tree of the base
//! history       a tree gone? ▶ the steps beside it become one, of which it cannot be told whose it is
//! ```

use std::collections::BTreeSet;

use super::error::WorktreeError;
use super::known::{Known, Segment, Writer};
use super::objects::{Entries, Hold, Objects, is_there};
use super::source::Source;
use super::{Inner, Worktrees, obstacles};

/// Where the refs are.
const PREFIX: &str = "refs/hob/base/";

/// What is recorded of a worktree that is to be compared with objects of its repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grounds {
    /// The commit that it was started from, in hex.
    pub base_commit: String,
    /// The tree that counts as the person's own, if that is another than that of the commit.
    pub baseline: Option<String>,
    /// The tree that was seen last.
    pub last_tree: Option<String>,
    /// Everything that was seen to change in it, oldest first.
    pub history: Vec<Segment>,
}

impl Grounds {
    fn trees(&self) -> BTreeSet<String> {
        let seen = self.history.iter().flat_map(|segment| [&segment.from, &segment.to]);
        seen.chain(&self.baseline).chain(&self.last_tree).cloned().collect()
    }
}

/// The ref that keeps the base of a worktree.
pub(super) fn reference(id: &str) -> String {
    format!("{PREFIX}{id}")
}

/// Keeps the commit that a new worktree is started from. Its branch leads there already, so that nothing of
/// it can vanish meanwhile.
pub(super) fn hold(objects: &Objects<'_>, id: &str, base: &str) -> Result<(), WorktreeError> {
    objects.set_ref(&reference(id), base)
}

impl Worktrees {
    /// Keeps what a worktree was started from, where nothing does yet and it is still there.
    ///
    /// # Errors
    /// What git says.
    pub async fn hold_base(&self, known: &Known) -> Result<(), WorktreeError> {
        let known = known.clone();
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| {
            let source = inner.repository(&known)?;
            let is_held = source.commit_of_ref(&reference(&known.id))?.is_some();
            if is_held || source.commit(&known.base_commit)?.is_none() {
                return Ok(());
            }
            let base = || Ok(known.base_commit.clone());
            Objects::of(&source).keep(&reference(&known.id), Hold::Loose(None), base).map(drop)
        })
        .await
    }

    /// Whether the commit that a worktree was started from, or a tree that is compared with, is gone.
    ///
    /// # Errors
    /// What git says.
    pub async fn has_lost_ground(&self, known: &Known, last: Option<&str>) -> Result<bool, WorktreeError> {
        let (known, last) = (known.clone(), last.map(str::to_owned));
        self.job(&self.inner.looks, move |inner| {
            let names: BTreeSet<String> = [Some(&known.base_commit), known.baseline.as_ref(), last.as_ref()]
                .into_iter()
                .flatten()
                .cloned()
                .collect();
            obstacles::before_opening(&known.common_dir)?;
            // Around every turn, so with no more than it needs.
            if let Ok(repo) = git2::Repository::open(&known.common_dir)
                && let Ok(odb) = repo.odb()
            {
                return Ok(!names.iter().all(|id| is_there(&odb, id)));
            }
            let source = inner.repository(&known)?;
            Ok(!Objects::of(&source).absent(&names)?.is_empty())
        })
        .await
    }

    /// What takes the place of what is gone, and a word to the person.
    ///
    /// # Errors
    /// What git says.
    pub async fn other_grounds(
        &self,
        known: &Known,
        recorded: Grounds,
    ) -> Result<(Grounds, String), WorktreeError> {
        let known = known.clone();
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| other(inner, &known, &recorded)).await
    }
}

fn other(inner: &Inner, known: &Known, recorded: &Grounds) -> Result<(Grounds, String), WorktreeError> {
    let source = inner.repository(known)?;
    let objects = Objects::of(&source);
    let found = base(inner, known, &source)?;
    // That it does not vanish again. Where there is none, an empty one takes its place.
    let base_commit = objects.keep(&reference(&known.id), Hold::Loose(None), || match &found {
        Some(commit) => Ok(commit.clone()),
        None => objects.commit(&objects.tree(&Entries::new())?, &[], "hob: nothing is left to compare with"),
    })?;
    let tree = objects.tree_of(&base_commit)?;
    let absent = objects.absent(&recorded.trees())?;
    let is_there = |tree: &String| !absent.contains(tree);
    let baseline = match recorded.baseline.clone().filter(is_there) {
        Some(baseline) => Some(baseline),
        None if recorded.baseline.is_some() => {
            let kept = source.commit_of_ref(&format!("refs/hob/baseline/{}", known.id))?;
            Some(kept.and_then(|commit| objects.tree_of(&commit).ok()).unwrap_or_else(|| tree.clone()))
        }
        None => None,
    };
    let start = baseline.clone().unwrap_or_else(|| tree.clone());
    let last_tree = recorded.last_tree.clone().filter(is_there);
    let history = mended(&recorded.history, &start, last_tree.as_ref(), &is_there);
    let what = match &found {
        Some(base) if *base == known.base_commit => {
            "what was seen of its files earlier is gone from the repository, so it cannot be told whose their \
             changes are"
                .to_owned()
        }
        Some(base) => format!(
            "the commit {} that it was started from is gone from the repository; its files are compared with {}",
            short(&known.base_commit),
            short(base)
        ),
        None => format!(
            "the commit {} that it was started from is gone from the repository, and nothing is left to compare \
             with: every file counts as new",
            short(&known.base_commit)
        ),
    };
    Ok((Grounds { base_commit, baseline, last_tree, history }, format!("worktree {}: {what}", known.id)))
}

fn short(commit: &str) -> &str {
    &commit[..12.min(commit.len())]
}

/// The commit that stands for the base: itself, if it is there.
fn base(inner: &Inner, known: &Known, source: &Source<'_>) -> Result<Option<String>, WorktreeError> {
    let objects = Objects::of(source);
    let is_there = |commit: &String| objects.tree_of(commit).and_then(|tree| objects.entries(&tree)).is_ok();
    if let Some(own) = source.commit(&known.base_commit)?.filter(is_there) {
        return Ok(Some(own));
    }
    if let Some(kept) = source.commit_of_ref(&reference(&known.id))?.filter(is_there) {
        return Ok(Some(kept));
    }
    let branch = source.commit_of_ref(&format!("refs/heads/{}", known.branch))?;
    // In the trash, or not there at all, it has none.
    let head = inner.at(known).and_then(|here| here.commit("HEAD")).unwrap_or(None);
    Ok(head.filter(is_there).or(branch.filter(is_there)))
}

/// A history in which every tree is there. What led to or from one that is gone becomes one step from the
/// last tree that is there, in which everybody had a hand. Pure.
fn mended(
    history: &[Segment],
    start: &str,
    last: Option<&String>,
    is_there: &dyn Fn(&String) -> bool,
) -> Vec<Segment> {
    let (mut mended, mut here, mut open): (Vec<Segment>, _, Vec<Writer>) =
        (Vec::new(), start.to_owned(), Vec::new());
    let mut is_open = false;
    for segment in history {
        if is_there(&segment.from) && is_there(&segment.to) && !is_open {
            here.clone_from(&segment.to);
            mended.push(segment.clone());
            continue;
        }
        is_open = true;
        open.extend(segment.writers.iter().cloned());
        if is_there(&segment.to) {
            mended.extend(step(&here, &segment.to, &mut open));
            here.clone_from(&segment.to);
            is_open = false;
        }
    }
    if let Some(last) = last.filter(|_| is_open) {
        mended.extend(step(&here, last, &mut open));
    }
    mended
}

fn step(from: &str, to: &str, writers: &mut Vec<Writer>) -> Option<Segment> {
    let mut writers = std::mem::take(writers);
    writers.sort();
    writers.dedup();
    let (from, to) = (from.to_owned(), to.to_owned());
    (from != to).then_some(Segment { from, to, writers, doubt: true, by_hook: false })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(from: &str, to: &str, turn: &str, doubt: bool) -> Segment {
        let writers =
            turn.split_terminator('+').map(|turn| Writer { turn: turn.into(), agent: "demo".into() });
        Segment { from: from.into(), to: to.into(), writers: writers.collect(), doubt, by_hook: false }
    }

    fn mend(history: &[Segment], last: Option<&str>, gone: &str) -> Vec<Segment> {
        let gone: BTreeSet<String> = gone.split_terminator(' ').map(str::to_owned).collect();
        mended(history, "0", last.map(str::to_owned).as_ref(), &|tree| !gone.contains(tree))
    }

    #[test]
    fn what_led_to_a_tree_that_is_gone_is_one_step_of_all() {
        let history =
            [segment("0", "1", "a", false), segment("1", "2", "b", false), segment("2", "3", "c", false)];
        for (gone, last, expected) in [
            ("", Some("3"), history.to_vec()),
            ("1", Some("3"), vec![segment("0", "2", "a+b", true), segment("2", "3", "c", false)]),
            ("1 2", Some("3"), vec![segment("0", "3", "a+b+c", true)]),
            ("3", None, vec![segment("0", "1", "a", false), segment("1", "2", "b", false)]),
            ("1 2 3", None, vec![]),
        ] {
            assert_eq!(mend(&history, last, gone), expected, "{gone}");
        }
        // What lies between two steps is told by nobody, as before.
        let apart = [segment("0", "1", "a", false), segment("5", "6", "b", false)];
        assert_eq!(
            mend(&apart, Some("6"), "5"),
            [segment("0", "1", "a", false), segment("1", "6", "b", true)]
        );
    }

    proptest! {
        #[test]
        fn every_tree_of_a_mended_history_is_there_and_it_ends_where_it_ended(
            steps in proptest::collection::vec((0_u8..6, "[a-c]"), 0..8),
            gone in proptest::collection::btree_set(1_u8..6, 0..5),
        ) {
            let (mut history, mut here) = (Vec::new(), 0);
            for (to, turn) in &steps {
                if *to != here {
                    history.push(segment(&here.to_string(), &to.to_string(), turn, false));
                    here = *to;
                }
            }
            let last = Some(here.to_string()).filter(|_| !gone.contains(&here));
            let gone: BTreeSet<String> = gone.iter().map(u8::to_string).collect();
            let is_there = |tree: &String| !gone.contains(tree);
            let mended = mended(&history, "0", last.as_ref(), &is_there);
            for segment in &mended {
                prop_assert!(is_there(&segment.from) && is_there(&segment.to));
            }
            if gone.is_empty() {
                prop_assert_eq!(&mended, &history);
            }
            for pair in mended.windows(2) {
                prop_assert_eq!(&pair[0].to, &pair[1].from);
            }
            if let (Some(last), Some(end)) = (last, mended.last()) {
                prop_assert_eq!(&end.to, &last);
            }
        }
    }
}

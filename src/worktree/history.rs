//! How much of the history of a worktree is kept in the repository of the user. The trees around the last
//! turns are kept whole; of older ones large files are replaced by a small text that names them, which is
//! enough to tell whose a change is: lines are never followed in files of that size.
//!
//! **Invariant:** what differs between two old trees differs between what stands for them, and nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use super::carry::Entry;
use super::error::WorktreeError;
use super::known::{Known, Segment, Writer};
use super::large::{self, NAMED_BYTES_MIN};
use super::objects::{EXECUTABLE, FILE, Objects};
use super::{Inner, Worktrees};

/// Turns of a worktree whose trees are kept whole.
pub const TURNS_KEPT: usize = 50;
/// Bytes of what these turns wrote that are kept at most, before git packs them.
pub const BYTES_KEPT: u64 = 256 << 20;

/// Segments that are kept apart; older ones become one, of which it cannot be told whose it is.
const APART_MAX: usize = 500;
/// So many more, before any are made one: not at each turn.
const APART_SLACK: usize = 50;
/// Trees that are made small at once: the lock of the repository is held meanwhile.
const MADE_MAX: usize = 64;

/// What became of a history that was longer than is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trimmed {
    /// What the oldest segments lead from and to now, oldest first.
    pub oldest: Vec<Span>,
    /// The trees that are whole still.
    pub whole: BTreeSet<String>,
}

/// The two trees of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Before.
    pub from: String,
    /// After.
    pub to: String,
}

/// The oldest part of a history as one segment, and how many it takes the place of; `None` while it is short.
/// Everybody who had a hand in it is named by the last turn that had. Pure.
pub fn merged(history: &[Segment]) -> Option<(usize, Segment)> {
    if history.len() <= APART_MAX + APART_SLACK {
        return None;
    }
    let n = history.len() - APART_MAX + 1;
    let (oldest, newest) = (&history[0], &history[n - 1]);
    let last_turns: BTreeMap<&str, &Writer> = history[..n]
        .iter()
        .flat_map(|segment| &segment.writers)
        .map(|writer| (writer.agent.as_str(), writer))
        .collect();
    let (from, to) = (oldest.from.clone(), newest.to.clone());
    let writers = last_turns.into_values().cloned().collect();
    Some((n, Segment { from, to, writers, doubt: true, by_hook: false }))
}

/// What a segment weighs.
struct Weight<'a> {
    turns: Vec<&'a str>,
    bytes: u64,
}

/// How many of the oldest segments are not kept whole; the newest always is. Pure.
fn n_old<'a>(
    newest_first: impl Iterator<Item = Result<Weight<'a>, WorktreeError>>,
    n_all: usize,
) -> Result<usize, WorktreeError> {
    let (mut turns, mut bytes, mut n_kept) = (HashSet::new(), 0_u64, 0);
    for weight in newest_first {
        let weight = weight?;
        bytes = bytes.saturating_add(weight.bytes);
        turns.extend(weight.turns);
        if n_kept > 0 && (turns.len() > TURNS_KEPT || bytes > BYTES_KEPT) {
            break;
        }
        n_kept += 1;
    }
    Ok(n_all - n_kept)
}

impl Worktrees {
    /// Makes the oldest part of a history small, where it is longer than is kept. What it gives is to be
    /// written down, and only then [`Worktrees::drop_trees`] lets go of the rest. `None` if nothing is to
    /// be done.
    ///
    /// # Errors
    /// What git says.
    pub async fn trim(&self, known: &Known, history: Vec<Segment>) -> Result<Option<Trimmed>, WorktreeError> {
        let known = known.clone();
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| trim(inner, &known, &history)).await
    }

    /// Lets go of the trees of a worktree but for these.
    ///
    /// # Errors
    /// What git says.
    pub async fn drop_trees(&self, known: &Known, kept: BTreeSet<String>) -> Result<(), WorktreeError> {
        let known = known.clone();
        self.locked_job(&known.common_dir.clone(), move |inner, _lock| {
            let source = inner.repository(&known)?;
            let objects = Objects::of(&source);
            for (name, at) in objects.refs(&format!("refs/hob/turns/{}/", known.id))? {
                if !kept.contains(&objects.tree_of(&at)?) {
                    source.delete_ref(&name, &at)?;
                }
            }
            Ok(())
        })
        .await
    }
}

fn trim(inner: &Inner, known: &Known, history: &[Segment]) -> Result<Option<Trimmed>, WorktreeError> {
    let source = inner.repository(known)?;
    let objects = Objects::of(&source);
    let weights = history.iter().rev().map(|segment| {
        let turns = segment.writers.iter().map(|writer| writer.turn.as_str()).collect();
        Ok(Weight { turns, bytes: bytes_of(&objects, segment)? })
    });
    let n_old = n_old(weights, history.len())?;
    if n_old == 0 {
        return Ok(None);
    }
    let mut slim = Slim::begin(&objects, known, &history[0].from)?;
    let mut oldest = Vec::new();
    for segment in &history[..n_old] {
        if slim.made.len() >= MADE_MAX {
            break;
        }
        oldest.push(Span { from: slim.of(&segment.from)?, to: slim.of(&segment.to)? });
    }
    let whole = history[oldest.len()..].iter();
    let whole = whole.flat_map(|segment| [segment.from.clone(), segment.to.clone()]).collect();
    Ok(Some(Trimmed { oldest, whole }))
}

/// What a segment brought.
fn bytes_of(objects: &Objects<'_>, segment: &Segment) -> Result<u64, WorktreeError> {
    let mut bytes = 0_u64;
    for change in objects.moves(&segment.from, &segment.to)?.into_values() {
        if let Some(entry) = change.to.filter(|entry| matches!(entry.mode, FILE | EXECUTABLE)) {
            bytes = bytes.saturating_add(objects.blob_size(&entry.object)?);
        }
    }
    Ok(bytes)
}

/// Makes trees small.
struct Slim<'a> {
    objects: &'a Objects<'a>,
    known: &'a Known,
    /// What is in the repository anyway, or decides what the user had.
    stays: HashSet<String>,
    /// Names of the refs of trees that are small already.
    done: HashSet<String>,
    made: HashMap<String, String>,
}

impl<'a> Slim<'a> {
    fn begin(objects: &'a Objects<'a>, known: &'a Known, origin: &str) -> Result<Self, WorktreeError> {
        let base = objects.tree_of(&known.base_commit)?;
        let mut stays = HashSet::new();
        for tree in [Some(base.as_str()), Some(origin), known.baseline.as_deref()].into_iter().flatten() {
            stays.extend(objects.entries(tree)?.into_values().map(|entry| entry.object));
        }
        let done = objects.refs(&known.tree_ref("old", ""))?.into_iter().map(|(name, _)| name).collect();
        Ok(Self { objects, known, stays, done, made: HashMap::new() })
    }

    /// What stands for a tree.
    fn of(&mut self, tree: &str) -> Result<String, WorktreeError> {
        if self.done.contains(&self.known.tree_ref("old", tree)) {
            return Ok(tree.to_owned());
        }
        if let Some(made) = self.made.get(tree) {
            return Ok(made.clone());
        }
        let mut changes: BTreeMap<PathBuf, Option<Entry>> = BTreeMap::new();
        for (path, entry) in self.objects.entries(tree)? {
            if !matches!(entry.mode, FILE | EXECUTABLE) || self.stays.contains(&entry.object) {
                continue;
            }
            let size = self.objects.blob_size(&entry.object)?;
            if size > NAMED_BYTES_MIN {
                let object = self.objects.write_blob(&large::name_of(&entry.object, size))?;
                changes.insert(path, Some(Entry { object, ..entry }));
            }
        }
        let small =
            if changes.is_empty() { tree.to_owned() } else { self.objects.tree_with(tree, &changes)? };
        let commit = self.objects.commit(&small, &[], "hob: the files of a session, long ago")?;
        let name = self.known.tree_ref("old", &small);
        self.objects.set_ref(&name, &commit)?;
        self.done.insert(name);
        self.made.insert(tree.to_owned(), small.clone());
        Ok(small)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_turns_are_kept_whole_up_to_their_number_and_their_bytes() {
        let cases: [(Vec<u64>, usize); 6] = [
            (vec![], 0),
            (vec![1; TURNS_KEPT], 0),
            (vec![1; TURNS_KEPT + 3], 3),
            (vec![BYTES_KEPT / 2; 3], 1),
            (vec![1, BYTES_KEPT, 1], 2),
            (vec![1, 1, BYTES_KEPT * 2], 2),
        ];
        for (oldest_first, wanted) in cases {
            let names: Vec<String> = (0..oldest_first.len()).map(|n| format!("u-{n}")).collect();
            let weights = oldest_first.iter().zip(&names).rev();
            let weights =
                weights.map(|(bytes, turn)| Ok(Weight { turns: vec![turn.as_str()], bytes: *bytes }));
            assert_eq!(n_old(weights, oldest_first.len()).unwrap(), wanted, "{oldest_first:?}");
        }
    }

    #[test]
    fn the_oldest_segments_become_one_that_leads_from_where_they_began_to_where_they_ended() {
        let segment = |n: usize| Segment {
            from: n.to_string(),
            to: (n + 1).to_string(),
            writers: vec![Writer { turn: format!("u-{n}"), agent: format!("agent-{}", n % 2) }],
            doubt: false,
            by_hook: false,
        };
        let history: Vec<Segment> = (0..APART_MAX + APART_SLACK).map(segment).collect();
        assert_eq!(merged(&history), None);
        let history: Vec<Segment> = (0..=APART_MAX + APART_SLACK).map(segment).collect();
        let (n, one) = merged(&history).unwrap();
        assert_eq!((n, one.from.as_str(), one.to.as_str(), one.doubt), (52, "0", "52", true));
        let turns: Vec<_> = one.writers.iter().map(|writer| writer.turn.as_str()).collect();
        assert_eq!(turns, ["u-50", "u-51"]);
        assert_eq!(history.len() - n + 1, APART_MAX);
    }

    #[test]
    fn what_the_user_changed_between_turns_counts_by_its_bytes_alone() {
        let weights = (0..200).map(|_| Ok(Weight { turns: Vec::new(), bytes: 1 }));
        assert_eq!(n_old(weights, 200).unwrap(), 0);
    }
}

//! Whose a change is. Pure: the versions of a file and who made each, in; the owners of each hunk, out.
//!
//! Every line is followed from version to version: a line that a hunk adds belongs to the step that
//! brought it, a line that a hunk removes to the step that took it away.
//!
//! **Invariant:** right, or marked as shared. Where a line cannot be followed the hunk is given to all
//! who touched the file since, and where that is more than one, it is shared.

use std::collections::{BTreeMap, BTreeSet};

use super::text::{Fate, HunkText, hunks, lines};
use crate::worktree::known::{Segment, Writer};

/// Who made a version of the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// The turns that were under way; nobody means the person.
    pub(super) writers: Vec<Writer>,
    /// Somebody else may have written as well.
    pub(super) doubt: bool,
    /// A hook of the person's ran meanwhile.
    pub(super) by_hook: bool,
}

impl Step {
    pub(super) fn of(segment: &Segment) -> Self {
        Self { writers: segment.writers.clone(), doubt: segment.doubt, by_hook: segment.by_hook }
    }

    fn is_persons(&self) -> bool {
        self.writers.is_empty() && !self.doubt && !self.by_hook
    }

    /// Who it is, for the question whether two steps are of the same.
    fn agents(&self) -> BTreeSet<Option<&str>> {
        if self.writers.is_empty() {
            // No agent has such a name.
            return BTreeSet::from([self.by_hook.then_some("")]);
        }
        self.writers.iter().map(|writer| Some(writer.agent.as_str())).collect()
    }
}

/// Whose something is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Owner {
    /// Agents, in order of their first change.
    pub(super) agents: Vec<String>,
    /// Turns, in order.
    pub(super) turns: Vec<String>,
    /// It cannot be told which of them.
    pub(super) shared: bool,
    /// The person had a hand in it.
    pub(super) by_user: bool,
    /// A hook of the person's had a hand in it.
    pub(super) by_hook: bool,
}

impl Owner {
    /// Of these steps, each of which had a part in it.
    pub(super) fn of<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Self {
        let mut owner = Self::default();
        for step in steps {
            owner.by_user |= step.is_persons();
            owner.by_hook |= step.by_hook;
            owner.shared |= step.writers.len() > 1 || step.doubt;
            for writer in &step.writers {
                push(&mut owner.agents, &writer.agent);
                push(&mut owner.turns, &writer.turn);
            }
        }
        owner
    }

    /// Of one of these steps, it is not known which.
    pub(super) fn of_any<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Self {
        let steps: Vec<_> = steps.into_iter().collect();
        let who: BTreeSet<_> = steps.iter().flat_map(|step| step.agents()).collect();
        let mut owner = Self::of(steps);
        owner.shared |= who.len() != 1;
        owner
    }

    /// Adds what another has a part in.
    pub(super) fn add(&mut self, other: &Self) {
        self.shared |= other.shared;
        self.by_user |= other.by_user;
        self.by_hook |= other.by_hook;
        other.agents.iter().for_each(|agent| push(&mut self.agents, agent));
        other.turns.iter().for_each(|turn| push(&mut self.turns, turn));
    }
}

fn push(list: &mut Vec<String>, item: &str) {
    if !list.iter().any(|other| other == item) {
        list.push(item.to_owned());
    }
}

/// The versions of a file, oldest first, and the steps between them.
#[derive(Debug, Clone, Default)]
pub(super) struct Story {
    /// One more than steps.
    pub(super) versions: Vec<Vec<u8>>,
    /// `steps[n]` made version n + 1 of version n.
    pub(super) steps: Vec<Step>,
}

/// What is known of the lines of one version.
#[derive(Debug, Clone)]
struct State {
    /// The step that brought each line; `None` if it was always there.
    origin: Vec<Option<usize>>,
    /// Which line of the baseline each is.
    base: Vec<Option<usize>>,
    /// The step that took away each line of the baseline, if one did.
    taken: Vec<Option<usize>>,
}

/// The owners of the hunks between `baseline` and the last version of a story.
pub(super) fn owners(
    story: &Story,
    baseline: &[u8],
    pending: &[HunkText],
) -> Result<Vec<Owner>, git2::Error> {
    let since = story.versions.iter().rposition(|version| version == baseline);
    let (state, taken_text) = follow(story, baseline, since)?;
    let candidates = &story.steps[since.unwrap_or(0)..];
    let owner = |hunk: &HunkText| {
        let (mut old_at, mut new_at) = (hunk.old_at, hunk.new_at);
        let (mut steps, mut is_unknown, mut owner) = (BTreeSet::new(), false, Owner::default());
        for (fate, line) in &hunk.lines {
            match fate {
                Fate::Added => match state.origin.get(new_at).copied().flatten() {
                    Some(step) => {
                        steps.insert(step);
                    }
                    None => is_unknown = true,
                },
                Fate::Removed if since.is_some() => match state.taken.get(old_at).copied().flatten() {
                    Some(step) => {
                        steps.insert(step);
                    }
                    None => is_unknown = true,
                },
                Fate::Removed => match taken_text.get(line).map(Vec::as_slice) {
                    Some([step]) => {
                        steps.insert(*step);
                    }
                    Some(several) => owner.add(&Owner::of_any(several.iter().map(|n| &story.steps[*n]))),
                    None => is_unknown = true,
                },
                Fate::Kept => {}
            }
            old_at += usize::from(*fate != Fate::Added);
            new_at += usize::from(*fate != Fate::Removed);
        }
        owner.add(&Owner::of(steps.iter().map(|n| &story.steps[*n])));
        if is_unknown {
            owner.add(&Owner::of_any(candidates));
        }
        owner
    };
    Ok(pending.iter().map(owner).collect())
}

/// Lines that were taken away anywhere, with the steps that took them.
type Taken = BTreeMap<Vec<u8>, Vec<usize>>;

/// Follows every line to the last version.
fn follow(story: &Story, baseline: &[u8], since: Option<usize>) -> Result<(State, Taken), git2::Error> {
    let n_base = lines(baseline).len();
    let n_first = story.versions.first().map_or(0, |version| lines(version).len());
    let mut state =
        State { origin: vec![None; n_first], base: vec![None; n_first], taken: vec![None; n_base] };
    if since == Some(0) {
        state.base = (0..n_base).map(Some).collect();
    }
    let (mut states, mut taken_text) = (vec![state.clone()], Taken::new());
    for (n, step) in story.steps.iter().enumerate() {
        let (old, new) = (&story.versions[n], &story.versions[n + 1]);
        // A person who puts a file back gives every line back to whoever brought it.
        let back = step.is_persons().then(|| story.versions[..=n].iter().position(|version| version == new));
        state = match back.flatten() {
            Some(earlier) => {
                let found = &states[earlier];
                let base = if since.is_some_and(|since| earlier >= since) {
                    found.base.clone()
                } else {
                    vec![None; found.base.len()]
                };
                let mut taken = state.taken.clone();
                for line in base.iter().flatten() {
                    taken[*line] = None;
                }
                State { origin: found.origin.clone(), base, taken }
            }
            None => advance(&state, (old, new), n, &mut taken_text)?,
        };
        if since == Some(n + 1) {
            state.base = (0..n_base).map(Some).collect();
            state.taken = vec![None; n_base];
        }
        states.push(state.clone());
    }
    Ok((state, taken_text))
}

/// What is known of the next version, which step `n` made.
fn advance(
    state: &State,
    (old, new): (&[u8], &[u8]),
    n: usize,
    taken_text: &mut Taken,
) -> Result<State, git2::Error> {
    let mut next = State { origin: Vec::new(), base: Vec::new(), taken: state.taken.clone() };
    let mut at = 0;
    let keep = |next: &mut State, from: usize, to: usize| {
        next.origin.extend_from_slice(&state.origin[from..to]);
        next.base.extend_from_slice(&state.base[from..to]);
    };
    for hunk in hunks(old, new, 0)? {
        keep(&mut next, at, hunk.old_at);
        at = hunk.old_at;
        for (fate, line) in &hunk.lines {
            match fate {
                Fate::Removed => {
                    if let Some(base) = state.base[at] {
                        next.taken[base] = Some(n);
                    }
                    let steps = taken_text.entry(line.clone()).or_default();
                    if !steps.contains(&n) {
                        steps.push(n);
                    }
                    at += 1;
                }
                Fate::Added => {
                    next.origin.push(Some(n));
                    next.base.push(None);
                }
                Fate::Kept => {
                    keep(&mut next, at, at + 1);
                    at += 1;
                }
            }
        }
    }
    keep(&mut next, at, state.origin.len());
    Ok(next)
}

#[cfg(test)]
mod tests;

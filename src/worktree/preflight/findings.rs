//! Collects what was found by kind, with a few names of each. Pure.

use std::collections::BTreeMap;

use hob_actors::worktree::{Reason, ReasonKind};

/// Names that are shown of one kind.
const NAMES_MAX: usize = 5;

#[derive(Debug, Default)]
struct Found {
    names: Vec<String>,
    count: u64,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Findings(BTreeMap<ReasonKind, Found>);

impl Findings {
    /// One more of a kind.
    pub(super) fn note(&mut self, kind: ReasonKind, name: impl Into<String>) {
        self.note_many(kind, name, 1);
    }

    /// Many of a kind under one name.
    pub(super) fn note_many(&mut self, kind: ReasonKind, name: impl Into<String>, count: u64) {
        let found = self.0.entry(kind).or_default();
        found.count += count;
        let name = name.into();
        if found.names.len() < NAMES_MAX && !found.names.contains(&name) {
            found.names.push(name);
        }
    }

    /// Whether something of a kind was found.
    #[cfg(test)]
    pub(super) fn has(&self, kind: ReasonKind) -> bool {
        self.0.contains_key(&kind)
    }

    /// All of it.
    pub(super) fn into_reasons(self) -> impl Iterator<Item = Reason> {
        self.0.into_iter().map(|(kind, found)| {
            let more = found.count.saturating_sub(found.names.len() as u64);
            let mut detail = found.names.join(", ");
            if more > 0 && found.names.len() > 1 {
                detail.push_str(&format!(" and {more} more"));
            }
            Reason { kind, detail, count: found.count }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_counted_and_a_few_are_named() {
        let mut found = Findings::default();
        for n in 0..8 {
            found.note(ReasonKind::Dirty, format!("`{n}`"));
        }
        found.note_many(ReasonKind::Unpushed, "3 commits", 3);
        assert!(found.has(ReasonKind::Dirty) && !found.has(ReasonKind::Locked));
        let reasons: Vec<_> = found.into_reasons().collect();
        assert_eq!((reasons[0].count, reasons[0].detail.as_str()), (8, "`0`, `1`, `2`, `3`, `4` and 3 more"));
        assert_eq!((reasons[1].count, reasons[1].detail.as_str()), (3, "3 commits"));
    }
}

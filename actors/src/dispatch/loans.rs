//! Lent dispatch slots: a turn that waits for a task of its own making does nothing meanwhile, so
//! its slot goes to that task. Plain data, no clock, no effects.
//!
//! ```text
//! max_running = 1:   parent runs ──▶ waits for child ─────────▶ runs on
//!                                    └─ child runs in its slot ─┘
//! ```
//! **Invariant:** a slot is lent to one task at a time, and a task takes one slot, so never more
//! turns are at work than there are slots. Where a wait ends before its child does, the child
//! keeps its slot, and nothing else begins until there is one again.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::TaskId;

/// One wait that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoanId(pub u64);

/// Who waits for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loan {
    /// The task whose turn waits.
    pub waiter: TaskId,
    /// The task that it waits for.
    pub child: TaskId,
}

/// Every wait that is under way.
#[derive(Debug, Clone, Default)]
pub struct Loans(BTreeMap<LoanId, Loan>);

impl Loans {
    /// A turn waits from now on. Told again, it changes nothing.
    pub fn lend(&mut self, id: LoanId, loan: Loan) {
        if loan.waiter != loan.child {
            self.0.insert(id, loan);
        }
    }

    /// A wait is over.
    pub fn give_back(&mut self, id: LoanId) {
        self.0.remove(&id);
    }

    /// What the slots of the tasks in flight are taken by; those that are `asking` wait for a person and
    /// use none.
    pub fn slots<'a>(
        &'a self,
        in_flight: impl Iterator<Item = &'a TaskId>,
        asking: &'a BTreeSet<TaskId>,
    ) -> Slots<'a> {
        let in_flight: BTreeSet<&TaskId> = in_flight.collect();
        let mut slots = Slots {
            n_taken: in_flight.len(),
            open: Vec::new(),
            blocked: BTreeSet::new(),
            lent: BTreeSet::new(),
            asking: asking.iter().filter(|task| in_flight.contains(task)).collect(),
        };
        // As if lent to nobody in particular: whoever is next may take it.
        slots.lent.extend(&slots.asking);
        slots.n_taken -= slots.asking.len();
        let mut borrowing = BTreeSet::new();
        for loan in self.0.values().filter(|loan| in_flight.contains(&loan.waiter)) {
            slots.blocked.insert(&loan.waiter);
            let runs = in_flight.contains(&loan.child);
            if !runs {
                slots.open.push(loan);
            } else if !slots.lent.contains(&loan.waiter) && borrowing.insert(&loan.child) {
                slots.lent.insert(&loan.waiter);
                slots.n_taken -= 1;
            }
        }
        slots
    }
}

/// What the slots are taken by at one moment.
#[derive(Debug, Clone)]
pub struct Slots<'a> {
    /// Slots that somebody is at work in, or may be at any moment.
    n_taken: usize,
    /// Waits for a task that is not in flight.
    open: Vec<&'a Loan>,
    /// Tasks in flight that wait for another.
    blocked: BTreeSet<&'a TaskId>,
    /// Those of them whose slot another one is in.
    lent: BTreeSet<&'a TaskId>,
    /// Tasks in flight that wait for an answer of a person.
    asking: BTreeSet<&'a TaskId>,
}

impl Slots<'_> {
    /// Whether a task in flight waits for another one or for a person, and is not at work itself.
    pub fn is_blocked(&self, task: &TaskId) -> bool {
        self.blocked.contains(task) || self.asking.contains(task)
    }

    /// Whether a turn in flight waits for a task that is not.
    pub fn is_waited_for(&self, task: &TaskId) -> bool {
        self.open.iter().any(|loan| loan.child == *task)
    }

    /// How many tasks in flight wait for another.
    pub fn n_blocked(&self) -> usize {
        self.blocked.len()
    }

    /// Takes a slot for a task: that of the turn that waits for it, else a free one of `max`.
    /// False if there is none.
    pub fn take(&mut self, task: &TaskId, max: usize) -> bool {
        let lender = self.open.iter().find(|loan| loan.child == *task && !self.lent.contains(&loan.waiter));
        if let Some(loan) = lender {
            self.lent.insert(&loan.waiter);
            return true;
        }
        if self.n_taken >= max {
            return false;
        }
        self.n_taken += 1;
        true
    }

    /// How many slots are taken.
    pub fn n_taken(&self) -> usize {
        self.n_taken
    }
}

#[cfg(test)]
#[path = "loans/tests.rs"]
mod tests;
